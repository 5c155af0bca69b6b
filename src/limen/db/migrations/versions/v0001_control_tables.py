"""The control tables of limen 0.1. Written out in full: a later change of `limen.db.tables` must not change this step."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, Int, nullable=nullable)


def _points(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=f"fk_{table}_{column}_{target}")


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _create(name: str, *parts: sa.schema.SchemaItem, key: tuple[str, ...] = ("id",)) -> None:
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"), sqlite_strict=True)


def upgrade() -> None:
    """Create every table."""
    _create(
        "vendor",
        _text("id"),
        _text("name"),
        _text("contact"),
        _text("copy_id"),
        _int("entry"),
        sa.UniqueConstraint("copy_id", name="uq_vendor_copy_id"),
    )
    _create(
        "person",
        _text("id"),
        _text("vendor", nullable=True),
        _text("issuer"),
        _text("subject"),
        _text("roles"),
        _text("copy_id"),
        _int("ended_at", nullable=True),
        _int("entry"),
        _points("person", "vendor", "vendor"),
    )
    _create(
        "workload",
        _text("id"),
        _text("vendor", nullable=True),
        _text("issuer"),
        _text("subject"),
        _text("sponsor"),
        _text("copy_id"),
        _int("ended_at", nullable=True),
        _int("entry"),
        _points("workload", "vendor", "vendor"),
        _points("workload", "sponsor", "person"),
    )
    for table in ("person", "workload"):
        active = sa.text("ended_at IS NULL")
        op.create_index(
            f"ux_{table}_identity", table, ["issuer", "subject"], unique=True, sqlite_where=active, postgresql_where=active
        )
    _create("project", _text("id"), _text("title"), _text("owner"), _int("entry"), _points("project", "owner", "person"))
    _create("asset_class", _text("id"), _int("vendors"), _int("entry"), _check("asset_class", "vendors", "vendors IN (0, 1)"))
    _create(
        "tier",
        _text("id"),
        _text("granted_by"),
        _int("session_s"),
        _int("hardware_key"),
        _int("export_bytes_day", nullable=True),
        _int("entry"),
        _check("tier", "hardware_key", "hardware_key IN (0, 1)"),
    )
    _create(
        "agreement",
        _text("id"),
        _text("vendor"),
        _text("digest"),
        _int("valid_from"),
        _int("valid_until"),
        _int("entry"),
        _points("agreement", "vendor", "vendor"),
        _check("agreement", "validity", "valid_from < valid_until"),
    )
    _create_assets_and_grants()
    _create("applied", _int("id"), _int("entry"), _check("applied", "single", "id = 1"))
    _create("subject_key", _text("holder"), sa.Column("key", sa.LargeBinary(), nullable=True), key=("holder",))
    op.execute("INSERT INTO applied (id, entry) VALUES (1, -1)")


def _create_assets_and_grants() -> None:
    _create(
        "asset",
        _text("id"),
        _text("project"),
        _text("asset_class"),
        _text("tier"),
        _text("asset_kind"),
        _text("description"),
        _int("entry"),
        _points("asset", "project", "project"),
    )
    _create(
        "version",
        _text("asset"),
        _int("number"),
        _int("registered_at"),
        _text("mark_key", nullable=True),
        _text("shards"),
        _int("entry"),
        _points("version", "asset", "asset"),
        key=("asset", "number"),
    )
    _create(
        "access_grant",
        _text("id"),
        _text("holder"),
        _text("project"),
        _text("assets"),
        _text("actions"),
        _text("granted_by"),
        _int("not_before"),
        _int("expires_at"),
        _int("ended_at", nullable=True),
        _int("entry"),
        _points("access_grant", "project", "project"),
        _points("access_grant", "granted_by", "person"),
        _check("access_grant", "validity", "not_before < expires_at"),
    )


def downgrade() -> None:
    """Refuse: the ledger rebuilds these tables, so an older limen starts from an empty control database."""
    raise RuntimeError("the control tables are not downgraded; start the older version on an empty control database")
