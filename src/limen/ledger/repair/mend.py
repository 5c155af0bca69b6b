"""Mending what `examination` found, in a directory that its caller owns: derived parts always, entries only by proof.

Tiles, bundles, checkpoint, key and the head's derived columns are made again from sound entries. Bad rows are never edited:
a new database is written beside the old one, from the rows that are right and from published bundles for the rest, and it
takes the old one's place only if its entries make the root that was signed. The old one stays, as evidence.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import TamperDetected
from limen.formats.merkle import Frontier, leaf_hash, root_of
from limen.formats.tiles import WIDTH
from limen.ledger.publication.places import Directory, fsync
from limen.ledger.publication.publisher import Publisher
from limen.ledger.repair.examination import DATABASE, PUBLISHED
from limen.ledger.repair.survey import ROWS
from limen.ledger.sealed import write_sealed
from limen.ledger.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.ledger.repair.examination import Examination

MENDED: Final = "ledger.db.mended"
_BESIDE: Final = ("-wal", "-shm")
_HEAD: Final = """
INSERT INTO head (origin, size, root, frontier, note, low_water, committed_at)
VALUES (:origin, :size, :root, :frontier, :note, :low_water, :committed_at)
ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, frontier = excluded.frontier,
    note = excluded.note, low_water = excluded.low_water, committed_at = excluded.committed_at
"""
_SEAL: Final = "INSERT INTO sealed (number, committed_at, root) VALUES (?, ?, ?)"
_ENTRY: Final = "INSERT INTO entry (idx, committed_at, raw) VALUES (?, ?, ?)"


def can_mend(found: Examination) -> str:
    """Why this can't be mended; empty if it can."""
    if found.signed is None:
        return "no head and no checkpoint verifies, so nothing can be held against it"
    if found.forked:
        return "two histories are signed; which one is right is for people to say"
    if any(finding.part == "sides" for finding in found.findings):
        return "there is no second copy of side records; the entries they belong to still prove what they prove"
    if found.rows_end > found.size:
        return "there are rows that no signed head covers, and they may be entries"
    if found.reached > found.size:
        return f"the log is known to have had {found.reached} entries, and no sound checkpoint here covers them"
    if (found.head is None or found.head.signed is None) and _differing(found):
        return "the database's own head does not verify, and rows differ from what is published: it may be another history"
    if not found.only_derived and found.restorable() is None:
        return "not every bad row can be had from a published bundle; look for a backup, or for a second place of publication"
    return ""


def _differing(found: Examination) -> bool:
    """Whether any bad row reads well: it is not damage of the disk that made it another."""
    copy = found.copies[ROWS]
    return any(copy.leaves(index, index + 1)[0] is not None for index in found.verdict.bad[ROWS])


def mend(found: Examination) -> list[str]:
    """Mend what can be mended, and say what was done. TamperDetected if it can't be; then nothing was changed."""
    if why := can_mend(found):
        raise TamperDetected(f"nothing was mended: {why}", index=-1 if found.first_bad is None else found.first_bad)
    done = []
    bad = found.verdict.bad[ROWS]
    if bad and bad[0] < found.scan.seam:
        done.append(_reseal(found))
    if any(finding.part == "sealed" for finding in found.findings):
        _write_seals(found.directory / DATABASE, found)
        done.append("the roots of sealed bundles were written again")
    if not (found.only_derived or _only_sealed(found)):
        done.append(_rebuild(found))
    elif any(finding.part == "head" for finding in found.findings):
        _write_head(found.directory / DATABASE, _head(found, _frontier(found)))
        done.append("the head's derived columns were written again from its entries")
    for path in found.bad_files:
        (found.directory / PUBLISHED / path).unlink(missing_ok=True)
    if any(finding.part in {"tiles", "bundles", "checkpoint", "vkey"} for finding in found.findings):
        publish_again(found.directory / DATABASE, found.directory / PUBLISHED, found.verifier)
        done.append("the published log was written again from the database")
    return done


def publish_again(database: Path, root: Path, verifier: Verifier) -> Checkpoint:
    """Every file of the published log, from the database; the checkpoint it then has. Refuses what does not verify."""
    store = SqliteStore(database, verifier.name)
    head = store.head()
    if head is None:
        raise TamperDetected(f"{database} has no head of {verifier.name}")
    Publisher(store, Directory(root), verifier, tampered=_unexpected).write_again(head)
    return head.checkpoint


def _unexpected(why: TamperDetected) -> None:
    raise why


# --- sealed bundles


def _only_sealed(found: Examination) -> bool:
    """Whether what is bad and can't be made again lies in sealed bundles alone."""
    bad = found.verdict.bad[ROWS]
    return bool(bad) and bad[-1] < found.scan.seam and sum(not finding.derived for finding in found.findings) == 1


