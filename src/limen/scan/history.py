"""Reads a git repository's objects: every blob that is still there, and which commits brought it in.

Everything in the object store is read, whatever names it: branches, tags, notes, refs/pull, stashes, reflogs, and objects
that nothing names any more (squashed commits, deleted branches) until git throws them away. A repository may be a
stranger's: git runs with the configuration of nobody but us, no hooks, no pager, no network, no replaced objects, and
nothing is fetched that is missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from limen.core.errors import Failed, Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_BLOB: Final = 256 << 20
_HARD: Final = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.pager=cat", "-c", "core.quotePath=false"),
    *("-c", "protocol.allow=never", "-c", "safe.directory=*", "-c", "gc.auto=0", "-c", "maintenance.auto=false"),
    *("-c", "core.commitGraph=false", "-c", "log.showSignature=false", "-c", "mailmap.file=", "-c", "diff.external="),
)
_FIELD: Final = "\x1f"
_BLOB: Final = re.compile(r"^blob (\w+) (\d+)$", re.MULTILINE)
_LISTED: Final = "--batch-check=%(objecttype) %(objectname) %(objectsize)"
_LOOSE: Final = re.compile("[0-9a-f]{2}")
_COMMIT: Final = re.compile(r"^commit (\w+) ", re.MULTILINE)


class GitFailed(Failed):
    """git stopped. `hint` says what to try."""

    def __init__(self, why: str, *, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint or "`git fsck` says what is wrong with the repository; nothing was recorded of this scan"


@dataclass(frozen=True, slots=True)
class Objects:
    """What is in the object store: blobs and their sizes, in the order in which reading them is fast; and all commits."""

    blobs: dict[str, int]
    commits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stores:
    """The packs and loose objects that hold a repository's objects. Of two, objects that only one has lie in what only it has."""

    packs: frozenset[str]
    loose: frozenset[str]


@dataclass(frozen=True, slots=True)
class Brought:
    """A commit that brought a blob in at a path. `at` is the commit's own claim of when it was made, seconds since 1970."""

    commit: str
    path: str
    at: int


@dataclass(frozen=True, slots=True)
class Refs:
    """The names of a repository, and a digest of where they point."""

    count: int
    digest: str


