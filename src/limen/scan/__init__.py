"""What stands in a repository's history: secrets, and pieces of governed content, in every blob that is still there.

`history` reads a repository, `winnow` and `governed` know our content again, `secrets` runs Kingfisher in a sandbox, `run`
does one whole scan and remembers what it has read. Nothing here knows the ledger or the catalog: `limen.scanning` does.
"""
