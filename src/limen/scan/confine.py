"""Runs one program in a box: no network, no processes but its own, and of the disk only what it was given, read-only.

    python -I -S confine.py SPEC        SPEC is a JSON object, see `limen.scan.sandbox`

A Linux kernel that lets this account make namespaces is needed; if it does not, this ends with 125 and says what it refused,
and the program has not run. Standard library only, and no import of limen: it runs as a process of its own, before the
program that it becomes.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

REFUSED = 125
INSIDE = 65534  # an account without rights in the box: the program loses what the namespace gave when it begins
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
ATIME = 0x1C00  # how a mount keeps times of access: flags that may not be changed from within
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

libc = ctypes.CDLL(None, use_errno=True)


def call(what: str, result: int) -> None:
    """Pass in silence if a system call did; OSError with what was tried otherwise."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """The system call of that name."""
    words = [text.encode() if text is not None else None for text in (source, target, kind, options)]
    call(f"mount {target}", libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]))


def bind(source: str, target: str, flags: int) -> None:
    """Show one directory or file of the outside at a place of the box; flags that it has outside stay."""
    if Path(source).is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    else:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).touch()
    mount(source, target, None, MS_BIND)
    kept = os.statvfs(source).f_flag & (MS_NODEV | MS_NOEXEC | MS_RDONLY | ATIME)
    mount(None, target, None, MS_REMOUNT | MS_BIND | MS_NOSUID | flags | kept)


def enter(spec: dict[str, Any]) -> None:
    """Leave every namespace of the outside, and see nothing but the box."""
    account, group = os.geteuid(), os.getegid()
    spaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    call("unshare", libc.unshare(spaces))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{INSIDE} {account} 1"), ("gid_map", f"{INSIDE} {group} 1")):
        Path("/proc/self", name).write_text(text)
    root = spec["root"]
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("box", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for source, target in spec["readable"]:
        bind(source, root + target, MS_RDONLY | MS_NODEV)
    for source, target in spec["writable"]:
        bind(source, root + target, MS_NODEV | MS_NOEXEC)
    bind("/dev/null", f"{root}/dev/null", MS_NOEXEC)
    mount(None, root, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chroot(root)
    os.chdir("/")


def limit(bounds: dict[str, int]) -> None:
    """Bound what the program may take, where it is not bounded closer already; and no program of its gains rights."""
    for name, most in bounds.items():
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (bound, bound))
    call("no_new_privs", libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def main() -> int:
    """Make the box, run the program in it, and end as it ended."""
    spec = json.loads(sys.argv[1])
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if spec["boxed"]:
        try:
            enter(spec)
        except OSError as e:
            sys.stderr.write(f"{e.filename or ''} {e.strerror}\n".lstrip())
            return REFUSED
    child = os.fork()  # the first process of the new space
    if child == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            limit(spec["limits"])
            os.execve(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606  that is what this is for
        except OSError as e:
            sys.stderr.write(f"{spec['command'][0]}: {e.strerror}\n")
        os._exit(127)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


if __name__ == "__main__":
    sys.exit(main())
