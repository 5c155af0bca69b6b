"""A lab with one marked dataset and people who hold copies of it, in the test's own process: leaks of what they were served."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from inprocess import a_session
from limen.verbs import VERBS

if TYPE_CHECKING:
    from pathlib import Path

ADA, BO = "uid:1001", "uid:1002"
Q03, Q11 = "quillwork/q03", "quillwork/q11"


def copy_id(gateway: Any, who: str) -> str:
    """The copy id of a person: what reports show instead of them."""
    return str(gateway.custody.catalog.snapshot.state.copies[who])


def copy_of(gateway: Any, who: str) -> list[bytes]:
    """The records of somebody's copy, as they were served."""
    version = gateway.custody.catalog.snapshot.version("orchid-sft-v3")
    copy = gateway.custody.copy_of(who, version, version.shards[0])
    raw = b"".join(bytes(part) for part in copy.read(0, copy.length))
    return [line.rstrip() for line in raw.split(b"\n") if line.strip()]


def leak(path: Path, lines: list[bytes], count: int, *, seed: int = 1) -> Path:
    """So many of these records, in a file."""
    path.write_bytes(b"\n".join(random.Random(seed).sample(lines, count)) + b"\n")
    return path


async def verb(gateway: Any, name: str, by: str = ADA, **args: Any) -> Any:
    """Run a verb, as somebody."""
    return await VERBS[name](gateway, args, by)


async def trace(gateway: Any, *paths: Path, by: str = ADA, **args: Any) -> Any:
    """Trace a sample, as somebody."""
    return await verb(gateway, "trace", by, paths=[str(path) for path in paths], **args)


async def reads(gateway: Any, who: str) -> None:
    """Somebody opens a session, and an entry says that they read the whole of their copy."""
    session = await a_session(gateway, who.partition("/")[2])
    version = gateway.custody.catalog.snapshot.version("orchid-sft-v3")
    length = version.shards[0].length
    about = {"asset": "orchid-sft-v3", "version": 1, "shard": "sft.jsonl", "etag": "e", "span": [0, length], "status": 200}
    await gateway.custody.append("access.intent", session, {"action": "read", **about})


def entries(gateway: Any, *kinds: str) -> list[dict[str, Any]]:
    """The entries of some kinds, in order."""
    found = [json.loads(raw) for _, raw in gateway.custody.ledger.entries()]
    return [entry for entry in found if entry["kind"] in kinds]
