"""Facts: measures of one vendor, each with its grade, its days and the entries that show it.

    tables, fold, held   what the measures need of the log, kept incrementally in `DATA/derived/facts.db`
    known                what of it was known at a given time
    series               one measure over days: samples, and the days that nobody can vouch for
    accesses, holding, cutting, keys, told, running     one measure after the other, as pure functions
    components, matched  what bills of material and advisories say, as `running` reads it
    stating              what may be stated: values as they are typed, and as entries hold them
    papers               evidence, the vendor's own word, and where that contradicts a measurement
    document             all of it as one JSON value: the same bytes for the same log and the same `as_of`
    book                 `Facts`, what an open gateway asks

The shape of the document is told in `limen.assurance.measures`. Everything that counts was written before `as_of`: what came
later, also about earlier days, changes no byte.
"""
