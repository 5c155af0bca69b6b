"""The published log over HTTP: every byte of it, and not one beside it."""

from __future__ import annotations

import asyncio
import shutil
import time

import pytest

from limen.core import errors as core
from limen.core import events
from limen.doors.log import errors
from limen.doors.log.app import LogDoor
from limen.formats import tiles
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger
from serving import Served

SIGNER = Signer("example.com/log", bytes(32))


def fill(directory, counts):
    async def scene():
        ledger = Ledger.open(directory, origin=SIGNER.name, signer=SIGNER, now=time.time)
        for count in counts:
            entries = [events.encode("server.start", 1, bytes(16), {"n": ledger.head().size + i}) for i in range(count)]
            await ledger.append_all([(entry, None) for entry in entries])
            await ledger.flush()
        await ledger.close()

    asyncio.run(scene())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data directory with a log of 700 entries that was also published at 530 entries."""
    data = tmp_path_factory.mktemp("data")
    fill(data, [530, 170])
    (data / "keys").mkdir(exist_ok=True)
    (data / "keys" / "log.key").write_bytes(b"secret")
    (data / "log" / "secret").write_bytes(b"secret")
    (data / "log" / "tile" / "0" / "secret").write_bytes(b"secret")
    return data


@pytest.fixture(scope="module")
def served(data):
    with Served(LogDoor(data / "log")) as served:
        yield served


def test_every_published_part_is_served_as_it_lies_there(data, served):
    paths = {p.relative_to(data / "log").as_posix() for p in (data / "log").rglob("*") if p.is_file() and p.name != "secret"}
    assert {"checkpoint", "vkey", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/001"} <= paths

    for path in paths:
        status, headers, body = served.ask("GET", f"/{path}")
        assert (status, body) == (200, (data / "log" / path).read_bytes()), path
        assert headers["content-length"] == str(len(body))
        assert ("immutable" in headers["cache-control"]) == path.startswith("tile/")
        assert served.ask("HEAD", f"/{path}")[::2] == (200, b"")


def test_a_narrower_part_is_cut_from_a_wider_one(data, served):
    whole = (data / "log" / "tile" / "0" / "001").read_bytes()
    entries = tiles.decode_bundle((data / "log" / "tile" / "entries" / "001").read_bytes(), 256)

    assert served.ask("GET", "/tile/0/001.p/7")[2] == whole[: 7 * 32]
    assert served.ask("GET", "/tile/entries/001.p/7")[2] == tiles.encode_bundle(entries[:7])
    assert served.ask("GET", "/tile/0/002.p/100")[2] == (data / "log" / "tile" / "0" / "002.p" / "188").read_bytes()[: 100 * 32]


@pytest.mark.parametrize(
    "path",
    [
        "/tile/0/002",  # not full yet
        "/tile/0/002.p/189",  # wider than what is signed
        "/tile/0/003",
        "/tile/5/000",
        "/tile/64/000",
        "/tile/00/000",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/000.p/007",
        "/tile/0/x000/001",
        "/tile/0/1",
        "/tile/0/secret",
        "/secret",
        "/",
        "/?checkpoint",
        "/log/checkpoint",
        "/checkpoint/",
        "//checkpoint",
        "/../ledger.db",
        "/%2e%2e/ledger.db",
        "/..%2fkeys/log.key",
        "/tile/../../keys/log.key",
        "/tile/0/../../../keys/log.key",
        "/tile/entries/..%2f..%2f..%2fledger.db",
        "/tile/0/000%00",
        "/tile/0/000.p/%37",
        "/tile/0/%C2%B2%C2%B2%C2%B2",
        "/tile/entries/001/../../../ledger.db",
        "\\..\\ledger.db",
    ],
)
def test_nothing_else_has_a_path(served, path):
    status, _, body = served.ask("GET", path)

    assert status in {400, 404}, body
    assert b"secret" not in body


def test_an_absolute_address_and_a_query_lead_nowhere_else(served):
    assert served.ask("GET", "/checkpoint?../ledger.db")[0] == 200
    assert served.ask("GET", "/ledger.db?/checkpoint")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_written(served, method):
    status, headers, _ = served.ask(method, "/checkpoint", b"")

    assert (status, headers["allow"]) == (405, "GET, HEAD")


class Loose(LogDoor):
    """The control: serves whatever lies at the path."""

    def _read(self, path):
        return (self._root / path).resolve().read_bytes()


def test_a_door_that_joins_paths_is_caught_by_the_same_requests(data):
    with Served(Loose(data / "log")) as served:
        assert served.ask("GET", "/tile/../../keys/log.key")[2] == b"secret"


def test_a_log_that_is_not_there_yet_is_a_404(tmp_path):
    with Served(LogDoor(tmp_path / "log", prefix="/mine")) as served:
        assert served.ask("GET", "/mine/checkpoint")[0] == 404
        assert served.ask("GET", "/mine/tile/0/000")[0] == 404
        assert served.ask("GET", "/checkpoint")[0] == 404


def test_a_damaged_part_is_not_served(data, tmp_path):
    shutil.copytree(data / "log", tmp_path / "log")
    (tmp_path / "log" / "tile" / "0" / "000").write_bytes(b"short")
    with Served(LogDoor(tmp_path / "log")) as served:
        assert served.ask("GET", "/tile/0/000")[0] == 500


def test_every_error_of_limen_has_a_status():
    assert errors.status_of(core.NotFound("x")) == 404
    assert {errors.status_of(kind.__new__(kind)) for kind in core.LimenError.__subclasses__()} <= set(errors.TABLE.values())
