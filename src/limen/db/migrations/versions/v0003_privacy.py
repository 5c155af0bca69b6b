"""What erasure and legal hold need: references of side records, frozen pseudonyms, and who was erased or is on hold."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REF_BYTES = 16


def upgrade() -> None:
    """Give every key a reference of its own, and make the new tables and columns."""
    _add_references()
    for table in ("person", "workload"):
        op.add_column(table, sa.Column("erased_at", Int, nullable=True))
    op.create_table(
        "pseudonym",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("holder", "project", name="pk_pseudonym"),
        sqlite_strict=True,
    )
    op.create_table(
        "legal_hold",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("since", Int, nullable=False),
        sa.Column("lifted_at", Int, nullable=True),
        sa.Column("entry", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_legal_hold"),
        sa.ForeignKeyConstraint(["id"], ["person.id"], name="fk_legal_hold_id_person"),
        sqlite_strict=True,
    )
    op.create_table(
        "erasure",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("entry", Int, nullable=False),
        sa.Column("swept", Int, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasure"),
        sa.ForeignKeyConstraint(["id"], ["person.id"], name="fk_erasure_id_person"),
        sa.CheckConstraint("swept IN (0, 1)", name=op.f("ck_erasure_swept")),
        sqlite_strict=True,
    )


def _add_references() -> None:
    # A column that may not be null can't be added to a table with rows, so the table is made again.
    connection = op.get_bind()
    op.rename_table("subject_key", "subject_key_before")
    made = op.create_table(
        "subject_key",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("ref", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("holder", name="pk_subject_key"),
        sa.UniqueConstraint("ref", name="uq_subject_key_ref"),
        sqlite_strict=True,
    )
    rows = connection.execute(sa.text("SELECT holder, key FROM subject_key_before")).all()
    if rows:
        connection.execute(
            made.insert(), [{"holder": row.holder, "ref": secrets.token_bytes(REF_BYTES), "key": row.key} for row in rows]
        )
    op.drop_table("subject_key_before")


def downgrade() -> None:
    """Refuse, as version 0001 does."""
    raise RuntimeError("the control tables are not downgraded; start the older version on an empty control database")
