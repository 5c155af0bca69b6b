"""Has every published checkpoint cosigned by the witnesses of a policy (C2SP tlog-policy), and says when the quorum stands.

One thread goes from checkpoint to checkpoint, always the newest that is published; each submission prefix has a thread of
its own, so that all are asked at once and a slow one delays nobody. What was cosigned replaces the published checkpoint
(same text, more signature lines). Without news the same checkpoint is cosigned again every `HEARTBEAT_S`: its times say
that the witnesses still saw no other. An answer that shows a set-back or forked log stops the log (`asking`).
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, LedgerUnavailable, LimenError, TamperDetected
from limen.formats import note
from limen.ledger.witnesses.asking import Asked, Trouble
from limen.ledger.witnesses.watched import WHO_FAILS, Standing, State, Stood

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limen.core.types import Checkpoint
    from limen.formats.note import Signature, Verifier
    from limen.formats.tlogpolicy import Policy
    from limen.ledger.store import Head
    from limen.ledger.witnesses.asking import Durable, RangeHash
    from limen.ledger.witnesses.watched import Stretch

HEARTBEAT_S: Final = 60.0
PATIENCE: Final = 2  # rounds without a quorum, after which nobody is left waiting for the next
FIRST_RETRY_S: Final = 0.25
LAST_RETRY_S: Final = 2.0


@dataclass(eq=False, slots=True)
class _Worker:
    """One submission prefix with its thread. All but `asked` is guarded by Cosigning's condition."""

    asked: Asked
    task: Checkpoint | None = None
    pause_s: float = 0.0
    not_before: float = 0.0
    known: dict[str, Standing] = field(default_factory=dict)


