"""`limen` commands without their second of imports: one process imports limen once, and forks a process for each command.

What is forked is the command as `limen.cli.main` runs it, in a process of its own, with its own arguments, environment,
working directory and streams; it can be stopped, killed and waited for. Only what it would import is there already. Pages,
the demo, and whoever bends the program start it as anybody does.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MAX = 1 << 20


class Process:
    """A forked command, to be used like a `subprocess.Popen`."""

    def __init__(self, answers: socket.socket, args: list[str]) -> None:
        self.args, self._answers = args, answers
        self.returncode: int | None = None
        self.pid = int(self._told())

    def _told(self) -> bytes:
        told = self._answers.recv(64)
        if not told:
            raise AssertionError("the nursery is gone")
        return told

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, as subprocess says it; TimeoutExpired."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = int(self._told())
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        """How it ended, or None."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Starts commands. One for each test process; it ends with it."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def start(self, args: list[str], *, stdout: Any, stderr: Any, environment: dict[str, str]) -> Process:
        """A command's process, begun; `stdout` and `stderr` are open streams; nothing is to be read from its input."""
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"args": args, "environment": environment, "directory": str(Path.cwd())}).encode()
        with theirs, Path(os.devnull).open("rb") as nothing:
            streams = [stream.fileno() for stream in (nothing, stdout, stderr)]
            socket.send_fds(self._requests, [request], [theirs.fileno(), *streams])
        return Process(answers, args)

    def run(self, args: list[str], *, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """A command run to its end, with what it printed."""
        with tempfile() as out, tempfile() as err:
            code = self.start(args, stdout=out, stderr=err, environment=environment).wait()
            said = []
            for stream in (out, err):
                stream.seek(0)
                said.append(stream.read().decode())
        return subprocess.CompletedProcess(args, code, *said)


def tempfile() -> Any:
    """A place in memory for what a command prints."""
    return os.fdopen(os.memfd_create("said"), "w+b")


@functools.cache
def nursery() -> Nursery:
    """This process's nursery."""
    return Nursery()


def nurse(requests: socket.socket) -> list[str] | None:
    """Fork a child for each request, and tell how it ended. Returns the arguments in the child, None when nobody asks."""
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not requests:
                pid, answers = key.data
                ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                waiting.unregister(key.fileobj)
                os.close(key.fd)
                with answers:
                    tell(answers, ended)
                continue
            raw, received, _, _ = socket.recv_fds(requests, MAX, 4)
            if not raw:
                return None
            answers, streams = socket.socket(fileno=received[0]), received[1:]
            pid = os.fork()
            if pid == 0:
                for socket_ in (requests, answers, *(key.data[1] for key in waiting.get_map().values() if key.data)):
                    socket_.detach()  # its number will be another's
                waiting.close()
                return become(json.loads(raw), streams)
            for stream in streams:
                os.close(stream)
            tell(answers, pid)
            waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, answers))


def tell(answers: socket.socket, number: int) -> None:
    """Answer, if anybody still listens."""
    with contextlib.suppress(BrokenPipeError):
        answers.send(str(number).encode())


def become(request: dict[str, Any], streams: list[int]) -> list[str]:
    """Take on a request's streams, environment and directory."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["directory"])
    sys.argv = ["limen", *request["args"]]
    args: list[str] = request["args"]
    return args


if __name__ == "__main__":
    import uvloop  # noqa: F401  what a gateway would import

    from limen import server  # noqa: F401  what a gateway would import
    from limen.cli import main

    arguments = nurse(socket.socket(fileno=int(sys.argv[1])))
    if arguments is not None:
        main(arguments)
