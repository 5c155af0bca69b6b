"""The model test: registered first, then asked, then scored. docs/model-test.md; the theory: docs/marks.md.

`register` fixes suspect, reference, slots and method in the log. `asked` gives what the models are to be asked, and enters
that it left. `conclude` enters the answers' digests, scores them, and enters what they say. It implicates copies, never
persons, and names none: reports hold pseudonyms and copy ids. Canaries are never asked about, and bait assets not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen import progress
from limen.core.errors import Conflict, Invalid
from limen.formats.modelanswers import check_digest, write_questions
from limen.marks.asking import draw, hit, questions, table, texts
from limen.marks.leaning import leans
from limen.marks.trained import DRAWS, MEANING, METHOD, compare
from limen.response import served
from limen.response.model_tests import ANSWERED, ASKED, REGISTERED, RESULT, ModelTest, room

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from limen.custody import Custody
    from limen.formats.modelanswers import Answers
    from limen.marks.asking import Question, Sample
    from limen.marks.copy import Prepared
    from limen.marks.trained import Fed, Outcome
    from limen.response.model_tests import ModelTests

SCHEMA: Final = "limen/model-test/v1"
SLOTS: Final = 400
CUTS, TOP = 4, 3
MOST_CUTS, MOST_TOP = 16, 5
MOST_MODELS: Final = 1000
LEAST_WORDS: Final = 8  # letters of an authority that says anything
SIDES: Final = ("suspect", "reference")
OUTSIDE: Final = ""  # the pseudonyms that results use are those of no project


@dataclass(frozen=True, slots=True)
class Order:
    """What to register. `suspect`, `reference`: `sha256:…` of a directory, or the address of an endpoint, `URL#model`.

    `authority`: why the lab may question these models; it stands in the log.
    """

    asset: str
    case: str
    suspect: str
    reference: str
    measure: str
    authority: str
    version: int | None = None
    slots: int = SLOTS
    fields: tuple[str, ...] = ()
    cuts: int = CUTS
    top: int = TOP
    models: int | None = None
    alpha: float | None = None


async def register(custody: Custody, tests: ModelTests, order: Order, *, by: str, random: Callable[[int], bytes]) -> ModelTest:
    """Fix a test in the log. Invalid for what can't be tested, Conflict if the case has no room; nothing is logged then."""
    _check(custody, order)
    async with tests.alone:
        alpha = None if order.alpha is None else repr(order.alpha)
        models, alpha = room(await asyncio.to_thread(tests.all), order.case, models=order.models, alpha=alpha)
        seed = random(16)
        version, prepared = _prepared(custody, order.asset, order.version)
        sample = await asyncio.to_thread(draw, prepared, slots=order.slots, seed=seed)
        for key in sample.asked.keys:
            if (ended := custody.catalog.snapshot.retired_at(key)) is not None:
                raise Invalid("asset", f"its mark key {key} ended with entry {ended}: nothing registered now counts under it")
        loss = order.measure == "loss"
        fields = {
            "case": order.case,
            "asset": order.asset,
            "version": version,
            "keys": list(sample.asked.keys),
            "slots": len(sample.ids),
            "sample": sample.digest,
            "seed": seed.hex(),
            "suspect": order.suspect,
            "reference": order.reference,
            "method": METHOD,
            "measure": order.measure,
            "fields": list(order.fields),
            **({} if loss else {"cuts": order.cuts, "top": order.top}),
            "draws": DRAWS,
            "models": models,
            "alpha": alpha,
            "authority": order.authority,
            "by": by,
        }
        receipt = await custody.ledger.append(*custody.scribe.write(REGISTERED, fields, None))
        return await asyncio.to_thread(tests.test, receipt.index)


async def asked(custody: Custody, test: ModelTest, *, of: str, by: str) -> dict[str, str]:
    """What the models are to be asked, by name, in the order of names; that it leaves is an entry first.

    `of`: `suspect` or `reference` if an endpoint is to be asked, `export` for a file.
    """
    if of not in (*SIDES, "export"):
        raise Invalid("of", "is suspect, reference or export")
    _, _, some = await asyncio.to_thread(_questions, custody, test)
    said = {question.name: question.text for question in some}
    fields = {
        "test": test.number,
        "questions": len(said),
        "digest": hashlib.sha256(write_questions(test.number, said)).hexdigest(),
        "of": of,
        **({"to": test.fields[of]} if of in SIDES else {}),
        "by": by,
    }
    await custody.ledger.append(*custody.scribe.write(ASKED, fields, None))
    return said


