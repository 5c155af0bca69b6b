"""What only a real connection shows: that a body is asked for late, and that a refusal leaves the connection in order."""

from __future__ import annotations

import asyncio

import uvicorn
from s3world import sign

from limen.core.errors import NotFound

TARGET = "/orchid/drop/x"


def talk(world, steps):
    """Serve the world's door on a loopback port and run `steps(reader, writer)` against it."""

    async def app(scope, receive, send):
        scope["extensions"] = {"limen.abort": world._abort}
        await world.door(scope, receive, send)

    async def run():
        config = uvicorn.Config(app, host="127.0.0.1", port=0, http="httptools", lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:  # noqa: ASYNC110  uvicorn offers no event to wait for
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await asyncio.wait_for(steps(reader, writer), 10)
        finally:
            writer.close()
            server.should_exit = True
            await serving

    return asyncio.run(run())


def head(method, target, headers):
    return "".join([f"{method} {target} HTTP/1.1\r\n", *(f"{n}: {v}\r\n" for n, v in headers), "\r\n"]).encode()


async def answer(reader):
    """Status line, headers and body of the next response."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:] if line)}
    return int(lines[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


def test_a_body_is_asked_for_only_once_access_has_agreed(world):
    headers = sign("PUT", TARGET, body=b"hello", headers={"Expect": "100-continue"})

    async def steps(reader, writer):
        writer.write(head("PUT", TARGET, headers))
        interim = await reader.readuntil(b"\r\n\r\n")
        assert world.calls == [("accept", "drop/x", 5)]
        writer.write(b"hello")
        return interim, await answer(reader)

    interim, (status, _, _) = talk(world, steps)

    assert interim.startswith(b"HTTP/1.1 100 ")
    assert (status, world.drop["drop/x"].content) == (200, b"hello")


def test_a_refused_body_is_never_asked_for(world):
    world.raises = NotFound("drop")
    headers = sign("PUT", TARGET, body=b"hello", headers={"Expect": "100-continue"})

    async def steps(reader, writer):
        writer.write(head("PUT", TARGET, headers))
        first = await answer(reader)
        return first, await reader.read()

    (status, headers, body), rest = talk(world, steps)

    assert (status, headers["connection"], rest) == (404, "close", b"")
    assert b"NoSuchKey" in body


def test_a_small_refused_body_is_read_away_and_the_connection_goes_on(world):
    async def steps(reader, writer):
        refused = sign("PUT", "/orchid/sft/a.jsonl", body=b"hello" * 1000)
        writer.write(head("PUT", "/orchid/sft/a.jsonl", refused) + b"hello" * 1000)
        first = await answer(reader)
        writer.write(head("GET", "/orchid/sft/a.jsonl", sign("GET", "/orchid/sft/a.jsonl")))
        return first, await answer(reader)

    first, second = talk(world, steps)

    assert (first[0], second[0], len(second[2])) == (404, 200, 9000)
