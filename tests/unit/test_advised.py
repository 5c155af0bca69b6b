"""What follows at the doors: by itself only from signed, allow-listed sources and within the caps; else not, and it is said why.

Each refusal to act has its control beside it: the same, with what was missing, does act.
"""

from __future__ import annotations

import asyncio
import json

import pytest

from advising import FORGER, ROOT, VENDORS, a_night, malicious, us
from limen.advised import narrowed
from limen.assurance.match.act import Act, Consequence
from limen.core.errors import Conflict, Denied, Invalid, NotFound
from limen.core.events import decode
from limen.identity.live import Restriction
from limen.verbs import VERBS

NIGHT = "2026-03-24"
ADA = "uid:1001"


def run(tmp_path, body, **options):
    async def whole():
        async with a_night(tmp_path / "data", **options) as night:
            night.at(f"{NIGHT}T11:10:00Z")
            await body(night)

    asyncio.run(whole())


def entries(night, *kinds):
    found = [decode(raw) for _, raw in night.gateway.custody.ledger.entries()]
    return [entry for entry in found if entry["kind"] in kinds]


async def ran(night, *vendors, version="1.82.8"):
    for vendor in vendors:
        await night.bom(vendor, {"litellm": version}, f"{NIGHT}T11:02:00Z")


async def approve(night, action, person):
    return await night.verb("advisory.approve", action=action, **{"as": person})


# --- by itself


def test_a_signed_advisory_restricts_the_vendor_at_once_and_the_order_names_its_cause(tmp_path):
    async def body(night):
        await ran(night, "quillwork")

        [number] = (await night.feed(malicious()))["actions"]

        order = night.restricted["vendor/quillwork"]
        assert (order.read_only, order.cause) == (True, f"advisory.action {number}")
        assert "a malicious component was found among what quillwork runs (MAL-2026-2144" in order.reason
        [action, given] = entries(night, "advisory.action", "restrict.order")
        assert (action["needs"], action["trusted"], action["vendors"][0]["people"]) == (0, True, 13)
        assert given["cause"] == order.cause
        [shown] = await night.actions()
        assert (shown["state"], shown["vendors"][0]["order"] is not None) == ("taken", True)

    run(tmp_path, body)


def test_a_bill_of_material_that_comes_after_the_advisory_is_acted_upon_too(tmp_path):
    async def body(night):
        await night.feed(malicious())
        assert not night.restricted
        await ran(night, "quillwork")
        assert set(night.restricted) == {"vendor/quillwork"}

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("policy", "may", "kind"),
    [(("notify", {}), "restrict", None), (("pause", {}), "pause", "Pause"), (("pause", {}), "restrict", "Restriction"),
     (("restrict", {"projects": ["helio"]}), "restrict", "Restriction")],
)  # fmt: skip
def test_the_vendors_policy_decides_how_far_and_the_source_too(tmp_path, policy, may, kind):
    async def body(night):
        act, leaves = policy
        await night.verb("advisory.policy", vendor="quillwork", act=act, **leaves, **{"as": "lab/mira"})
        await ran(night, "quillwork")
        await night.feed(malicious())

        order = night.restricted.get("vendor/quillwork")
        assert (type(order).__name__ if order else None) == kind
        if leaves:
            assert (order.read_only, order.projects) == (False, {"helio"})
        assert len(await night.actions()) == 1

    run(tmp_path, body, may=may)


def test_the_same_again_changes_nothing(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious())
        before = len(entries(night, "advisory.action", "restrict.order"))
        await night.feed(malicious(modified=f"{NIGHT}T12:00:00Z"))
        await night.verb("advisory.rematch")
        assert len(entries(night, "advisory.action", "restrict.order")) == before

    run(tmp_path, body)


def test_what_somebody_lifted_is_not_ordered_again(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious())
        await night.verb("unrestrict", subject="vendor/quillwork", reason="reinstalled")
        await night.verb("advisory.rematch")
        await ran(night, "quillwork")
        assert not night.restricted

    run(tmp_path, body)


def test_an_order_that_a_crash_held_up_is_given_by_the_next_look(tmp_path, monkeypatch):
    async def body(night):
        await ran(night, "quillwork")
        with monkeypatch.context() as patch:
            patch.setattr(night.gateway.advised, "_give", _nothing)  # as if the process ended there
            await night.feed(malicious())
        assert not night.restricted
        night.gateway.advised._looked = None  # a new process has seen nothing
        await night.gateway.advised.look()
        assert "vendor/quillwork" in night.restricted

    run(tmp_path, body)


