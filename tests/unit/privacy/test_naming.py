"""Who is behind a pseudonym: it takes two people, and each step is an entry before it has an effect."""

from __future__ import annotations

import base64
import json

import pytest

from inprocess import a_session
from limen.core.errors import BadCredential, Denied, Invalid, NotFound
from limen.core.events import decode
from limen.privacy import naming
from limen.verbs import VERBS
from limen.verify import disclosure

ADA, BO, ROOT = "uid:1001", "uid:1002", "uid:0"
WHO = "quillwork/q03"


async def verb(gateway, name, by, **args):
    return await VERBS[name](gateway, args, by)


async def ask(gateway, by=ADA, *, who=WHO, project="orchid", **actor):
    pseudonym = gateway.custody.catalog.pseudonym(who, project)
    return await verb(gateway, "name.request", by, pseudonym=pseudonym, project=project, reason="a leaked copy", **actor)


async def approve(gateway, number, by=BO, **actor):
    return await verb(gateway, "name.approve", by, request=number, **actor)


def entries(gateway, prefix="name."):
    return [entry for _, raw in gateway.custody.ledger.entries() if (entry := decode(raw))["kind"].startswith(prefix)]


async def enrol(gateway, id_, *roles):
    """One more person of the lab, known to the development issuer."""
    person = {"id": id_, "vendor": None, "issuer": gateway.issuer.url, "subject": id_[4:], "name": "N", "roles": roles}
    await verb(gateway, "change", "test", kind="person.add", change=person)


async def a_token(gateway, subject):
    return gateway.issuer.mint(subject)


# --- two people


def test_one_asks_and_another_opens_and_both_are_entries(in_gateway):
    async def body(gateway):
        asked = await ask(gateway)
        opened = await approve(gateway, asked["request"])
        assert (opened["person"], opened["name"]) == (WHO, "Person quillwork/q03")
        request, answer = entries(gateway)
        assert (request["kind"], request["by"], answer["kind"], answer["by"]) == ("name.request", ADA, "name.open", BO)
        assert answer["request"] == asked["request"]
        assert request["who"] == answer["who"] == gateway.custody.catalog.pseudonym(WHO, "orchid")
        assert not {"q03", "leaked"} & set(json.dumps([request, answer]).replace('"', " ").split())

    in_gateway(body)


def test_the_entry_is_durable_before_the_name_is_read(in_gateway, monkeypatch):
    async def body(gateway):
        asked = await ask(gateway)
        seen = []
        real = naming.name_of

        def watched(custody, holder):
            seen.append([entry["kind"] for entry in entries(gateway)])
            return real(custody, holder)

        monkeypatch.setattr(naming, "name_of", watched)
        await approve(gateway, asked["request"])
        assert seen == [["name.request", "name.open"]]

    in_gateway(body)


def test_whoever_asked_can_not_approve_and_the_refusal_is_an_entry(in_gateway):
    async def body(gateway):
        asked = await ask(gateway)
        with pytest.raises(Denied, match="the same account, uid:1001, asked for this name; somebody else has to approve"):
            await approve(gateway, asked["request"], by=ADA)
        refusal = entries(gateway)[-1]
        assert (refusal["kind"], refusal["rule"], refusal["request"]) == ("name.refusal", "same-person", asked["request"])
        assert "name.open" not in [entry["kind"] for entry in entries(gateway)]

    in_gateway(body)


def test_control_without_that_rule_the_same_account_would_open_it(in_gateway, monkeypatch):
    monkeypatch.setattr(naming, "_refuse_same", lambda *_: None)

    async def body(gateway):
        asked = await ask(gateway)
        assert (await approve(gateway, asked["request"], by=ADA))["person"] == WHO

    in_gateway(body)


