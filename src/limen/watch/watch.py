"""The thread that reads the log and writes down what it finds; and `replay`, which finds it all again.

It looks twice a second, and at once when the access path has written an entry that is an alert by itself. Nothing waits
for it. Where it was is noted now and then; from an older note it reads some entries again, and what it finds again it knows
by name: a crash at any moment loses nothing and repeats nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from limen.core import epochs
from limen.core.errors import Invalid, LimenError, NotFound
from limen.core.types import Grade
from limen.formats.merkle import leaf_hash
from limen.ledger.scribe import open_side, side_ref
from limen.watch import rules as r
from limen.watch.book import BOOK, Book
from limen.watch.courier import Courier
from limen.watch.fold import Fold, State
from limen.watch.keeper import Keeper
from limen.watch.networks import network_of
from limen.watch.outgoing import Alert, sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from limen.catalog.catalog import Catalog
    from limen.ledger.ledger import Ledger
    from limen.watch.book import Found
    from limen.watch.finding import Finding
    from limen.watch.observed import Observed
    from limen.watch.target import Target

log = structlog.get_logger("limen")

LOOK_EVERY_S: Final = 0.5
AGAIN_S: Final = 5.0
BATCH: Final = 1024
BREATH: Final = 64  # entries; then whoever waits for the interpreter may have it
NOTED_EVERY: Final = 65_536  # entries; a start after a crash reads so many again at most
NETWORK: Final = "network"
NOTED_NETWORK: Final = b'"network":'


@dataclass(slots=True)
class Source:
    """What findings are made from: the log, and the sealed detail that may still be read."""

    ledger: Ledger
    catalog: Catalog

    def read(self, start: int, end: int) -> Iterator[tuple[int, bytes, str | None]]:
        """Entries with the network that each one's session came from, where that was recorded and can be read."""
        details = (side for side in self.ledger.sides(start, end) if side[1] == NETWORK)
        at, _, sealed = next(details, (end, NETWORK, b""))
        for index, raw in self.ledger.entries(start, end):
            while at < index:
                at, _, sealed = next(details, (end, NETWORK, b""))
            yield index, raw, self._network(raw, sealed) if at == index else None

    def _network(self, raw: bytes, sealed: bytes) -> str | None:
        try:
            opened = open_side(NETWORK, sealed, raw, self.catalog.key_under(side_ref(sealed)))
            return network_of(str(opened.value["address"]))
        except (LimenError, KeyError, ValueError):
            return None  # erased, or expired: nobody can say


