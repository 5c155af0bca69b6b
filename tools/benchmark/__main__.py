"""Compares limen with other ways to serve the same object, in one interleaved run; prints a Markdown table of ratios.

4 KiB ranged GETs at 1, 16, 64 and 256 connections, and whole 64 MiB GETs on one connection, against:

    limen                   a real gateway over HTTP; every GET is covered by a durable entry, of its own or of its window
    limen, no window        the same gateway, an asset of a tier without read windows: every GET waits for an entry of its own
    limen, no ledger        the same code, whose appends answer at once (unlogged.py)
    nginx                   static files, sendfile, no access log, no signatures checked
    rclone serve s3         signed requests; ETag hashes off, or each GET would read the whole object to hash it; and once
                            more without its read-ahead (`--buffer-size 0`), which is made for whole objects
    store                   os.pread on the same file, one thread, no network: an upper bound, not a server

Slices are short, and one round takes a slice of everything before the next begins, so that a busy moment of the machine
meets all alike. A ratio is taken within its round; the table has the medians over the rounds. Nothing here asserts a
time. Requests are signed before the clock starts. Servers and load generator listen and talk on 127.0.0.1 only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.credentials import Credentials

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from targets import LARGE, MIB, SMALL, Load, Target, await_port, free_port  # noqa: E402  as above

from simulator import World, records  # noqa: E402  the tests' world is found from here

CONNECTIONS = (1, 16, 64, 256)
RECORD = 131  # bytes that a recipient is served for one of the simulator's records, about: half of them are theirs
EACH = {
    "tier": [{
        "name": "each", "granted_by": ["owner"], "session_s": 3600, "hardware_key": False, "window_bytes": 0, "window_s": 0,
    }],
    "asset": [{"id": "orchid-each", "project": "orchid", "class": "training", "tier": "each"}],
    "grant": [{
        "holder": "quillwork/q03", "project": "orchid", "assets": ["orchid-each"], "actions": ["read", "head", "list"],
        "granted_by": "lab/mira", "expires": "2036-01-01",
    }],
}  # fmt: skip
NGINX = """
daemon off; worker_processes 2; pid nginx.pid; error_log error.log; {user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
    open_file_cache max=16; default_type application/octet-stream;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def start_nginx(directory: Path, root: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    prefix = directory / "nginx"
    prefix.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""  # its workers must be able to read a private directory
    (prefix / "nginx.conf").write_text(NGINX.format(user=user, port=port, root=root))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return subprocess.Popen([program, "-p", str(prefix), "-c", "nginx.conf", "-e", "error.log"]), port


def start_rclone(root: Path, keys: Credentials, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    program = Path(sys.executable).with_name("rclone")
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--etag-hash", "", "--config", "", "--log-level", "ERROR"]
    command += ["--auth-key", f"{keys.access_key},{keys.secret_key}", *options, str(root)]
    return subprocess.Popen(command), port


def start_unlogged(world: World, directory: Path) -> World:
    """The same data directory, copied, served without the ledger. Sessions hold there too: their tokens are sealed."""
    copy = World(directory / "unlogged" / "data", free_port(), command=(sys.executable, str(HERE / "unlogged.py")))
    shutil.copytree(world.data, copy.data, ignore=shutil.ignore_patterns("control.sock"))
    config = copy.data / "limen.toml"
    config.write_text(config.read_text().replace(f"127.0.0.1:{world.port}", f"127.0.0.1:{copy.port}"))
    return copy.serve()


def measure(targets: dict[str, Target], store: dict[str, Path], rounds: int, slice_s: float) -> dict[tuple[str, str], list[Any]]:
    """Every (row, column)'s slices, one a round."""
    found: dict[tuple[str, str], list[Any]] = {}
    load = Load()
    for number in range(rounds):
        for connections in CONNECTIONS:
            for target in targets.values():
                file = str(target.requests["blob-small"])
                job = {"port": target.port, "requests": file, "connections": connections, "length": SMALL}
                found.setdefault((target.name, str(connections)), []).append(load.run(do="small", seconds=slice_s, **job))
        small = load.run(do="pread", path=str(store["blob"]), seconds=slice_s / 4, length=SMALL, chunk=SMALL)
        for connections in CONNECTIONS:
            found.setdefault(("store", str(connections)), []).append(small)
        for target in targets.values():
            for key, (_, length, _) in target.objects.items():
                file = str(target.requests[f"{key}-large"])
                job = {"port": target.port, "requests": file, "length": length}
                slice_ = load.run(do="large", seconds=slice_s, **job)
                found.setdefault((target.name, key), []).append({**slice_, "rate": slice_["rate"] * length / MIB})
        length = store["blob"].stat().st_size
        whole = load.run(do="pread", path=str(store["blob"]), seconds=slice_s / 2, length=length, chunk=MIB)
        for key in targets["limen"].objects:
            found.setdefault(("store", key), []).append({**whole, "rate": whole["rate"] * length / MIB})
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    load.close()
    return found


def table(found: dict[tuple[str, str], list[Any]], marked: int) -> str:
    """The ratios, then the figures that they are made of."""
    columns = [*map(str, CONNECTIONS), "blob", "sft"]
    heads = [f"4 KiB, {n} conn." for n in CONNECTIONS] + ["64 MiB", f"{marked / MIB:.0f} MiB, marked"]
    rows = list(dict.fromkeys(name for name, _ in found))

    def line(*cells: str) -> str:
        return "| " + " | ".join(cells) + " |"

    def ratio(row: str, column: str) -> str:
        pairs = zip(found["limen", column], found.get((row, column)) or found[row, "blob"], strict=True)  # MiB/s, both
        return f"{statistics.median(ours['rate'] / theirs['rate'] for ours, theirs in pairs):.2g}"

    def figures(row: str, column: str) -> str:
        slices = found.get((row, column), [])
        if not slices:
            return ""
        rate, p50, p99 = (statistics.median(s[name] for s in slices) for name in ("rate", "p50", "p99"))
        unit = "/s" if column.isdigit() else " MiB/s"
        return f"{rate:,.0f}{unit}, {p50:.3g} / {p99:.3g}"

    rule = line("---", *["---:"] * len(columns))
    ratios = [line(f"limen ÷ {row}", *(ratio(row, column) for column in columns)) for row in rows if row != "limen"]
    values = [line(row, *(figures(row, column) for column in columns)) for row in rows]
    return "\n".join(
        [line("rate of", *heads), rule, *ratios, "", line("rate, p50 / p99 in ms", *heads), rule, *values],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare limen with other ways to serve the same object.")
    parser.add_argument("--quick", action="store_true", help="two short rounds and a smaller marked object: under a minute")
    quick = parser.parse_args().quick
    rounds, slice_s, count = (2, 0.5, 40_000) if quick else (5, 1.1, LARGE // RECORD)
    began, busy_before = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="limen-bench-") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        blob = random.Random(2).randbytes(LARGE)
        world = World.make(directory, sft=records(count), blob=blob)
        (directory / "each.json").write_text(json.dumps(EACH))
        world.limen("import", str(directory / "each.json"))
        world.limen("asset", "register", "orchid-each", str(directory / "blob.bin"), "--unmarked")
        stack.callback(world.stop)
        someone = world.serve().login("q03")
        world.stop()
        unlogged = start_unlogged(world, directory)
        stack.callback(unlogged.stop)
        world.serve()

        root = directory / "files"
        (root / "bench").mkdir(parents=True)
        (root / "bench" / "blob.bin").hardlink_to(directory / "blob.bin")
        keys = Credentials("AKIDBENCH", "secretofthebench")
        nginx, nginx_port = start_nginx(directory, root)
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        rclone, rclone_port = start_rclone(root, keys)
        stack.callback(rclone.wait)
        stack.callback(rclone.terminate)
        unbuffered, unbuffered_port = start_rclone(root, keys, "--buffer-size", "0")
        stack.callback(unbuffered.wait)
        stack.callback(unbuffered.terminate)
        for port in (nginx_port, rclone_port, unbuffered_port):
            await_port(port)

        marked = int(someone.ask("HEAD", "orchid/orchid-sft-v3/sft.jsonl").headers["content-length"])
        ours = {
            "blob": ("/orchid/orchid-blob/blob.bin", LARGE, blob),
            "sft": ("/orchid/orchid-sft-v3/sft.jsonl", marked, None),
        }
        each = {"blob": ("/orchid/orchid-each/blob.bin", LARGE, blob)}
        theirs = {"blob": ("/bench/blob.bin", LARGE, blob)}
        targets = {
            "limen": Target("limen", world.port, someone.credentials, ours),
            "each": Target("limen, no window", world.port, someone.credentials, each),
            "unlogged": Target("limen, no ledger", unlogged.port, someone.credentials, ours),
            "nginx": Target("nginx", nginx_port, None, theirs),
            "rclone": Target("rclone serve s3", rclone_port, keys, theirs),
            "unbuffered": Target("rclone, no read-ahead", unbuffered_port, keys, theirs),
        }
        for target in targets.values():
            target.prepare(directory)
        found = measure(targets, {"blob": directory / "blob.bin"}, rounds, slice_s)
    print(table(found, marked))
    when, cores, busy = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", os.cpu_count(), os.getloadavg()[0]
    print(f"\n`tools/bench{' --quick' if quick else ''}`, {when}; {cores} cores, Python {sys.version.split()[0]};", end=" ")
    print(f"{rounds} rounds of {slice_s} s slices, {time.monotonic() - began:.0f} s in all;", end=" ")
    print(f"load average {busy_before:.2f} before, {busy:.2f} after.")


main()
