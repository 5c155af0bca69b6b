"""How long a bundle of 100,000 facts takes to make and to verify: `tools/bench evidence [FACTS]`.

A vendor's facts document (every daily measure, each fact naming an entry of its own) over a real log, written through the
ledger and published as tiles; a contract of 30 clauses. Timed are: gathering (the facts' texts looked through for persons,
the entries read and proved, the verdict), composing (the bag, both signatures, the zip), and `verify.py` in an interpreter of
its own, in a directory that holds nothing else, with the verdict replayed. The bytes are compared with a second making.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from clauses import clause, contract, daily, document, midnight  # noqa: E402  the tests' world is found from here
from limen.assurance.evidence.bundle import compose, programs  # noqa: E402
from limen.assurance.evidence.collect import Order, Sources, collect  # noqa: E402
from limen.assurance.evidence.persons import Persons  # noqa: E402
from limen.assurance.measures import MEASURES  # noqa: E402
from limen.core import events  # noqa: E402
from limen.formats import sshsig  # noqa: E402
from limen.formats.note import Signer  # noqa: E402
from limen.ledger.ledger import PUBLISHED, Ledger  # noqa: E402
from limen.verify.published import Published  # noqa: E402

LOG = Signer("bench.example/log", bytes(range(32)))
KEY = sshsig.Signer(bytes(32))
START, BATCH, PEOPLE = "2026-01-01", 4096, 500
AT = 1_767_225_600_000_000


class Nothing:
    """Of what was filed: nothing. The documents' part of a bundle does not grow with its facts."""

    def rows(self, *_: Any, **__: Any) -> list[Any]:
        """None."""
        return []


async def written(place: Path, count: int) -> None:
    """A log of this many entries, the evidence key's first."""
    ledger = Ledger.open(place, origin=LOG.name, signer=LOG, now=lambda: AT / 1e6)
    try:
        for start in range(0, count, BATCH):
            await ledger.append_all([(entry(index), None) for index in range(start, min(start + BATCH, count))])
        await ledger.flush()
    finally:
        await ledger.close()


def entry(index: int) -> bytes:
    """An access like those of a gateway; entry 0 holds the evidence key."""
    salt, at = index.to_bytes(16, "big"), AT + index * 3_000_000_000
    if index == 0:
        return events.encode("evidence.key", at, salt, {"key": KEY.key.line, "by": "uid:0"})
    who = {"session": f"s-{index % 997:04}", "who": f"p-{index % 61:020x}", "project": "orchid", "vendor": "quillwork"}
    what = {"action": "read", "asset": "orchid-sft-v3", "version": 1, "shard": "sft.jsonl", "status": 206, "span": [0, 65536]}
    return events.encode("access.intent", at, salt, {**who, **what, "commit": {"network": f"{index:064x}"}})


def facts(wanted: int) -> dict[str, Any]:
    """A document of at least this many facts, each naming an entry of its own."""
    names = [name for name, measure in sorted(MEASURES.items()) if measure.daily]
    days, found, at = -(-wanted // len(names)), [], 1
    values = {"ratio": [1, 1], "bool": True, "int": 1, "decimal": "1.00"}
    for name in names:
        found += daily(name, START, [[values[MEASURES[name].kind]]] * days, entry=at)
        at += days
    return document(found, midnight(START, days))


def main() -> None:
    """Measure, and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("facts", type=int, nargs="?", default=100_000)
    wanted = asked.parse_args().facts
    told = facts(wanted)
    agreed = contract(*(clause("revoke_us", ref=str(i), window_days=92) for i in range(30)), ends="2035-12-31")
    size = 1 + max(index for fact in told["facts"] for sample in fact["samples"] for index in sample["entries"]) + 100
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "data").mkdir()
        asyncio.run(written(place / "data", size))
        log = Published(place / "data" / PUBLISHED)
        people = Persons.of(f"Person Number{number} Surname{number}" for number in range(PEOPLE))
        sources = Sources(
            log=log,
            verifier=LOG.verifier,
            filed=Nothing(),  # type: ignore[arg-type]
            read=lambda _: b"",
            facts=lambda *_: told,
            judged=lambda *_: agreed,
            advisories=lambda *_: (),
            persons=people,
            vendors=frozenset({"quillwork", "tessel"}),
        )
        order = Order("quillwork", "auditor", 0, 2**60, (f"{START}T00:00:00Z", told["as_of"]))
        checkpoint = log.checkpoint(LOG.verifier)
        began, cpu = time.perf_counter(), time.process_time()
        parts = collect(sources, order, checkpoint, key_entry=0)
        gathered = time.perf_counter()
        raw = compose(parts, KEY)
        composed, cpu = time.perf_counter(), time.process_time() - cpu
        same = compose(collect(sources, order, checkpoint, key_entry=0), KEY) == raw
        (place / "out").mkdir()
        (place / "out" / "b.zip").write_bytes(raw)
        for program, content in programs().items():
            (place / "out" / program).write_bytes(content)
        started = time.perf_counter()
        command = [sys.executable, "-I", "-S", "verify.py", "b.zip", "--log", LOG.vkey]
        done = subprocess.run(command, cwd=place / "out", capture_output=True, text=True, check=False)
        verified = time.perf_counter() - started
    sizes = f"{len(told['facts']):,} facts over {len(parts.named.leaves):,} entries"
    print(f"{sizes}: {composed - began:.1f} s to make ({cpu:.1f} s of CPU)")
    print(f"  gathered in {gathered - began:.1f} s, composed in {composed - gathered:.1f} s; {len(raw) / 1e6:.0f} MB")
    outside = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    print(f"  verify.py by itself, verdict replayed: {verified:.1f} s ({outside:.1f} s of CPU), exit code {done.returncode}")
    print(f"  made twice: {'the same bytes' if same else 'OTHER BYTES'}, SHA-256 {hashlib.sha256(raw).hexdigest()[:16]}")
    if done.returncode or not same:
        sys.exit(done.stdout)


if __name__ == "__main__":
    main()
