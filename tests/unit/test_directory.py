"""A data directory at rest: one owner, and keys that are never made anew beside an old log."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from inprocess import a_gateway
from limen.config import Config, Server
from limen.core.errors import Conflict, Invalid, TamperDetected
from limen.directory import owned, secret
from limen.server import Gateway


def test_a_directory_has_one_owner(tmp_path):
    with owned(tmp_path), pytest.raises(Conflict), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_a_key_is_made_once_and_is_its_owner_s_alone(tmp_path):
    key = secret(tmp_path, "log.key")

    assert secret(tmp_path, "log.key") == key
    assert (tmp_path / "keys" / "log.key").stat().st_mode & 0o077 == 0


def test_no_key_is_made_beside_an_old_log(tmp_path):
    secret(tmp_path, "log.key")
    (tmp_path / "ledger.db").touch()
    (tmp_path / "keys" / "log.key").unlink()

    with pytest.raises(Invalid, match="put the keys back"):
        secret(tmp_path, "log.key")
    assert not (tmp_path / "keys" / "log.key").exists()


def test_a_ledger_set_back_without_its_control_tables_is_refused(tmp_path):
    config = Config(data=tmp_path / "data", server=Server(mode="development"))

    async def scene():
        await (await Gateway.open(config)).close()
        shutil.copy(config.data / "ledger.db", tmp_path / "old.db")
        await (await a_gateway(config.data)).close()
        shutil.copy(tmp_path / "old.db", config.data / "ledger.db")
        shutil.rmtree(config.data / "log")
        for left in (config.data / "high-water", config.data / "log.synced"):
            left.unlink(missing_ok=True)
        with pytest.raises(TamperDetected, match=r"control\.db holds the change of entry"):
            await Gateway.open(config)

    asyncio.run(scene())
