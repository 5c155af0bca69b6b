"""The benchmark's load generator, a process of its own: closed loops of ready-made requests on kept connections.

Reads one job a line from standard input (JSON) and answers each with one line:

    {"do": "small", "port": …, "requests": FILE, "connections": n, "seconds": s, "length": bytes}
    {"do": "large", "port": …, "requests": FILE, "seconds": s, "length": bytes}
    {"do": "pread", "path": …, "seconds": s, "length": bytes, "chunk": bytes}

A FILE holds a JSON list of whole requests, signed beforehand. Each answer must have the expected status and length;
anything else ends the process. Nothing is signed, compared or written down inside the timed loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

HEAD_END = b"\r\n\r\n"
BUFFER = 1 << 20
STATUS = slice(9, 12)
RANGED = (b"206", b"200")  # rclone answers a range with 200 and Content-Range; the length tells whether it is one
PATIENCE_S = 30


@dataclass
class Tally:
    """What one slice counts."""

    until: float
    times: list[float] = field(default_factory=list)
    running: int = 0
    failed: str = ""


class Loop(asyncio.Protocol):
    """One connection: sends the next request when the last answer is whole, until the slice is over."""

    def __init__(self, requests: list[bytes], length: int, done: asyncio.Event) -> None:
        self.requests = requests
        self.at = random.randrange(len(requests))
        self.length = length
        self.done = done
        self.tally: Tally | None = None
        self.head = b""
        self.missing = -1  # bytes of the body to come; -1 while in the head

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def begin(self, tally: Tally) -> None:
        self.tally = tally
        tally.running += 1
        self.ask()

    def ask(self) -> None:
        self.at = (self.at + 1) % len(self.requests)
        self.began = time.perf_counter()
        self.transport.write(self.requests[self.at])

    def data_received(self, received: bytes) -> None:
        if self.missing < 0:
            if self.head:
                received, self.head = self.head + received, b""
            end = received.find(HEAD_END)
            if end < 0:
                self.head = received
                return
            if received[STATUS] not in RANGED:
                self.fail(received[:400].decode("latin-1"))
                return
            self.missing = self.length - (len(received) - end - len(HEAD_END))
        else:
            self.missing -= len(received)
        if self.missing < 0:
            self.fail("more bytes than the range has")
        elif self.missing == 0:
            self.whole()

    def whole(self) -> None:
        tally, now = self.tally, time.perf_counter()
        self.missing = -1
        if now < tally.until:
            tally.times.append(now - self.began)
            self.ask()
        else:
            self.leave()

    def fail(self, why: str) -> None:
        self.tally.failed = self.tally.failed or why
        self.leave()

    def leave(self) -> None:
        self.tally.running -= 1
        self.transport.abort()
        if not self.tally.running:
            self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.missing >= 0 or self.head:
            self.fail(f"the connection was lost: {exc}")


async def small(job: dict[str, Any], requests: list[bytes]) -> dict[str, Any]:
    """Many small ranged GETs on `connections` kept connections, opened before the clock starts."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    pairs = [
        await loop.create_connection(lambda: Loop(requests, job["length"], done), "127.0.0.1", job["port"])
        for _ in range(job["connections"])
    ]
    began = time.perf_counter()
    tally = Tally(began + job["seconds"])
    for _, protocol in pairs:
        protocol.begin(tally)
    await asyncio.wait_for(done.wait(), job["seconds"] + PATIENCE_S)
    if tally.failed:
        raise SystemExit(f"port {job['port']}: {tally.failed}")
    return answer(tally.times, job["seconds"])


def large(job: dict[str, Any], requests: list[bytes]) -> dict[str, Any]:
    """Whole objects, one after the other, on one kept connection."""
    buffer, times = memoryview(bytearray(BUFFER)), []
    with socket.create_connection(("127.0.0.1", job["port"]), timeout=PATIENCE_S) as connection:
        began = time.perf_counter()
        while not times or time.perf_counter() < began + job["seconds"]:
            start = time.perf_counter()
            connection.sendall(requests[0])
            head = b""
            while HEAD_END not in head:
                head += connection.recv(4096) or sys.exit("the connection was closed")
            if head[STATUS] != b"200":
                raise SystemExit(f"port {job['port']}: {head[:400].decode('latin-1')}")
            missing = job["length"] - (len(head) - head.index(HEAD_END) - len(HEAD_END))
            while missing > 0:
                missing -= connection.recv_into(buffer) or sys.exit("the connection was closed early")
            times.append(time.perf_counter() - start)
        took = time.perf_counter() - began
    return answer(times, took)


def pread(job: dict[str, Any]) -> dict[str, Any]:
    """The same bytes by os.pread, one thread: `length` bytes in chunks; at random places if it is one chunk."""
    length, chunk, times = job["length"], job["chunk"], []
    handle = os.open(job["path"], os.O_RDONLY)
    last = os.fstat(handle).st_size - length
    places = [random.randrange(last + 1) & ~4095 for _ in range(1024)]
    began = now = time.perf_counter()
    while not times or now < began + job["seconds"]:
        place, start = places[len(times) % len(places)], now
        for at in range(place, place + length, chunk):
            if len(os.pread(handle, min(chunk, place + length - at), at)) == 0:
                raise SystemExit("the file is short")
        now = time.perf_counter()
        times.append(now - start)
    os.close(handle)
    return answer(times, now - began)


def answer(times: list[float], took: float) -> dict[str, Any]:
    """Rate and quantiles (milliseconds) of one slice."""
    ordered = sorted(times) or [took]
    return {
        "rate": len(times) / took,
        "p50": 1000 * ordered[len(ordered) // 2],
        "p99": 1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
    }


def main() -> None:
    kept: dict[str, list[bytes]] = {}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            job = json.loads(line)
            name = job.get("requests")
            if name and name not in kept:
                kept[name] = [request.encode("latin-1") for request in json.loads(Path(name).read_text())]
            if job["do"] == "small":
                found = runner.run(small(job, kept[name]))
            else:
                found = large(job, kept[name]) if job["do"] == "large" else pread(job)
            print(json.dumps(found), flush=True)


main()
