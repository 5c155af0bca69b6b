"""A process that erases a person and is killed at one point: erasing.py DATA POINT. POINT names a function of limen."""

from __future__ import annotations

import asyncio
import os
import pkgutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from inprocess import a_gateway, a_session
from limen.verbs import VERBS

WHO = "quillwork/q03"


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


async def main(data, point):
    gateway = await a_gateway(data)
    await a_session(gateway, "q03")
    await VERBS["change"](gateway, {"kind": "person.end", "change": {"id": WHO, "reason": "left"}}, "test")
    ref, key = gateway.custody.catalog.subject_key(WHO)
    print(ref.hex(), key.hex(), flush=True)
    owner, _, name = point.rpartition(".")
    setattr(pkgutil.resolve_name(owner), name, die)
    await VERBS["person.erase"](gateway, {"person": WHO, "reason": "request 7"}, "test")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
