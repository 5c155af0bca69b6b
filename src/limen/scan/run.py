"""One scan of one repository: every blob that is new since the last one is read once, for secrets and for references.

What was found in a blob is remembered by its id and by what looked (the index's digest, Kingfisher's version), so a scan of
a history with little new costs little. Which commits brought a finding in is asked of git for new commits alone.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.scan.history import MAX_BLOB, Brought, History
from limen.scan.listing import Listing
from limen.scan.manifest import Commit, Key, KeyPlace, Manifest, Reference, Stretch
from limen.scan.match import MOST_RUNS, Matcher
from limen.scan.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from limen.scan.governed import Index, Shard
    from limen.scan.match import Shared
    from limen.scan.secrets import Found, Kingfisher

PORTION: Final = 64 << 20  # bytes of blobs between two notes of what is done
PORTION_BLOBS: Final = 20_000
MOST_COMMITS: Final = 20  # named for one blob; the rest are counted
MOST_SHOWN: Final = 20  # stretches shown of one blob and shard


@dataclass(frozen=True, slots=True)
class Looked:
    """What a scan compares with: the index of governed content, if any, and what names it."""

    shards: tuple[Shard, ...] = ()
    indexes: tuple[Index, ...] = ()
    known: Index | None = None
    digest: str = ""


@dataclass(slots=True)
class Scan:
    """One repository's scan. `progress` is told the bytes read so far and those to be read."""

    history: History
    name: str
    looked: Looked
    kingfisher: Kingfisher | None
    cache: Path
    progress: Callable[[int, int], None] = lambda _done, _all: None
    _left_out: list[str] = field(default_factory=list)

    def run(self) -> Manifest:
        """Read what is new, and put together what stands in the whole history."""
        refs = self.history.refs()
        listing = Listing.of(self.history, self.cache, self._engines())
        width = listing.id_bytes
        references = Memory(self.cache, self._engines()[0], id_bytes=width) if self.looked.indexes else None
        secrets = Memory(self.cache, self.kingfisher.engine, id_bytes=width) if self.kingfisher else None
        read = self._read(listing.fresh.blobs, references, secrets)
        shared = [row for row in references.rows if listing.holds(row["blob"])] if references else []
        found = [row for row in secrets.rows if listing.holds(row["blob"])] if secrets else []
        commits = self._commits({row["blob"] for row in shared + found}, listing)
        listing.left_out += self._left_out
        listing.keep()
        return Manifest(
            repo=self.name,
            subject="git",
            refs=refs.count,
            refs_digest=refs.digest,
            blobs=listing.blobs,
            bytes=listing.bytes,
            read=read,
            commits=listing.commits,
            left_out=tuple(self.history.left_out + listing.left_out),
            kingfisher=self.kingfisher.version if self.kingfisher else "",
            boxed=self.kingfisher.boxed if self.kingfisher else True,
            index=self.looked.digest if self.looked.indexes else "",
            shards=len(self.looked.shards),
            keys=keys_of(found, commits),
            references=tuple(self._references(shared, commits)),
        )

    def _engines(self) -> list[str]:
        """What looks at blobs, by name: a blob that one of these has seen need not be shown to it again."""
        found = [f"refs-{self.looked.digest[:32]}"] if self.looked.indexes else []
        return found + ([self.kingfisher.engine] if self.kingfisher else [])

    def _read(self, blobs: dict[str, int], references: Memory | None, secrets: Memory | None) -> int:
        """Read every blob that one of the two has not seen; returns how many."""
        huge = [oid for oid, size in blobs.items() if size > MAX_BLOB]
        if huge:
            self._left_out.append(f"{len(huge)} blobs of more than {MAX_BLOB >> 20} MiB were not read (the first: {huge[0]})")
        old = [memory.ids for memory in (references, secrets) if memory is not None]
        seen = old[0].intersection(*old[1:]) | set(huge) if old else set(blobs)
        todo = [oid for oid in blobs if oid not in seen]
        total = sum(blobs[oid] for oid in todo)
        done = 0
        matcher = Matcher(self.looked.indexes, self.looked.known)
        # One thread more: Kingfisher searches a portion while the next one is read.
        with ThreadPoolExecutor(1) as pool:
            searching: Future[None] | None = None
            for portion in _portions(self.history.read(todo)):
                if searching is not None:
                    searching.result()
                    searching = None
                if secrets is not None and self.kingfisher is not None:
                    unseen = [(oid, raw) for oid, raw in portion if oid not in secrets.ids]
                    searching = pool.submit(_search, self.kingfisher, unseen, secrets)
                if references is not None:
                    _compare(matcher, [(oid, raw) for oid, raw in portion if oid not in references.ids], references)
                done += sum(len(raw) for _, raw in portion)
                self.progress(done, total)
            if searching is not None:
                searching.result()
        return len(todo)

    def _commits(self, wanted: set[str], listing: Listing) -> dict[str, tuple[tuple[Commit, ...], int]]:
        """The commits that brought each wanted blob in, and how many more there are."""
        walked = listing.walked
        known = {row["blob"] for row in walked.rows}
        unplaced = wanted - known
        # A blob that was here when the commits were walked, and that nobody asked about then: they must be walked again.
        again = any(oid in listing.held.ids for oid in unplaced)
        some = self.history.objects().commits if wanted and (again or not listing.all_walked) else listing.fresh.commits
        fresh = [commit for commit in some if again or commit not in walked.ids]
        found = self.history.brought(wanted, fresh) if wanted and fresh else {}
        if again:
            found = {oid: some for oid, some in found.items() if oid in unplaced} | {
                oid: [one for one in some if one.commit not in walked.ids] for oid, some in found.items() if oid in known
            }
        rows = [{"blob": oid, **asdict(one)} for oid, some in found.items() for one in some]
        rows += [{"blob": oid} for oid in unplaced - found.keys()]
        # Without a finding nothing was walked, and a later finding in an old blob must not think so.
        walked.note(fresh if wanted else (), rows)
        listing.all_walked = bool(wanted)
        return self._named(wanted, walked.rows)

    def _named(self, wanted: set[str], rows: Iterable[dict[str, Any]]) -> dict[str, tuple[tuple[Commit, ...], int]]:
        brought: dict[str, set[Brought]] = {}
        for row in rows:
            if row["blob"] in wanted and "commit" in row:
                brought.setdefault(row["blob"], set()).add(Brought(row["commit"], row["path"], row["at"]))
        if not brought:
            return {}
        first = {oid: sorted(some, key=lambda one: (one.at, one.commit, one.path)) for oid, some in brought.items()}
        reach = self.history.reach({one.commit for some in first.values() for one in some[:MOST_COMMITS]})

        def named(one: Brought) -> Commit:
            return Commit(commit=one.commit, path=one.path, at=one.at, reach=reach[one.commit])

        return {oid: (tuple(map(named, some[:MOST_COMMITS])), max(len(some) - MOST_COMMITS, 0)) for oid, some in first.items()}

    def _references(
        self, rows: Iterable[dict[str, Any]], commits: dict[str, tuple[tuple[Commit, ...], int]]
    ) -> Iterator[Reference]:
        names = {shard.digest: shard.names for shard in self.looked.shards}
        once = {(row["blob"], row["digest"], row["kind"]): row for row in rows}
        for (blob, digest, kind), row in sorted(once.items()):
            named, more = commits.get(blob, ((), 0))
            yield Reference(
                blob=blob,
                kind=kind,
                digest=digest,
                names=names.get(digest, ()),
                runs=row["runs"],
                at_least=row["at_least"],
                stretches=tuple(Stretch(**one) for one in row["stretches"]),
                commits=named,
                more_commits=more,
            )


