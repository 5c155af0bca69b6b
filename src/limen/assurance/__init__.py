"""Vendor assurance: from a bill of materials to a decision that an outsider can recompute.

Read it bottom up:

    bom         what each vendor says it runs, and since when; what that leaves out
    advisories  what is known to be bad, revision by revision
    match       which vendors ran it, from when to when, as far as was known at a given time
    facts       measures: what the log, papers and statements say about a vendor, each with its grade
    contract    clauses as a closed table; the profile that limen ships
    gate        contract and facts to a decision, and what follows from it at the doors
    evidence    all of it in one directory that stock tools verify; random audits

Documents are filed (`limen.filing`): their bytes first, then the entry that names them. What is made of them follows from the
log (`limen.derived`). Every verdict has three values, and unknown is never counted as met.
"""
