"""The control plane's tables and their migrations: SQLAlchemy Core 2.1 (no ORM) and Alembic, on SQLite or PostgreSQL.

The tables hold what the authority entries of the ledger say, applied in order; the ledger is the record, these are
its index. Nothing here knows what a grant means: the rules are in `limen.catalog`.
"""