def keys_of(rows: Iterable[dict[str, Any]], commits: dict[str, tuple[tuple[Commit, ...], int]]) -> tuple[Key, ...]:
    """The keys in what was found, each with all its places."""
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in {(r["key"], r["blob"], r["line"], r["inside"]): r for r in rows}.values():
        by_key.setdefault(row["key"], []).append(row)
    out = []
    for key, some in sorted(by_key.items()):
        places = []
        for row in sorted(some, key=lambda r: (r["blob"], r["line"], r["inside"])):
            named, more = commits.get(row["blob"], ((), 0))
            places.append(KeyPlace(blob=row["blob"], line=row["line"], inside=row["inside"], commits=named, more_commits=more))
        first = some[0]
        out.append(
            Key(
                key=key,
                kind=first["rule"],
                confidence=first["confidence"],
                aliases=tuple(first["aliases"]),
                places=tuple(places),
            )
        )
    return tuple(out)


def row_of(blob: str, found: Found) -> dict[str, Any]:
    """A found secret as it is remembered: no part of the secret."""
    return {
        "blob": blob,
        "rule": found.rule,
        "line": found.line,
        "inside": found.inside,
        "confidence": found.confidence,
        "key": found.sealed.key,
        "aliases": list(found.sealed.aliases),
    }


def _search(kingfisher: Kingfisher, blobs: list[tuple[str, bytes]], memory: Memory) -> None:
    if blobs:
        found = kingfisher.search(blobs)
        memory.note([oid for oid, _ in blobs], [row_of(oid, one) for oid, some in found.items() for one in some])


def _compare(matcher: Matcher, blobs: list[tuple[str, bytes]], memory: Memory) -> None:
    found: list[tuple[str, list[Shared]]] = []
    for oid, raw in blobs:
        found += matcher.add(oid, raw)
    found += matcher.finish()
    memory.note([oid for oid, _ in blobs], [row for oid, some in found for row in _shared_rows(oid, some)])


def _shared_rows(oid: str, shared: Sequence[Shared]) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[str, str], list[Shared]] = {}
    for one in shared:
        groups.setdefault((one.digest, one.kind), []).append(one)
    of_digest = {digest: sum(len(some) for (d, _), some in groups.items() if d == digest) for digest, _ in groups}
    for (digest, kind), some in groups.items():
        longest = sorted(some, key=lambda one: (-one.length, one.line))[:MOST_SHOWN]
        yield {
            "blob": oid,
            "digest": digest,
            "kind": kind,
            "runs": len(some),
            "at_least": of_digest[digest] >= MOST_RUNS,
            "stretches": [
                {"line": s.line, "last_line": s.last_line, "source_line": s.source_line, "length": s.length}
                for s in sorted(longest, key=lambda one: one.line)
            ],
        }


def _portions(blobs: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    some: list[tuple[str, bytes]] = []
    size = 0
    for oid, raw in blobs:
        some.append((oid, raw))
        size += len(raw)
        if size >= PORTION or len(some) >= PORTION_BLOBS:
            yield some
            some, size = [], 0
    if some:
        yield some
