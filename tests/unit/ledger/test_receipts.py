"""Receipts: kept for ever, and held against the log by whoever has one."""

from __future__ import annotations

import base64
import json
import shutil

import pytest

from limen.core import events
from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.formats import receipt as receipts
from limen.formats.note import Signer
from limen.ledger.rollback.epoch import Plan, survey
from limen.ledger.rollback.evidence import Evidence
from limen.ledger.rollback.receipts import check
from limen.ledger.sqlite import SqliteStore
from limen.ledger.stored import look

LOG = "example.com/log"
SIGNER = Signer(LOG, bytes(32))
NEXT = Signer(f"{LOG}/epoch-1", bytes(32))


def receipt_of(world, make_entry, **fields):
    """Append one entry; its receipt."""

    async def scene(ledger):
        receipt = await ledger.append(make_entry("an access"))
        await ledger.flush()
        return receipt

    return world.run(scene)


def held(world, text, *, signer=SIGNER):
    store = look(world.path, signer.name)
    return check(receipts.decode(text), store.head(), store, world.log, verifier=signer.verifier)


@pytest.mark.parametrize("form", [receipts.header, receipts.document])
def test_a_receipt_reads_back_in_both_forms(world, make_entry, form):
    receipt = receipt_of(world, make_entry)
    claim = receipts.decode(form(receipt))

    assert (claim.index, claim.leaf_hash, claim.checkpoint) == (receipt.index, receipt.leaf_hash, receipt.checkpoint.note)


def test_a_header_fits_on_a_line_and_needs_no_quoting(world, make_entry):
    value = receipts.header(receipt_of(world, make_entry))

    assert value.isascii()
    assert not set(value) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("more", [0, 1, 300])
def test_a_log_that_grew_keeps_its_receipts(world, make_entry, more):
    world.fill(20)
    receipt = receipt_of(world, make_entry)
    if more:
        world.fill(more)

    assert held(world, receipts.header(receipt)).index == 20


def test_a_log_behind_a_receipt_was_set_back(world, make_entry):
    world.fill(20)
    shutil.copy(world.path / "ledger.db", world.path / "old.db")
    receipt = receipt_of(world, make_entry)
    (world.path / "old.db").replace(world.path / "ledger.db")

    with pytest.raises(TamperDetected, match="set back: the receipt of entry 20 shows 21 entries") as alarm:
        held(world, receipts.document(receipt))
    assert alarm.value.evidence == receipt.checkpoint.note


def test_a_false_leaf_hash_is_no_alarm(world, make_entry):
    value = json.loads(receipts.document(receipt_of(world, make_entry)))
    value["leaf_hash"] = base64.b64encode(bytes(32)).decode()

    with pytest.raises(TamperDetected, match="the receipt is false") as refused:
        held(world, json.dumps(value))
    assert refused.value.evidence == b""


def test_another_log_s_receipt_is_refused(world, make_entry):
    receipt = receipt_of(world, make_entry)

    with pytest.raises(Invalid):
        held(world, receipts.header(receipt), signer=Signer("example.com/other", bytes(32)))
    with pytest.raises(Invalid):
        held(world, receipts.header(receipt), signer=Signer(LOG, b"\1" * 32))


def test_a_receipt_of_an_earlier_epoch_is_kept_or_known_to_be_lost(world, make_entry):
    kept = receipt_of(world, make_entry)
    shutil.copy(world.path / "ledger.db", world.path / "old.db")
    lost = receipt_of(world, make_entry)
    (world.path / "old.db").replace(world.path / "ledger.db")
    store = SqliteStore(world.path / "ledger.db", LOG)
    seen = Evidence.read(lost.checkpoint.note, "a receipt", verifier=SIGNER.verifier)
    loss = survey(store, [seen], [world.log], verifier=SIGNER.verifier)
    plan = Plan.of(loss, events.encode("epoch.begin", 1, bytes(16), {**loss.fields(), "by": "test"}), {})
    plan.begin(world.path)
    plan.complete(world.path, {LOG: store, NEXT.name: SqliteStore(world.path / "ledger.db", NEXT.name)}, NEXT, now=1)

    assert held(world, receipts.header(kept), signer=NEXT).index == 0
    with pytest.raises(NotFound, match="it was lost, with all from 1 on"):
        held(world, receipts.header(lost), signer=NEXT)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "1", "{}", "@@@", "e30", "é", '{"index": 1}', "{" * 100_000),
        '{"index": true, "leaf_hash": "", "checkpoint": ""}',
        '{"index": -1, "leaf_hash": "", "checkpoint": ""}',
        '{"index": 1.5, "leaf_hash": "", "checkpoint": ""}',
        '{"index": 1, "leaf_hash": 5, "checkpoint": ""}',
        '{"index": 1, "leaf_hash": "AAAA", "checkpoint": ""}',
        json.dumps({"index": 1, "leaf_hash": base64.b64encode(bytes(32)).decode(), "checkpoint": "\ud800"}),
        "x" * (3 << 20),
    ],
    ids=range(18),
)
def test_what_is_no_receipt_is_refused(text):
    with pytest.raises(Invalid):
        receipts.decode(text)
