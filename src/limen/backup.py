"""Backups of a data directory, served or not, and the way back. One directory of plain files and `manifest.json`.

The order of copying is what makes it consistent. `control.db` first, so that it is never ahead of the log: start-up
replays what it lacks. Then `ledger.db`. Then what those name: sealed bundles, blobs, prepared versions and drop boxes,
all of which are written before they are named. `live.json` comes last of the small ones, so that no pause is missing.
The manifest is written when all else is durable: a directory without one is no backup.

A restored log is only as long as its backup. `restore` says which longer one is known of; the guard refuses to sign
until a new epoch has said what is lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from limen import config as configs
from limen import directory
from limen.core.errors import Conflict, Invalid, LimenError, NotFound, TamperDetected
from limen.db.copying import copy_database
from limen.derived import FOLDER as DERIVED
from limen.durable import sync
from limen.formats.note import Verifier
from limen.ledger.ledger import PUBLISHED
from limen.ledger.repair.fsck import stored_head
from limen.ledger.rollback.evidence import Evidence, contradiction, roots
from limen.ledger.rollback.guard import UNFINISHED, write_durably
from limen.ledger.stored import DATABASE, look
from limen.standing import NOTE
from limen.verify.published import Published
from limen.watch.book import BOOK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limen.config import Config
    from limen.core.types import Checkpoint
    from limen.ledger.store import Head

SCHEMA: Final = "limen/backup/v1"
MANIFEST: Final = "manifest.json"
CONTROL: Final = "control.db"
KEYS: Final = "keys"
ORDER: Final = (CONTROL, DATABASE)
_SMALL: Final = ("limen.toml", "epoch", "alarm.json", "live.json")
_ARCHIVES: Final = ("alarm.json.*", "high-water.*", f"{PUBLISHED}.epoch-*")
_TREES: Final = ("sealed", "blobs/sha256", "prepared", "drops", "uploads", "observed", "scans")
_MADE_AGAIN: Final = frozenset(
    {"lock", "control.sock", "live.reserve", PUBLISHED, f"{PUBLISHED}.synced", "high-water", NOTE, "blobs"}
    | {BOOK, f"{BOOK}-wal", f"{BOOK}-shm", DERIVED}
)
_CHUNK: Final = 1 << 20


@dataclass(slots=True)
class Backup:
    """What a backup holds: `files` maps each path to its SHA-256 and length; `left_out` says why something is not there."""

    root: Path
    checkpoint: Checkpoint
    vkey: str
    keys: bool
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def make(config: Config, target: Path, *, with_keys: bool, now: int) -> Backup:
    """Copy a data directory; complete, verified and durable on return.

    Invalid if the target is not empty or can't be written; TamperDetected if the log that was copied does not verify.
    """
    data = config.data
    if not (data / DATABASE).exists():
        raise NotFound(f"a data directory at {data}")
    if target.resolve().is_relative_to(data.resolve()):
        raise Invalid("DEST", "lies in the data directory; a backup belongs elsewhere")
    if (data / UNFINISHED).exists():
        raise Conflict("a new epoch was begun and not finished; run `limen ledger new-epoch` again, then back up")
    verifier = directory.signer(config).verifier
    _make_empty(target, "DEST")
    with ExitStack() as owning:
        with suppress(Conflict):  # a gateway serves it: its databases are copied while it does
            owning.enter_context(directory.owned(data))
        for name in ORDER:
            copy_database(data / name, target / name)
    backup = Backup(target, stored_head(target / DATABASE, verifier).checkpoint, verifier.vkey, with_keys)
    try:
        _copy_files(config, backup)
        _verified(target / DATABASE, verifier)
        for name in ORDER:
            backup.files[name] = _digest(target / name)
        _write_manifest(backup, now=now)
    except OSError as e:
        raise Invalid("DEST", f"can't be written: {e}; what is there is no backup") from e
    return backup


def _copy_files(config: Config, backup: Backup) -> None:
    data = config.data
    for path in _sources(config, keys=backup.keys):
        if path.is_file() and not _passing(path.relative_to(data)):
            _take(path, backup, path.relative_to(data))
    if not backup.keys:
        backup.left_out = {path.relative_to(data).as_posix(): _why_left_out(path) for path in _files(data / KEYS)}
    known = {PurePosixPath(path).parts[0] for path in backup.files} | _MADE_AGAIN | {KEYS}
    for path in sorted(data.iterdir()):
        if path.name not in known and not path.name.startswith((".", CONTROL, DATABASE)) and _files(path):
            backup.left_out[path.name] = "limen does not know it"


def _sources(config: Config, *, keys: bool) -> Iterator[Path]:
    """What is copied as it is, in the order that keeps it consistent."""
    data = config.data
    for tree in (*_TREES, *([KEYS] if keys else [])):
        yield from _files(data / tree)
    for pattern in _ARCHIVES:
        for archive in sorted(data.glob(pattern)):
            yield from _files(archive)
    for name in (*_SMALL, *([config.ledger.policy] if config.ledger.policy else [])):
        if (data / name).resolve().is_relative_to(data.resolve()):
            yield data / name


def _why_left_out(path: Path) -> str:
    match path.name:
        case "log.key":
            return "signs the log: whoever has it and the database can write another history"
        case "server.key":
            return "opens every session in force"
        case _:
            return "makes and traces the marked copies: whoever has it can make anybody's copy"


def _files(path: Path) -> list[Path]:
    return sorted(found for found in ([path] if path.is_file() else path.rglob("*")) if found.is_file())


def _passing(path: Path) -> bool:
    """What is on its way to another name, and would be swept after a crash."""
    passing = path.parts[:2] in {("observed", "staging"), ("scans", "staging"), ("scans", "cache")}
    return passing or any(part.startswith(".") or part.endswith(".new") for part in path.parts)


def _take(path: Path, backup: Backup, name: Path) -> None:
    target = backup.root / name
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileNotFoundError):  # a writer took their upload back meanwhile
        backup.files[name.as_posix()] = _copied(path, target)


def _copied(path: Path, target: Path) -> tuple[str, int]:
    """Copy one file with its permissions; its SHA-256 and length, of what was written."""
    digest, length = hashlib.sha256(), 0
    with path.open("rb") as source:
        mode = os.fstat(source.fileno()).st_mode & 0o777
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as copy:
            while chunk := source.read(_CHUNK):
                copy.write(chunk)
                digest.update(chunk)
                length += len(chunk)
    return digest.hexdigest(), length


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest(), path.stat().st_size


def _write_manifest(backup: Backup, *, now: int) -> None:
    value = {
        "schema": SCHEMA,
        "made_at": now,
        "vkey": backup.vkey,
        "checkpoint": backup.checkpoint.note.decode(),
        "keys": backup.keys,
        "files": {name: {"sha256": digest, "bytes": length} for name, (digest, length) in sorted(backup.files.items())},
        "left_out": backup.left_out,
    }
    os.sync()  # once for all that was copied; the manifest must not outlive a crash that they did not
    write_durably(backup.root / MANIFEST, json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


# --- the way back


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back, how far its log reaches, and which longer or other log is known of."""

    checkpoint: Checkpoint
    vkey: str
    key_given: bool
    keys: bool
    ahead: list[Evidence]
    unseen: list[str]


