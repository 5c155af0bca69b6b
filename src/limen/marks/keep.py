"""Where mark keys rest: in a 0600 record, in two halves, or in a token. What is kept is never made anew.

Every key has a record `KEYS/<id>.key`, readable by its owner only:

- **file**: the record holds the secret.
- **split**: the record holds one half, and `ESCROW/<id>.half` the other, in a place that somebody else keeps; the secret is
  their XOR, and each alone is random. Both are needed whenever limen starts.
- **token**: the secret is in a PKCS#11 token; the record says in which, under which handle, and which subkeys to expect.

A key is made only where nothing is. A record whose secret can't be had, or gives other subkeys than it says, is
MarkKeyUnavailable: nothing is served under it, and nothing replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.core.errors import Conflict, Invalid, LimenError, MarkKeyUnavailable, NotFound
from limen.marks.keys import DERIVED_BY, SECRET_BYTES, MarkKey, Subkeys, read_record, write_record
from limen.marks.levels import DEFAULT
from limen.marks.token import ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from limen.marks.token import Holder

Kind = Literal["file", "split", "token"]
KINDS: Final[tuple[Kind, ...]] = ("file", "split", "token")


@dataclass(frozen=True, slots=True)
class Keep:
    """The places of one data directory's mark keys. `kind` and `levels` are those of new keys unless something else is asked."""

    records: Path
    escrow: Path | None = None
    token: Holder | None = None
    kind: Kind = "file"
    levels: str = DEFAULT

    def path(self, key_id: str) -> Path:
        """Where the record of a key is."""
        return self.records / f"{key_id}.key"

    def kind_of(self, key_id: str) -> Kind:
        """Where a key rests; NotFound if there is no record of it, Invalid if it is none."""
        return _kind(read_record(self.path(key_id)))

    def kept(self) -> Iterator[tuple[str, Kind]]:
        """Every key of which there is a good record, and where it rests."""
        for path in sorted(self.records.glob("*.key")):
            try:
                yield path.stem, _kind(read_record(path))
            except LimenError:
                continue  # whoever asks for this key is told

    def load(self, key_id: str) -> MarkKey:
        """A key; NotFound if there is no record of it, Invalid or MarkKeyUnavailable if there is and it can't be used."""
        record = read_record(self.path(key_id))
        match _kind(record):
            case "file":
                return MarkKey.load(self.path(key_id))
            case "split":
                return self._joined(key_id, record)
            case "token":
                return self._derived(key_id, record)

    def make(self, key_id: str, *, random: Callable[[int], bytes], kind: Kind | None = None, levels: str = "") -> MarkKey:
        """A new key, durable where it rests. Conflict if there is a record of that id; MarkKeyUnavailable without a place."""
        kind, path = kind or self.kind, self.path(key_id)
        if path.exists():
            raise Conflict(f"there is a mark key {key_id} already; it is never replaced")
        key = MarkKey.make(key_id, random=random, levels=levels or self.levels)
        match kind:
            case "file":
                key.save(path)
            case "split":
                self._split(key, random(SECRET_BYTES))
            case "token":
                key = self._in_token(key, random(ID_BYTES))
        return key

    def retry(self) -> None:
        """Let a token be tried again."""
        if self.token is not None:
            self.token.retry()

    def _split(self, key: MarkKey, half: bytes) -> None:
        """The other's half first: with no record of ours it is nobody's key, and its place can be used again."""
        there = self._half(key.id)
        named = {**key.named(), "commitment": key.commitment()}
        if there.exists():
            there.unlink()  # a crash kept ours from being written
        try:
            write_record(there, {**named, "half": half.hex()})
        except OSError as e:
            raise MarkKeyUnavailable(f"{there} can't be written: {e.strerror}; no key was made") from e
        write_record(self.path(key.id), {**named, "half": _xor(key.secret, half).hex(), "salt": key.salt.hex()})

    def _joined(self, key_id: str, record: dict[str, Any]) -> MarkKey:
        try:
            other = read_record(self._half(key_id))
        except NotFound:
            raise MarkKeyUnavailable(
                f"the other half of mark key {key_id} is not at {self._half(key_id)}",
                next_step="bring the escrow's medium, then `limen asset key show ASSET`",
            ) from None
        try:
            secret = _xor(bytes.fromhex(record["half"]), bytes.fromhex(other["half"]))
            key = MarkKey(record["id"], secret, bytes.fromhex(record["salt"]), record["levels"])
        except (ValueError, KeyError, TypeError, RuntimeError) as e:
            raise Invalid(str(self.path(key_id)), "with its other half makes no mark key") from e
        if key.commitment() != record["commitment"]:
            raise MarkKeyUnavailable(
                f"{self._half(key_id)} is not the other half of mark key {key_id}", next_step="bring the half that goes with it"
            )
        return key

    def _half(self, key_id: str) -> Path:
        if self.escrow is None:
            raise MarkKeyUnavailable(
                f"mark key {key_id} is split, and limen.toml does not say where the escrow's halves are",
                next_step="set `escrow` in [marks]",
            )
        return self.escrow / f"{key_id}.half"

    def _in_token(self, plan: MarkKey, handle: bytes) -> MarkKey:
        """A key of the same name, salt and levels whose secret is made in the token, and never was anywhere else."""
        token = self._token(plan.id)
        token.make(handle, label=f"limen mark key {plan.id}")
        key = MarkKey(plan.id, b"", plan.salt, plan.levels, from_token=_subkeys(token, handle))
        where = {"token": token.label, "handle": handle.hex()}
        write_record(self.path(key.id), {**key.named(), **where, "salt": key.salt.hex(), "subkeys": key.digests})
        return key

    def _derived(self, key_id: str, record: dict[str, Any]) -> MarkKey:
        token = self._token(key_id)
        try:
            handle, salt, label = bytes.fromhex(record["handle"]), bytes.fromhex(record["salt"]), record["token"]
            if label != token.label:
                raise MarkKeyUnavailable(f"mark key {key_id} is in token {label}, and limen.toml names {token.label}")
            key = MarkKey(record["id"], b"", salt, record["levels"], from_token=_subkeys(token, handle))
        except (ValueError, KeyError, TypeError) as e:
            raise Invalid(str(self.path(key_id)), "not a mark key") from e
        if key.digests != record.get("subkeys"):
            raise MarkKeyUnavailable(
                f"token {token.label} holds another secret than mark key {key_id} was made with",
                next_step="bring the right token",
            )
        return key

    def _token(self, key_id: str) -> Holder:
        if self.token is None:
            raise MarkKeyUnavailable(
                f"mark key {key_id} belongs in a PKCS#11 token, and limen.toml names none",
                next_step="set `module` and `token` in [marks]",
            )
        return self.token


def _kind(record: dict[str, Any]) -> Kind:
    return "token" if "token" in record else "split" if "half" in record else "file"


def _subkeys(token: Holder, handle: bytes) -> Subkeys:
    return Subkeys(*token.macs(handle, DERIVED_BY))


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))