def _reseal(found: Examination) -> str:
    """Write the sealed bundles that have a bad entry anew, each only if it makes its proven root."""
    restored = found.restorable() or {}
    numbers = sorted({index // WIDTH for index in found.verdict.bad[ROWS] if index < found.scan.seam})
    whole = []
    for number in numbers:
        start = number * WIDTH
        held = {index: row[1] for _, rows in found.scan.rows(start, start + WIDTH) for index, row in rows.items()}
        entries = [restored.get(index, held.get(index)) for index in range(start, start + WIDTH)]
        sound = [raw for raw in entries if isinstance(raw, bytes)]
        if root_of([leaf_hash(raw) for raw in sound]) != found.proven.hash(start, start + WIDTH):
            raise TamperDetected(f"sealed bundle {number} can't be restored; nothing was changed", index=start)
        whole.append((number, sound))
    for number, sound in whole:
        write_sealed(found.directory / DATABASE, number, sound)
    return f"{len(numbers)} sealed bundles were restored from published ones"


def _seal_rows(found: Examination) -> Iterator[tuple[int, int, bytes]]:
    """The table of sealed bundles, with proven roots."""
    time = 0
    for number in range(found.scan.seam // WIDTH):
        at = found.scan.seals.get(number, (None, None))[0]
        time = at if isinstance(at, int) and at >= time else time
        root = found.proven.hash(number * WIDTH, (number + 1) * WIDTH)
        if root is None:
            raise TamperDetected(f"sealed bundle {number} can't be proven; nothing was changed", index=number * WIDTH)
        yield number, time, root


def _write_seals(database: Path, found: Examination) -> None:
    rows = list(_seal_rows(found))
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM sealed")
        connection.executemany(_SEAL, rows)
        connection.execute("COMMIT")


# --- the database


def _rebuild(found: Examination) -> str:
    """A database of sound rows and restored ones, in the place of the damaged one, which is kept."""
    restored = found.restorable() or {}
    mended = found.directory / MENDED
    for name in ("", *_BESIDE):
        mended.with_name(mended.name + name).unlink(missing_ok=True)
    SqliteStore(mended, found.verifier.name).create()
    frontier = Frontier()
    with contextlib.closing(sqlite3.connect(mended, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for rows in _sound_rows(found, restored):
            frontier = frontier.extended(leaf_hash(raw) for _, _, raw in rows)
            connection.executemany(_ENTRY, [row for row in rows if row[0] >= found.scan.seam])
        connection.executemany(_SEAL, _seal_rows(found))
        head = _head(found, frontier)
        for start in range(0, found.size, 4096):
            sides = found.scan.sides(start, min(start + 4096, found.size))
            connection.executemany("INSERT INTO side (idx, class, raw) VALUES (?, ?, ?)", sides)
        last = connection.execute("SELECT max(committed_at) FROM entry").fetchone()[0]
        connection.execute(_HEAD, {**head, "committed_at": last or 0})
        connection.execute("COMMIT")
    fsync(mended)
    kept = _exchange(found.directory / DATABASE, mended)
    came = f"{len(restored)} rows were restored from published bundles" if restored else "its rows were copied"
    lost = "; side records that could not be read are not in it" if found.scan.trouble else ""
    return f"a new database makes the root signed at size {found.size}: {came}; the damaged one is kept in {kept}{lost}"


def _sound_rows(found: Examination, restored: dict[int, bytes]) -> Iterator[list[tuple[int, int, bytes]]]:
    """Runs of rows: the right bytes for each index, and a commit time that never runs backwards."""
    time = 0
    end: Any = found.head.committed_at if found.head else None
    for low, rows in found.scan.rows(0, found.size):
        run: list[tuple[int, int, bytes]] = []
        for index in range(low, min(low + 4096, found.size)):
            at, raw = rows.get(index, (None, None))
            if isinstance(at, int) and at >= time and not (isinstance(end, int) and at > end):
                time = at
            sound = restored.get(index, raw)
            if not isinstance(sound, bytes):
                raise TamperDetected(f"entry {index} is lost; nothing was changed", index=index)
            run.append((index, time, sound))
        yield run


def _frontier(found: Examination) -> Frontier:
    frontier = Frontier()
    for rows in _sound_rows(found, {}):
        frontier = frontier.extended(leaf_hash(raw) for _, _, raw in rows)
    return frontier


def _head(found: Examination, frontier: Frontier) -> dict[str, object]:
    """The head's row: the newest signed note, and what follows from it. TamperDetected if the entries do not make it."""
    signed = found.signed
    if signed is None or (frontier.size, frontier.root()) != (signed.size, signed.root):
        raise TamperDetected("the mended entries do not make the signed root; nothing was changed")
    low = found.head.low_water if found.head else 0
    if not isinstance(low, int) or not 0 <= low <= signed.size or found.survey.open_intents:
        low = min(found.survey.open_intents, default=signed.size if found.head else 0)
    times = [time for _, time in found.survey.times if isinstance(time, int)]
    return {
        "origin": signed.origin,
        "size": signed.size,
        "root": signed.root,
        "frontier": frontier.to_bytes(),
        "note": signed.note,
        "low_water": low,
        "committed_at": times[-1] if times else (found.head.committed_at if found.head else 0),
    }


def _write_head(database: Path, head: dict[str, object]) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_HEAD, head)


def _exchange(database: Path, mended: Path) -> Path:
    """Put the mended database in its place; the old one and its write-ahead log are moved to a directory of their own.

    The log goes first: beside another database its frames would be taken for that one's. Stopped in between, what is there
    is an older state, and start-up refuses it.
    """
    number = 1 + sum(1 for _ in database.parent.glob("damaged-*"))
    kept = database.with_name(f"damaged-{number}")
    kept.mkdir(mode=0o700)
    os.link(database, kept / database.name)
    for name in _BESIDE:
        beside = database.with_name(database.name + name)
        if beside.exists():
            beside.rename(kept / beside.name)
    fsync(kept)
    mended.chmod(0o600)
    mended.replace(database)
    fsync(database.parent)
    return kept
