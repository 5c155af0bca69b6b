"""The control tables (SQLAlchemy Core) and their migrations (Alembic)."""