@dataclass(slots=True)
class Replayed:
    """What the log and the rules give, held against what the book has."""

    entries: int = 0
    rules: str = ""
    sha256: str = ""  # of all findings' bytes, one a line
    same: int = 0
    missing: list[str] = field(default_factory=list)  # in the book, and not found again
    different: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)  # found, and not in the book though it has read so far
    cannot_say: list[str] = field(default_factory=list)  # rests on detail that has expired or was erased
    other_rules: int = 0
    too_little_past: dict[str, int] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether all that can be said is the same."""
        return not (self.missing or self.different or self.new)


class Watch:
    """Reads one data directory's log. Built by `server`; without `start` it only answers questions."""

    def __init__(
        self,
        source: Source,
        data: Path,
        *,
        origin: str,
        rules: r.Rules,
        targets: tuple[Target, ...] = (),
        secrets: Mapping[str, str] | None = None,
        observed: Observed | None = None,
        now_us: Callable[[], int],
    ) -> None:
        self.path = data / BOOK
        self.origin = epochs.split(origin)[0]
        self.rules = rules
        self.targets = targets
        self._source = source
        self._observed = observed
        self._now_us = now_us
        self._secrets = secrets = secrets or {}
        self._send = {
            target.name: sender(target, secrets.get(target.name, ""), data=data, now=lambda: now_us() / 1_000_000)
            for target in targets
        }
        self._couriers = [
            Courier(target, self._send[target.name], book=self.path, source=self.origin, now_us=now_us) for target in targets
        ]
        self._keeper = Keeper(self.origin, rules, targets, now_us, self._tell)
        self._fold: Fold | None = None
        self._noted = 0
        self._history = 0  # entries below it were there before the book was
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._forget = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self._follow_log,), name="watch", daemon=True),
            threading.Thread(target=self._run, args=(self._follow_imports,), name="watch imports", daemon=True),
        ]

    # --- its thread

    def start(self) -> None:
        """Begin to read, and to bring what is found to whom it concerns."""
        for thread in self._threads:
            thread.start()
        for courier in self._couriers:
            courier.start()

    def notice(self) -> None:
        """Look now. From any thread; never waits."""
        self._wake.set()

    def forget_networks(self) -> None:
        """Somebody was erased: know no network but what the records that are left still say. From any thread; never waits."""
        self._forget.set()
        self._wake.set()

    def close(self) -> None:
        """Stop reading and sending; what is found and not sent is in the book. Once, and also if it never started."""
        self._stop.set()
        self._wake.set()
        for courier in self._couriers:
            courier.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for courier in self._couriers:
            courier.join(courier.target.timeout_s + 1)

    def _tell(self) -> None:
        for courier in self._couriers:
            courier.wake()

    def _run(self, follow: Callable[[Book], None]) -> None:
        """The root of a thread: what fails is tried again, for nobody else would notice that nobody watches."""
        while not self._stop.is_set():
            try:
                with Book(self.path) as book:
                    follow(book)
            except Exception:
                log.exception("the log can't be watched; tried again")
                self._stop.wait(AGAIN_S)
            else:
                return

    def _follow_log(self, book: Book) -> None:
        try:
            while not self._stop.is_set():
                self._wake.clear()
                self.catch_up(book)
                self._wake.wait(LOOK_EVERY_S)
            self._note(book)
        except BaseException:
            self._fold = None  # it may have read what was not written down
            raise

    def _follow_imports(self, book: Book) -> None:
        while not self._stop.is_set():
            try:
                self.judge_imports(book)
            except Invalid as e:
                log.warning("imports of other systems' logs are not watched", why=str(e))
                return
            self._stop.wait(LOOK_EVERY_S)

    def judge_imports(self, book: Book) -> None:
        """Judge what was imported from other systems' logs since."""
        if self._observed is None:
            return
        done, digest = book.note("judged"), self.rules.digest()
        judged, by = json.loads(done) if done else (-1, digest)
        for entry in self._observed.imports():
            if self._stop.is_set() or (entry <= judged and by == digest):
                continue
            found = self._judged(entry)
            note = {"judged": json.dumps([entry, digest]).encode()}
            self._keeper.keep(book, found, note, history=int(book.note("history") or 0))

    def _judged(self, entry: int) -> list[Finding]:
        [(_, raw)] = self._source.ledger.entries(entry, entry + 1)
        told = json.loads(raw)
        return self._observed.judge(entry, int(told.get("story_at", told["at"]))) if self._observed else []

    def catch_up(self, book: Book) -> None:
        """Read what was committed since, and write down what it says."""
        fold = self._fold = self._fold or self._resumed(book)
        if self._forget.is_set():
            self._forget.clear()
            fold.networks.forget()
            self._read_networks(fold)
        end = self._source.ledger.head().size
        while fold.state.upto < end and not self._stop.is_set():
            upto = min(end, fold.state.upto + BATCH)
            found: list[Finding] = []
            for place, (index, raw, network) in enumerate(self._source.read(fold.state.upto, upto)):
                found += fold.add(index, raw, network)
                if not place % BREATH:
                    time.sleep(0)
            fold.state.upto = max(upto, fold.state.upto)
            if found:
                self._keeper.keep(book, found, self._read_so_far(), history=self._history)
            if fold.state.upto - self._noted >= NOTED_EVERY:
                self._note(book)

    # --- where it was

    def _resumed(self, book: Book) -> Fold:
        """The fold as the book's note has it, if that is of this log and these rules; from the first entry on otherwise."""
        state = self._noted_state(book)
        self._history = int(book.note("history") or 0)
        if state is None:
            self._history = self._source.ledger.head().size
            notes = {"history": str(self._history).encode(), "rules": self.rules.digest().encode(), "state": b"", "leaf": b""}
            book.keep([], notes, queue=[], now_us=0)
        fold = Fold(self.rules, state)
        self._noted = fold.state.upto
        self._read_networks(fold)
        return fold

    def _noted_state(self, book: Book) -> State | None:
        raw, leaf = book.note("state"), book.note("leaf")
        if raw is None or leaf is None or book.note("rules") != self.rules.digest().encode():
            return None
        if not raw:
            return State()  # it has begun, and noted nothing yet
        try:
            state = msgspec.json.decode(raw, type=State)
        except msgspec.DecodeError:
            return None
        return state if state.upto <= self._source.ledger.head().size and leaf == self._leaf_before(state.upto) else None

    def _note(self, book: Book) -> None:
        if self._fold is None or self._fold.state.upto == self._noted:
            return
        state = self._fold.state
        notes = {"state": msgspec.json.encode(state), "leaf": self._leaf_before(state.upto), **self._read_so_far()}
        book.keep([], notes, queue=[], now_us=0)
        self._noted = state.upto

    def _read_so_far(self) -> dict[str, bytes]:
        return {"upto": str(self._fold.state.upto).encode()} if self._fold else {}

    def _leaf_before(self, index: int) -> bytes:
        """Which log this is, by its last entry below an index."""
        found = next(self._source.ledger.entries(index - 1, index), None) if index else None
        return b"" if found is None else leaf_hash(found[1])

    def _read_networks(self, fold: Fold) -> None:
        """Where sessions came from in the time that still counts, from the sealed records that are left."""
        past_us = self.rules.past_days * r.DAY_US
        start = self._source.ledger.first_since(max(0, fold.state.at_us - past_us))
        for index, raw, network in self._source.read(min(start, fold.state.upto), fold.state.upto):
            if NOTED_NETWORK in raw:
                fold.recall(index, raw, network)
            if not index % BREATH:
                time.sleep(0)

    # --- questions: any thread

    def replay(self) -> tuple[Replayed, list[bytes]]:
        """Find everything again from the log alone, and hold it against the book; with every finding's bytes."""
        head = self._source.ledger.head().size
        fold, digest = Fold(self.rules), self.rules.digest()
        replayed, hashed = Replayed(entries=head, rules=digest), hashlib.sha256()
        again: dict[str, Finding] = {}
        lines: list[bytes] = []
        for place, (index, raw, network) in enumerate(self._source.read(0, head)):
            for finding in fold.add(index, raw, network):
                again[finding.uid(self.origin)] = finding
                line = finding.to_bytes(self.origin, digest)
                hashed.update(line + b"\n")
                lines.append(line)
            if not place % BREATH:
                time.sleep(0)
        for entry in self._observed.imports() if self._observed else ():
            for finding in self._judged(entry):
                again[finding.uid(self.origin)] = finding
                lines.append(finding.to_bytes(self.origin, digest))
                hashed.update(lines[-1] + b"\n")
        replayed.sha256 = hashed.hexdigest()
        replayed.too_little_past = {**fold.state.cannot_say, **({r.NETWORK: n} if (n := fold.networks.cannot_say) else {})}
        self._compare(replayed, again, fold)
        return replayed, lines

    def _compare(self, replayed: Replayed, again: dict[str, Finding], fold: Fold) -> None:
        with Book(self.path) as book:
            kept = {found.uid: found for found in book.findings()}
            read = self._read(book)
            judged = json.loads(book.note("judged") or b"[-1, 0]")[0]
        for uid, found in kept.items():
            if found.rules != replayed.rules:
                replayed.other_rules += 1
            elif uid in again:
                same = again[uid].to_bytes(self.origin, replayed.rules) == found.raw
                replayed.same += same
                if not same:
                    replayed.different.append(uid)
            elif self._blind(fold, found.rule, found.at_us) or self._is_gone(found):
                replayed.cannot_say.append(uid)
            else:
                replayed.missing.append(uid)
        for uid, finding in again.items():
            upto = judged + 1 if finding.grade is Grade.OBSERVED else read
            if uid not in kept and finding.entry < upto:
                blind = self._blind(fold, finding.rule, finding.at_us)
                (replayed.cannot_say if blind else replayed.new).append(uid)

    def _is_gone(self, found: Found) -> bool:
        """Whether a finding is about an import that is not here any more."""
        if json.loads(found.raw or b"{}").get("unmapped", {}).get("grade") != Grade.OBSERVED:
            return False
        return self._observed is None or found.entry not in self._observed.imports()

    def _blind(self, fold: Fold, rule: str, at_us: int) -> bool:
        """Whether a finding rests on detail that may be gone."""
        if rule not in {r.NETWORK, r.SPLIT}:
            return False
        newest = max(fold.networks.blind.values(), default=-1)
        return newest >= at_us // r.DAY_US - self.rules.past_days

    def _read(self, book: Book) -> int:
        return max(int(book.note("upto") or 0), self._fold.state.upto if self._fold else 0)

    def findings(self, *, since: int = 0, least: int = 0) -> list[Found]:
        """What the book has, in the log's order."""
        with Book(self.path) as book:
            return list(book.findings(since=since, least=least))

    def finding(self, uid: str) -> tuple[Found, list[dict[str, Any]]]:
        """One finding by how its name begins, and what became of its deliveries. NotFound, or Invalid if it names several."""
        with Book(self.path) as book:
            some = [found for found in book.findings() if found.uid.startswith(uid)]
            if len(some) > 1:
                raise Invalid("finding", f"{uid} begins the names of {len(some)}; give more of it")
            if not some:
                raise NotFound(f"a finding {uid}")
            return some[0], book.deliveries(some[0].uid)

    def actor(self, digest: str) -> dict[str, str]:
        """Whom a finding about other systems' logs means; empty if it means nobody there, or no import tells any more."""
        return self._observed.actor(digest) if self._observed and digest.startswith("o-") else {}

    def test(self, name: str, *, id_: str) -> None:
        """Send one event that is marked as a test, now, past the book. NotFound, Invalid, or Undelivered says why not."""
        target = next((target for target in self.targets if target.name == name), None)
        if target is None:
            raise NotFound(f"an alert target {name}; limen.toml names {', '.join(self._send) or 'none'}")
        target.check(self._secrets.get(name, ""))
        data = {"text": "This is a test of limen's alerts: nothing happened."}
        self._send[name](Alert(id_, self.origin, self._now_us(), int(r.Severity.LOW), data, test=True))

    def status(self) -> dict[str, Any]:
        """How far it has read, what it can't say, and what waits to be sent."""
        with Book(self.path) as book:
            return {
                "read": self._read(book),
                "entries": self._source.ledger.head().size,
                "rules": self.rules.digest(),
                "waiting": book.waiting(),
            }