def test_a_request_expires_after_a_day_and_that_refusal_is_an_entry_too(in_gateway, monkeypatch):
    async def body(gateway):
        monkeypatch.setattr(naming, "REQUEST_S", 0)
        asked = await ask(gateway)
        with pytest.raises(Denied, match="has expired; ask again"):
            await approve(gateway, asked["request"])
        assert entries(gateway)[-1]["rule"] == "expired"

    assert naming.REQUEST_S == 86_400
    in_gateway(body)


def test_a_request_tells_its_reason_to_whoever_is_to_approve_it(in_gateway):
    async def body(gateway):
        asked = await ask(gateway)
        told = await verb(gateway, "name.why", BO, request=asked["request"])
        assert (told["reason"], told["by"]) == ("a leaked copy", ADA)
        with pytest.raises(NotFound):
            await verb(gateway, "name.why", BO, request=0)

    in_gateway(body)


@pytest.mark.parametrize(
    ("pseudonym", "project", "error"), [("p-00000000000000000000", "orchid", NotFound), ("p-0", "nowhere", NotFound)]
)
def test_nobody_is_behind_a_made_up_pseudonym(in_gateway, pseudonym, project, error):
    async def body(gateway):
        with pytest.raises(error):
            await verb(gateway, "name.request", ADA, pseudonym=pseudonym, project=project, reason="x")
        assert entries(gateway) == []

    in_gateway(body)


def test_a_request_without_a_reason_is_refused(in_gateway):
    async def body(gateway):
        with pytest.raises(Invalid, match="reason"):
            await verb(gateway, "name.request", ADA, pseudonym="p-0", project="", reason=" ")

    in_gateway(body)


def test_an_erased_persons_name_is_gone_also_for_a_request_from_before(in_gateway):
    async def body(gateway):
        asked = await ask(gateway)
        await verb(gateway, "person.erase", ADA, person=WHO, reason="request 7", end=True)
        with pytest.raises(Denied, match="was erased; there is no name left"):
            await approve(gateway, asked["request"])
        with pytest.raises(Denied, match="was erased"):
            await ask(gateway)

    in_gateway(body)


def test_a_workload_is_opened_with_its_sponsor(in_gateway):
    async def body(gateway):
        asked = await ask(gateway, who="quillwork/ci", project="")
        opened = await approve(gateway, asked["request"])
        assert (opened["person"], opened["sponsor"], opened["name"]) == ("quillwork/ci", "quillwork/q11", None)

    in_gateway(body)


# --- who they are


def test_root_is_nobody_until_it_names_a_lab_person_who_may(in_gateway):
    async def body(gateway):
        await enrol(gateway, "lab/sol", "security")
        await enrol(gateway, "lab/vi", "data")
        with pytest.raises(Denied, match="root is nobody in particular"):
            await ask(gateway, ROOT)
        for acting, why in [("lab/vi", "it takes the role"), (WHO, "no active person of the lab")]:
            with pytest.raises(Denied, match=why):
                await ask(gateway, ROOT, **{"as": acting})
        asked = await ask(gateway, ROOT, **{"as": "lab/sol"})
        with pytest.raises(Denied, match="the same person asked"):
            await approve(gateway, asked["request"], ROOT, **{"as": "lab/sol"})
        assert (await approve(gateway, asked["request"], ROOT, **{"as": "lab/mira"}))["person"] == WHO
        opened = entries(gateway)[-1]
        assert (opened["by"], opened["shown"]) == (ROOT, "root")
        assert opened["acting"] == gateway.custody.catalog.pseudonym("lab/mira", "")

    in_gateway(body)


def test_nobody_but_root_may_act_for_somebody_by_name(in_gateway):
    async def body(gateway):
        with pytest.raises(Denied, match="only root may act for somebody by name"):
            await ask(gateway, ADA, **{"as": "lab/mira"})

    in_gateway(body)


