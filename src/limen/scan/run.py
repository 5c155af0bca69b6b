"""One scan of one repository: every blob that is new since the last one is read once, for secrets and for references.

What was found in a blob is remembered by its id and by what looked (the index's digest, Kingfisher's version), so a scan of
a history with little new costs little. Which commits brought a finding in is asked of git for new commits alone.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.scan.history import MAX_BLOB, Brought, History
from limen.scan.manifest import Commit, Key, KeyPlace, Manifest, Reference, Stretch
from limen.scan.match import MOST_RUNS, Matcher
from limen.scan.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from limen.scan.governed import Index, Shard
    from limen.scan.history import Blob, Objects
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
        objects = self.history.objects()
        width = len(objects.blobs[0].oid) // 2 if objects.blobs else 20
        references = Memory(self.cache, f"refs-{self.looked.digest[:32]}", id_bytes=width) if self.looked.indexes else None
        secrets = Memory(self.cache, self.kingfisher.engine, id_bytes=width) if self.kingfisher else None
        read = self._read(objects.blobs, references, secrets)
        here = {blob.oid for blob in objects.blobs}
        shared = [row for row in references.rows if row["blob"] in here] if references else []
        found = [row for row in secrets.rows if row["blob"] in here] if secrets else []
        commits = self._commits({row["blob"] for row in shared + found}, objects, width)
        return Manifest(
            repo=self.name,
            subject="git",
            refs=refs.count,
            refs_digest=refs.digest,
            blobs=len(objects.blobs),
            bytes=sum(blob.size for blob in objects.blobs),
            read=read,
            commits=len(objects.commits),
            left_out=tuple(self.history.left_out + self._left_out),
            kingfisher=self.kingfisher.version if self.kingfisher else "",
            boxed=self.kingfisher.boxed if self.kingfisher else True,
            index=self.looked.digest if self.looked.indexes else "",
            shards=len(self.looked.shards),
            keys=keys_of(found, commits),
            references=tuple(self._references(shared, commits)),
        )

    def _read(self, blobs: Sequence[Blob], references: Memory | None, secrets: Memory | None) -> int:
        """Read every blob that one of the two has not seen; returns how many."""
        huge = [blob for blob in blobs if blob.size > MAX_BLOB]
        if huge:
            self._left_out.append(f"{len(huge)} blobs of more than {MAX_BLOB >> 20} MiB were not read (the first: {huge[0].oid})")
        old = [memory.ids for memory in (references, secrets) if memory is not None]
        todo = [b for b in blobs if b.size <= MAX_BLOB and not all(b.oid in ids for ids in old)] if old else []
        total = sum(blob.size for blob in todo)
        done = 0
        matcher = Matcher(self.looked.indexes, self.looked.known)
        # One thread more: Kingfisher searches a portion while the next one is read.
        with ThreadPoolExecutor(1) as pool:
            searching: Future[None] | None = None
            for portion in _portions(self.history.read([blob.oid for blob in todo])):
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

    def _commits(self, wanted: set[str], objects: Objects, width: int) -> dict[str, tuple[tuple[Commit, ...], int]]:
        """The commits that brought each wanted blob in, and how many more there are."""
        repo = hashlib.sha256(self.history.git_dir.encode()).hexdigest()[:32]
        walked = Memory(self.cache, f"repo-{repo}-commits", id_bytes=width)
        held = Memory(self.cache, f"repo-{repo}-blobs", id_bytes=width)
        known = {row["blob"] for row in walked.rows}
        unplaced = wanted - known
        # A blob that was here when the commits were walked, and that nobody asked about then: they must be walked again.
        again = any(oid in held.ids for oid in unplaced)
        fresh = list(objects.commits) if again else [commit for commit in objects.commits if commit not in walked.ids]
        found = self.history.brought(wanted, fresh) if wanted and fresh else {}
        if again:
            found = {oid: some for oid, some in found.items() if oid in unplaced} | {
                oid: [one for one in some if one.commit not in walked.ids] for oid, some in found.items() if oid in known
            }
        rows = [{"blob": oid, **asdict(one)} for oid, some in found.items() for one in some]
        rows += [{"blob": oid} for oid in unplaced - found.keys()]
        # Without a finding nothing was walked, and a later finding in an old blob must not think so.
        walked.note(fresh if wanted else (), rows)
        held.note((blob.oid for blob in objects.blobs), ())
        return self._named(wanted, walked.rows)

    def _named(self, wanted: set[str], rows: Iterable[dict[str, Any]]) -> dict[str, tuple[tuple[Commit, ...], int]]:
        brought: dict[str, set[Brought]] = {}
        for row in rows:
            if row["blob"] in wanted and "commit" in row:
                brought.setdefault(row["blob"], set()).add(Brought(row["commit"], row["path"], row["at"]))
        if not brought:
            return {}
        by_refs, by_logs = self.history.named()

        def reach(commit: str) -> str:
            return "refs" if commit in by_refs else "reflog" if commit in by_logs else "nothing"

        out = {}
        for oid, some in brought.items():
            first = sorted(some, key=lambda one: (one.at, one.commit, one.path))
            named = tuple(Commit(commit=c.commit, path=c.path, at=c.at, reach=reach(c.commit)) for c in first[:MOST_COMMITS])
            out[oid] = (named, len(first) - len(named))
        return out

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