async def conclude(
    custody: Custody, tests: ModelTests, number: int, answers: Mapping[str, Answers], *, by: str
) -> dict[str, Any]:
    """Score a test's answers, by `suspect` and `reference`. Their digests are durable before anything is scored.

    Invalid if they are another model's than was registered, or answer nothing; Conflict if other answers were scored.
    """
    async with tests.alone:
        test = await asyncio.to_thread(tests.test, number)
        for side in SIDES:
            _own(test, side, answers[side])
        _standing(custody, test)
        digests = {side: answers[side].digest for side in SIDES}
        before = test.last(ANSWERED)
        if before is not None and any(before.fields[side] != digests[side] for side in SIDES):
            raise Conflict(
                f"test {number} has answers already (entry {before.entry}), and these are others; nothing was scored."
                " Register another test for them: choosing among answers would be choosing a verdict"
            )
        if before is not None and (result := test.last(RESULT)) is not None:
            return {**await asyncio.to_thread(shown, custody, test, result.fields["document"]), "again": True}
        if before is None:
            fields = {"test": number, **digests, "by": by}
            await custody.ledger.append(*custody.scribe.write(ANSWERED, fields, None))
        document = await asyncio.to_thread(_scored, custody, test, answers)
        raw = json.dumps(document, sort_keys=True, ensure_ascii=False).encode()
        digest, length = await asyncio.to_thread(custody.blobs.put, [raw])
        outcome = document["outcome"]
        fields = {
            "test": number,
            "document": digest,
            "document_length": length,
            "verdict": outcome["verdict"],
            "copies": sorted(_pseudonym(custody, copy["copy"]) for copy in outcome["copies"]),
            "vendors": sorted(firm["vendor"] for firm in outcome["vendors"]),
            "erased": outcome["erased"],
            "by": by,
        }
        await custody.ledger.append(*custody.scribe.write(RESULT, fields, None))
        test = await asyncio.to_thread(tests.test, number)
    return {**await asyncio.to_thread(shown, custody, test, digest), "again": False}


def shown(custody: Custody, test: ModelTest, document: str) -> dict[str, Any]:
    """A result as a report: copies by pseudonym and copy id. Reads the disk."""
    value = json.loads(custody.blobs.path(document).read_bytes())
    outcome = value["outcome"]
    for copy in [*outcome["copies"], *([outcome["best"]] if outcome["best"] else [])]:
        copy["pseudonym"] = _pseudonym(custody, copy["copy"])
    if outcome["best"] and not outcome["copies"]:
        outcome["best"] = {k: v for k, v in outcome["best"].items() if k not in {"copy", "pseudonym", "vendor"}}
    result = test.last(RESULT)
    return {
        "schema": SCHEMA,
        "test": test.number,
        "result_entry": result.entry if result else None,
        "document": document,
        "registered": {name: value for name, value in test.fields.items() if name not in {"v", "kind", "at", "salt"}},
        "registered_at_us": test.registered.at_us,
        **outcome,
        "unknown": value["unknown"],
        "meaning": MEANING,
    }


def _check(custody: Custody, order: Order) -> None:
    if order.measure not in {"loss", "hits"}:
        raise Invalid("--measure", "is loss or hits")
    asset = custody.catalog.snapshot.asset(order.asset)
    for side, model in zip(SIDES, (order.suspect, order.reference), strict=True):
        if model.startswith("sha256:"):
            check_digest(model, f"--{side}")
        elif order.measure != "hits":
            raise Invalid(f"--{side}", "an endpoint completes texts and tells no losses of them: --measure hits")
        elif asset.canary:
            raise Invalid("asset", f"{asset.id} is bait: none of it is sent anywhere; nothing was registered")
    _bounds(order)
    if order.suspect == order.reference:
        raise Invalid("--reference", "is the suspect itself; name the model that it was made from, or one like it")
    if len(order.authority.strip()) < LEAST_WORDS:
        raise Invalid("--authority", "says nothing: by what right does the lab question these models? It stands in the log")


def _bounds(order: Order) -> None:
    bounds = (("--cuts", order.cuts, MOST_CUTS), ("--top", order.top, MOST_TOP), ("--models", order.models or 1, MOST_MODELS))
    for name, value, most in bounds:
        if not 1 <= value <= most:
            raise Invalid(name, f"is 1 to {most}")
    if order.alpha is not None and not 0 < order.alpha < 1:
        raise Invalid("--alpha", f"{order.alpha:g} is no bound between 0 and 1")


def _prepared(custody: Custody, asset: str, number: int | None) -> tuple[int, list[Prepared]]:
    versions = custody.catalog.snapshot.versions(asset)
    if not versions:
        raise Invalid("asset", f"{asset} has no version")
    if number is not None and not 1 <= number <= len(versions):
        raise Invalid("--version", f"{asset} has versions 1 to {len(versions)}")
    version = versions[-1 if number is None else number - 1]
    found = [custody.shelf.prepared(shard) for shard in version.shards if shard.prepared]
    if not found:
        raise Invalid("asset", f"{asset}@{version.number} is not marked: everybody's copy of it is the same")
    return version.number, found


