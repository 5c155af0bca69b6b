"""Admission: until when grants to a gated vendor's people may be made. No vendor was gated before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "admission",
        sa.Column("id", sa.Text(), sa.ForeignKey("vendor.id", name="fk_admission_id_vendor"), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("of_entry", Int, nullable=False),
        sa.Column("valid_until", Int, nullable=False),
        sa.Column("entry", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_admission"),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Refuse, as version 0001 does."""
    raise RuntimeError("the control tables are not downgraded; start the older version on an empty control database")
