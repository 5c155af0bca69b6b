"""Trust policies: which logs count, which witnesses, and how many of them. C2SP tlog-policy (untagged; read at 13027ee).

Pure. `Policy.check` is the whole question "may I rely on this checkpoint?": the log's own signature, no wrong signature by
anybody named, and cosignatures that make the quorum. A policy without a log, or without a quorum line, is refused: an
empty policy would trust nobody, or everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.formats import checkpoint as checkpoints
from limen.formats import note
from limen.formats.cosignature import CosignerKey
from limen.formats.note import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

NONE: Final = "none"
MAX_POLICY: Final = 1 << 20
# The specification asks for 32 of each at least.
MAX_OF_A_KIND: Final = 256


@dataclass(frozen=True, slots=True)
class Log:
    """A log that the policy trusts. `url` is where it is published, if the policy says so."""

    verifier: Verifier
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness under the policy's own name for it. `url` is its submission prefix, if the policy says so."""

    name: str
    key: CosignerKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and groups of which `threshold` must have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that a policy accepted: by whom it is cosigned (the policy's names), and when each says it did."""

    origin: str
    size: int
    root: bytes
    cosigners: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is trusted. `groups` stand in their order, so that each one's members come before it."""

    logs: tuple[Log, ...]
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: tuple[Group, ...] = ()
    quorum: str = NONE

    @classmethod
    def of_logs(cls, verifiers: Iterable[Verifier]) -> Policy:
        """The policy that asks for the signature of one of these logs and for no witness. An empty list is refused."""
        logs = tuple(Log(verifier) for verifier in verifiers)
        if not logs:
            raise Invalid("policy", "no trusted key was given")
        return cls(logs)

    @classmethod
    def read(cls, text: str | bytes) -> Policy:
        """Read a policy; Invalid names the line that is wrong."""
        reading = _Reading()
        for number, words in enumerate(_lines(text), 1):
            try:
                reading.take(words)
            except Invalid as e:
                raise Invalid(f"policy, line {number}", f"{e.field}: {e.why}") from e
        return reading.policy()

    @property
    def log(self) -> Verifier:
        """The key of the log, for whoever has one log only: the first."""
        return self.logs[0].verifier

    @property
    def log_url(self) -> str | None:
        """Where that log is published."""
        return self.logs[0].url

    def satisfied_by(self, names: AbstractSet[str]) -> bool:
        """Whether these witnesses, by the policy's names, make the quorum."""
        if self.quorum == NONE:
            return True
        witnessed = set(names & self.witnesses.keys())
        for group in self.groups:
            if sum(member in witnessed for member in group.members) >= group.threshold:
                witnessed.add(group.name)
        return self.quorum in witnessed

    def check(self, checkpoint_note: bytes) -> Cosigned:
        """The checkpoint of this note, if the policy accepts it; Invalid says why not.

        1. Its origin is the name of a trusted log. 2. That log signed it. 3. No signature under a key of the policy is
        wrong. 4. The witnesses whose cosignatures verified make the quorum.
        """
        origin, size, root = checkpoints.decode(note.parse(checkpoint_note)[0])
        keys = [log.verifier for log in self.logs if log.verifier.name == origin]
        if not keys:
            raise Invalid("policy", f"does not name the log {origin!a}")
        _, signatures = note.open_note(checkpoint_note, [*keys, *(witness.key for witness in self.witnesses.values())])
        verified = {(signature.name, signature.key_id) for signature in signatures}
        if not any((key.name, key.key_id) in verified for key in keys):
            raise Invalid("checkpoint", f"is not signed by the log {origin}")
        cosigners = tuple(self._cosigners(signatures))
        if not self.satisfied_by({name for name, _ in cosigners}):
            by = ", ".join(name for name, _ in cosigners) or "nobody"
            raise Invalid("checkpoint", f"has no quorum: it is cosigned by {by}, and the policy asks for {self.quorum}")
        return Cosigned(origin, size, root, cosigners)

    def _cosigners(self, signatures: Sequence[note.Signature]) -> Iterable[tuple[str, int]]:
        """Each witness once; of several cosignatures that verified, the newest."""
        for witness in self.witnesses.values():
            key = (witness.key.name, witness.key.key_id)
            times = [witness.key.cosigned_at(one.blob) for one in signatures if (one.name, one.key_id) == key]
            if times:
                yield witness.name, max(times)


class _Reading:
    """A policy as far as its lines have been read."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._quorum: str | None = None

    def take(self, words: list[str]) -> None:
        match words:
            case []:
                return
            case ["log", vkey, *url] if len(url) <= 1:
                self._log(Log(Verifier.from_vkey(vkey), *url))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._witness(Witness(self._new(name), CosignerKey.from_vkey(vkey), *url))
            case ["group", name, threshold, *members]:
                self._group(self._new(name), threshold, members)
            case ["quorum", name]:
                if self._quorum is not None:
                    raise Invalid("quorum", "is there already")
                self._quorum = self._defined(name) if name != NONE else NONE
            case _:
                raise Invalid("line", f"does not read as a log, witness, group or quorum: {' '.join(words)!a}")

    def policy(self) -> Policy:
        if self._quorum is None:
            raise Invalid("policy", "has no quorum line; `quorum none` asks for no witness")
        if not self._logs:
            raise Invalid("policy", "names no log")
        return Policy(tuple(self._logs), self._witnesses, tuple(self._groups.values()), self._quorum)

    def _log(self, log: Log) -> None:
        _room_for_one(self._logs, "log")
        if any(log.verifier.public_key == other.verifier.public_key for other in self._logs):
            raise Invalid("log", "its key is on another line already")
        self._logs.append(log)

    def _witness(self, witness: Witness) -> None:
        _room_for_one(self._witnesses, "witness")
        # One key under two names would count twice toward a quorum.
        if any(witness.key.public_key == other.key.public_key for other in self._witnesses.values()):
            raise Invalid("witness", "its key is on another line already")
        self._witnesses[witness.name] = witness

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        _room_for_one(self._groups, "group")
        if not members:
            raise Invalid("group", f"{name!a} has no member")
        for member in members:
            # Each name in one group once: so a witness can count in one way only.
            if self._defined(member) in self._members:
                raise Invalid("group", f"{member!a} is a member already")
            self._members.add(member)
        named = {"any": 1, "all": len(members)}
        needed = named[threshold] if threshold in named else checkpoints.decimal(threshold, "group")
        if not 1 <= needed <= len(members):
            raise Invalid("group", f"needs {needed} of {len(members)} members")
        self._groups[name] = Group(name, needed, tuple(members))

    def _new(self, name: str) -> str:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise Invalid("name", f"{name!a} is taken")
        return name

    def _defined(self, name: str) -> str:
        if name not in self._witnesses and name not in self._groups:
            raise Invalid("name", f"{name!a} is no witness or group of a line above")
        return name


def _room_for_one(found: Sequence[Log] | dict[str, Witness] | dict[str, Group], what: str) -> None:
    if len(found) == MAX_OF_A_KIND:
        raise Invalid(what, f"there are more than {MAX_OF_A_KIND}")


def _lines(text: str | bytes) -> Iterable[list[str]]:
    """The words of each line, none for a comment. Bytes beyond ASCII stay as they are, UTF-8 or not."""
    try:
        raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    except UnicodeEncodeError as e:
        raise Invalid("policy", "has a character that no text has") from e
    if len(raw) > MAX_POLICY:
        raise Invalid("policy", f"longer than {MAX_POLICY} bytes")
    if any((byte < ord(" ") and byte not in b"\t\n") or byte == 0x7F for byte in raw):  # noqa: PLR2004  DEL
        raise Invalid("policy", "contains a control character")
    if not raw.endswith(b"\n"):
        raise Invalid("policy", "does not end in a newline, so it may have been cut")
    for line in raw.decode("utf-8", "surrogateescape")[:-1].split("\n"):
        words = line.replace("\t", " ").split(" ")
        found = [word for word in words if word]
        yield [] if found and found[0].startswith("#") else found
