"""Lineages: mark keys that were rotated to, retired or opened. Before, an asset had one key, and nothing was said of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "lineage",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), sa.ForeignKey("asset.id", name="fk_lineage_asset_asset"), nullable=False),
        sa.Column("number", Int, nullable=False),
        sa.Column("named", Int, nullable=False),
        sa.Column("retired", Int, nullable=True),
        sa.Column("opened", Int, nullable=True),
        sa.Column("entry", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_lineage"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Refuse, as version 0001 does."""
    raise RuntimeError("the control tables are not downgraded; start the older version on an empty control database")
