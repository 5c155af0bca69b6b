"""Copies and marks: slots, the code, a recipient's copy, and the trace of a leak. The theorem is in docs/marks.md.

Read in this order: `code` (who holds which bit), `prepare` (a source becomes two streams), `copy` (what is served),
`index` (what a sample shows), `decoder` (what it is worth), `search` and `trace` (whose copy fed it).
Carriers besides records: `segments` (what is compressed), `guide` (wordings that an author wrote, read by `authored`).
`whole`, `coverage` and `power` say what a version can carry before anybody holds it. `shelf` holds what all of them need on disk.
"""
