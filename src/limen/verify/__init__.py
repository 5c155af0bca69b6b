"""Verification of a limen log by somebody who does not trust limen: on a laptop, offline, with few things to read.

Everything here imports the standard library, `cryptography`, `limen.formats` and `limen.core`, and nothing else; only
`remote` opens a connection, and only if it is given an address. Read `published` first: the whole log. Then `proof` (one
entry), `consistency` (two checkpoints of one log) and `answer`, which `python -m limen.verify` prints.
"""
