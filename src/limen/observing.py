"""Makes a staged import count: its ledger entry first, then its directory gets its name. The same at every start.

    check    the staged manifest is the one that was announced, and nothing of its source was imported meanwhile
    mark     what is about to be entered, synced
    enter    `observe.import`: source, digest of the manifest, covered intervals, counts; durable
    move     `staging/NAME/ready` becomes `entry=N`: from here on it counts

A crash between the last two leaves a mark; start-up looks for its entry and moves, or forgets the mark. So the ledger may
name an import that nobody sees yet, and nobody ever sees one that the ledger does not name.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound
from limen.core.events import canonical, decode
from limen.durable import sync, write_atomically
from limen.observe import manifest as manifests
from limen.observe.coverage import covered
from limen.observe.depot import Depot, base_of
from limen.observe.places import COMMITTING, FOLDER, PREFIX, READY, STAGING, place_of

if TYPE_CHECKING:
    from pathlib import Path

    from limen.custody import Custody
    from limen.observe.manifest import Manifest

KIND: Final = "observe.import"
_STAGED: Final = re.compile(r"[0-9a-f]{16}\Z")
ROOM: Final = {"inputs": 16_000, "covered": 24_000, "damaged": 6_000}  # bytes of an entry; the manifest has them all


class Observing:
    """Commits imports, one at a time. Built by `server`; its coroutines run on the event loop's thread."""

    def __init__(self, custody: Custody, data: Path) -> None:
        self.depot = Depot.open(data / FOLDER)
        self._custody = custody
        self._root = data / FOLDER
        self._lock = asyncio.Lock()

    async def commit(self, staged: str, digest: str, base: list[int], *, by: str) -> dict[str, Any]:
        """Enter a staged import and move it into place; returns `entry`, or `behind` if it was gathered too early.

        Invalid if what is staged is not what was announced; then nothing is entered.
        """
        if not _STAGED.match(staged):
            raise Invalid("staged", "is not the name of a staged import")
        async with self._lock:
            folder = self._root / STAGING / staged
            manifest = await asyncio.to_thread(_read, folder / READY, digest)
            if await asyncio.to_thread(base_of, self.depot, manifest.source) != base:
                return {"behind": True}
            custody = self._custody
            entry, _ = custody.scribe.write(KIND, {**_entry(manifest, digest), "staged": staged, "by": by}, None)
            mark = {"manifest": digest, "after": custody.ledger.head().size}
            await asyncio.to_thread(write_atomically, folder / COMMITTING, json.dumps(mark).encode())
            receipt = await custody.ledger.append(entry)
            await asyncio.to_thread(_move, self._root, staged, receipt.index)
            return {"entry": receipt.index}

    def finish(self) -> int:
        """Finish the commits that a crash interrupted; returns how many. At start-up, before any door opens.

        What lies in place without an entry of its own (a backup may bring that) is set aside: it does not count.
        """
        if not self._root.exists():
            return 0
        self._set_aside()
        moved = 0
        for mark in sorted((self._root / STAGING).glob(f"*/{COMMITTING}")):
            told = json.loads(mark.read_bytes())
            entry = self._entered(told["manifest"], mark.parent.name, int(told["after"]))
            if entry is not None and (mark.parent / READY).exists():
                _move(self._root, mark.parent.name, entry)
                moved += 1
            elif entry is None:
                mark.unlink()  # it was never entered; its writer is gone, and the next import sweeps it
        return moved

    def _entered(self, digest: str, staged: str, after: int) -> int | None:
        """The entry of a staged import, if it became durable."""
        ledger = self._custody.ledger
        for index, raw in ledger.entries(after, ledger.head().size):
            if b'"observe.import"' in raw:
                entry = decode(raw)
                if (entry["kind"], entry.get("manifest"), entry.get("staged")) == (KIND, digest, staged):
                    return index
        return None

    def _set_aside(self) -> None:
        ledger = self._custody.ledger
        size = ledger.head().size
        for folder in sorted(self._root.glob(f"{PREFIX}*")):
            number = folder.name.removeprefix(PREFIX)
            raw = b""
            if number.isdecimal() and int(number) < size:
                raw = next((each for _, each in ledger.entries(int(number), int(number) + 1)), b"")
            told = decode(raw) if raw else {}
            path = folder / manifests.NAME
            if told.get("kind") != KIND or not path.exists() or manifests.digest(path.read_bytes()) != told["manifest"]:
                folder.rename(self._root / f"no-entry-{number}-{told.get('at', size)}")


def _read(ready: Path, digest: str) -> Manifest:
    """The staged manifest, if it is the one announced and its parts are there."""
    try:
        raw = (ready / manifests.NAME).read_bytes()
    except FileNotFoundError as e:
        raise NotFound("the staged import; import the same again") from e
    if manifests.digest(raw) != digest:
        raise Invalid("staged", "is not the import that was announced; import the same again")
    manifest = manifests.decode(raw, "staged")
    if missing := [part.path for part in manifest.parts if not (ready / part.path).is_file()]:
        raise Invalid("staged", f"lacks {missing[0]}; import the same again")
    return manifest


def _move(root: Path, staged: str, entry: int) -> None:
    """Give a staged import its place, durably."""
    folder = root / STAGING / staged
    (folder / READY).rename(place_of(root, entry))
    sync(root)
    shutil.rmtree(folder, ignore_errors=True)


def _entry(manifest: Manifest, digest: str) -> dict[str, Any]:
    """What the ledger tells of an import: docs/formats/entries.md."""
    inputs = [[_text(given.name), given.digest] for given in manifest.inputs]
    rows = [[_text(scope), [list(span) for span in spans]] for (_, scope), spans in covered([manifest]).items()]
    damaged = [_text(given.name) for given in manifest.inputs if given.damaged]
    return {
        "source": manifest.source,
        "log": manifest.kind,
        "grade": "observed",
        "manifest": digest,
        "inputs": _fitting(inputs, ROOM["inputs"]),
        "inputs_count": len(inputs),
        "events": manifest.events,
        "rows": manifest.new,
        "left_out": {_text(name): count for name, count in manifest.left_out.items()},
        "bad": manifest.bad_count,
        "damaged": _fitting(damaged, ROOM["damaged"]),
        "damaged_count": len(damaged),
        "covered": _fitting(rows, ROOM["covered"]),
        "covered_count": len(rows),
        "gap_s": manifest.gap_s,
        "skew_s": manifest.skew_s,
        "fields": list(manifest.fields),
    }


def _fitting(items: list[Any], room: int) -> list[Any]:
    """The first of them, as many as fit."""
    for count, item in enumerate(items):
        room -= len(canonical(item)) + 1
        if room < 0:
            return items[:count]
    return items


def _text(value: str) -> str:
    """Somebody else's text as an entry may hold it; a field's name must be ASCII besides, and ours are."""
    return unicodedata.normalize("NFC", value.encode("utf-8", "replace").decode())[:300]
