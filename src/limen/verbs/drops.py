"""What came back: scored against gold items, released to training without canaries, and checked for any."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Conflict, Invalid, NotFound, Unsupported
from limen.marks.baits import Baits
from limen.registration import Marking, Source
from limen.response import release as releasing
from limen.response.quality import every_prepared, quality
from limen.response.release import MANIFEST, Release, Returned

if TYPE_CHECKING:
    from limen.custody import Custody
    from limen.server import Gateway
    from limen.verbs import Verb

CHECK: Final = "limen/drop-check/v1"


async def quality_(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Scores of a drop box's writers against their gold items. Who asked is an entry."""
    custody = gateway.custody
    custody.windows.close_all()  # so that their outcomes are in what it reads
    await custody.ledger.flush()
    asked = {name: args.get(name) for name in ("person", "since_us", "answer")}
    report = await asyncio.to_thread(lambda: quality(custody, args["box"], **asked))
    total = report["all"]
    fields = {"box": args["box"], "people": total["people"], "served": total["served"], "by": by}
    if args.get("person"):
        fields["person"] = report["person"]
    logged = await custody.ledger.append(*custody.scribe.write("drop.quality", fields, None))
    return {**report, "entry": logged.index}


async def release(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Strip a drop box's work of canaries and register what is left as the next version of an asset."""
    custody = gateway.custody
    snapshot = custody.catalog.snapshot
    box, asset = snapshot.asset(args["box"]), snapshot.asset(args["asset"])
    if box.kind != "drop":
        raise Invalid("box", f"{box.id} is no drop box")
    if asset.kind == "drop":
        raise Invalid("--as", f"{asset.id} is a drop box itself; name the asset that training reads")
    with tempfile.TemporaryDirectory(dir=gateway.config.data, prefix=".release-") as scratch:
        to = Path(scratch)
        found = await asyncio.to_thread(_release, custody, box.id, to)
        out = [one for one in found.objects if one.released]
        if not out:
            why = "; ".join(f"{one.path}: {one.why}" for one in found.objects[:3]) or "it is empty"
            raise Conflict(f"nothing of {box.id} can be released: {why}")
        number = snapshot.next_number(asset.id)
        manifest = found.manifest()
        fields = {name: value for name, value in manifest.items() if name not in {"schema", "objects", "counted"}}
        fields |= {"objects": manifest["counted"], "asset": asset.id, "version": number, "by": by}
        fields["manifest"] = hashlib.sha256((to / MANIFEST).read_bytes()).hexdigest()
        logged = await custody.ledger.append(*custody.scribe.write("drop.release", fields, None))
        sources = [Source(name, to / name) for name in (MANIFEST, *(one.shard for one in out))]
        version, _ = await gateway.registrar.register(asset.id, sources, Marking(marked=False), by=by)
        if version.number != number:
            raise Conflict(f"{asset.id} got another version meanwhile: entry {logged.index} names the wrong one; release again")
    return {**manifest, "asset": asset.id, "version": version.number, "entry": logged.index}


def _release(custody: Custody, box: str, to: Path) -> Release:
    """What lies there is listed first, versions second: whoever returned a canary was served it, so it is among those."""
    lying = [(writer, dropped) for writer in custody.drops.writers(box) for dropped in custody.drops.of(box, writer)]
    objects = [Returned(w, d.path, d.digest, d.length, custody.blobs.path(d.digest)) for w, d in lying]
    return releasing.release(box, objects, Baits(list(every_prepared(custody).values())), to=to)


async def check(gateway: Gateway, args: dict[str, Any], by: str) -> dict[str, Any]:
    """Look for canaries in the newest version of an asset, or in files on this machine."""
    del by
    custody = gateway.custody
    if args.get("asset"):
        version = custody.catalog.snapshot.version(custody.catalog.snapshot.asset(args["asset"]).id)
        if version is None:
            raise NotFound(f"a version of {args['asset']}")
        if any(shard.upstream for shard in version.shards):
            raise Unsupported(f"{args['asset']} rests elsewhere; `limen asset prepare` it, or check the files there")
        what = [(shard.path, custody.blobs.path(shard.digest)) for shard in version.shards]
        named: dict[str, Any] = {"asset": version.asset, "version": version.number}
    else:
        what, named = [(path, Path(path)) for path in args["paths"]], {"asset": None, "version": None}
    found = await asyncio.to_thread(_check, custody, what)
    return {"schema": CHECK, **named, **found}


def _check(custody: Custody, what: list[tuple[str, Path]]) -> dict[str, Any]:
    baits = Baits(list(every_prepared(custody).values()))
    rows, shown, unread = 0, [], []
    for name, local in what:
        try:
            tally = releasing.shown(local, baits)
        except OSError as e:
            raise Invalid("path", f"{name} can't be read: {e.strerror}") from e
        except Invalid as e:
            unread.append({"path": name, "why": e.why})
            continue
        rows += tally.rows if name != MANIFEST else 0  # what a release says of itself is looked through, and is no row
        if tally.stripped:
            shown.append({"path": name, "rows": tally.stripped.total(), "by": dict(tally.stripped)})
    return {
        "objects": len(what),
        "rows": rows,
        "canaries": len(baits.all),
        "faint": len(baits.faint),
        "shown": shown,
        "unread": unread,
    }


VERBS: Final[dict[str, Verb]] = {
    "drop.quality": quality_,
    "drop.release": release,
    "drop.check": check,
}
