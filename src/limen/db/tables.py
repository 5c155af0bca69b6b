"""The control tables, as SQLAlchemy Core: one row per noun, each with the ledger entry that made it.

Types are those that both SQLite (STRICT) and PostgreSQL hold exactly: text, 64-bit integers, bytes. A truth value is
0 or 1 with a check; a set is canonical JSON text. Names and e-mail addresses of people have no column: they live only
in the encrypted side records, so that erasing a person needs no second place.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite's STRICT tables know INTEGER only; it is 64 bits wide there, as BIGINT is on PostgreSQL.
Int: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), primary_key=True)


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, Int, nullable=nullable)


def _later(name: str) -> sa.Column[int]:
    # A row from before there was such a thing has none.
    return sa.Column(name, Int, nullable=False, server_default="0")


def _to(name: str, target: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), sa.ForeignKey(f"{target}.id"), nullable=nullable)


def _truth(name: str) -> tuple[sa.Column[int], sa.CheckConstraint]:
    return _int(name), sa.CheckConstraint(f"{name} IN (0, 1)", name=name)


def _one_active(table: str) -> sa.Index:
    # The database refuses, too, that one identity is two active people.
    active = sa.text("ended_at IS NULL")
    return sa.Index(f"ux_{table}_identity", "issuer", "subject", unique=True, sqlite_where=active, postgresql_where=active)


def _table(name: str, *parts: sa.schema.SchemaItem) -> sa.Table:
    # `entry` is the index of the ledger entry that made the row. It is never changed, and orders the rows at start-up.
    return sa.Table(name, METADATA, *parts, _int("entry"), sqlite_strict=True)


VENDOR: Final = _table(
    "vendor", _key("id"), _text("name"), _text("contact"), sa.Column("copy_id", sa.Text(), nullable=False, unique=True)
)
PERSON: Final = _table(
    "person",
    _key("id"),
    _to("vendor", "vendor", nullable=True),
    _text("issuer"),
    _text("subject"),
    _text("roles"),
    _text("copy_id"),  # not unique: a person who is enrolled again keeps it
    _int("ended_at", nullable=True),
    _int("erased_at", nullable=True),
    _one_active("person"),
)
WORKLOAD: Final = _table(
    "workload",
    _key("id"),
    _to("vendor", "vendor", nullable=True),
    _text("issuer"),
    _text("subject"),
    _to("sponsor", "person"),
    _text("copy_id"),
    _int("ended_at", nullable=True),
    _int("erased_at", nullable=True),
    _one_active("workload"),
)
PROJECT: Final = _table("project", _key("id"), _text("title"), _to("owner", "person"))
ASSET_CLASS: Final = _table("asset_class", _key("id"), *_truth("vendors"))
TIER: Final = _table(
    "tier",
    _key("id"),
    _text("granted_by"),
    _int("session_s"),
    *_truth("hardware_key"),
    _int("export_bytes_day", nullable=True),
    _later("window_bytes"),
    _later("window_s"),
)
AGREEMENT: Final = _table(
    "agreement",
    _key("id"),
    _to("vendor", "vendor"),
    _text("digest"),
    _int("valid_from"),
    _int("valid_until"),
    sa.CheckConstraint("valid_from < valid_until", name="validity"),
)
ASSET: Final = _table(
    "asset",
    _key("id"),
    _to("project", "project"),
    _text("asset_class"),
    _text("tier"),  # no foreign key: a built-in tier has a row only once it was tightened
    _text("asset_kind"),
    _text("description"),
    _later("canary"),
)
VERSION: Final = _table(
    "version",
    sa.Column("asset", sa.Text(), sa.ForeignKey("asset.id"), primary_key=True),
    sa.Column("number", Int, primary_key=True, autoincrement=False),
    _int("registered_at"),
    _text("mark_key", nullable=True),
    _text("shards"),
)
GRANT: Final = _table(
    "access_grant",  # GRANT is a reserved word
    _key("id"),
    _text("holder"),  # a person or a workload
    _to("project", "project"),
    _text("assets"),
    _text("actions"),
    _to("granted_by", "person"),
    _int("not_before"),
    _int("expires_at"),
    _int("ended_at", nullable=True),
    sa.CheckConstraint("not_before < expires_at", name="validity"),
)
# One row. `entry` is the last authority entry applied; it only grows, and the UPDATE's WHERE sees to that.
APPLIED: Final = _table(
    "applied", sa.Column("id", Int, primary_key=True, autoincrement=False), sa.CheckConstraint("id = 1", name="single")
)
# The key that seals a person's side records, and the random reference under which these lie. An erased key keeps its row,
# so that it can never be made anew.
SUBJECT_KEY: Final = sa.Table(
    "subject_key",
    METADATA,
    _key("holder"),
    sa.Column("ref", sa.LargeBinary(), nullable=False, unique=True),
    sa.Column("key", sa.LargeBinary(), nullable=True),
    sqlite_strict=True,
)
# What entries call an erased person, kept because nobody can compute it any more. Without it their accesses would be nobody's.
PSEUDONYM: Final = sa.Table("pseudonym", METADATA, _key("holder"), _key("project"), _text("code"), sqlite_strict=True)
LEGAL_HOLD: Final = _table(
    "legal_hold",
    sa.Column("id", sa.Text(), sa.ForeignKey("person.id"), primary_key=True),
    _int("since"),
    _int("lifted_at", nullable=True),
)
ADMISSION: Final = _table(
    "admission",
    sa.Column("id", sa.Text(), sa.ForeignKey("vendor.id"), primary_key=True),
    _text("basis"),
    _int("of_entry"),
    _int("valid_until"),
)
# Mark keys of which an entry has said something: the first of an asset has no row before it is retired. `named`: the entry
# that named it first.
LINEAGE: Final = _table(
    "lineage",
    _key("id"),
    _to("asset", "asset"),
    _int("number"),
    _int("named"),
    _int("retired", nullable=True),
    _int("opened", nullable=True),
)
# Who was erased, and whether every place has been swept since; start-up finishes one that has not.
ERASURE: Final = _table("erasure", sa.Column("id", sa.Text(), sa.ForeignKey("person.id"), primary_key=True), *_truth("swept"))
