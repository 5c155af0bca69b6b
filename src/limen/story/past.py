"""Days -60 to -8: in this process, through the same `access` that the doors end in, under the story's clock."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limen.core.errors import LimenError
from limen.core.events import decode
from limen.core.types import Client, Span
from limen.identity.oidc import Claims
from limen.story import cast
from limen.story.recount import Request
from limen.story.telling import Telling, expect, holds
from limen.verbs import assets, catalog

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from limen.core.types import Session
    from limen.marks.copy import Copy
    from limen.server import Gateway
    from limen.story.warned import Warned

BY = "the story"
OFFICE = Client("198.51.100.7", "story")
DAILY = 24_000  # bytes that one person reads on an ordinary day
SLOTS = 1000  # what q03 reads on day -9
BIG_READ = (1_200_000, 1_840_000)  # where in their copy, some 1,000 slots


@dataclass(slots=True)
class Past:
    """Acts out the days before the theft on an open gateway, and notes every request as its client saw it."""

    gateway: Gateway
    telling: Telling
    raw: list[Request]
    material: dict[str, Path]
    warned: Warned
    _at: dict[str, int] = field(default_factory=dict)
    _draw: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311  a story, no secret

    async def run(self, prompts: list[str]) -> None:
        """All acts in order."""
        await self._onboard(prompts)
        await self.warned.onboard()
        await self.warned.sign()
        await self._join()
        self.telling.doing("weekday reads, days -58 to -34")
        await self.warned.keys()
        first = self._size()
        await self._weekdays(-58, -48)
        await self.warned.drill()
        await self._weekdays(-47, -34)
        await self._ask_for_core()
        await self._weekdays(-33, -30)
        await self.warned.list_keys(-30, "12:00")
        await self._weekdays(-29, -21)
        await self._remove_q07()
        await self._weekdays(-18, -16)
        await self._return_assessments()
        self.telling.doing("weekday reads, days -14 to -8")
        await self._weekdays(-14, -10)
        await self.warned.first()
        await self._big_read()
        await self.warned.second()
        await self._weekdays(-8, -8)
        self._tell_reads(first)

    # --- what people do

    def tell_time(self, day: int, clock: str) -> None:
        """Set the story's clock."""
        self.gateway.custody.clock.tell(cast.at(day, clock))

    async def session(self, person: str, project: str = "orchid") -> Session:
        """A session for somebody whose identity was verified."""
        issuer = self.gateway.issuer
        url = issuer.url if issuer else ""
        claims = Claims(url, person.partition("/")[2], "single", "limen", self.gateway.custody.clock.now() + 3600)
        return await self.gateway.authority.start_session(claims, project, name="story", client=OFFICE)

    async def read(self, session: Session, key: str, start: int = 0, end: int | None = None) -> int:
        """Read bytes [start, end) of one shard; returns how many the copy has."""
        length = 0

        def choose(copy: Copy, _: int) -> Span:
            nonlocal length
            length = copy.length
            return Span(206, min(start, length), length if end is None else min(end, length))

        delivery = await self.gateway.access.open(session, key, choose=choose, client=OFFICE)
        got = bytearray()

        async def take(chunk: bytes | memoryview) -> None:
            got.extend(chunk)

        await delivery.send_to(take, lambda: None)
        at_us = self.gateway.custody.clock.story_us() or 0
        self.raw.append(Request(session.holder, session.id, at_us, key, delivery.span.start, bytes(got)))
        return length

    async def _day(self, person: str) -> None:
        session = await self.session(person)
        start = self._at.get(person, 0)
        length = await self.read(session, cast.SFT, start, start + self._draw.randint(DAILY // 2, DAILY))
        self._at[person] = (self.raw[-1].start + len(self.raw[-1].got)) % length if length else 0

    async def _weekdays(self, first: int, last: int) -> None:
        snapshot = self.gateway.custody.catalog.snapshot
        people = [p for p in (*cast.READERS, *cast.OTHERS) if snapshot.holder_by_id(p).ended_at is None]
        for day in range(first, last + 1):
            await self.warned.weekly(day)
            if cast.is_weekday(day):
                self.tell_time(day, "10:00")
                for person in people:
                    await self._day(person)
        self.tell_time(last, "11:00")
        for person in people:
            await self.read(await self.session(person), cast.GUIDE)

    # --- the acts

    async def _onboard(self, prompts: list[str]) -> None:
        self.telling.doing("day -60: vendors, projects and assets; preparing copies")
        self.tell_time(-60, "09:00")
        document = cast.onboarding(self._issuer())
        done = await self._import(document)
        lines, slots = [], 0
        for key, path in self.material.items():
            asset, _, shard = key.partition("/")
            args: dict[str, Any] = {"asset": asset, "sources": [{"path": shard, "local": str(path)}]}
            if key == cast.JUDGE:
                args["marking"] = {"canaries": prompts}
            if key == cast.CORE:
                args["marking"] = {"marked": False}
            made = await assets.register(self.gateway, args, BY)
            [told] = made["shards"]
            if key == cast.SFT:
                version = self.gateway.custody.catalog.snapshot.version(asset)
                slots = len(self.gateway.custody.shelf.prepared(version.shards[0]).slots) if version else 0
                lines.append(f"{asset}: {told['records']} records, {slots} slots, each person's copy their own")
            elif made["unmarked"] and key in {cast.GUIDE, cast.CONFIGS}:
                lines.append(f"{asset}: {told['unmarked_why']}")
        holds("orchid-sft-v3 must have 4,000 slots or more", true=slots >= 4000)  # noqa: PLR2004  the story's figure
        for key in (cast.GUIDE, cast.CONFIGS):
            unmarked = any(line.startswith(key.partition("/")[0]) for line in lines)
            holds(f"{key} must be said to carry no fingerprint", true=unmarked)
        self.telling.act(
            "-60",
            "vendors onboard",
            happened=[
                "Lab Aurelia takes on quillwork, lexara, tessel, brightfold and oakline,",
                "and registers what they will work on.",
            ],
            said=lines,
            proof=f"entries {done['entries'][0]} to {self._size() - 1}",
        )

    async def _join(self) -> None:
        self.tell_time(-59, "09:00")
        done = await self._import(cast.joining(self._issuer()))
        early = await self._refused(self._import(cast.grants()))
        await self._import(cast.agreements())
        gated = await self._refused(self._import(cast.grants()))
        await self.warned.admit()
        granted = await self._import(cast.grants())
        barrier = await self._refused(self._import(cast.barred()))
        mark = self._size()
        unsigned = await self._refused(self.session("oakline/o01"))
        refusal = self._find(mark, "access.refusal", rule="no-agreement")
        mark = self._size()
        await self.read(await self.session("quillwork/ci"), cast.GUIDE)
        entry = self._find(mark, "access.intent", asset="orchid-guide-v7")
        sponsor = self.gateway.authority.pseudonym("quillwork/q11", "orchid")
        expect("the sponsor on a CI access", self._entry(entry).get("sponsor"), sponsor)
        self.telling.act(
            "-59",
            "people join",
            happened=[
                "Twelve people of quillwork join; CI gets q11 as its sponsor. Grants are tried before",
                "anything is signed; then all sign but oakline. Somebody tries to grant aurelia-core to q05.",
            ],
            said=[early, gated, barrier, unsigned, "quillwork/ci read the guide; the entry names its sponsor"],
            proof=f"entries {done['entries'][0]} to {granted['entries'][-1]}; refusal {refusal}; CI access {entry}",
        )

    async def _ask_for_core(self) -> None:
        self.tell_time(-33, "14:20")
        session = await self.session("quillwork/q05")
        mark = self._size()
        told = await self._refused(self.read(session, cast.CORE))
        entry = self._find(mark, "access.refusal", asset="aurelia-core")
        said = [told, f"rule: {self._entry(entry)['rule']}"]
        self.telling.act(
            "-33", "q05 asks for aurelia-core", happened=["q05 asks for the lab's own model."], said=said, proof=f"entry {entry}"
        )

    async def _remove_q07(self) -> None:
        self.tell_time(-20, "16:00")
        old = await self.session("quillwork/q07")
        await self.read(old, cast.GUIDE)
        change = {"id": "quillwork/q07", "reason": "left quillwork"}
        done = await catalog.change(self.gateway, {"kind": "person.end", "change": change}, BY)
        ended = await self._refused(self.read(old, cast.SFT))
        self.tell_time(-19, "09:05")
        mark = self._size()
        again = await self._refused(self.session("quillwork/q07"))
        entry = self._find(mark, "access.refusal", action="session")
        happened = ["q07 leaves and is removed while logged in. The next morning q07 tries again."]
        self.telling.act(
            "-20", "q07 is removed", happened=happened, said=[ended, again], proof=f"entries {done['entry']} and {entry}"
        )

    async def _return_assessments(self) -> None:
        self.tell_time(-15, "17:00")
        rng = random.Random(15)  # noqa: S311  invented marks
        access, entries = self.gateway.access, []
        people = cast.QUILL[:5]
        for person in people:
            session = await self.session(person)
            rows = ({"candidate": f"c{rng.randrange(10**6):06}", "mark": rng.randint(1, 5)} for _ in range(62))
            body = "".join(json.dumps(row) + "\n" for row in rows).encode()
            reception = await access.accept(session, f"{cast.DROP}/assessments.jsonl", length=len(body), client=OFFICE)
            await reception.write(body)
            entries.append((await reception.commit()).entry)
        seen = await access.list(session, prefix=f"{cast.DROP}/", client=OFFICE)
        expect("what q05 sees in the drop box", [line.path for line in seen], [f"{cast.DROP}/assessments.jsonl"])
        own = await self._refused(self.read(session, f"{cast.DROP}/assessments.jsonl"))
        writer = self.gateway.authority.pseudonym(people[0], "orchid")
        await self._refused(self.read(session, f"{cast.DROP}/{writer}/assessments.jsonl"))
        happened = ["Five people return 310 assessments under one and the same name.", "q05 then looks around in the drop box."]
        said = [f"stored {len(entries)} uploads; q05 lists one, their own", own]
        self.telling.act(
            "-15", "assessments come back", happened=happened, said=said, proof=f"entries {entries[0]} to {entries[-1]}"
        )

    async def _big_read(self) -> None:
        self.tell_time(-9, "15:00")
        mark = self._size()
        session = await self.session("quillwork/q03")
        await self.read(session, cast.SFT, *BIG_READ)
        entry = self._find(mark, "access.intent", asset="orchid-sft-v3")
        got = self.raw[-1].got.count(b"\n")
        happened = [f"q03 reads {got} records in one go: allowed work."]
        said = ["served and logged; a budget notice is not built yet"]
        self.telling.act("-9", "q03 reads some 1,000 slots", happened=happened, said=said, proof=f"entry {entry}")

    def _tell_reads(self, first: int) -> None:
        people = len({r.person for r in self.raw})
        held = sum(len(r.got) for r in self.raw) / 1e6
        happened = [f"Weekdays: {len(self.raw)} reads by {people} people and workloads, {held:.1f} MB."]
        said = [f"{self._size()} entries; every access is a named human's, or has one as sponsor"]
        proof = f"entries {first} to {self._size() - 1}"
        self.telling.act("-58 to -8", "ordinary work", happened=happened, said=said, proof=proof)

    # --- looking

    def _issuer(self) -> str:
        return self.gateway.issuer.url if self.gateway.issuer else ""

    async def _import(self, document: dict[str, Any]) -> dict[str, Any]:
        return await catalog.import_(self.gateway, {"text": json.dumps(document), "format": "json"}, BY)

    async def _refused(self, attempt: Awaitable[object]) -> str:
        """What the refused person read; the story is wrong if they were not refused."""
        try:
            await attempt
        except LimenError as e:
            return str(e)
        holds("an attempt that must be refused went through", true=False)
        return ""

    def _size(self) -> int:
        return self.gateway.custody.ledger.head().size

    def _entry(self, index: int) -> dict[str, Any]:
        [(_, raw)] = self.gateway.custody.ledger.entries(index, index + 1)
        return decode(raw)

    def _find(self, start: int, kind: str, **fields: Any) -> int:
        """The first entry from `start` of this kind with these fields; Wrong if there is none."""
        for index, raw in self.gateway.custody.ledger.entries(start):
            entry = decode(raw)
            if entry["kind"] == kind and all(entry.get(name) == value for name, value in fields.items()):
                return index
        holds(f"an entry {kind} with {fields} must be in the log", true=False)
        return -1
