"""The migrations make exactly the tables that the code speaks of, and the database itself refuses what must not be."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from limen.core.errors import Invalid
from limen.db import tables
from limen.db.engine import open_engine


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'control.db'}")
    yield engine
    engine.dispose()


def test_the_migrations_and_the_tables_agree(engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []
        strict = {
            row.name: row.strict for row in connection.exec_driver_sql("PRAGMA table_list") if row.name in tables.METADATA.tables
        }
    assert len(strict) == len(tables.METADATA.tables)
    assert set(strict.values()) == {1}


def test_control_a_table_without_a_migration_would_be_noticed(engine):
    more = sa.MetaData()
    for table in tables.METADATA.tables.values():
        table.to_metadata(more)
    sa.Table("forgotten", more, sa.Column("id", sa.Text(), primary_key=True))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), more) != []


def test_migrating_again_changes_nothing(engine, tmp_path):
    with engine.connect() as connection:
        before = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master ORDER BY name").all()
    open_engine(f"sqlite:///{tmp_path / 'control.db'}").dispose()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT name, sql FROM sqlite_master ORDER BY name").all() == before
        assert connection.execute(sa.select(tables.APPLIED)).all() == [(1, -1)]


def test_tables_of_an_older_version_are_brought_up_to_date(tmp_path):
    url, config = f"sqlite:///{tmp_path / 'control.db'}", Config()
    config.set_main_option("script_location", str(Path(tables.__file__).with_name("migrations")))
    older = sa.create_engine(url)
    with older.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    older.dispose()

    engine = open_engine(url)

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.METADATA) == []
    engine.dispose()


def test_sqlite_is_durable_and_minds_its_foreign_keys(engine):
    with engine.connect() as connection:
        values = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(tables.AGREEMENT.insert(), agreement())


def agreement(**fields):
    return {"id": "a", "vendor": "nobody", "digest": "d", "valid_from": 1, "valid_until": 2, "entry": 0, **fields}


def person(id_, **fields):
    plain = {
        "id": id_,
        "vendor": None,
        "issuer": "i",
        "subject": "s",
        "roles": "[]",
        "copy_id": "c",
        "ended_at": None,
        "entry": 1,
    }
    return {**plain, **fields}


def test_the_database_refuses_one_identity_for_two_active_people(engine):
    with engine.begin() as connection:
        connection.execute(tables.PERSON.insert(), [person("lab/a", ended_at=5), person("lab/b")])
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(tables.PERSON.insert(), [person("lab/c")])


def test_the_database_refuses_a_validity_that_ends_before_it_begins(engine):
    with engine.begin() as connection:
        connection.execute(tables.VENDOR.insert(), {"id": "v", "name": "V", "contact": "c", "copy_id": "x", "entry": 0})
        connection.execute(tables.AGREEMENT.insert(), agreement(vendor="v"))
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(tables.AGREEMENT.insert(), agreement(id="b", vendor="v", valid_until=1))


def test_every_table_can_be_written_for_postgresql():
    dialect = postgresql.dialect()
    for table in tables.METADATA.sorted_tables:
        text = str(CreateTable(table).compile(dialect=dialect))
        assert "STRICT" not in text
        assert "INTEGER" not in text, "a 32-bit integer can't hold a byte count"
        for index in table.indexes:
            assert "WHERE ended_at IS NULL" in str(CreateIndex(index).compile(dialect=dialect))


def test_a_percent_sign_in_the_path_is_a_percent_sign(tmp_path):
    (tmp_path / "50%s").mkdir()
    open_engine(f"sqlite:///{tmp_path / '50%s' / 'control.db'}").dispose()
    assert (tmp_path / "50%s" / "control.db").exists()


@pytest.mark.parametrize("url", ["nothing", "sqlite+nothing:///x", "oracle-of-delphi://x"])
def test_a_url_that_is_no_database_is_invalid(url):
    with pytest.raises(Invalid, match="url: "):
        open_engine(url)


def test_a_file_that_is_no_database_is_invalid(tmp_path):
    path = tmp_path / "control.db"
    path.write_bytes(b"this is not a database " * 100)
    with pytest.raises(Invalid, match="cannot open the control database"):
        open_engine(f"sqlite:///{path}")


def test_there_is_no_way_back_but_an_empty_database():
    from limen.db.migrations.versions import v0001_control_tables  # noqa: PLC0415  Alembic loads it by path otherwise

    with pytest.raises(RuntimeError, match="not downgraded"):
        v0001_control_tables.downgrade()
