"""What a disk may hold after a power cut, worked out from a trace of what processes wrote and synced. The idea is ALICE's
(Pillai and others, "All File Systems Are Not Created Equal", OSDI 2014).

A write is on disk for sure once a sync that began after it has returned. Of those that wait, the disk may hold none, all,
any first few, all but one, some at random, or a torn one: a sector of 512 bytes reaches the disk whole or not at all. Names
change in their order, at any time, apart from the bytes that they name. A sync that failed leaves its writes as kernels
leave them: marked as written, so that no later sync writes them. So does one in which its process was killed: kills come
with injected errors here. One that a process left by its own exit did not fail: its writes wait.

Whether a call in which its process died was done, no trace tells: what the directory holds afterwards does.
"""

from __future__ import annotations

import copy
import itertools
import re
import subprocess
from dataclasses import dataclass, replace

SECTOR = 512
PAGE = 4096  # a write that its process's death breaks off ends at a page's border
DIRECTORY = -1
CALLS = "openat,write,pwrite64,fsync,fdatasync,ftruncate,rename,unlink,unlinkat,rmdir,mkdir"
# What would change a disk too, and is not expected: a trace that has one of these is refused.
STRANGE = (
    "open,creat,writev,pwritev,pwritev2,truncate,renameat,renameat2,mkdirat,link,linkat,symlink,fallocate,copy_file_range,sync"
)
STRACE = ["strace", "-f", "-xx", "-s", "10000000", "-e", f"trace={CALLS},{STRANGE}"]
WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?)")
CUT_SHORT = re.compile(r"(\d+) +(\w+)\((.*?),? *<unfinished \.\.\.>")
RESUMED = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
QUOTED = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def traced(program, trace, *options):
    """Run a program to its end under strace; its output, and every call that changes a disk, are in the trace."""
    faster = [] if "signal" in str(options) else ["--seccomp-bpf"]  # strace 6.1 loses injected signals with it
    return subprocess.run([*STRACE, *faster, *options, "-o", trace, *program], check=False, stdout=subprocess.DEVNULL).returncode


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. `result` is None if its process died in it."""

    name: str
    arguments: str
    result: int | None
    began: int
    ended: int

    @property
    def strings(self):
        return [bytes.fromhex(found.replace("\\x", "")) for found in QUOTED.findall(self.arguments)]

    @property
    def others(self):
        """The arguments that are no strings, as strace prints them; a string leaves an empty place."""
        return [part.strip() for part in QUOTED.sub("", self.arguments).split(",")]

    @property
    def succeeded(self):
        return self.result is not None and self.result >= 0


def calls_in(trace):
    """The calls of a trace in the order of their ends; those that never ended come last."""
    begun, last = {}, 0
    for last, line in enumerate(trace.read_text().splitlines()):
        if cut := CUT_SHORT.match(line):
            begun[cut[1]] = (cut[2], cut[3], last)
        elif rest := RESUMED.match(line):
            name, arguments, began = begun.pop(rest[1])
            whole = WHOLE.match(f"{rest[1]} {name}({arguments}{rest[2]}")
            yield Call(name, whole[3], None if whole[4] == "?" else int(whole[4]), began, last)
        elif whole := WHOLE.match(line):
            yield Call(whole[2], whole[3], None if whole[4] == "?" else int(whole[4]), last, last)
    for name, arguments, began in begun.values():
        yield Call(name, arguments, None, began, last + 1)


def _endings(call):
    """How a call in which its process died may have ended: whole, not at all (None), or a write at a page's border."""
    length = len(call.strings[0]) if call.name in {"write", "pwrite64"} else 0
    yield replace(call, result=length)
    yield None
    at = int(call.others[3]) if call.name == "pwrite64" else 0
    for border in range(PAGE - at % PAGE, length, PAGE):
        yield replace(call, result=border)


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at a place; or, without bytes, a new length."""

    ended: int
    at: int
    raw: bytes | None = None

    def onto(self, content):
        if self.raw is None:
            del content[self.at :]
        content.extend(bytes(max(0, self.at - len(content))))
        if self.raw is not None:
            content[self.at : self.at + len(self.raw)] = self.raw

    def torn(self):
        """As far as the first, a middle and the last border between two sectors; and from the first one on."""
        if self.raw is None:
            return
        borders = range(SECTOR - self.at % SECTOR, len(self.raw), SECTOR)
        for border in sorted({borders[0], borders[len(borders) // 2], borders[-1]} if borders else ()):
            yield replace(self, raw=self.raw[:border])
        if borders:
            yield replace(self, at=self.at + borders[0], raw=self.raw[borders[0] :])


@dataclass(frozen=True, slots=True)
class Naming:
    """A path begins to stand for an inode, or for nothing (None). A rename takes the old path away in the same step."""

    ended: int
    path: str
    inode: int | None
    old: str | None = None

    def onto(self, names):
        names.pop(self.old, None)
        names.pop(self.path, None)
        if self.inode is not None:
            names[self.path] = self.inode


class Inode:
    """Bytes that are on disk for sure, writes that wait, and the bytes that the running kernel shows."""

    def __init__(self):
        self.synced, self.waiting, self.shown = bytearray(), [], bytearray()

    def write(self, write):
        self.waiting.append(write)
        write.onto(self.shown)

    def with_writes(self, writes):
        content = bytearray(self.synced)
        for write in writes:
            write.onto(content)
        return bytes(content)

    def possible(self, rng):
        """Every content that the disk may hold, within the bounds that the module names."""
        waiting = self.waiting
        for count, write in enumerate(waiting):
            before, after = waiting[:count], waiting[count + 1 :]
            yield self.with_writes(before)
            yield self.with_writes(before + after)
            for torn in write.torn():
                yield self.with_writes([*before, torn])
                yield self.with_writes([*before, torn, *after])
        for _ in range(2 if len(waiting) > 2 else 0):
            yield self.with_writes([write for write in waiting if rng.random() < 0.5])
        yield self.with_writes(waiting)


class Disk:
    """Follows the calls of one process after the other below a directory.

    `failed_writes`: what a failed sync leaves behind, "lost" or "kept". `said` is what the processes have written to their
    standard output so far.
    """

    def __init__(self, root, *, failed_writes="lost"):
        self.root, self.failed_writes = str(root), failed_writes
        self.inodes, self.said = [], []
        self.names, self.synced_names, self.waiting_names = {}, {}, []
        self.killed = False  # was the process that is followed?
        self.opened = {}  # by the process that is followed: descriptor -> inode, or path of a directory
        self.places = {}  # descriptor -> where its next plain write goes

    def follow(self, trace, left):
        """Go through the calls of one process; pause before each sync takes effect, and at the end: most is at stake there.

        `left`: path -> content of what was really there after the process had ended; this disk must come to the same.
        """
        self.opened.clear()
        self.killed = "+++ killed by " in trace.read_text()
        died_in = []
        for call in calls_in(trace):
            if call.name in STRANGE.split(","):
                raise ValueError(f"{call.name} is not in this model")
            if call.name.endswith("sync"):
                yield
            if call.result is None and not call.name.endswith("sync"):
                died_in.append(call)
            else:
                getattr(self, f"_{call.name}")(call)
        self._settle(died_in, left)
        yield

    def _settle(self, died_in, left):
        """Take those calls for done, each as far, with which this disk shows what was left."""
        for ended in itertools.product(*(_endings(call) for call in died_in)):
            trial = copy.deepcopy(self) if died_in else self
            for call in ended:
                if call is not None:
                    getattr(trial, f"_{call.name}")(call)
            if trial._shows() == left:
                vars(self).update(vars(trial))
                return
        shows = self._shows()
        differ = {path for path in shows | left if shows.get(path, b"?") != left.get(path, b"?")}
        raise AssertionError(f"this model of the disk is wrong about {sorted(differ)}; the process died in {died_in}")

    def _shows(self):
        """What the running kernel shows, path -> content."""
        named = {path: None if inode == DIRECTORY else bytes(self.inodes[inode].shown) for path, inode in self.names.items()}
        return {path: content for path, content in named.items() if not path.endswith("-shm")}

    # --- calls

    def _openat(self, call):
        path = self._path(call, 0)
        if not call.succeeded:
            return
        self.opened.pop(call.result, None)
        if path is None:
            return
        if path == self.root or self.names.get(path) == DIRECTORY:
            self.opened[call.result] = path
            return
        if path not in self.names:
            self._name(Naming(call.ended, path, len(self.inodes)))
            self.inodes.append(Inode())
        inode = self.opened[call.result] = self.names[path]
        self.places[call.result] = 0
        if "O_TRUNC" in call.others[2]:
            self.inodes[inode].write(Write(call.ended, 0))

    def _write(self, call):
        descriptor = int(call.others[0])
        if descriptor == 1:
            self.said.append(call.strings[0].decode())
        elif descriptor in self.opened:
            self._put(call, self.places[descriptor])
            self.places[descriptor] += len(call.strings[0])

    def _pwrite64(self, call):
        self._put(call, int(call.others[3]))

    def _put(self, call, at):
        inode = self.opened.get(int(call.others[0]))
        if inode is not None and call.succeeded:
            self.inodes[inode].write(Write(call.ended, at, call.strings[0][: call.result]))

    def _ftruncate(self, call):
        inode = self.opened.get(int(call.others[0]))
        if inode is not None and call.succeeded:
            self.inodes[inode].write(Write(call.ended, int(call.others[1])))

    def _fsync(self, call):
        found = self.opened.get(int(call.others[0]))
        if isinstance(found, str):
            if call.succeeded:
                self._sync_names(found, call.began)
        elif found is not None and (call.result is not None or self.killed):
            inode = self.inodes[found]
            covered = [write for write in inode.waiting if write.ended < call.began]
            if call.succeeded or self.failed_writes == "kept":
                inode.synced = bytearray(inode.with_writes(covered))
            inode.waiting = [write for write in inode.waiting if write not in covered]

    _fdatasync = _fsync

    def _sync_names(self, directory, began):
        for naming in [naming for naming in self.waiting_names if naming.ended < began]:
            if naming.path.rpartition("/")[0] == directory:
                naming.onto(self.synced_names)
                self.waiting_names.remove(naming)

    def _rename(self, call):
        old, new = self._path(call, 0), self._path(call, 1)
        if call.succeeded and old in self.names:
            self._name(Naming(call.ended, new, self.names[old], old=old))

    def _unlink(self, call):
        if call.succeeded and (path := self._path(call, 0)) in self.names:
            self._name(Naming(call.ended, path, None))

    _unlinkat = _rmdir = _unlink

    def _mkdir(self, call):
        if call.succeeded and (path := self._path(call, 0)) is not None:
            self._name(Naming(call.ended, path, DIRECTORY))

    def _name(self, naming):
        naming.onto(self.names)
        self.waiting_names.append(naming)

    def _path(self, call, place):
        """A call's path, if it lies below our directory; relative ones are relative to an open directory."""
        path = call.strings[place].decode()
        if not path.startswith("/"):
            path = f"{self.opened.get(int(call.others[0]) if call.others[0].isdigit() else None)}/{path}"
        return path if f"{path}/".startswith(f"{self.root}/") else None

    # --- a power cut

    def possible(self, rng):
        """Every state that the disk may be in, path -> content, None for a directory; within the bounds that the module names."""
        count = len(self.waiting_names)
        none = [bytes(inode.synced) for inode in self.inodes]
        every = [inode.with_writes(inode.waiting) for inode in self.inodes]
        for names, contents in itertools.product(range(count + 1), (none, every)):
            yield self._state(names, contents)
        for number, inode in enumerate(self.inodes):
            for content in dict.fromkeys(inode.possible(rng)) if inode.waiting else ():
                for names, others in itertools.product({0, count}, (none, every)):
                    yield self._state(names, [*others[:number], content, *others[number + 1 :]])

    def _state(self, names, contents):
        named = dict(self.synced_names)
        for naming in self.waiting_names[:names]:
            naming.onto(named)
        state = {}
        for path, inode in sorted(named.items()):
            # SQLite's shared memory is left out: it is never synced, and whoever opens the database first makes it anew.
            above = path.rpartition("/")[0]
            if (above == self.root or above in state) and not path.endswith("-shm"):
                state[path] = None if inode == DIRECTORY else contents[inode]
        return state
