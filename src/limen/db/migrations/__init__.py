"""Alembic's environment and the versions of the control tables, shipped inside the package."""
