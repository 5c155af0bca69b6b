"""One witness, asked to cosign this log's checkpoints: what it may answer, and what each answer means. C2SP tlog-witness.

An HTTP status proves nothing. A witness that says it knows a longer log, or refuses our proof, is asked for the checkpoint
that it has recorded (its monitoring prefix): if our own key signed that one and the durable log does not hold it, the log
was set back or forked, and that note is the evidence. If the witness can't show such a note, it errs, and only it. Where a
witness has no monitoring page at all (tlog-witness v1.0.0 had none) its bare word must do, and is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.formats import merkle, note, tiles
from limen.formats import witness as codec
from limen.ledger.rollback.evidence import NEXT_STEP, Evidence, contradiction
from limen.ledger.witnesses.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limen.core.types import Checkpoint
    from limen.formats.note import Signature, Verifier
    from limen.formats.tlogpolicy import Witness
    from limen.ledger.rollback.evidence import Tiles
    from limen.ledger.store import Reading
    from limen.ledger.witnesses.web import Reply

    RangeHash = Callable[[int, int], bytes]

OK: Final = 200
NO_SUCH_PAGE: Final = frozenset({404, 405, 501})
MAX_ANSWER: Final = 64 << 10
AHEAD_S: Final = 300  # how far a witness's clock may be ahead of ours
_TRIES: Final = 3  # its size may change between two of ours, but not for ever


class Trouble(Exception):
    """A witness did not cosign, and the log is none the worse for it. Never leaves the ledger: a line of its state."""


class Durable(Protocol):
    """The log as it is on disk at the moment of asking."""

    def size(self) -> int:
        """How many entries it has, read anew."""

    def contradiction(self, raw: bytes, where: str) -> TamperDetected | None:
        """Why it can't be the log that signed this note, found there; None if it can. Invalid for another log's note."""


class DurableLog:
    """A log as its store holds it now: what a witness's record is held against."""

    def __init__(self, store: Reading, log: Tiles, verifier: Verifier) -> None:
        self._store = store
        self._log = log
        self._verifier = verifier

    def size(self) -> int:
        """The size of the durable head; 0 if there is none."""
        head = self._store.head()
        return head.size if head else 0

    def contradiction(self, raw: bytes, where: str) -> TamperDetected | None:
        """Why the stored log can't have signed this note; see `evidence.contradiction`."""
        evidence = Evidence.read(raw, where, verifier=self._verifier)
        return contradiction(evidence, self._store.head(), self._store, self._log, origin=self._verifier.name)