async def _nothing(_actions):
    return None


def test_what_an_earlier_order_took_away_is_not_given_back(tmp_path):
    async def body(night):
        await night.verb("restrict", subject="vendor/quillwork", reason="a gate", projects=["helio"])
        await ran(night, "quillwork")
        await night.feed(malicious())
        order = night.restricted["vendor/quillwork"]
        assert (order.read_only, order.projects) == (True, {"helio"})

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("new", "before", "left"),
    [
        ((True, ()), (False, {"a"}), (True, ("a",))),
        ((False, ("a",)), (True, set()), (True, ("a",))),
        ((False, ("a", "b")), (False, {"b", "c"}), (False, ("b",))),
        ((False, ("a",)), (False, {"b"}), (True, ("b",))),
    ],
)
def test_two_restrictions_leave_no_more_than_either(new, before, left):
    order = Restriction("vendor/q", "r", 0, "c", before[0], frozenset(before[1]))

    assert narrowed(Consequence("q", Act.RESTRICT, 1, read_only=new[0], projects=new[1]), order) == left
    assert narrowed(Consequence("q", Act.RESTRICT, 1, read_only=new[0], projects=new[1]), None) == new


# --- not by itself


@pytest.mark.parametrize("signer", [None, "forged"])
def test_a_forged_or_unsigned_advisory_changes_nobodys_access_and_says_so(tmp_path, signer):
    async def body(night):
        await ran(night, "quillwork")
        if signer == "forged":
            with pytest.raises(Invalid, match="none of the keys that are trusted here"):
                await night.feed(malicious(), signer=FORGER, source="intel")
            assert not await night.actions()
        await night.feed(malicious(), signer=None)

        assert not night.restricted
        [action] = await night.actions()
        assert (action["state"], action["needs"]) == ("waiting", 1)
        assert action["why"] == ["no signed source that limen.toml allows to restrict says so: somebody has to approve it"]

        await night.feed(malicious())  # control: the same, signed by the source that may
        assert "vendor/quillwork" in night.restricted

    run(tmp_path, body)


def test_an_unsigned_record_that_calls_itself_an_alias_of_a_signed_one_gets_none_of_its_trust(tmp_path):
    async def body(night):
        await night.bom("tessel", {"numpy": "2.4.0"}, f"{NIGHT}T11:02:00Z")
        await ran(night, "quillwork")
        await night.feed(malicious())
        await night.feed(malicious("numpy", "2.4.0", id_="MAL-2026-9", aliases=["MAL-2026-2144"]), signer=None)

        assert set(night.restricted) == {"vendor/quillwork"}
        assert [a["state"] for a in await night.actions()] == ["taken", "waiting"]
        assert (await night.verdicts())["tessel"] == "yes"  # it is said all the same

    run(tmp_path, body)


def test_more_vendors_than_the_cap_wait_for_two_people_and_neither_may_be_whoever_brought_it(tmp_path):
    async def body(night):
        await ran(night, "quillwork", "tessel", "lexara")
        await night.feed(malicious())

        assert not night.restricted
        [action] = await night.actions()
        number = action["action"]
        assert (action["state"], action["needs"]) == ("waiting", 2)
        assert action["why"][0].startswith("it would bring the vendors touched today to 3, more than 2")

        assert (await approve(night, number, "lab/mira"))["state"] == "waiting"
        assert not night.restricted
        with pytest.raises(Denied, match="you have approved it already"):
            await approve(night, number, "lab/mira")
        assert not night.restricted
        assert (await approve(night, number, "lab/bo"))["state"] == "taken"
        assert set(night.restricted) == {"vendor/quillwork", "vendor/tessel", "vendor/lexara"}
        with pytest.raises(Conflict, match="taken already"):
            await approve(night, number, "lab/cy")

    run(tmp_path, body, cap_vendors=2)


def test_control_within_the_cap_nobody_is_asked(tmp_path):
    async def body(night):
        await ran(night, "quillwork", "tessel", "lexara")
        await night.feed(malicious())
        assert len(night.restricted) == 3

    run(tmp_path, body, cap_vendors=3)