class Cosigning:
    """Owns its threads. `published`, `reached`, `state` and `close` may be called from any thread."""

    def __init__(
        self,
        policy: Policy,
        verifier: Verifier,
        *,
        range_hash: RangeHash,
        durable: Durable,
        now: Callable[[], float],
        timeout_s: float,
    ) -> None:
        """Invalid if the policy is not about this log, or if its quorum can't be reached because nobody has a URL."""
        _check_policy(policy, verifier)
        self._policy = policy
        self._origin = verifier.name
        self._timeout_s = timeout_s
        self._workers = [
            _worker(Asked(url, group, range_hash=range_hash, durable=durable, now=now, timeout_s=timeout_s))
            for url, group in _by_url(policy).items()
        ]
        self._without_url = tuple(
            Standing(w.name, w.key.vkey, "", error="the policy names no URL for it")
            for w in policy.witnesses.values()
            if not w.url
        )
        self._stop: Callable[[TamperDetected], None] = lambda _: None
        self._bring: Callable[[bytes, int], None] = lambda _raw, _size: None
        self._give_up: Callable[[int], None] = lambda _: None
        self._change = threading.Condition()  # guards all below, and the workers
        self._newest: Checkpoint | None = None  # the newest that is published
        self._round: Checkpoint | None = None  # the one that is being cosigned
        self._lines: dict[str, Signature] = {}  # what the round has brought, by the policy's names
        self._done = -1  # the largest size that the quorum has cosigned
        self._stands = False
        self._stood = Stood()
        self._failed = 0  # rounds without a quorum, since the last that had one
        self._waiting: list[tuple[int, Future[None]]] = []
        self._last = 0.0  # when the newest round began, by the monotonic clock
        self._over: str | None = None  # why nothing is cosigned any more
        self._threads = [threading.Thread(target=self._run, name="limen-cosigning", daemon=True)]
        self._threads += [
            threading.Thread(target=self._work, args=(worker,), name=f"limen-witness-{i}", daemon=True)
            for i, worker in enumerate(self._workers)
        ]

    # --- before anything is signed

    def look(self) -> None:
        """Ask every witness, all at once, what it has recorded. TamperDetected if the durable log does not hold one of these.

        A witness that does not answer within twice its timeout is passed over: it is asked again with the first checkpoint.
        """
        found: list[TamperDetected] = []

        def ask(asked: Asked) -> None:
            try:
                asked.look(self._origin)
            except TamperDetected as e:
                found.append(e)
            except (Trouble, LimenError, OSError):
                return  # its first cosignature will say what is wrong

        threads = [threading.Thread(target=ask, args=(worker.asked,), daemon=True) for worker in self._workers]
        for thread in threads:
            thread.start()
        until = time.monotonic() + 2 * self._timeout_s
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        if found:
            raise found[0]

    def start(
        self,
        *,
        stop: Callable[[TamperDetected], None],
        bring: Callable[[bytes, int], None],
        give_up: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Begin. `stop` hears that the log was set back or forked; `bring` takes a checkpoint with its cosignatures.

        `give_up` hears of a checkpoint for which none will come soon.
        """
        self._stop, self._bring, self._give_up = stop, bring, give_up
        for thread in self._threads:
            thread.start()

    # --- any thread

    def published(self, head: Head) -> None:
        """Have this head's checkpoint cosigned: it is out. Never blocks."""
        with self._change:
            self._newest = head.checkpoint
            self._change.notify_all()

    def reached(self, size: int) -> Future[None]:
        """A future that is done once the quorum has cosigned a tree of at least this size.

        LedgerUnavailable as soon as that is not to be expected: it is over, or the quorum has failed `PATIENCE` times.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # whoever waits may go; the future stays ours to set
        with self._change:
            if self._done >= size:
                future.set_result(None)
            elif self._over is not None:
                future.set_exception(LedgerUnavailable(self._over))
            elif self._failed >= PATIENCE:
                future.set_exception(self._missing())
            else:
                self._waiting.append((size, future))
        return future

    def state(self) -> State:
        """What is known of the witnesses at this moment."""
        with self._change:
            known = [standing for worker in self._workers for standing in worker.known.values()]
            return State(
                quorum=self._policy.quorum,
                stands=self._stands,
                size=self._done if self._done >= 0 else None,
                published=self._newest.size if self._newest else None,
                witnesses=(*known, *self._without_url),
            )

    def stretch(self) -> Stretch | None:
        """How the quorum cosigned since the last time that this was asked; None if it did not."""
        with self._change:
            return self._stood.take(time.monotonic())

    def close(self, *, timeout_s: float) -> None:
        """End the threads; one that waits for a witness is left to its timeout."""
        self._end("the log is closed")
        until = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))

    def _end(self, why: str) -> None:
        with self._change:
            self._over = self._over or why
            self._stands = False
            waiting, self._waiting = self._waiting, []
            self._change.notify_all()
        for _, future in waiting:
            future.set_exception(LedgerUnavailable(why))

    # --- the thread of the rounds

    def _run(self) -> None:
        try:
            while (checkpoint := self._next()) is not None:
                self._one_round(checkpoint)
        except Exception as e:  # noqa: BLE001  the thread's root: whatever it was, nobody may wait for ever
            self._end(f"cosigning met an error that it does not know: {e!r}")

    def _next(self) -> Checkpoint | None:
        """The newest checkpoint, once there is somebody to be asked about it; None when it is over."""
        with self._change:
            while self._over is None:
                pause = self._pause()
                if pause is not None and pause <= 0:
                    return self._newest
                self._change.wait(pause)
            return None

    def _pause(self) -> float | None:
        """Seconds until the next round; None if only news, or a witness that is still busy, can bring it on."""
        if self._newest is None:
            return None
        if self._newest is self._round:
            if self._stands:
                late = [worker.not_before for worker in self._late() if worker.task is None]
                return min([self._last + HEARTBEAT_S, *late]) - time.monotonic()
            slowest = max([FIRST_RETRY_S, *(worker.pause_s for worker in self._workers)])
            return self._last + slowest - time.monotonic()
        free = [worker.not_before for worker in self._workers if worker.task is None]
        if free or not self._workers:
            return min(free, default=0.0) - time.monotonic()
        return None

    def _one_round(self, checkpoint: Checkpoint) -> None:
        """Ask everybody who is free; bring what the quorum cosigned at once, and what comes after it when it comes."""
        with self._change:
            now = time.monotonic()
            if checkpoint is self._round and self._stands and now < self._last + HEARTBEAT_S:
                called = self._late()  # the quorum stands; only who missed it is asked
            else:
                self._last, self._round, self._lines, called = now, checkpoint, {}, self._workers
            asked = [worker for worker in called if worker.task is None and worker.not_before <= now]
            for worker in asked:
                worker.task = checkpoint
            brought, over, until = len(self._lines), False, now + self._timeout_s
            self._change.notify_all()
        while not over:
            with self._change:
                self._wait_for_more(asked, brought, until)
                if self._over is not None:
                    return
                lines, stands = dict(self._lines), self._policy.satisfied_by(self._lines.keys())
                over = self._heard(asked) or time.monotonic() >= until or (stands and self._newest is not checkpoint)
            if len(lines) > brought and (stands or over):
                brought = len(lines)
                self._bring(_with_lines(checkpoint.note, lines.values()), checkpoint.size)
            if stands:
                self._reach(checkpoint.size)
        with self._change:
            self._stands = stands
            self._failed = 0 if stands else self._failed + 1
            waiting: list[tuple[int, Future[None]]] = []
            if self._failed >= PATIENCE:
                waiting, self._waiting = self._waiting, []
            missing = [self._missing() for _ in waiting]
        if not stands:
            self._give_up(checkpoint.size)
        for (_, future), error in zip(waiting, missing, strict=True):
            future.set_exception(error)

    def _missing(self) -> LedgerUnavailable:
        """Why nobody can be waited for: a fresh error for each who waits."""
        troubles = [f"{one.name}: {one.error}" for worker in self._workers for one in worker.known.values() if one.error]
        return LedgerUnavailable(
            f"the witnesses' quorum {self._policy.quorum} can't be had now ({'; '.join(troubles) or 'too slow'})",
            next_step=WHO_FAILS,
        )

    def _wait_for_more(self, asked: list[_Worker], brought: int, until: float) -> None:
        """Until the round has the quorum, or one more after it, or nobody left to wait for, or no more time."""

        def enough() -> bool:
            stands = self._policy.satisfied_by(self._lines.keys())
            more = len(self._lines) > brought or self._newest is not self._round
            return self._over is not None or self._heard(asked) or (stands and more)

        self._change.wait_for(enough, max(0.0, until - time.monotonic()))

    def _late(self) -> list[_Worker]:
        """Who has given no line to this round: busy then, or failing."""
        return [worker for worker in self._workers if not worker.known.keys() & self._lines.keys()]

    def _heard(self, asked: list[_Worker]) -> bool:
        return not any(worker.task is self._round for worker in asked)

    def _reach(self, size: int) -> None:
        with self._change:
            self._stands = True
            self._stood.note(size, time.monotonic())
            self._done = max(self._done, size)
            reached = [future for wanted, future in self._waiting if wanted <= size]
            self._waiting = [(wanted, future) for wanted, future in self._waiting if wanted > size]
        for future in reached:
            future.set_result(None)

    # --- the threads of the witnesses

    def _work(self, worker: _Worker) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._over or worker.task is not None)
                if self._over is not None or worker.task is None:
                    worker.asked.close()
                    return
                checkpoint = worker.task
            self._note(worker, checkpoint, *self._ask(worker.asked, checkpoint))

    def _ask(self, asked: Asked, checkpoint: Checkpoint) -> tuple[dict[str, tuple[Signature, int]], str]:
        try:
            return asked.cosign(checkpoint), ""
        except TamperDetected as e:
            self._stop(e)  # first of all, so that nobody who is told so can still append
            self._end(f"stopped, because {e}")
            return {}, str(e)
        except (Trouble, OSError) as e:
            return {}, str(e)
        except LimenError as e:
            return {}, f"what it said can't be held against the log now: {e}"
        except Exception as e:  # noqa: BLE001  the thread's root: an answer that we can't even refuse is the witness's trouble
            return {}, f"its answer can't be read: {e!r}"

    def _note(self, worker: _Worker, checkpoint: Checkpoint, found: dict[str, tuple[Signature, int]], error: str) -> None:
        """Keep what a witness answered. It counts if the round is still about that checkpoint."""
        with self._change:
            worker.task = None
            worker.pause_s = min(2 * worker.pause_s or FIRST_RETRY_S, LAST_RETRY_S) if error else 0.0
            worker.not_before = time.monotonic() + worker.pause_s
            for name, before in worker.known.items():
                line, at = found.get(name, (None, before.at))
                trouble = error or ("" if line else "it answered without this key's cosignature")
                size = checkpoint.size if line else before.size
                worker.known[name] = Standing(before.name, before.key, before.url, size, at, trouble)
            if self._round is checkpoint:
                self._lines |= {name: line for name, (line, _) in found.items()}
            self._change.notify_all()


def _worker(asked: Asked) -> _Worker:
    known = {w.name: Standing(w.name, w.key.vkey, asked.url, error="not asked yet") for w in asked.witnesses}
    return _Worker(asked, known=known)


def _by_url(policy: Policy) -> dict[str, list[Any]]:
    """Witnesses under one prefix are keys of one witness: it is asked once, and answers with a line for each."""
    found: dict[str, list[Any]] = {}
    for witness in policy.witnesses.values():
        if witness.url:
            found.setdefault(witness.url.rstrip("/"), []).append(witness)
    return found


def _check_policy(policy: Policy, verifier: Verifier) -> None:
    if all(log.verifier != verifier for log in policy.logs):
        raise Invalid("ledger.policy", f"is about another log: it has no line `log {verifier.vkey}`")
    if not policy.satisfied_by({name for name, witness in policy.witnesses.items() if witness.url}):
        raise Invalid("ledger.policy", "its quorum can't be reached: a witness that it needs has no URL")


def _with_lines(raw: bytes, lines: Iterable[Signature]) -> bytes:
    for line in lines:
        raw = note.append_signature(raw, line.name, line.key_id, line.blob)
    return raw
