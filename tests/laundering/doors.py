"""Two people of two vendors download a set from a running gateway; what is made of it is traced by the command.

Who downloaded is q03 of quillwork and t01 of tessel; thirteen others of the same catalog could have, so that a copy
that had no part could be named.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from laundering.transforms import LAUNDERED, UNCHANGED, Record, jsonl
from limen.catalog.catalog import Catalog
from limen.cli import limen
from simulator import World

if TYPE_CHECKING:
    from pathlib import Path

LEAKERS = ("quillwork/q03", "tessel/t01")
KEY = "orchid-sft-v3/sft.jsonl"
FEW, MANY = 100, 6_000  # records among which the number needed is looked for
NEAR = 100  # the search ends when a hundredth of the number is not known


@dataclass
class Downloads:
    """What the two hold, and a gateway that can be asked about it. `innocent`: copies that were named and had no part."""

    world: World
    held: list[list[Record]]
    whose: dict[str, str]  # what no report says: who is behind a copy id
    traced: int = 0
    innocent: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, directory: Path, rows: list[Record]) -> Downloads:
        """Register the rows, serve them, and have both download them with boto3. `stop` when done."""
        world = World.make(directory, sft=jsonl(rows)).serve()
        held = []
        for holder in LEAKERS:
            bucket, _, key = f"orchid/{KEY}".partition("/")
            client = world.login(holder.partition("/")[2]).boto3()
            raw = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            held.append([json.loads(line) for line in raw.splitlines() if line.strip()])
        catalog = Catalog.open(f"sqlite:///{world.data / 'control.db'}", random=bytes)
        holders = catalog.snapshot.state.holders
        whose = {copy: holders[copy] for copy in holders}
        catalog.close()
        return cls(world, held, whose)

    def stop(self) -> None:
        """Stop the gateway."""
        self.world.stop()

    def leak(self, name: str, count: int, seed: int) -> bytes:
        """`count` records, half of them each person's, drawn by the seed, and laundered. A larger leak holds a smaller one's."""
        draw = random.Random(f"records {seed}")
        orders = [draw.sample(range(len(held)), len(held)) for held in self.held]
        turns = [held[at] for held, order in zip(self.held, orders, strict=True) for at in order[: count // 2]]
        return LAUNDERED[name](turns, random.Random(f"{name} {seed}"))

    def trace(self, leak: bytes) -> dict[str, Any]:
        """What `limen trace` says of it."""
        sample = self.world.data.parent / "leak"
        sample.write_bytes(leak)
        done = CliRunner().invoke(limen, ["trace", str(sample), "--data", str(self.world.data), "--json"], catch_exceptions=False)
        if done.exit_code:
            raise AssertionError(done.stderr)
        self.traced += 1
        report: dict[str, Any] = json.loads(done.stdout)
        self.innocent |= self.named(report) - set(LEAKERS)
        return report

    def named(self, report: dict[str, Any]) -> set[str]:
        """Whose copies a report implicates."""
        return {self.whose[copy["copy"]] for copy in report["copies"]}

    def names_both(self, name: str, count: int, seed: int) -> bool:
        """Whether a leak of that many records is put down to the two copies it was made of."""
        return self.named(self.trace(self.leak(name, count, seed))) >= set(LEAKERS)

    def needed(self, name: str, seed: int) -> int:
        """How many records it takes: by halving, to a hundredth. MANY or more if MANY don't do."""
        too_few, enough = FEW, MANY
        if not self.names_both(name, enough, seed):
            return MANY
        while enough - too_few > max(2, enough // NEAR):
            middle = (too_few + enough) // 2
            if self.names_both(name, middle, seed):
                enough = middle
            else:
                too_few = middle
        return enough


@dataclass(frozen=True)
class Row:
    """One line of the table: what a laundering makes a leaker's copies cost to name."""

    name: str
    needed: list[int]
    plain: list[int]

    @property
    def ratio(self) -> float:
        """Records needed over those needed as downloaded, all seeds together."""
        return sum(self.needed) / sum(self.plain)


def table(downloads: Downloads, *, seeds: list[int], names: list[str]) -> list[Row]:
    """How many records each laundering takes; the one as downloaded first."""
    plain = [downloads.needed(UNCHANGED, seed) for seed in seeds]
    others = [name for name in names if name != UNCHANGED]
    return [
        Row(UNCHANGED, plain, plain),
        *(Row(name, [downloads.needed(name, seed) for seed in seeds], plain) for name in others),
    ]
