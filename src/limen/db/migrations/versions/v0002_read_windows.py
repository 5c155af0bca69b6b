"""Read windows of tiers. A tier that was set before has none: each of its reads goes on waiting for its own intent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the two bounds."""
    for name in ("window_bytes", "window_s"):
        op.add_column("tier", sa.Column(name, Int, nullable=False, server_default="0"))
