"""Evidence for somebody who does not trust us: one deterministic zip that stock tools and one small program verify.

    named       the entries that a bundle names, proved together under one checkpoint
    bundle      what is in a bundle, to its bytes: a bag, signed as SSHSIG and as DSSE. Pure
    scopes      who is given what: auditor, vendor, insurer, regulator
    persons     what names people, so that none of it leaves
    filed       what the log says was filed about a vendor, exported, drawn (derived)
    collect     the parts of one bundle, from the log, the blobs and the facts
    keys        the evidence key
    spotcheck   who and what is audited, drawn so that neither side chooses

The format is docs/formats/evidence.md; the verifier is `limen.verify.evidence`, with no import of limen.
"""
