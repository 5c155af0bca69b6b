"""Alembic's entry: runs the steps on the connection that `limen.db.engine.migrate` passes in; there is no offline mode."""

from __future__ import annotations

from alembic import context

from limen.db.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
context.run_migrations()
