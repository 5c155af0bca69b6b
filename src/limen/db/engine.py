"""Opens the control database and brings its tables up to date.

SQLite runs in WAL mode with foreign keys on and synchronous=FULL: what `apply` returned from is on the disk; and with
secure_delete on: what is deleted is overwritten. Any other URL is handed to SQLAlchemy as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from limen.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

_BUSY_MS = 5_000
_MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str) -> sa.Engine:
    """An engine for `url` (`sqlite:///…`), its tables at this version's schema. Invalid("url", …) if it can't be opened."""
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as e:
        raise Invalid("url", f"not a database that limen can open: {e}") from e
    if engine.dialect.name == "sqlite":
        _own_alone(engine.url.database)
        sa.event.listen(engine, "connect", _prepare_sqlite)
    try:
        migrate(engine)
    except (sa.exc.OperationalError, sa.exc.DatabaseError) as e:
        engine.dispose()
        raise Invalid("url", f"cannot open the control database: {e.orig if hasattr(e, 'orig') else e}") from e
    return engine


def migrate(engine: sa.Engine) -> None:
    """Run the migrations that are missing, in one transaction. They lie in the package, so an installed wheel has them."""
    with engine.begin() as connection:
        if _is_current(connection):
            return
        from alembic import command  # noqa: PLC0415  a fifth of what a start imports, and hardly one needs it
        from alembic.config import Config  # noqa: PLC0415

        config = Config()
        # A `%` in the path would be read as interpolation.
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_current(connection: sa.Connection) -> bool:
    """Whether the newest migration is the one that the tables have."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return False
    version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    newest = max(path.name for path in _MIGRATIONS.glob("versions/v*.py"))
    return newest.startswith(f"v{version}_")


def rewrite(engine: sa.Engine) -> None:
    """Write a SQLite database anew, so that its files hold what its rows hold and nothing older. Conflict if it is read.

    `secure_delete` alone is not enough: a row that was moved within its page may have left bytes where it stood.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA temp_store = MEMORY")  # or the copy would lie in a directory of its own
        connection.exec_driver_sql("VACUUM")
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
    if busy:
        raise Conflict("another process reads control.db; stop it, then try again")


def _own_alone(path: str | None) -> None:
    # The subject keys lie in it. SQLite gives its -wal and -shm neighbours the same mode.
    if not path or path == ":memory:":
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as e:
        raise Invalid("url", f"cannot open the control database {path}: {e.strerror}") from e


def _prepare_sqlite(connection: DBAPIConnection, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
