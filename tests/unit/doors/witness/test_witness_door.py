"""The witness over HTTP: its two requests, and what is not one of them."""

from __future__ import annotations

import os

import pytest

from limen.core import errors as core
from limen.core.errors import LedgerUnavailable
from limen.doors.witness import app, errors
from limen.doors.witness.app import WitnessDoor
from limen.formats import note
from limen.formats import witness as codec
from limen.formats.cosignature import ED25519_COSIGNATURE
from limen.ledger.witnesses.witness import Witness
from serving import Served
from witnessing import LOG, Tree

TREE = Tree(50)
NOW = 1_780_000_000
SHOWN = codec.monitoring_path(LOG.name)


@pytest.fixture
def witness(tmp_path):
    witness = Witness.create(tmp_path / "witness.db", name="w.example", random=os.urandom, kinds=(ED25519_COSIGNATURE,))
    witness.trust(LOG.vkey)
    yield witness
    witness.close()


@pytest.fixture
def served(witness):
    with Served(WitnessDoor(witness, now=lambda: NOW, prefix="/w1/")) as served:
        yield served


def test_a_log_asks_and_a_monitor_reads(served, witness):
    assert served.ask("GET", f"/w1/{SHOWN}")[0] == 404

    status, headers, body = served.ask("POST", "/w1/add-checkpoint", TREE.request(0, 20))
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    note.open_note(TREE.note(20) + body, [witness.keys[0]])

    status, _, shown = served.ask("GET", f"/w1/{SHOWN}")
    assert (status, shown) == (200, TREE.note(20) + body)
    status, headers, empty = served.ask("HEAD", f"/w1/{SHOWN}")
    assert (status, headers["content-length"], empty) == (200, str(len(shown)), b"")


def test_a_conflict_names_the_recorded_size_in_its_own_type(served):
    served.ask("POST", "/w1/add-checkpoint", TREE.request(0, 20))

    status, headers, body = served.ask("POST", "/w1/add-checkpoint", TREE.request(0, 30))

    assert (status, headers["content-type"], body) == (409, "text/x.tlog.size", b"20\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/w1/add-checkpoint", 405),
        ("PUT", f"/w1/{SHOWN}", 405),
        ("POST", "/add-checkpoint", 404),
        ("POST", "/w1/add-checkpoint/", 404),
        ("GET", "/w1/../witness.db", 404),
        ("GET", f"/w1/{SHOWN.upper()}", 404),
        ("GET", "/w1/" + "0" * 64 + "/checkpoint", 404),
        ("GET", "/", 404),
    ],
)
def test_nothing_else_is_there(served, method, path, status):
    served.ask("POST", "/w1/add-checkpoint", TREE.request(0, 20))
    assert served.ask(method, path, b"" if method in {"POST", "PUT"} else None)[0] == status


def test_a_body_that_is_too_long_is_not_read_to_its_end(served, witness):
    status, _, _ = served.ask("POST", "/w1/add-checkpoint", TREE.request(0, 20) + b"x" * app.MAX_BODY)

    assert status == 413
    assert witness.recorded(LOG.name).size == 0


def test_a_body_that_does_not_come_is_not_waited_for(served, monkeypatch):
    monkeypatch.setattr(app, "BODY_S", 0.05)
    connection = served.ask("POST", "/w1/add-checkpoint", None, {"Content-Length": "100"})

    assert connection[0] == 408


class Broken:
    def add_checkpoint(self, raw, now):
        raise LedgerUnavailable("the disk is full")

    def shown(self, path):
        raise RuntimeError("unforeseen")


def test_a_witness_that_can_not_record_answers_503_and_no_detail():
    with Served(WitnessDoor(Broken(), now=lambda: NOW)) as served:
        status, _, body = served.ask("POST", "/add-checkpoint", TREE.request(0, 20))
        assert (status, b"disk" in body) == (503, False)
        assert served.ask("GET", f"/{SHOWN}")[0] == 500


def test_every_error_of_limen_has_a_status():
    assert errors.status_of(core.TamperDetected("x")) == 500
    assert errors.status_of(core.Denied("x")) == 500
    assert {errors.status_of(kind.__new__(kind)) for kind in core.LimenError.__subclasses__()} <= set(errors.TABLE.values())
