"""One ledger process, led step by step, with system calls of its threads traced or failed by strace."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 40.0
CALL = re.compile(r"(\w+)\(")


@dataclass(frozen=True, slots=True)
class Fault:
    """The nth call of this name by this thread fails with an error; or kills the process, or stops it, on its way in."""

    thread: str
    call: str
    nth: int
    how: str

    @property
    def expression(self):
        kind = "signal" if self.how.startswith("SIG") else "error"
        return f"inject={self.call}:{kind}={self.how}:when={self.nth}"

    def __str__(self):
        return f"{self.how} at {self.thread}'s {self.call} {self.nth}"


class Nursery:
    """Steppers, forked from one process that has imported everything; `at` begins one over a directory."""

    def __init__(self, directory):
        self.address = directory / "socket"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.address))
        self.listener.listen()
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("ledger_stepper.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.listener.close()

    @contextlib.contextmanager
    def at(self, directory, *, mode="honest"):
        self.process.stdin.write(f"{directory} {self.address} {mode}\n".encode())
        self.process.stdin.flush()
        stepper = Stepper(self.listener.accept()[0])
        try:
            yield stepper
        finally:
            stepper.hang_up()
            hangs = not select.select([self.process.stdout], [], [], PATIENCE_S)[0]
            if hangs:
                os.kill(stepper.process_id, signal.SIGKILL)
            stepper.ended = int(self.process.stdout.readline())
            assert not hangs, "the process hangs"


class Stepper:
    """A ledger process. `acknowledged`: each entry it has sworn to, as the one who asked has heard it."""

    def __init__(self, connection):
        connection.settimeout(PATIENCE_S)
        self.connection, self.lines = connection, connection.makefile("rb")
        self.threads, self.acknowledged, self.ended = {}, {}, None
        self._hear()
        self.process_id = self.threads["main"]

    def ask(self, command):
        """The refusal's words, or None if it was done; ConnectionError if the process died over it."""
        self.tell(command)
        return self.hear()

    def tell(self, command):
        self.connection.sendall(command.encode() + b"\n")

    def hear(self):
        while True:
            said = self._hear()
            if "done" in said:
                return None
            if "refused" in said:
                return said["why"]

    def _hear(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionResetError
        said = json.loads(line)
        self.threads |= said.get("threads", {})
        if "index" in said:
            self.acknowledged[said["index"]] = bytes.fromhex(said["leaf"])
        return said

    def hang_up(self):
        """The process ends in order, but without closing its log, if it is still there."""
        self.lines.close()
        self.connection.close()

    @contextlib.contextmanager
    def traced(self, thread, output, *expressions):
        """strace on one thread, from here on; `output` gets its calls."""
        options = [option for expression in expressions for option in ("-e", expression)]
        command = ["strace", "-p", str(self.threads[thread]), "-o", output, *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
            said = strace.stderr.readline()
            assert b"attached" in said, said
            try:
                yield
            finally:
                strace.terminate()  # lets the thread go


def calls_of(output):
    """The calls of one thread in their order, as lines; without those that it was in when strace came or went."""
    lines = output.read_text(errors="replace").splitlines()
    return [line for line in lines if CALL.match(line) and "<detached" not in line]


def name_of(line):
    return CALL.match(line)[1]