def test_an_identity_token_proves_who_acts_whatever_the_account(in_gateway):
    async def body(gateway):
        await enrol(gateway, "lab/sol", "security")
        await enrol(gateway, "lab/kit", "legal")
        sol, kit = await a_token(gateway, "sol"), await a_token(gateway, "kit")
        asked = await ask(gateway, ADA, id_token=sol)
        with pytest.raises(Denied, match="the same person asked"):
            await approve(gateway, asked["request"], BO, id_token=sol)
        assert (await approve(gateway, asked["request"], ADA, id_token=kit))["person"] == WHO
        assert [entry["shown"] for entry in entries(gateway)] == ["token", "token", "token"]
        with pytest.raises(BadCredential):
            await ask(gateway, ADA, id_token=sol[:-4] + "AAAA")

    in_gateway(body)


# --- taking it out


async def login_entry(gateway):
    await a_session(gateway, "q03")
    return gateway.custody.ledger.head().size - 1


def test_a_disclosure_takes_an_opened_request_about_that_very_person(in_gateway):
    async def body(gateway):
        index = await login_entry(gateway)
        other = (await ask(gateway, who="quillwork/q04"))["request"]
        await approve(gateway, other)
        number = (await ask(gateway))["request"]
        for given, why in [(None, "ask with `limen person open`"), (number, "not approved yet"), (other, "about somebody else")]:
            with pytest.raises(Denied, match=why):
                await verb(gateway, "name.disclose", ADA, index=index, **{"class": "identity"}, request=given)
        await approve(gateway, number)
        taken = await verb(gateway, "name.disclose", ADA, index=index, **{"class": "identity"}, request=number)
        found = disclosure.check(taken["disclosure"].encode(), [gateway.verifier])
        assert (found.index, found.value["holder"]) == (index, WHO)
        last = entries(gateway)[-1]
        assert (last["kind"], last["of"], last["classes"], last["request"]) == ("name.disclose", index, ["identity"], number)

    in_gateway(body)


def test_a_disclosure_holds_no_byte_of_the_other_classes(in_gateway):
    async def body(gateway):
        index = await login_entry(gateway)
        number = (await ask(gateway))["request"]
        await approve(gateway, number)
        parts = {}
        for name in ("identity", "network"):
            taken = await verb(gateway, "name.disclose", ADA, index=index, **{"class": name}, request=number)
            document = json.loads(taken["disclosure"])
            parts[name] = document, taken["disclosure"] + base64.b64decode(document["entry"]).decode()
        identity, network = parts["identity"], parts["network"]
        assert network[0]["salt"] not in identity[1]
        assert "127.0.0.1" not in identity[1]
        assert "127.0.0.1" in network[1], "control: the same search finds it in the one that opens it"
        assert identity[0]["salt"] not in network[1]

    in_gateway(body)


def test_what_is_nobodys_detail_needs_no_request(in_gateway):
    async def body(gateway):
        taken = await verb(gateway, "name.disclose", ADA, index=0, **{"class": "change"})
        assert disclosure.check(taken["disclosure"].encode(), [gateway.verifier]).value["id"] == "quillwork"
        assert entries(gateway)[-1]["request"] is None

    in_gateway(body)


@pytest.mark.parametrize(
    ("index", "name", "why"),
    [(0, "identity", "class identity of entry 0; it has change"), (10**9, "change", "which has none")],
)
def test_a_class_that_is_not_there_is_named(in_gateway, index, name, why):
    async def body(gateway):
        with pytest.raises(NotFound, match=why):
            await verb(gateway, "name.disclose", ADA, index=index, **{"class": name})

    in_gateway(body)


def test_after_an_erasure_nothing_can_be_taken_out_any_more(in_gateway):
    async def body(gateway):
        index = await login_entry(gateway)
        number = (await ask(gateway))["request"]
        await approve(gateway, number)
        await verb(gateway, "person.erase", ADA, person=WHO, reason="request 7", end=True)
        with pytest.raises(NotFound, match="it was erased, or was past its time"):
            await verb(gateway, "name.disclose", ADA, index=index, **{"class": "identity"}, request=number)

    in_gateway(body)
