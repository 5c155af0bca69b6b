"""Canary assets: which asset nobody has a reason to open. None was one before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the mark."""
    op.add_column("asset", sa.Column("canary", Int, nullable=False, server_default="0"))


def downgrade() -> None:
    """Refuse, as version 0001 does."""
    raise RuntimeError("the control tables are not downgraded; start the older version on an empty control database")