class Asked:
    """One submission prefix and the witnesses of the policy that answer there. Owned by one thread at a time."""

    def __init__(
        self,
        url: str,
        witnesses: Sequence[Witness],
        *,
        range_hash: RangeHash,
        durable: Durable,
        now: Callable[[], float],
        timeout_s: float,
    ) -> None:
        self.url = url
        self.witnesses = tuple(witnesses)
        self._range_hash = range_hash
        self._durable = durable
        self._now = now
        self._timeout_s = timeout_s
        self._web = Web(url, timeout_s=timeout_s)
        self._size = 0  # what it has recorded, as far as we know

    @property
    def names(self) -> str:
        """Who answers here, for people."""
        return " and ".join(witness.name for witness in self.witnesses)

    def look(self, origin: str) -> None:
        """Ask, before anything is signed, what it has recorded. TamperDetected if the durable log does not hold that.

        Silent if it can't be asked: then it is asked when the first checkpoint is to be cosigned. On a connection of its
        own, so that a look that hangs is in nobody's way.
        """
        with Web(self.url, timeout_s=self._timeout_s) as web:
            raw = self._recorded(web, origin)
        if raw is None:
            return
        self._judge(raw)

    def cosign(self, checkpoint: Checkpoint) -> dict[str, tuple[Signature, int]]:
        """The verified cosignatures of a published checkpoint, with their times, by the policy's names.

        Trouble if this witness gives none now; TamperDetected if it shows that the log was set back or forked.
        """
        for _ in range(_TRIES):
            old = self._size
            proof = self._prove(old, checkpoint)
            request = codec.Request(old, proof, checkpoint.note).encode()
            reply = self._web.post(codec.ADD_CHECKPOINT, request, limit=MAX_ANSWER)
            match reply.status, reply.content_type:
                case 200, _:
                    found = self._verified(checkpoint, reply.body)
                    self._size = checkpoint.size
                    return found
                case 409, codec.TLOG_SIZE:
                    self._learn(checkpoint, reply, old)
                case 422 | 409, _:
                    self._contradicted(checkpoint, reply, old)
                case _:
                    raise Trouble(_refusal(reply, checkpoint))
        raise Trouble("its recorded size changes faster than it can be asked; does another gateway have this log's key?")

    def _prove(self, old: int, checkpoint: Checkpoint) -> tuple[bytes, ...]:
        """The consistency proof, verified against our own tree: a fault of ours must not look like a fork."""
        if old == 0:
            return ()
        try:
            proof = tuple(merkle.consistency_proof(old, checkpoint.size, self._range_hash))
            merkle.verify_consistency(old, checkpoint.size, self._range_hash(0, old), checkpoint.root, proof)
        except (NotFound, Invalid) as e:
            raise Trouble(f"the published tiles make no proof from {old} to {checkpoint.size}: {e}") from e
        return proof

    def _verified(self, checkpoint: Checkpoint, body: bytes) -> dict[str, tuple[Signature, int]]:
        try:
            text = note.parse(checkpoint.note)[0].encode()
            keys = {(w.key.name, w.key.key_id): w for w in self.witnesses}
            found = {}
            for line in codec.cosignatures(body):
                witness = keys.get((line.name, line.key_id))
                if witness is None:
                    continue  # another key of its own: neither for nor against
                witness.key.verify(text, line.blob)
                at = witness.key.cosigned_at(line.blob)
                if at > self._now() + AHEAD_S:
                    raise Trouble(f"its cosignature is of the future ({at}); set its clock, or ours")
                found[witness.name] = line, at
        except Invalid as e:
            raise Trouble(f"its answer does not verify: {e}") from e
        if not found:
            raise Trouble("it answered with no cosignature under a key of the policy")
        return found

    def _learn(self, checkpoint: Checkpoint, reply: Reply, old: int) -> None:
        """It has another size recorded than we thought: below ours, go on from there; above it, find out why."""
        try:
            size = codec.recorded_size(reply.body)
        except Invalid as e:
            raise Trouble(f"its 409 names no size: {e}") from e
        if size > checkpoint.size:
            self._ahead(checkpoint, size)
        if size == old:
            raise Trouble(f"it has {size} recorded, was asked from {size}, and says that this is another size")
        self._size = size

    def _ahead(self, checkpoint: Checkpoint, size: int) -> None:
        """Always raises. The durable head is read again first: what is published may be behind it."""
        raw = self._recorded_or_none(checkpoint.origin)
        if raw is not None:
            self._judge(raw)
        elif (mine := self._durable.size()) < size:
            raise TamperDetected(
                f"the log was set back: {self._shown} says that it has cosigned {size} entries, and ledger.db has {mine}; "
                "it shows no checkpoint, so its word is all there is",
                evidence=checkpoint.note,
                next_step=NEXT_STEP,
            )
        raise Trouble(f"it has {size} recorded, more than is published ({checkpoint.size}), and all of it is in this log")

    def _contradicted(self, checkpoint: Checkpoint, reply: Reply, old: int) -> None:
        """Always raises. Our proof verifies against our own tree, so its record differs, or it errs."""
        raw = self._recorded_or_none(checkpoint.origin)
        if raw is None:
            raise TamperDetected(
                f"the log was forked: {self._shown} refuses a proof from {old} to {checkpoint.size} that verifies here "
                f"({reply.why()}); it shows no checkpoint, so its word is all there is",
                evidence=checkpoint.note,
                next_step=NEXT_STEP,
            )
        self._judge(raw)
        raise Trouble(f"it refused a proof that verifies against the checkpoint that it shows ({reply.why()})")

    def _judge(self, raw: bytes) -> None:
        """TamperDetected if the durable log does not hold what this note says; Trouble if it is no note of this log."""
        try:
            why = self._durable.contradiction(raw, self._shown)
        except Invalid as e:
            raise Trouble(f"it shows a checkpoint that this log did not sign: {e}") from e
        if why is not None:
            raise why

    @property
    def _shown(self) -> str:
        return f"the witness {self.names} at {self.url}"

    def _recorded_or_none(self, origin: str) -> bytes | None:
        return self._recorded(self._web, origin)

    def _recorded(self, web: Web, origin: str) -> bytes | None:
        """The note that it shows for this log, unverified; None if it has none, or no monitoring page."""
        reply = web.get(codec.monitoring_path(origin), limit=note.MAX_NOTE)
        if reply.status == OK:
            return reply.body
        if reply.status in NO_SUCH_PAGE:
            return None
        raise Trouble(f"asked for its recorded checkpoint, it said {reply.why()}")

    def close(self) -> None:
        """Close the connection."""
        self._web.close()


def range_hash_of(read_tile: Callable[[int, int, int], list[bytes]]) -> RangeHash:
    """The hashes of ranges of leaves, from tiles."""
    return lambda start, end: tiles.range_hash(read_tile, start, end)


def _refusal(reply: Reply, checkpoint: Checkpoint) -> str:
    hints = {
        404: f"it does not know {checkpoint.origin}: whoever runs it adds the log's key with `limen witness add`",
        403: "it trusts this log under another key",
    }
    return f"it said {reply.why()}" + (f" ({hints[reply.status]})" if reply.status in hints else "")
