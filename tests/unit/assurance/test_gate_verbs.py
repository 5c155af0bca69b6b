"""Contracts, waivers and runs of the gate in an open gateway: what is entered, what is enforced, what can be run again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from clauses import PAPER
from limen.core.errors import Denied, Invalid, NotFound, TamperDetected
from limen.core.events import decode
from limen.verbs import VERBS
from limen.verify.verdict import canonical, digest, evaluate

TODAY = datetime.now(tz=UTC).date()
HEAD = PAPER[: PAPER.index("clauses:")].replace("2026-01-01", str(TODAY)).replace("2027-01-01", str(TODAY + timedelta(days=90)))
COMPLETE = """\
  - ref: "11"
    control: LM-11
    text: The log of the vendor's accesses is complete on every day.
    measure: outcomes_unknown
    statistic: max
    window: 92d
    min_n: 0
    comparator: <=
    value: 5
    breach: BREACH
    unknown: UNKNOWN
"""
DRILL = """\
  - ref: "5"
    text: Cutting off is rehearsed.
    measure: drill_us
    statistic: max
    window: 92d
    comparator: <=
    value: 300 s
    breach: BREACH
    unknown: UNKNOWN
"""


def paper(*rows, breach="restrict", unknown="warn", restrict="mode: read-only"):
    """A contract that begins today."""
    text = HEAD.replace("mode: read-only", restrict) + "clauses:\n" + "".join(rows)
    return text.replace("BREACH", breach).replace("UNKNOWN", unknown)


async def ask(gateway, verb, *, by="uid:1000", **args):
    return await VERBS[verb](gateway, args, by)


def entries(gateway, kind):
    return [decode(raw) for _, raw in gateway.custody.ledger.entries(0) if f'"kind":"{kind}"'.encode() in raw]


def test_a_contract_is_filed_as_it_was_written_and_gates_a_new_vendor(in_gateway):
    async def body(gateway):
        answer = await ask(gateway, "contract.set", text=paper(COMPLETE), name="q.yaml")
        [entry] = entries(gateway, "contract.set")

        assert (answer["amends"], answer["gates"], entry["vendor"], entry["clauses"]) == (None, True, "quillwork", 1)
        assert gateway.filing.read(entry["digest"]).decode() == paper(COMPLETE)
        assert json.loads(gateway.filing.read(entry["form"]))["id"] == "quillwork-2026"
        [gated] = entries(gateway, "vendor.gate")
        assert gated["vendor"] == "quillwork"
        again = await ask(gateway, "contract.set", text=paper(COMPLETE, DRILL))
        assert (again["amends"], again["gates"]) == (answer["entry"], False)
        shown = await ask(gateway, "contract.show", vendor="quillwork")
        assert [row["ref"] for row in shown["form"]["clauses"]] == ["11", "5"]

    in_gateway(body)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("vendor: quillwork", "vendor: nobody"), "vendor nobody"),
        (("mode: read-only", "mode: projects\n  projects: [nowhere]"), "project nowhere"),
        (("currency: EUR", "currency: euro"), "7:11: currency"),
    ],
)
def test_a_contract_that_names_what_is_not_there_changes_nothing(in_gateway, change, says):
    async def body(gateway):
        with pytest.raises((Invalid, NotFound), match=says):
            await ask(gateway, "contract.set", text=paper(COMPLETE).replace(*change))

        assert not entries(gateway, "contract.set")
        assert not entries(gateway, "vendor.gate")

    in_gateway(body)


def test_an_id_belongs_to_one_vendor(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(COMPLETE))
        with pytest.raises(Invalid, match="ids are of one vendor"):
            await ask(gateway, "contract.set", text=paper(COMPLETE).replace("vendor: quillwork", "vendor: tessel"))

    in_gateway(body)


def test_a_vendor_is_judged_by_one_contract_on_any_day(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(COMPLETE))
        laxer = paper(COMPLETE).replace("quillwork-2026", "laxer")
        with pytest.raises(Invalid, match="quillwork-2026 of quillwork holds from"):
            await ask(gateway, "contract.set", text=laxer)
        sooner = TODAY + timedelta(days=30)
        ends = str(TODAY + timedelta(days=90))
        await ask(gateway, "contract.set", text=paper(COMPLETE).replace(f"ends: {ends}", f"ends: {sooner}"))
        await ask(gateway, "contract.set", text=laxer.replace(f"starts: {TODAY}", f"starts: {sooner}"))

    in_gateway(body)


async def _grant(gateway):
    grant = {"holder": "quillwork/q01", "project": "orchid", "assets": ["orchid-sft-v3"], "actions": ["read"]}
    more = {"granted_by": "lab/mira", "not_before": 0, "expires_at": gateway.custody.clock.now() + 86_400}
    return await ask(gateway, "change", kind="grant.add", change={"id": "", **grant, **more})


def test_no_grant_before_the_gate_passes(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(COMPLETE))
        with pytest.raises(Denied, match="--onboarding"):
            await _grant(gateway)
        run = await ask(gateway, "gate", vendor="quillwork", purpose="onboarding")

        assert (run["exit"], [done["does"] for done in run["followed"]]) == (0, ["admit"])
        await _grant(gateway)
        [admitted] = entries(gateway, "vendor.admit")
        assert (admitted["basis"], admitted["of"]) == ("gate", run["entry"])

    in_gateway(body)


def test_a_run_that_does_not_pass_admits_nobody_and_a_signed_waiver_does(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL))
        run = await ask(gateway, "gate", vendor="quillwork", purpose="onboarding")
        assert (run["exit"], run["followed"]) == (6, [])
        with pytest.raises(Denied):
            await _grant(gateway)
        until = str(TODAY + timedelta(days=2))
        waiver = {"vendor": "quillwork", "clause": "onboarding", "until": until, "reason": "The drill is on Monday."}
        with pytest.raises(Denied, match="named person"):
            await ask(gateway, "waiver.add", **waiver)
        with pytest.raises(Denied, match="only root"):
            await ask(gateway, "waiver.add", **waiver, **{"as": "lab/mira"})
        signed = await ask(gateway, "waiver.add", by="uid:0", **waiver, **{"as": "lab/mira"})

        await _grant(gateway)
        ended = await ask(gateway, "waiver.end", entry=signed["entry"])
        assert ended["until"] == str(TODAY)
        with pytest.raises(Denied):
            await _grant(gateway)

    in_gateway(body)


def test_a_waiver_has_a_reason_an_expiry_and_a_signature_and_its_words_are_not_in_the_log(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL))
        good = {"vendor": "quillwork", "clause": "5", "until": str(TODAY + timedelta(days=5)), "reason": "Agreed on the phone."}
        for change, says in [
            ({"until": str(TODAY)}, "is not after"),
            ({"until": "2199-01-01"}, "after the contract's end"),
            ({"until": "soon"}, "is not a day"),
            ({"clause": "6"}, "is no clause"),
            ({"reason": "  "}, "say in"),
        ]:
            with pytest.raises(Invalid, match=says):
                await ask(gateway, "waiver.add", by="uid:0", **{**good, **change}, **{"as": "lab/mira"})
        await ask(gateway, "waiver.add", by="uid:0", **good, **{"as": "lab/mira"})

        [shown] = await ask(gateway, "waiver.list")
        assert (shown["signer"], shown["reason"], shown["state"]) == ("lab/mira", "Agreed on the phone.", "in force")
        [entry] = entries(gateway, "waiver.add")
        assert "phone" not in str(entry)
        assert "mira" not in str(entry)
        run = await ask(gateway, "gate", vendor="quillwork", purpose="onboarding")
        assert (run["exit"], run["verdict"]["clauses"][0]["verdict"]) == (0, "unknown")
        [admitted] = entries(gateway, "vendor.admit")
        real = datetime.fromtimestamp(admitted["valid_until"], tz=UTC)
        assert real.date() == TODAY + timedelta(days=5), "no longer than the waiver that it rests on"

    in_gateway(body)


def restricted(gateway):
    return [(order.read_only, sorted(order.projects), order.cause) for order in gateway.custody.live.restrictions()]


def test_a_breach_restricts_at_the_doors_and_a_later_run_that_asks_for_nothing_lifts_it(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="restrict"))
        first = await ask(gateway, "gate", vendor="quillwork")
        assert [done["does"] for done in first["followed"]] == ["restrict"]
        assert restricted(gateway) == [(True, [], f"gate {first['entry']}")]
        again = await ask(gateway, "gate", vendor="quillwork")
        assert again["followed"] == [], "it is in force already"
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="warn"))
        last = await ask(gateway, "gate", vendor="quillwork")

        assert [done["does"] for done in last["followed"]] == ["unrestrict"]
        assert restricted(gateway) == []

    in_gateway(body)


def test_a_pause_stays_until_a_person_lifts_it(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="pause"))
        run = await ask(gateway, "gate", vendor="quillwork")
        assert [done["does"] for done in run["followed"]] == ["pause"]
        assert [pause.subject for pause in gateway.custody.live.pauses()] == ["vendor/quillwork"]
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="warn"))
        later = await ask(gateway, "gate", vendor="quillwork")

        assert later["followed"] == []
        assert gateway.custody.live.pauses()

    in_gateway(body)


def test_what_somebody_else_restricted_is_kept_and_added_to(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="restrict"))
        await ask(gateway, "restrict", subject="vendor/quillwork", reason="A drill.", projects=["orchid"])
        run = await ask(gateway, "gate", vendor="quillwork")
        assert restricted(gateway) == [(True, ["orchid"], f"an order, gate {run['entry']}")]
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="warn"))
        later = await ask(gateway, "gate", vendor="quillwork")

        assert later["followed"] == []
        assert restricted(gateway), "the gate lifts only what the gate alone has ordered"

    in_gateway(body)


@pytest.mark.parametrize("fields", [{"dry_run": True}, {"as_of_us": -1}])
def test_a_dry_run_and_a_run_about_the_past_are_entered_and_enforce_nothing(in_gateway, fields):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL, unknown="pause"))
        given = {"as_of_us": gateway.custody.clock.now_us()} if "as_of_us" in fields else fields
        run = await ask(gateway, "gate", vendor="quillwork", **given)

        assert (run["followed"], run["binding"]) == ([], False)
        assert gateway.custody.live.pauses() == ()
        assert len(entries(gateway, "gate.run")) == 1

    in_gateway(body)


def test_a_run_names_what_it_was_made_of_and_gives_the_same_bytes_again(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(COMPLETE, DRILL))
        run = await ask(gateway, "gate", vendor="quillwork", purpose="renewal")
        await ask(gateway, "change", kind="vendor.add", change={"id": "later", "name": "Later", "contact": "x", "copy_id": ""})
        [entry] = entries(gateway, "gate.run")
        kept = [json.loads(gateway.filing.read(entry[name])) for name in ("form", "facts", "digest")]

        assert canonical(evaluate(kept[0], kept[1], entry["as_of"], "renewal")) == gateway.filing.read(entry["digest"])
        assert digest(run["verdict"]) == entry["digest"]
        assert (entry["outcome"], entry["decision"], entry["purpose"]) == ("undecided", "RENEW WITH CONDITIONS", "renewal")
        replayed = await ask(gateway, "gate.replay", entry=run["entry"], vendor="quillwork")
        assert replayed["verdict"] == run["verdict"]
        with pytest.raises(NotFound, match="that one is on quillwork"):
            await ask(gateway, "gate.replay", entry=run["entry"], vendor="tessel")

    in_gateway(body)


@pytest.mark.parametrize("part", ["form", "facts", "digest"])
def test_a_run_whose_kept_bytes_changed_is_not_believed(in_gateway, part):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(COMPLETE))
        run = await ask(gateway, "gate", vendor="quillwork")
        [entry] = entries(gateway, "gate.run")
        path = gateway.custody.blobs.path(entry[part])
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b"quillwork", b"quillwerk"))

        with pytest.raises(TamperDetected):
            await ask(gateway, "gate.replay", entry=run["entry"])

    in_gateway(body)


def test_facts_that_the_log_would_give_another_verdict_for_are_not_believed(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL))
        run = await ask(gateway, "gate", vendor="quillwork")
        real = gateway.facts.document

        def kinder(*args):
            facts = real(*args)
            day = next(fact for fact in facts["facts"] if fact["measure"] == "drill_us")
            day["samples"] = [{"value": 1, "at": day["from"], "entries": [1]}]
            return facts

        gateway.facts.document = kinder
        with pytest.raises(TamperDetected, match="another verdict follows"):
            await ask(gateway, "gate.replay", entry=run["entry"])

    in_gateway(body)


def test_the_future_is_not_judged(in_gateway):
    async def body(gateway):
        await ask(gateway, "contract.set", text=paper(DRILL))
        with pytest.raises(Invalid, match="is in the future"):
            await ask(gateway, "gate", vendor="quillwork", as_of_us=gateway.custody.clock.now_us() + 10**9)

    in_gateway(body)


def test_without_a_contract_nothing_is_judged(in_gateway):
    async def body(gateway):
        with pytest.raises(NotFound, match="limen contract set"):
            await ask(gateway, "gate", vendor="quillwork")
        with pytest.raises(NotFound, match="vendor nobody"):
            await ask(gateway, "gate", vendor="nobody")
        assert not entries(gateway, "gate.run")

    in_gateway(body)


def test_the_contract_in_force_is_the_one_whose_days_hold_the_moment(in_gateway):
    async def body(gateway):
        following = paper(COMPLETE).replace("quillwork-2026", "quillwork-2027")
        starts, ends = TODAY + timedelta(days=90), TODAY + timedelta(days=180)
        following = following.replace(f"ends: {starts}", f"ends: {ends}").replace(f"starts: {TODAY}", f"starts: {starts}")
        await ask(gateway, "contract.set", text=following)
        first = await ask(gateway, "contract.show", vendor="quillwork")
        await ask(gateway, "contract.set", text=paper(COMPLETE))
        second = await ask(gateway, "contract.show", vendor="quillwork")
        named = await ask(gateway, "contract.show", vendor="quillwork", contract="quillwork-2027")

        assert (first["id"], second["id"], named["id"]) == ("quillwork-2027", "quillwork-2026", "quillwork-2027")

    in_gateway(body)