def restore(source: Path, data: Path, *, vkey: str | None) -> Restored:
    """Put a backup back as a new data directory, all of it or nothing; every digest, entry and the signature checked.

    Invalid if the target is not empty; TamperDetected names the first file that is not what the manifest says, or says
    what is wrong with the log.
    """
    manifest = _manifest(source)
    _empty(data, "DATA")
    staged = data.with_name(f".{data.name}.restoring")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        _put_back(source, staged, manifest["files"])
        given = Verifier.from_vkey(vkey) if vkey else None
        verifier = given or Verifier.from_vkey(manifest["vkey"])
        head = _verified(staged / DATABASE, verifier)
        if head.checkpoint.note != manifest["checkpoint"].encode():
            raise TamperDetected("ledger.db of the backup does not end at the checkpoint that its manifest names")
        os.sync()
        staged.replace(data)
        sync(data.parent)
    except OSError as e:
        raise Invalid("DATA", f"can't be written: {e}") from e
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    ahead, unseen = _ahead(data, verifier, head)
    return Restored(head.checkpoint, verifier.vkey, given is not None, bool(manifest["keys"]), ahead, unseen)


def _manifest(source: Path) -> dict[str, Any]:
    try:
        value = json.loads((source / MANIFEST).read_bytes())
        if value["schema"] != SCHEMA:
            raise Invalid(MANIFEST, f"has schema {value['schema']!r}; this limen reads {SCHEMA}")
        files = {str(name): (str(each["sha256"]), int(each["bytes"])) for name, each in value["files"].items()}
        found = {"files": files, "vkey": str(value["vkey"]), "checkpoint": str(value["checkpoint"]), "keys": bool(value["keys"])}
    except (FileNotFoundError, NotADirectoryError) as e:
        raise NotFound(f"{source / MANIFEST}: this is no backup, or one that was not finished") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise TamperDetected(f"{source / MANIFEST} can't be read: {e}") from e
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or name in {"", MANIFEST}:
            raise TamperDetected(f"{MANIFEST} names {name!r}, which lies outside the backup")
    if not {CONTROL, DATABASE} <= files.keys():
        raise TamperDetected(f"{MANIFEST} names no {DATABASE} or no {CONTROL}")
    return found