def _questions(custody: Custody, test: ModelTest) -> tuple[list[Prepared], Sample, list[Question]]:
    fields, seed = test.fields, bytes.fromhex(test.fields["seed"])
    if fields["method"] != METHOD:
        raise Invalid("test", f"was registered under {fields['method']}, and this limen has {METHOD}; nothing was done")
    _, prepared = _prepared(custody, fields["asset"], fields["version"])
    sample = draw(prepared, slots=fields["slots"], seed=seed)
    if sample.digest != fields["sample"]:
        raise Conflict(f"the slots of test {test.number} are not those that were registered; was the version prepared anew?")
    sides = texts(prepared, sample, fields=fields["fields"])
    return prepared, sample, questions(sample, sides, seed=seed, cuts=fields.get("cuts", 0))


def _own(test: ModelTest, side: str, answers: Answers) -> None:
    registered = test.fields[side]
    if answers.model != registered:
        raise Invalid(side, f"these are answers of {answers.model}, and {registered} was registered; nothing was scored")
    told, other = ("losses", "candidates") if test.fields["measure"] == "loss" else ("candidates", "losses")
    if getattr(answers, other) or not getattr(answers, told):
        raise Invalid(side, f"test {test.number} was registered on {told}, and these answers hold {other or 'none'}")


def _standing(custody: Custody, test: ModelTest) -> None:
    """A key that has ended judges no model that may have been made since: only those whose digest was registered before."""
    snapshot = custody.catalog.snapshot
    ended = [key for key in test.fields["keys"] if snapshot.retired_at(key) is not None]
    if ended and not all(test.fields[side].startswith("sha256:") for side in SIDES):
        raise Invalid("test", f"mark key {ended[0]} has ended, and an endpoint may be another model by now; nothing was scored")


def _scored(custody: Custody, test: ModelTest, answers: Mapping[str, Answers]) -> dict[str, Any]:
    progress.say("reading who had access")
    fields = test.fields
    _, sample, some = _questions(custody, test)
    measured = [_table(sample, some, answers[side], fields) for side in SIDES]
    lean = leans(measured[0], measured[1], sample.asked.kind, measure=fields["measure"])
    recipients = custody.catalog.snapshot.recipients_of(fields["asset"])
    had_access, unknown = _had_access(custody, fields["asset"], before=test.number)
    progress.say(f"comparing {len(recipients)} copies")
    outcome = compare(
        sample.asked,
        lean,
        recipients,
        keys=custody.shelf.keys_named(sample.asked.keys),
        served=had_access,
        alpha=float(fields["alpha"]),
        models=fields["models"],
        seed=bytes.fromhex(fields["seed"]),
        draws=fields["draws"],
    )
    slots = [[slot.hex(), None if np.isnan(d) else round(float(d), 6)] for slot, d in zip(sample.ids, lean, strict=True)]
    return {
        "schema": "limen/model-test-document/v1",
        "test": test.number,
        "answers": {side: answers[side].digest for side in SIDES},
        "outcome": {**_told(outcome), "unanswered": {side: _missing(some, answers[side]) for side in SIDES}},
        "leans": slots,
        "served": len(had_access),
        "unknown": unknown,
    }


def _table(sample: Sample, some: Sequence[Question], answers: Answers, fields: Mapping[str, Any]) -> Any:
    if fields["measure"] == "loss":
        return table(sample, some, {name: loss.nats for name, loss in answers.losses.items()})
    hits = {q.name: float(hit(q.word, answers.candidates[q.name][: fields["top"]])) for q in some if q.name in answers.candidates}
    return table(sample, some, hits)


def _missing(some: Sequence[Question], answers: Answers) -> int:
    return sum(question.name not in answers.losses and question.name not in answers.candidates for question in some)


def _had_access(custody: Custody, asset: str, *, before: int) -> tuple[set[str], list[str]]:
    """Copy ids of those who had any access to the asset before the test was registered; and what of the log can't be read."""
    snapshot, pseudonym = custody.catalog.snapshot, custody.catalog.pseudonym
    copy_of = {
        (project, pseudonym(r.id, project)): r.copy_id
        for r in snapshot.recipients_of(asset)
        for project in snapshot.projects_ever_of(r.id)
    }
    reading = served.read(
        custody.ledger.entries(0, before), size=before, concerns=lambda e: (e.get("project"), e.get("who")) in copy_of
    )
    return {copy_of[h.project, h.who] for h in reading.handovers if h.asset == asset}, reading.unknown


def _told(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a document holds it: copies by copy id, nobody by name."""
    told = outcome.to_json()
    told.pop("meaning")
    told["copies"] = [_figures(copy) for copy in outcome.copies]
    told["vendors"] = [_figures(firm) for firm in outcome.vendors]
    told["best"] = _figures(outcome.best) if outcome.best else None
    return told


def _figures(one: Fed) -> dict[str, Any]:
    figures = asdict(one)
    copy = figures.pop("copy_id")
    del figures["recipient"]
    return {"copy": copy, **figures}


def _pseudonym(custody: Custody, copy: str) -> str:
    return custody.catalog.pseudonym(custody.catalog.snapshot.state.holders[copy], OUTSIDE)
