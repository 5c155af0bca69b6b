"""A sample: what was leaked, as it lies on the disk. Paths in; its digest, its parts, and then its text, a stretch at a time.

A PATH is a plain part or a directory, whose parts are all below it, hidden ones too. Opening a sample reads every part once,
for its digest; reading it reads them again and notices when one has changed in between. Nothing is written, no link
inside a directory is followed, and what is no regular file is refused by name. What could not be read, or not to its end,
is said in `unread`: a trace never looks at less than it says.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from limen.core.errors import Conflict, Invalid
from limen.marks.pieces import HEAD
from limen.marks.unpack import Limits, Unpacking, Unread, kind_of, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from limen.marks.pieces import Pieces

    Progress = Callable[[int, int], None]  # bytes done, bytes in all

_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One regular file of a sample. `name` is its path below the PATH that was given; `digest` is SHA-256, hex.

    `kind` is what it begins like: text, empty, binary, or a container by its name.
    """

    name: str
    length: int
    digest: str
    kind: str
    place: Path | bytes = field(repr=False)

    def open(self) -> BinaryIO:
        """Its bytes. OSError if it can't be opened."""
        return io.BytesIO(self.place) if isinstance(self.place, bytes) else _open(self.place)


@dataclass(frozen=True, slots=True)
class Sample:
    """What was leaked. `digest` names it (docs/formats/sample.md); `unread` is what could not even be opened."""

    digest: str
    parts: tuple[Part, ...]
    unread: tuple[Unread, ...]
    limits: Limits

    @property
    def length(self) -> int:
        """Bytes on the disk."""
        return sum(part.length for part in self.parts)

    def read(self, progress: Progress | None = None) -> Reading:
        """Begin to read it."""
        return Reading(self, progress or (lambda _done, _total: None))


class Reading:
    """One reading of a sample from its beginning. Its fields grow while `batches` is consumed and are whole at its end."""

    def __init__(self, sample: Sample, progress: Progress) -> None:
        self.sample = sample
        self.unpacking = Unpacking(sample.limits, list(sample.unread))
        self._progress = progress

    @property
    def unread(self) -> tuple[Unread, ...]:
        """What was left out, and why."""
        return self.unpacking.left_out()

    @property
    def kinds(self) -> dict[str, int]:
        """How many of each kind were met, those inside of others too."""
        return dict(self.unpacking.kinds)

    @property
    def bytes_read(self) -> int:
        """Bytes read, unpacked: those of containers and of what was in them."""
        return self.unpacking.bytes_read

    def batches(self) -> Iterator[Pieces]:
        """The sample's pieces. Conflict if a part is no longer what its digest says."""
        before, total = 0, self.sample.length
        for part in self.sample.parts:
            try:
                stream = part.open()
            except OSError as e:
                raise Conflict(_changed(part)) from e
            with stream:
                try:
                    for pieces in self.unpacking.pieces(part.name, stream, part.length):
                        yield pieces
                        self._progress(before + min(stream.tell(), part.length), total)
                    stream.seek(0)
                    same = _digest(stream) == (part.digest, part.length)
                except OSError as e:
                    raise Conflict(_changed(part)) from e
            if not same:
                raise Conflict(_changed(part))
            before += part.length
            self._progress(before, total)


def open_sample(paths: Sequence[Path], *, limits: Limits | None = None) -> Sample:
    """Open what was leaked: every part below these paths, with its digest.

    Invalid if a path given is not there, can't be read or is neither a regular file nor a directory, or if there is nothing.
    """
    parts: list[Part] = []
    unread: list[Unread] = []
    plain = len(paths) == 1 and not paths[0].is_dir()
    for path in paths:
        if path.is_dir():
            _walk(path, path, parts, unread)
        else:
            try:
                parts.append(_part(path, path.name))
            except OSError as e:
                raise Invalid("sample", f"{path} can't be read: {e.strerror or e}; nothing was traced") from e
    if not parts and not unread:
        raise Invalid("sample", "there is nothing in what was given; nothing was traced")
    digest = parts[0].digest if plain else digest_of([(part.name, part.digest) for part in parts])
    shown = tuple(replace(part, name=said(part.name)) for part in parts)
    return Sample(digest, shown, tuple(Unread(said(left.name), left.why) for left in unread), limits or Limits())


def sample_of(raw: bytes, *, name: str = "sample", limits: Limits | None = None) -> Sample:
    """A sample of one plain part that is in memory already."""
    digest = hashlib.sha256(raw).hexdigest()
    return Sample(digest, (Part(name, len(raw), digest, kind_of(raw[:HEAD]), raw),), (), limits or Limits())


def digest_of(parts: Sequence[tuple[str, str]]) -> str:
    """The digest of a sample of several parts: SHA-256 of the lines that `sha256sum` prints of them, in order."""
    lines = sorted(_line(name, digest) for name, digest in parts)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _line(name: str, digest: str) -> bytes:
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return ("\\" * (escaped != name) + f"{digest}  {escaped}\n").encode("utf-8", "surrogateescape")


def _walk(top: Path, below: Path, parts: list[Part], unread: list[Unread]) -> None:
    """All of a directory, in order of names, without recursion on the stack: a tree may be deeper than that."""
    waiting = [below]
    while waiting:
        directory = waiting.pop()
        try:
            inside = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as e:
            unread.append(Unread(directory.relative_to(top).as_posix(), f"can't be listed: {e.strerror}"))
            continue
        for entry in inside:
            path = Path(entry.path)
            name = path.relative_to(top).as_posix()
            if entry.is_symlink():
                unread.append(Unread(name, "is a symbolic link: not followed"))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                try:
                    parts.append(_part(path, name))
                except OSError as e:
                    unread.append(Unread(name, f"can't be read: {e.strerror or e}"))


def _part(path: Path, name: str) -> Part:
    with _open(path) as stream:
        kind = kind_of(stream.read(HEAD))
        stream.seek(0)
        digest, length = _digest(stream)
    return Part(name, length, digest, kind, path)


def _open(path: Path) -> BinaryIO:
    """A regular file, and nothing else: opening a fifo would wait, and a device never ends."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    kind = os.fstat(number).st_mode
    if not stat.S_ISREG(kind):
        os.close(number)
        raise OSError(f"is {_KINDS.get(stat.S_IFMT(kind), 'no regular file')}, no regular file")
    return os.fdopen(number, "rb")


def _digest(stream: BinaryIO) -> tuple[str, int]:
    state, length = hashlib.sha256(), 0
    while chunk := stream.read(_AT_ONCE):
        state.update(chunk)
        length += len(chunk)
    return state.hexdigest(), length


def _changed(part: Part) -> str:
    return f"{part.name} changed while it was read: nothing was scored; copy the sample to a quiet place, then trace that"


_KINDS: Final = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}