def test_more_people_than_the_cap_wait_too(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious())
        assert not night.restricted
        assert "the people touched today to 13, more than 12" in (await night.actions())[0]["why"][0]

    run(tmp_path, body, cap_people=12)


def test_a_flood_of_10_000_advisories_changes_nobodys_access_and_is_one_action_that_says_so(tmp_path):
    async def body(night):
        await ran(night, "quillwork", "tessel")

        await night.feed(*(malicious(id_=f"MAL-2026-{n}") for n in range(10_000)), signer=None)

        assert not night.restricted
        [action] = await night.actions()
        assert (action["state"], action["needs"], action["flood"], action["ids_count"]) == ("waiting", 2, True, 10_000)
        assert action["why"][0].startswith("a flood: with these 10000 findings there would be more than 20 today")
        [entry] = entries(night, "advisory.action")
        assert len(entry["ids"]) == 20
        await night.feed(malicious(id_="MAL-2026-REAL"))  # it does not hold up what a trusted source says
        assert set(night.restricted) == {"vendor/quillwork", "vendor/tessel"}

    run(tmp_path, body)


def test_a_flood_from_a_trusted_source_changes_nobodys_access_either(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(*(malicious(id_=f"MAL-2026-{n}") for n in range(21)))
        assert not night.restricted
        assert [(a["flood"], a["needs"], a["state"]) for a in await night.actions()] == [(True, 2, "waiting")]

    run(tmp_path, body)


def test_control_with_caps_out_of_reach_the_same_flood_does_act(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(*(malicious(id_=f"MAL-2026-{n}") for n in range(30)))
        assert "vendor/quillwork" in night.restricted

    run(tmp_path, body, cap_findings=1000)


# --- whose word


def test_whoever_brought_the_advisory_does_not_approve_it(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious(), signer=None, by=ADA)
        [action] = await night.actions()
        token = night.gateway.issuer.mint("bo-of-the-lab")
        person = {"id": "lab/eve", "vendor": None, "issuer": night.gateway.issuer.url, "subject": "bo-of-the-lab", "name": "N"}
        await night.verb("change", kind="person.add", change={**person, "roles": ["security"]})

        with pytest.raises(Denied, match=r"you brought the advisory"):
            await night.verb("advisory.approve", by=ADA, action=action["action"], id_token=token)
        assert not night.restricted
        done = await night.verb("advisory.approve", by="uid:1002", action=action["action"], id_token=token)
        assert (done["state"], "vendor/quillwork" in night.restricted) == ("taken", True)

    run(tmp_path, body)


NOBODY = [
    (ROOT, {}, "root is nobody in particular"),
    (ADA, {}, "an approval is a person's"),
    (ROOT, {"as": "lab/dee"}, "may not decide what follows from advisories: it takes the role owner, security"),
    (ROOT, {"as": "quillwork/q01"}, "is no active person of the lab"),
]


def test_only_a_named_lab_person_with_the_role_approves_or_declines(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious(), signer=None)
        [action] = await night.actions()
        for by, who, why in NOBODY:
            for verb, more in (("advisory.approve", {}), ("advisory.decline", {"reason": "x"})):
                with pytest.raises(Denied, match=why):
                    await night.verb(verb, by=by, action=action["action"], **more, **who)
        assert not night.restricted

    run(tmp_path, body)


def test_what_was_declined_leads_to_nothing_and_does_not_come_back(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious(), signer=None)
        [action] = await night.actions()
        number = action["action"]
        with pytest.raises(Invalid, match="say why"):
            await night.verb("advisory.decline", action=number, reason=" ", **{"as": "lab/mira"})
        assert (await night.verb("advisory.decline", action=number, reason="a hoax", **{"as": "lab/mira"}))["state"] == "declined"
        await night.feed(malicious(modified=f"{NIGHT}T12:00:00Z"), signer=None)

        assert len(await night.actions()) == 1
        assert not night.restricted
        assert "a hoax" not in json.dumps(entries(night, "advisory.decline"))
        with pytest.raises(Conflict, match="declined already"):
            await approve(night, number, "lab/mira")

    run(tmp_path, body)


def test_what_was_withdrawn_meanwhile_can_not_be_approved(tmp_path):
    async def body(night):
        await ran(night, "quillwork")
        await night.feed(malicious(), signer=None)
        await night.feed(malicious(withdrawn=f"{NIGHT}T11:30:00Z", modified=f"{NIGHT}T11:30:00Z"), signer=None)
        [action] = await night.actions()
        with pytest.raises(Conflict, match="holds no more"):
            await approve(night, action["action"], "lab/mira")
        assert not night.restricted

    run(tmp_path, body)


def test_an_unsigned_withdrawal_takes_nothing_from_a_signed_record(tmp_path):
    async def body(night):
        await night.feed(malicious())
        await night.feed(malicious(withdrawn=f"{NIGHT}T11:30:00Z", modified=f"{NIGHT}T11:30:00Z"), signer=None)
        await ran(night, "quillwork")
        assert "vendor/quillwork" in night.restricted

    run(tmp_path, body)


def test_an_action_that_is_none_is_not_found(tmp_path):
    async def body(night):
        with pytest.raises(NotFound, match="an action of entry 3"):
            await approve(night, 3, "lab/mira")

    run(tmp_path, body)


def test_a_policy_is_an_entry_and_the_default_is_to_restrict(tmp_path):
    async def body(night):
        before = {row["vendor"]: row for row in (await night.verb("advisory.policy"))["policies"]}
        assert {row["act"] for row in before.values()} == {"restrict"}
        assert set(before) == set(VENDORS)
        await night.verb("advisory.policy", vendor="tessel", act="notify", **{"as": "lab/cy"})
        after = {row["vendor"]: row for row in (await night.verb("advisory.policy"))["policies"]}
        assert (after["tessel"]["act"], after["tessel"]["entry"] is not None, after["lexara"]["act"]) == (
            "notify",
            True,
            "restrict",
        )
        with pytest.raises(Invalid, match="leaves nothing to choose"):
            await night.verb("advisory.policy", vendor="tessel", act="pause", read_only=True, **{"as": "lab/cy"})
        with pytest.raises(NotFound):
            await night.verb("advisory.policy", vendor="nobody", act="pause", **{"as": "lab/cy"})

    run(tmp_path, body)


# --- beside the answer


def test_beside_the_answer_stand_what_was_served_and_who_is_in_session(tmp_path):
    from inprocess import a_session  # noqa: PLC0415

    async def body(night):
        await ran(night, "quillwork")
        session = await a_session(night.gateway, "q03")
        await night.feed(malicious(), signer=None)

        row = (await night.affected())["vendors"]["quillwork"]

        assert [each["session"] for each in row["sessions"]] == [session.id]
        assert (row["served"]["grade"], row["served"]["assets"]) == ("measured", [])
        assert row["actions"] == [(await night.actions())[0]["action"]]
        assert (await night.affected())["vendors"]["oakline"]["served"] is None  # nobody of theirs could be served anything

    run(tmp_path, body)


def test_what_was_served_is_asked_over_the_whole_stay_and_not_only_while_it_could_be_had(tmp_path):
    async def body(night):
        window = {"id": "MAL-2026-2144", "source": "pypi", "channel": "pypi"}
        await ran(night, "quillwork")
        await night.feed(malicious(), signer=None)
        await night.verb("advisory.window.add", **window, **{"from": us(f"{NIGHT}T10:39:00Z"), "to": us(f"{NIGHT}T13:11:00Z")})
        with pytest.raises(Invalid, match="no time in microseconds"):
            await night.verb("advisory.window.add", **window, **{"from": f"{NIGHT}T10:39:00Z", "to": None})

        night.at("2026-03-31T09:00:00Z")
        there = (await night.affected())["vendors"]["quillwork"]["served"]
        assert there["from"] == f"{NIGHT}T10:39:00Z"
        assert there["to"] is None  # the newest bill of material still lists it

        await night.bom("quillwork", {"litellm": "1.83.0"}, "2026-03-31T08:00:00Z")
        gone = (await night.affected())["vendors"]["quillwork"]["served"]
        assert (gone["from"], gone["to"]) == (f"{NIGHT}T10:39:00Z", "2026-03-31T08:00:00Z")

    run(tmp_path, body)


def test_a_muted_finding_is_still_acted_upon_and_every_verb_is_there():
    assert {"advisory.affected", "advisory.actions", "advisory.approve", "advisory.decline", "advisory.policy"} <= set(VERBS)
