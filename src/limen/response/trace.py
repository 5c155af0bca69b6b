"""Trace: a leaked sample in, the copies that fed it out. The sample's digest is logged before it is scored.

`marks.trace` scores copies under the theorem of docs/marks.md; this adds what only the ledger knows: who had any access
(the prior), the case's earlier looks, and in which sessions an implicated copy's leaked records were handed over. A look's
document is durable before the entry that names it, and the entry before anybody is told. It implicates copies, never
persons, and names none: `shown` gives a name only where a second human has opened it. Nothing happens to anybody by itself.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen import progress
from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.marks.keys import CODE
from limen.marks.retired import without
from limen.marks.sample import open_sample
from limen.marks.trace import ALPHA, TraceResult, score
from limen.response import served
from limen.response.cases import Case, Entered, LookTaken, named
from limen.response.look import Document, Marked, Population, placed, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.custody import Custody
    from limen.marks.index import Observed
    from limen.marks.sample import Sample
    from limen.response.cases import Cases

SCHEMA: Final = "limen/trace/v2"
TOLD_FROM: Final = 1 << 26  # bytes: how far a smaller sample has been read is not worth a line
OUTSIDE: Final = ""  # the pseudonyms that results use are those of no project
Place = tuple[str, int, str]  # asset, version, shard


@dataclass(frozen=True, slots=True)
class Order:
    """What to trace, in which case (empty: one of its own), under which bound (None: the case's, or 1e-9); `by`: who asks."""

    paths: tuple[Path, ...]
    by: dict[str, Any]
    case: str = ""
    alpha: float | None = None


async def trace(custody: Custody, cases: Cases, order: Order) -> tuple[Case, LookTaken, bool]:
    """Trace one sample: the case, this look at it, and whether it was taken before (then nothing is scored again).

    Invalid if the sample can't be opened; nothing is logged then.
    """
    if order.alpha is not None and not 0 < order.alpha < 1:
        raise Invalid("--alpha", f"{order.alpha:g} is no bound between 0 and 1")
    progress.say("taking the sample's digest")
    sample = await asyncio.to_thread(open_sample, order.paths)
    if not order.case:
        return await _look(custody, cases, order, Case(""), sample)
    async with cases.alone(named(order.case)):
        case = await asyncio.to_thread(cases.find, order.case)
        if taken := case.of(sample.digest):
            return case, taken, True
        return await _look(custody, cases, order, case, sample)


def shown(custody: Custody, case: Case, look: LookTaken) -> dict[str, Any]:
    """A look as a report. Reads the disk. Names stand in it for copies whose opening a second human has entered."""
    value = Document.read(custody.blobs.path(look.result.fields["document"]).read_bytes()).value
    report: dict[str, Any] = value["result"]
    opened = case.openings()
    holders = custody.catalog.snapshot.state.holders

    def whose(copy: str) -> dict[str, Any]:
        pseudonym = custody.catalog.pseudonym(holders[copy], OUTSIDE)
        entry = opened.get(pseudonym)
        return {"pseudonym": pseudonym, "person": None if entry is None else holders[copy], "opened": entry}

    report["copies"] = [{**copy, **whose(copy["copy"])} for copy in report["copies"]]
    return {
        "schema": SCHEMA,
        "case": case.name,
        "look": look.number,
        "sample_entry": look.sample.entry,
        "result_entry": look.result.entry,
        "digest": look.digest,
        "document": look.result.fields["document"],
        "traced": {name: look.sample.fields[name] for name in ("by", "acting", "shown") if name in look.sample.fields},
        "traced_at_us": look.sample.at_us,
        **report,
        "sample": value["sample"],
        "prior_of_look": value["prior"],
        "looks_of_case": len(case.looks),
        "unscored": [one.entry for one in case.unscored],
        "reviews": [_review(one) for one in case.reviews],
    }


def _review(entered: Entered) -> dict[str, Any]:
    names = ("who", "outcome", "look", "by", "acting", "shown")
    return {"entry": entered.entry, **{name: entered.fields[name] for name in names if name in entered.fields}}


def ended_keys(custody: Custody, cases: Cases, keys: Iterable[str], digest: str, *, before: int) -> dict[str, int]:
    """Which of these mark keys had ended when a sample was first logged, and by which entry; its slots don't count there."""
    ended = {key: at for key in keys if (at := custody.catalog.snapshot.retired_at(key)) is not None}
    first = min(cases.logged(digest), default=before) if ended else before
    return {key: at for key, at in ended.items() if at <= first}


def _read_so_far() -> Callable[[int, int], None]:
    """Says each tenth of a large sample."""
    told = 0

    def read(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // max(1, total)
        if total >= TOLD_FROM and tenth > told:
            told = tenth
            progress.say(f"read {done >> 20} of {total >> 20} MiB")

    return read


async def _look(custody: Custody, cases: Cases, order: Order, case: Case, sample: Sample) -> tuple[Case, LookTaken, bool]:
    number = len(case.looks) + 1
    earlier = await asyncio.to_thread(_documents, custody, case)
    alpha = _alpha(order, case, earlier)
    about = {"case": case.name} if case.name else {}
    logged = await custody.ledger.append(
        *custody.scribe.write(
            "trace.sample",
            {**about, "look": number, "digest": sample.digest, "length": sample.length, "alpha": repr(alpha), **order.by},
            None,
        )
    )
    looking = _Looking(custody, cases, earlier, number=number, alpha=alpha, before=logged.index)
    found = await asyncio.to_thread(looking.take, sample)
    document, length = await asyncio.to_thread(custody.blobs.put, [written({**found, **about, "look": number})])
    result = found["result"]
    fields = {
        **about,
        "look": number,
        "sample": logged.index,
        "digest": sample.digest,
        "document": document,
        "document_length": length,
        "verdict": result["verdict"],
        "slots_matched": result["slots_matched"],
        "copies": sorted(looking.pseudonym(copy["copy"]) for copy in result["copies"]),
        "vendors": sorted(copy["vendor"] for copy in result["vendors"]),
        "bank": result["bank"],
        **({"retired": {one["key"]: one["slots"] for one in result["retired"]}} if result["retired"] else {}),
        **order.by,
    }
    await custody.ledger.append(*custody.scribe.write("trace.result", fields, None))
    case = await asyncio.to_thread(cases.case, case.name or f"sample-{logged.index}")
    return case, case.looks[number - 1], False


def _documents(custody: Custody, case: Case) -> list[Document]:
    paths = [custody.blobs.path(look.result.fields["document"]) for look in case.looks]
    return [Document.read(path.read_bytes()) for path in paths]


def _alpha(order: Order, case: Case, earlier: Sequence[Document]) -> float:
    """The case's bound: that of its first sample."""
    if not earlier:
        return ALPHA if order.alpha is None else order.alpha
    first: float = earlier[0].value["result"]["alpha"]
    if order.alpha is not None and order.alpha != first:
        raise Invalid("--alpha", f"is {first:g} for all samples of case {case.name}; nothing was traced. Leave it out")
    return first


class _Looking:
    """One sample being looked at: everything between its entry and its result. Blocking, all of it; run it in a thread."""

    def __init__(
        self, custody: Custody, cases: Cases, earlier: Sequence[Document], *, number: int, alpha: float, before: int
    ) -> None:
        self._custody = custody
        self._cases = cases
        self._earlier = earlier
        self._number = number
        self._alpha = alpha
        self._before = before  # the sample's entry: what is logged from there on is not looked at
        self._snapshot = custody.catalog.snapshot

    @cached_property
    def _by_copy(self) -> dict[str, Recipient]:
        """Everybody who was ever granted anything marked."""
        marked = [asset.id for asset in self._snapshot.assets() if any(s.prepared for _, s in self._shards(asset.id))]
        return {r.copy_id: r for asset in sorted(marked) for r in self._snapshot.recipients_of(asset)}

    def pseudonym(self, copy: str) -> str:
        """Whom entries of no project mean by it."""
        return self._custody.catalog.pseudonym(self._snapshot.state.holders[copy], OUTSIDE)

    def take(self, sample: Sample) -> dict[str, Any]:
        """The look's document, all but its case and number."""
        progress.say("looking the sample up")
        marked = self._marked(self._cases.commits())
        shelf = self._custody.shelf
        index = shelf.index([one.shard for one in marked.values()])
        observed = index.observe_sample(sample, progress=_read_so_far())
        ended = ended_keys(self._custody, self._cases, index.keys, sample.digest, before=self._before)
        observed, left_out = without(observed, ended)
        versions, slots = placed(observed, marked)
        assets = sorted({marked[place].version.asset for place in observed.matched})
        progress.say(f"{len(slots)} slots found; reading who had access")
        reading, touched = self._handovers(assets)
        population, fixed_here = self._population({copy for copy, _ in touched})
        names = {*observed.keys, *(key for one in self._earlier for key in one.observed().keys)}
        progress.say(f"scoring {len(population.copies)} copies")
        shown = {observed.keys[number] for number in np.unique(observed.slots["key"]).tolist()}
        self._refuse_other_keys(shown, marked.values())
        found = score(
            observed,
            population.copies,
            keys=shelf.keys_named(sorted(names)),
            served=population.served,
            alpha=self._alpha,
            earlier=[one.observed() for one in self._earlier],
        )
        leaked = {_place(marked[place]): records for place, records in observed.distinct.items()}
        result = {
            **_result(found, population),
            "canaries": self._canaries(observed, marked),
            "assets": assets,
            "retired": [{"key": key, "entry": ended[key], "slots": count} for key, count in left_out.items()],
            "pieces": observed.pieces,
            "records": sum(len(records) for records in observed.distinct.values()),
            "later_copies": len(self._by_copy.keys() - {r.copy_id for r in population.copies}),
            "unknown": reading.unknown,
        }
        for copy in result["copies"]:
            mine = [handover for whose, handover in touched if whose == copy["copy"]]
            copy["sessions"] = self._sessions(copy["copy"], mine, leaked)
        return {
            "sample": {
                "digest": sample.digest,
                "length": sample.length,
                "entry": self._before,
                "parts": len(sample.parts),
                "kinds": observed.kinds,
                "bytes_read": observed.bytes_read,
                "unread": [[left.name, left.why] for left in observed.unread],
            },
            "code": CODE,
            "prior": population.look,
            "copies": population.rows() if fixed_here else None,
            "versions": versions,
            "slots": slots,
            "matched": sorted("{}@{}/{}".format(*_place(marked[path])) for path in observed.matched),
            "result": result,
        }

    def _shards(self, asset: str) -> list[tuple[Any, Any]]:
        return [(version, shard) for version in self._snapshot.versions(asset) for shard in version.shards]

    def _marked(self, commits: dict[tuple[str, int], Entered]) -> dict[str, Marked]:
        """Every prepared shard, by where it is."""
        found: dict[str, Marked] = {}
        for asset in self._snapshot.assets():
            for version, shard in self._shards(asset.id):
                if shard.prepared:
                    commit = commits.get((asset.id, version.number))
                    prepared = self._custody.shelf.prepared(shard)
                    found[str(prepared.path)] = Marked(version, shard, prepared, commit.entry if commit else -1)
        return found

    def _refuse_other_keys(self, names: set[str], marked: Iterable[Marked]) -> None:
        """TamperDetected unless each mark key is the one that everything prepared under it was committed to with."""
        for one in marked:
            if one.key in names and one.prepared.manifest["commitment"] != self._custody.shelf.key(one.key).commitment():
                raise TamperDetected(
                    f"the mark key {one.key} is not the one that {one.version.asset}@{one.version.number} was committed to with:"
                    " nothing was scored",
                    next_step="put the right key back from a backup of DATA/keys/marks",
                )

    def _handovers(self, assets: Sequence[str]) -> tuple[served.Reading, list[tuple[str, served.Handover]]]:
        """What the ledger says was handed over of these assets before the sample was logged, and of whose copy."""
        recipients = {r.copy_id: r for asset in assets for r in self._snapshot.recipients_of(asset)}
        copy_of = self._by_pseudonym(recipients.values())
        reading = served.read(
            self._custody.ledger.entries(0, self._before),
            size=self._before,
            concerns=lambda e: (e.get("project"), e.get("who")) in copy_of,
        )
        return reading, [(copy_of[h.project, h.who], h) for h in reading.handovers if h.asset in assets]

    def _by_pseudonym(self, recipients: Iterable[Recipient]) -> dict[tuple[str, str], str]:
        snapshot, pseudonym = self._snapshot, self._custody.catalog.pseudonym
        return {(project, pseudonym(r.id, project)): r.copy_id for r in recipients for project in snapshot.projects_ever_of(r.id)}

    def _population(self, had_access: set[str]) -> tuple[Population, bool]:
        """Whose copies are compared, and whether this look fixes that for the case: the first that shows anything of ours."""
        for one in self._earlier:
            if one.value["result"]["assets"] and one.population is not None:
                return one.population, False
        return Population.of(self._number, list(self._by_copy.values()), had_access), True

    def _canaries(self, observed: Observed, marked: dict[str, Marked]) -> list[dict[str, Any]]:
        """Canaries in the sample, with whose copies they are. Evidence, not a verdict: who gets which follows an order."""
        found = []
        for path in sorted(observed.canaries):
            asset, version, shard = _place(marked[path])
            about = {"asset": asset, "version": version, "shard": shard}
            dealt = observed.dealt(path, self._snapshot.recipients_of(asset))
            found += [{**about, "canary": number, "copies": [one.copy_id for one in whose]} for number, whose in dealt]
        return found

    def _sessions(
        self, copy_id: str, handovers: Sequence[served.Handover], leaked: dict[Place, NDArray[np.int64]]
    ) -> list[dict[str, Any]]:
        """The sessions that carried the leaked records of this copy, by how many of them each did, and when."""
        spans: dict[tuple[str, Place], list[tuple[int, int]]] = defaultdict(list)
        times: dict[str, list[int]] = defaultdict(list)
        for h in handovers:
            place = (h.asset, h.version, h.shard)
            if place in leaked and h.end > h.start:
                spans[h.session, place].append((h.start, h.end))
                times[h.session] += [h.at_us, h.last_us or h.at_us]
        carried: dict[str, int] = defaultdict(int)
        total = 0
        for place, records in leaked.items():
            found = self._snapshot.shard_of(*place)
            if found is None:
                raise NotFound("{}@{}/{}".format(*place))
            copy = self._custody.fresh_copy(self._snapshot.state.holders[copy_id], *found)
            held = copy.records(0, copy.length)
            total += int(np.isin(records, held).sum())
            for session in {session for session, at in spans if at == place}:
                touched = np.concatenate([copy.records(start, end) for start, end in spans[session, place]])
                carried[session] += int(np.isin(records, np.intersect1d(touched, held)).sum())
        ranked = sorted(carried.items(), key=lambda item: (-item[1], item[0]))
        return [
            {"session": session, "records": count, "of": total, "first_us": min(times[session]), "last_us": max(times[session])}
            for session, count in ranked
            if count
        ]


def _result(found: TraceResult, population: Population) -> dict[str, Any]:
    """Scores as a document holds them: copies by copy id, the second-best by its figures alone."""
    told = found.to_json()
    told["copies"] = [_figures(copy) for copy in found.copies]
    told["vendors"] = [_figures(firm) for firm in found.vendors]
    told["second_best"] = None
    if found.second_best:
        told["second_best"] = {k: v for k, v in _figures(found.second_best).items() if k not in {"copy", "vendor"}}
    told["served"] = len(population.served)
    return told


def _figures(one: Any) -> dict[str, Any]:
    figures = asdict(one)
    copy = figures.pop("copy_id")
    del figures["recipient"]
    return {"copy": copy, **figures}


def _place(one: Marked) -> Place:
    return (one.version.asset, one.version.number, one.shard.path)
