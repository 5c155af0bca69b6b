"""Runs the commands of a page and holds what they print against what the page shows.

Blocks fenced as `console` hold lines that begin with `$ ` and below each the output, standard error included. A command
that ends in ` &` is started and left running; its output is what it prints until it says that it is ready. Addresses of
the page are exchanged for free ports. Keys, hashes, times and signatures differ from run to run, so only their shape counts.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SHAPES = (
    (re.compile(r"\+[0-9a-f]{8}\+[A-Za-z0-9+/=]{40,}"), "+KEY"),
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="), "HASH"),
    (re.compile(r"(— \S+) [A-Za-z0-9+/=]{80,}"), r"\1 SIGNATURE"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "HASH"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "FINGERPRINT"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\b[\d,.]+ (h in all|days ago)"), r"SO MANY \1"),  # until now
    (re.compile(r"  +"), "  "),
)


def blocks(page):
    """(command, shown output) of each console block, in order."""
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = command.partition("\n")
            while line.endswith("\\"):
                more, _, output = output.partition("\n")
                line = f"{line[:-1]}{more.lstrip('> ')}"
            yield line, output


def shape(text, ports):
    """What two runs of one command have in common."""
    for number, port in ports.items():
        text = text.replace(f":{port}", f":{number}")
    for pattern, stands_for in SHAPES:
        text = pattern.sub(stands_for, text)
    return [line.rstrip() for line in text.splitlines()]


def written(page, command, printed, ports):
    """The page with what a command prints in the place of what it shows."""
    for number, port in ports.items():
        printed = printed.replace(f":{port}", f":{number}")
    at = page.index(f"$ {command}\n") + len(command) + 3
    end = re.compile(r"^(\$ |```$)", re.MULTILINE).search(page, at).start()
    return page[:at] + printed + page[end:]


class Shell:
    """A directory in which a page's commands run, one after the other."""

    def __init__(self, directory, ports, *, patience_s=120):
        self.directory = directory
        self.patience_s = patience_s  # for one command
        self.ports = {port: _free_port() for port in ports}
        self.running = []
        bin_ = str(Path(sys.executable).parent)
        self.environment = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, output in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            output.close()

    def run(self, command):
        """What the command prints; of one that stays, what it prints until it is ready."""
        for number, port in self.ports.items():
            command = command.replace(f":{number}", f":{port}")
        if command.endswith(" &"):
            return self._start(command[:-2])
        done = subprocess.run(
            ["bash", "-euc", f"{command} 2>&1"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=self.patience_s,
        )
        return done.stdout + (f"exit {done.returncode}\n" if done.returncode else "")

    def _start(self, command):
        output = (self.directory / f"output-{len(self.running)}").open("w+")
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.directory,
            env=self.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.running.append((process, output))
        path = Path(output.name)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            text = path.read_text()
            if re.search(r"limen: (serving|the witness .* answers|it is cosigned on request|the copy is read)", text):
                return text
            time.sleep(0.02)
        raise AssertionError(f"{command} did not start: {path.read_text()}")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