def _put_back(source: Path, staged: Path, files: dict[str, tuple[str, int]]) -> None:
    staged.mkdir(mode=0o700)
    for name, expected in files.items():
        path = source / name
        if path.is_symlink() or not path.is_file():
            raise TamperDetected(f"{name} is missing from the backup; nothing was restored")
        target = staged / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _copied(path, target) != expected:
            raise TamperDetected(f"{name} of the backup is not what its manifest says; nothing was restored")


def _verified(database: Path, verifier: Verifier) -> Head:
    """The head of a database whose every entry was hashed and makes its root, under the log's signature."""
    head = stored_head(database, verifier)
    if roots(look(database.parent, verifier.name), [head.size]) != [head.checkpoint.root]:
        raise TamperDetected(
            f"the entries of {database} do not make the root signed at size {head.size}",
            next_step="`limen ledger verify` on the data directory names the first bad entry",
        )
    return head


def _ahead(data: Path, verifier: Verifier, head: Head) -> tuple[list[Evidence], list[str]]:
    """What is known of a longer or another log, in the places that the restored configuration names."""
    config = configs.load(data)
    found: list[Evidence] = []
    unseen: list[str] = []
    looks: list[Callable[[], list[Evidence]]] = [directory.guard(config, verifier, now=lambda: 0).evidence]
    publish = data / config.ledger.publish
    if config.ledger.publish and publish.is_dir():
        looks.append(lambda: [_published(publish, verifier)])
    for ask in looks:
        try:
            found += ask()
        except NotFound:
            continue
        except LimenError as e:
            unseen.append(str(e))
    store = look(data, verifier.name)
    log = Published(data / PUBLISHED)
    ahead = [seen for seen in found if contradiction(seen, head, store, log, origin=verifier.name) is not None]
    return ahead, unseen


def _published(root: Path, verifier: Verifier) -> Evidence:
    return Evidence.read(Published(root).checkpoint(verifier).note, f"the log published in {root}", verifier=verifier)


def _empty(path: Path, what: str) -> None:
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise Invalid(what, f"{path} is there and not empty; nothing was written")


def _make_empty(path: Path, what: str) -> None:
    _empty(path, what)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as e:
        raise Invalid(what, f"can't be made: {e}") from e
