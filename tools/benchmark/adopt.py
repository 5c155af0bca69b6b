"""Compares an adopted object through limen with the same object straight from its upstream, in one interleaved run.

The upstream is SeaweedFS on this machine. Whole 64 MiB GETs and 4 KiB ranged GETs, each on one connection, against:

    upstream            SeaweedFS's own S3 gateway, signed requests
    limen, adopted      the same object through limen: intent logged, fetched under If-Match, counted, sent on
    limen, stored       the same bytes from limen's own store

One round takes a slice of everything; ratios are taken within a round, and the medians are printed. The time to the first
byte that limen adds is that of small GETs, through limen less straight. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from botocore.credentials import Credentials
from targets import LARGE, MIB, SMALL, Load, Target

from simulator import World
from upstreams import ACCESS_KEY, BUCKET, SECRET_KEY, seaweed

ASSET = "orchid-sft-v3"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare an adopted object through limen with its upstream.")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    quick = parser.parse_args().quick
    rounds, slice_s = (2, 0.5) if quick else (9, 1.5)
    busy_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        blob = random.Random(2).randbytes(LARGE)
        upstream = stack.enter_context(seaweed(directory / "seaweedfs"))
        upstream.boto3().put_object(Bucket=BUCKET, Key="sft/blob.bin", Body=blob)
        world = World.make(directory, blob=blob)
        world.environment |= upstream.environment
        with (world.data / "limen.toml").open("a") as config:
            config.write(upstream.configuration())
        world.limen("asset", "adopt", ASSET, f"s3://{BUCKET}/sft")
        stack.callback(world.stop)
        someone = world.serve().login("q03")
        port = int(upstream.endpoint.rpartition(":")[2])
        keys = Credentials(ACCESS_KEY, SECRET_KEY)
        targets = [
            Target("upstream", port, keys, {"blob": (f"/{BUCKET}/sft/blob.bin", LARGE, blob)}),
            Target("limen, adopted", world.port, someone.credentials, {"blob": (f"/orchid/{ASSET}/blob.bin", LARGE, blob)}),
            Target("limen, stored", world.port, someone.credentials, {"blob": ("/orchid/orchid-blob/blob.bin", LARGE, blob)}),
        ]
        for target in targets:
            target.prepare(directory)
        found = measure(targets, rounds, slice_s)
    show(found)
    when, cores, busy = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", os.cpu_count(), os.getloadavg()[0]
    print(f"\n`tools/bench adopt{' --quick' if quick else ''}`, {when}; {cores} cores, Python {sys.version.split()[0]};", end=" ")
    print(f"{rounds} rounds of {slice_s} s slices; load average {busy_before:.2f} before, {busy:.2f} after.")


def measure(targets: list[Target], rounds: int, slice_s: float) -> dict[tuple[str, str], list[dict[str, float]]]:
    """Every (target, kind)'s slices, one a round."""
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    load = Load()
    for number in range(rounds):
        for target in targets:
            job = {"port": target.port, "seconds": slice_s}
            large = load.run(do="large", requests=str(target.requests["blob-large"]), length=LARGE, **job)
            small = load.run(do="small", requests=str(target.requests["blob-small"]), length=SMALL, connections=1, **job)
            found.setdefault((target.name, "large"), []).append(large)
            found.setdefault((target.name, "small"), []).append(small)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    load.close()
    return found


def show(found: dict[tuple[str, str], list[dict[str, float]]]) -> None:
    """The table, and what limen adds to the first byte."""
    print("| | 64 MiB | ÷ upstream | 4 KiB, p50 / p99 in ms |\n| --- | ---: | ---: | ---: |")
    for name in dict.fromkeys(name for name, _ in found):
        large, small, direct = found[name, "large"], found[name, "small"], found["upstream", "large"]
        rate = statistics.median(s["rate"] for s in large) * LARGE / MIB
        ratio = statistics.median(a["rate"] / b["rate"] for a, b in zip(large, direct, strict=True))
        p50, p99 = (statistics.median(s[p] for s in small) for p in ("p50", "p99"))
        print(f"| {name} | {rate:,.0f} MiB/s | {ratio:.2f} | {p50:.2f} / {p99:.2f} |")
    pairs = list(zip(found["limen, adopted", "small"], found["upstream", "small"], strict=True))
    added = [statistics.median(a[p] - b[p] for a, b in pairs) for p in ("p50", "p99")]
    print(f"\nlimen adds {added[0]:.2f} ms (p50) and {added[1]:.2f} ms (p99) to the first byte.")


main()
