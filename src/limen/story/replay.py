"""The breach, replayed: builds a data directory, acts out the story on it, and checks every answer. About half a minute."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

from limen.assurance.bom.judge import judge
from limen.config import load
from limen.listening import log_without_values
from limen.server import Gateway
from limen.story import cast, content, papers, wire
from limen.story.later import Later
from limen.story.leaks import Leaks
from limen.story.past import BIG_READ, Past
from limen.story.proving import Proving
from limen.story.telling import Telling, expect, holds
from limen.story.theft import Serving, Theft
from limen.story.warned import Warned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limen.story.recount import Request

CONFIG = """# The replay of the breach; made by `limen demo`. Development mode: anybody can log in as anybody.
[server]
mode = "development"
listen = "127.0.0.1:{port}"
contact = "Aurelia's security team, security@aurelia.example"

[ledger]
origin = "{origin}"
append_deadline_s = 10.0
"""
ORIGIN = "aurelia.example/log"
NOT_BUILT = (
    "-30      git clones of orchid-playbooks, and the keys inside its history",
    "-7       a full clone; a throttle at the quota; findings within seconds; a canary as a critical finding",
    "+1       rotation of what was touched, and proof that each old key is refused",
)


def replay(data: Path, telling: Telling, *, spoil: Callable[[list[Request]], None] | None = None) -> dict[str, Any]:
    """Replay the story in an empty directory `data`; returns a summary. Wrong if limen gives an answer that it should not.

    `spoil` bends the clients' own notes before they are compared: the replay must then fail.
    """
    telling.write("A vendor is breached. Days count from the pause, 2 April 2026; limen's own clock stays real, and an entry")
    telling.write("carries the story's time beside it. Lab, vendors and people are invented; the code and prose served are real.")
    judge(papers.weekly(papers.WEEK[0])[0].raw)  # says which extra is missing, before anything is made
    port = _free_port()
    (data / "limen.toml").write_text(CONFIG.format(port=port, origin=ORIGIN))
    work = data / "story"
    work.mkdir()
    telling.doing("harvesting orchid-sft-v3 from this Python's standard library")
    material = _material(work)
    raw: list[Request] = []
    asyncio.run(_past(data, telling, raw, material))
    reading = next(r for r in raw if r.person == "quillwork/q03" and r.start == BIG_READ[0] and len(r.got) > BIG_READ[0] // 4)
    if spoil is not None:
        spoil(raw)
    serving = Serving.start(data, f"http://127.0.0.1:{port}")
    try:
        later = Later(serving, telling, work)
        lines = {key: _lines(key, path) for key, path in material.items() if _marked(key)}
        theft = Theft(serving, ORIGIN, telling, raw, lines, later)
        report = theft.run()
        later.weekly(3)
        Leaks(theft, telling, work).run(reading.got)
        later.renew()
        Proving(serving, telling, work).run()
    finally:
        serving.stop()
    telling.doing("verifying the log")
    verified = serving.ask("ledger", "verify")
    telling.act(
        "+7", "limen ledger verify", happened=["The lab's auditor checks the log."], said=["it verifies"], proof=_head(verified)
    )
    return {
        "client": wire.CLIENT,
        "suspect": theft.suspect,
        "entries": report["ledger"]["to"],
        "acts": telling.acts,
        "not_built_yet": list(NOT_BUILT),
    }


async def _past(data: Path, telling: Telling, raw: list[Request], material: dict[str, Path]) -> None:
    log_without_values()  # to stderr: what is told goes to stdout
    gateway = await Gateway.open(load(data))
    try:
        past = Past(gateway, telling, raw, material, Warned(gateway, telling))
        await past.run(content.canaries())
        await gateway.custody.ledger.flush()
    finally:
        await gateway.close()


def _material(work: Path) -> dict[str, Path]:
    made = {
        cast.SFT: content.harvest(),
        cast.GUIDE: content.GUIDE.encode(),
        cast.JUDGE: content.prompts(),
        cast.PREFS: content.preferences(),
        cast.CONFIGS: content.CONFIG.encode(),
        cast.CORE: os.urandom(4096),
    }
    paths = {}
    for key, raw in made.items():
        paths[key] = work / key.rpartition("/")[2]
        paths[key].write_bytes(raw)
    holds("the standard library must give 8,000 records or more", true=made[cast.SFT].count(b"\n") >= 8000)  # noqa: PLR2004
    expect("lines of helio-run-configs", content.CONFIG.count("\n"), 17)
    return paths


def _marked(key: str) -> bool:
    """Whether the report counts this shard in records that a client can count too."""
    return key in {cast.SFT, cast.JUDGE}


def _lines(key: str, path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines()
    return [*lines, *(c.encode() for c in content.canaries())] if key == cast.JUDGE else lines


def _head(verified: dict[str, Any]) -> str:
    return f"{verified['size']} entries under root {verified['root'][:16]}…"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
