"""The tamper-evident log. `ledger` is its face; `sequencer` orders and commits, `store` says what a database promises.

Below: `publication` puts the log where others can read it, `witnesses` has it cosigned, `rollback` notices when it was set
back, and `repair` finds and mends damage.
"""