@dataclass(slots=True)
class History:
    """One repository, open for reading."""

    path: Path
    git_dir: str
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> History:
        """Invalid if there is no repository exactly here (one of a directory above is not meant)."""
        try:
            found = _run(["git", *_HARD, "-C", str(path), "rev-parse", "--absolute-git-dir"], above=path)
        except FileNotFoundError as e:
            raise Invalid("git", "is not installed, or not on PATH; install it, then scan again") from e
        except GitFailed as e:
            raise Invalid(str(path), "is no git repository; name its directory (a clone, or a bare one)") from e
        history = cls(path, found.decode().rstrip("\n"))
        history._look()
        return history

    def refs(self) -> Refs:
        """Every ref and HEAD, digested: equal digests mean that no name has moved."""
        listed = self._git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        head = self._git("rev-parse", "--verify", "--quiet", "HEAD", may_fail=True).strip()
        return Refs(len(listed), hashlib.sha256(b"\n".join([*sorted(listed), head + b" HEAD"])).hexdigest())

    def objects(self) -> Objects:
        """Every blob and every commit of the object store, reachable or not."""
        return _objects(self._git("cat-file", "--batch-all-objects", "--unordered", "--buffer", _LISTED))

    def stores(self) -> Stores | None:
        """Where objects lie now; None for a repository that borrows some from another one, of which nobody can say."""
        root = Path(self._git("rev-parse", "--path-format=absolute", "--git-path", "objects").decode().rstrip("\n"))
        if (root / "info" / "alternates").exists():
            return None
        folders = [path for path in root.iterdir() if _LOOSE.fullmatch(path.name)]
        loose = frozenset(folder.name + path.name for folder in folders for path in folder.iterdir())
        return Stores(frozenset(str(path) for path in (root / "pack").glob("*.idx")), loose)

    def since(self, old: Stores, new: Stores) -> Objects | None:
        """The blobs and commits in what was added between; None if something went away, and all has to be listed again."""
        if not (old.packs <= new.packs and old.loose <= new.loose):
            return None
        named = list(new.loose - old.loose)
        for pack in new.packs - old.packs:
            shown = _run(["git", *_HARD, "show-index"], told=Path(pack).read_bytes())
            named += [line.split(b" ")[1].decode() for line in shown.splitlines()]
        return _objects(self._git("cat-file", "--buffer", _LISTED, told="".join(f"{oid}\n" for oid in named).encode()))

    def read(self, oids: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The bytes of blobs, in the order asked for."""
        with self._pipe("cat-file", "--batch", "--buffer", told=oids) as out:
            for oid in oids:
                head = out.readline().rstrip(b"\n")
                if not head.startswith(oid.encode() + b" blob "):
                    raise GitFailed(f"{self.path}: git can't read object {oid}")
                size = int(head.rpartition(b" ")[2])
                raw = out.read(size)
                if len(raw) != size or out.read(1) != b"\n":
                    raise GitFailed(f"{self.path}: git broke off in the middle of object {oid}")
                yield oid, raw

    def brought(self, wanted: set[str], commits: Sequence[str]) -> dict[str, list[Brought]]:
        """Which of the commits brought in which of the wanted blobs, and where. A merge counts for what neither side had."""
        found: dict[str, list[Brought]] = {}
        words = ("diff-tree", "--stdin", "-r", "-c", "--root", "--raw", "--no-abbrev", "--no-renames", "-z")
        with self._pipe(*words, f"--format={_FIELD}%H{_FIELD}%ct{_FIELD}", told=commits) as out:
            commit, at = "", 0
            tokens = _tokens(out)
            for token in tokens:
                if token.startswith(_FIELD.encode()):
                    _, commit, made, _ = token.decode().split(_FIELD)
                    at = int(made)
                row = token.lstrip(b"\n")
                if not row.startswith(b":"):
                    continue
                sides = len(row) - len(row.lstrip(b":"))
                path = next(tokens, b"").decode("utf-8", "replace")
                oid = row.split(b" ")[2 * sides + 1].decode()
                if oid in wanted:
                    found.setdefault(oid, []).append(Brought(commit, path, at))
        return found

    def reach(self, commits: set[str]) -> dict[str, str]:
        """What still names each commit: `refs`, only a `reflog` (or a stash's log), or `nothing`."""
        by_refs = set(self._git("rev-list", "--all").decode().split())
        if commits - by_refs:
            by_refs |= set(self._git("rev-list", "HEAD", "--", may_fail=True).decode().split())  # one that is on no branch
        by_logs = set(self._git("rev-list", "--all", "--reflog").decode().split()) if commits - by_refs else set()
        return {one: "refs" if one in by_refs else "reflog" if one in by_logs else "nothing" for one in commits}

    def authors(self, commits: Sequence[str]) -> dict[str, str]:
        """Who each commit says wrote it: the handle of a forge's no-reply address, else the name. For printing only."""
        out = {}
        with self._pipe(
            "log", "--no-walk=unsorted", "--stdin", "-z", f"--format=%H{_FIELD}%an{_FIELD}%ae", told=commits
        ) as lines:
            for token in _tokens(lines):
                commit, name, address = token.decode("utf-8", "replace").split(_FIELD)
                handle, _, domain = address.partition("@")
                out[commit] = handle.rpartition("+")[2] if domain.startswith("users.noreply.") else name
        return out

    def origin(self) -> str:
        """The address that `origin` was cloned from, or an empty text."""
        return self._git("config", "--get", "remote.origin.url", may_fail=True).decode("utf-8", "replace").strip()

    def _look(self) -> None:
        """Note what can't be here."""
        if self._git("rev-parse", "--is-shallow-repository").strip() == b"true":
            self.left_out.append("the clone is shallow: older history is not in it. `git fetch --unshallow`, then scan again")
        if self._git("config", "--get", "extensions.partialClone", may_fail=True).strip():
            self.left_out.append("the clone is partial: objects that git has not fetched were not read. Scan a full clone")

    def _git(self, *words: str, may_fail: bool = False, told: bytes = b"") -> bytes:
        return _run(["git", *_HARD, f"--git-dir={self.git_dir}", *words], may_fail=may_fail, told=told)

    def _pipe(self, *words: str, told: Iterable[str]) -> _Pipe:
        return _Pipe(["git", *_HARD, f"--git-dir={self.git_dir}", *words], told)


class _Pipe:
    """A git that reads names on one side and answers on the other; a thread feeds it, so that neither waits for ever."""

    def __init__(self, command: list[str], told: Iterable[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  git, by words of our own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(), bufsize=1 << 20
        )
        self._told = told
        self._feeder = threading.Thread(target=self._feed, daemon=True)

    def __enter__(self) -> IO[bytes]:
        self._feeder.start()
        assert self._process.stdout is not None  # noqa: S101  by PIPE
        return self._process.stdout

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._process.kill()
        assert self._process.stdout is not None  # noqa: S101  by PIPE
        self._process.stdout.close()
        self._feeder.join()
        if self._process.wait() != 0 and kind is None:
            raise GitFailed(f"git {self._process.args[-1]!r} ended with {self._process.returncode}")  # type: ignore[index]

    def _feed(self) -> None:
        stream = self._process.stdin
        assert stream is not None  # noqa: S101  by PIPE
        try:
            for name in self._told:
                stream.write(name.encode() + b"\n")
            stream.close()
        except BrokenPipeError:  # git has gone; the reader says so
            pass


def _objects(listed: bytes) -> Objects:
    text = listed.decode()
    return Objects({oid: int(size) for oid, size in _BLOB.findall(text)}, tuple(_COMMIT.findall(text)))


def _tokens(stream: IO[bytes]) -> Iterator[bytes]:
    """What stands between zero bytes."""
    rest = b""
    while chunk := stream.read(1 << 20):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
    if rest.strip():
        yield rest


def _run(command: list[str], *, may_fail: bool = False, above: Path | None = None, told: bytes = b"") -> bytes:
    done = subprocess.run(command, input=told, capture_output=True, env=_environment(above), check=False)  # noqa: S603  as above
    if done.returncode and not may_fail:
        raise GitFailed(f"git failed: {done.stderr.decode('utf-8', 'replace').strip()[:300]}")
    return done.stdout


def _environment(above: Path | None = None) -> dict[str, str]:
    """Nothing of the caller's but where programs are: GIT_* variables and personal configuration change what git does."""
    ceiling = {"GIT_CEILING_DIRECTORIES": str(above.resolve().parent)} if above else {}
    return {
        "PATH": os.defpath,
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "",
        **ceiling,
    }
