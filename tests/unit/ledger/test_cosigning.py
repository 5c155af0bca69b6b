"""Being witnessed: what is published carries the quorum's cosignatures, and who knows more than we do stops us.

Witnesses are real ones over HTTP; where one must lie, a small application says what the test wants said.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
import time

import pytest

from limen.core import events
from limen.core.errors import Invalid, LedgerUnavailable, TamperDetected
from limen.doors.witness.app import WitnessDoor
from limen.formats import note
from limen.formats import witness as codec
from limen.formats.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE, Cosigner
from limen.formats.tlogpolicy import Policy
from limen.ledger.ledger import Ledger
from limen.ledger.witnesses import cosigning
from limen.ledger.witnesses.watched import Stood, Stretch
from limen.ledger.witnesses.witness import Witness
from limen.listening import address, bound
from serving import Served
from witnessing import LOG, Tree

STRANGER = note.Signer(LOG.name, bytes([7]) * 32)
LIAR = Cosigner.ed25519("liar.example", bytes([8]) * 32)


def entry(number, history=""):
    return events.encode("server.start", 1, number.to_bytes(16, "big"), {"n": number, "h": history})


class Scene:
    """A log's directory, its witnesses, and the policy that names them."""

    def __init__(self, path):
        self.path = path
        self.witnesses = {}
        self.served = contextlib.ExitStack()
        self.lines = []
        self.quorum = "any"
        self.timeout_s = 1.0
        self.now = time.time

    def witness(self, name, kinds=(ED25519_COSIGNATURE,), app=None):
        """A witness that trusts the log, served; `app` stands before it."""
        witness = Witness.create(self.path / name / "witness.db", name=f"{name}.example", random=os.urandom, kinds=kinds)
        witness.trust(LOG.vkey)
        self.witnesses[name] = witness
        door = WitnessDoor(witness, now=self.now)
        return self.serve(name, [key.vkey for key in witness.keys], app(door) if app else door)

    def serve(self, name, vkeys, app):
        served = self.served.enter_context(Served(app))
        for number, vkey in enumerate(vkeys):
            self.lines.append((f"{name}{number or ''}", vkey, served.url))
        return served

    def policy(self):
        names = " ".join(name for name, _, _ in self.lines)
        lines = [f"witness {' '.join(line)}" for line in self.lines]
        return Policy.read("\n".join([f"log {LOG.vkey}", *lines, f"group g {self.quorum} {names}", "quorum g"]) + "\n")

    @contextlib.asynccontextmanager
    async def open(self, data="data", policy=None, signer=LOG):
        (self.path / data).mkdir(exist_ok=True)
        ledger = Ledger.open(
            self.path / data,
            origin=LOG.name,
            signer=signer,
            now=self.now,
            witnesses=policy or (self.policy() if self.lines else None),
            witness_timeout_s=self.timeout_s,
        )
        try:
            yield ledger
        finally:
            await ledger.close()

    def grow(self, count, *, data="data", history="", witnessed=True):
        """Append and have it witnessed, in a process's life of its own; the log's size."""

        async def life():
            async with self.open(data) as ledger:
                size = await append(ledger, count, history)
                if witnessed:
                    await ledger.witnessed(size)
                else:
                    await ledger.flush()
                return size

        return asyncio.run(life())

    def published(self, data="data"):
        return (self.path / data / "log" / "checkpoint").read_bytes()


async def append(ledger, count, history=""):
    start = ledger.head().size
    await ledger.append_all([(entry(start + i, history), None) for i in range(count)])
    return ledger.head().size


async def until(condition, why):
    """Wait for something that another thread is about to do."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(why())


@pytest.fixture
def scene(tmp_path):
    scene = Scene(tmp_path)
    with scene.served:
        yield scene
    for witness in scene.witnesses.values():
        witness.close()


def test_what_is_published_satisfies_the_policy(scene):
    scene.witness("one", kinds=(ED25519_COSIGNATURE, MLDSA44_COSIGNATURE))
    scene.witness("two")
    scene.quorum = "all"

    async def life():
        async with scene.open() as ledger:
            size = await append(ledger, 300)
            await ledger.witnessed(size)
            await until(lambda: len(note.parse(scene.published())[1]) == 4, scene.published)
            accepted = scene.policy().check(scene.published())
            assert (accepted.size, {name for name, _ in accepted.cosigners}) == (300, {"one", "one1", "two"})
            state = ledger.witnesses()
            assert (state.stands, state.size, state.published) == (True, 300, 300)
            assert [(w.name, w.size, w.error) for w in state.witnesses] == [("one", 300, ""), ("one1", 300, ""), ("two", 300, "")]
            assert all(abs(w.at - time.time()) < 60 for w in state.witnesses)

    asyncio.run(life())


def test_how_the_quorum_cosigned_is_told_once(scene):
    scene.witness("one")

    async def life():
        async with scene.open() as ledger:
            assert ledger.witnessed_stretch() is None
            await ledger.witnessed(await append(ledger, 3))
            stretch = ledger.witnessed_stretch()
            assert stretch.size >= 3
            assert stretch.since_s >= stretch.last_s >= 0
            assert ledger.witnessed_stretch() is None  # no news

    asyncio.run(life())


def test_a_stretch_begins_where_the_last_one_ended():
    stood = Stood()
    assert stood.take(0.0) is None
    for at in (10.0, 70.0, 190.0):
        stood.note(5, at)
    assert stood.take(200.0) == Stretch(5, 190.0, 10.0, 120.0)
    assert stood.take(300.0) is None
    stood.note(6, 400.0)
    assert stood.take(400.0) == Stretch(6, 210.0, 0.0, 210.0)


def test_one_life_goes_on_where_the_last_one_stopped(scene):
    scene.witness("one")

    assert [scene.grow(count) for count in (1, 300, 5)] == [1, 301, 306]
    assert scene.witnesses["one"].recorded(LOG.name).size == 306


def test_an_empty_log_is_witnessed_too(scene):
    scene.witness("one")

    async def life():
        async with scene.open() as ledger:
            await ledger.witnessed(0)
        assert scene.policy().check(scene.published()).size == 0

    asyncio.run(life())


def test_without_a_policy_nobody_can_be_waited_for(scene):
    async def life():
        async with scene.open() as ledger:
            with pytest.raises(LedgerUnavailable, match="no witness"):
                await ledger.witnessed(0)
            assert not ledger.witnesses().stands

    asyncio.run(life())


@pytest.mark.parametrize(("quorum", "stands"), [("any", True), ("all", False)])
def test_a_witness_that_is_down_matters_if_the_quorum_needs_it(scene, quorum, stands):
    scene.witness("one")
    with contextlib.closing(bound("127.0.0.1:0")) as taken:
        gone = address(taken)
    scene.lines.append(("two", LIAR.key.vkey, f"http://{gone}"))
    scene.quorum = quorum

    async def life():
        async with scene.open() as ledger:
            size = await append(ledger, 3)
            if stands:
                await ledger.witnessed(size)
            else:
                with pytest.raises(LedgerUnavailable, match="quorum"):
                    await ledger.witnessed(size)
            await until(lambda: ledger.witnesses().witnesses[1].error not in {"", "not asked yet"}, ledger.witnesses)
            assert ledger.witnesses().stands == stands
            assert (await append(ledger, 1)) == 4, "the log itself goes on"

    asyncio.run(life())


class Gate:
    """Lets a request through once it is open; until then it answers nothing, or 503."""

    def __init__(self, *, holds):
        self.open = threading.Event()
        self.holds = holds

    def __call__(self, door):
        async def app(scope, receive, send):
            if scope["type"] == "http" and not self.open.is_set():
                if not self.holds:
                    await send({"type": "http.response.start", "status": 503, "headers": []})
                    await send({"type": "http.response.body", "body": b"not now\n"})
                    return
                await asyncio.to_thread(self.open.wait, 20)
            await door(scope, receive, send)

        return app


def test_a_witness_that_comes_back_is_asked_again_and_the_quorum_stands(scene):
    gate = Gate(holds=False)
    scene.witness("one", app=gate)
    scene.timeout_s = 0.1

    async def life():
        async with scene.open() as ledger:
            size = await append(ledger, 3)
            with pytest.raises(LedgerUnavailable):
                await ledger.witnessed(size)
            assert "503" in ledger.witnesses().witnesses[0].error
            gate.open.set()
            await until(lambda: ledger.witnesses().stands, ledger.witnesses)
            await ledger.witnessed(size)

    asyncio.run(life())


def test_a_slow_witness_delays_nobody_and_its_line_is_added_when_it_comes(scene):
    gate = Gate(holds=True)
    scene.witness("one")
    scene.witness("slow", app=gate)
    scene.timeout_s = 5.0

    async def life():
        gate.open.set()  # while it starts
        async with scene.open() as ledger:
            gate.open.clear()
            size = await append(ledger, 3)
            await ledger.witnessed(size)
            assert ledger.witnesses().witnesses[1].size != size
            gate.open.set()
            await until(lambda: scene.published().count(b"slow.example") == 1, scene.published)
            assert scene.policy().check(scene.published()).size == size

    asyncio.run(life())


def test_without_news_the_same_checkpoint_is_cosigned_again(scene, monkeypatch):
    monkeypatch.setattr(cosigning, "HEARTBEAT_S", 0.05)
    clock = [1_780_000_000]
    scene.now = lambda: clock[0]
    scene.witness("one")

    async def life():
        async with scene.open() as ledger:
            size = await append(ledger, 3)
            await ledger.witnessed(size)
            clock[0] += 100
            await until(lambda: ledger.witnesses().witnesses[0].at == clock[0], ledger.witnesses)
            await until(lambda: scene.policy().check(scene.published()).cosigners == (("one", clock[0]),), scene.published)

    asyncio.run(life())


# --- a log that was set back, or forked


def set_back(scene):
    """A log of five entries whose witness has seen ten; the published tiles and every other trace are set back too."""
    scene.grow(5)
    shutil.copytree(scene.path / "data", scene.path / "old")
    scene.grow(5)
    shutil.rmtree(scene.path / "data")
    (scene.path / "old").rename(scene.path / "data")


def test_a_log_that_was_set_back_does_not_start_and_names_the_witness(scene):
    scene.witness("one")
    set_back(scene)

    with pytest.raises(TamperDetected, match=r"set back: the witness one .* shows 10 entries") as caught:
        scene.grow(1)
    assert note.open_note(caught.value.evidence, [LOG.verifier])
    assert "new-epoch" in caught.value.next_step


def test_without_witnesses_the_same_log_starts_and_writes_a_second_history(scene):
    scene.witness("one")
    set_back(scene)
    scene.lines.clear()

    assert scene.grow(1, history="second", witnessed=False) == 6


def test_a_log_that_was_set_back_while_its_witness_was_away_stops_when_it_comes_back(scene):
    gate = Gate(holds=False)
    gate.open.set()
    scene.witness("one", app=gate)
    set_back(scene)
    gate.open.clear()

    async def life():
        async with scene.open() as ledger:
            await append(ledger, 1)  # nobody could know
            gate.open.set()
            await until(lambda: "set back" in ledger.witnesses().witnesses[0].error, ledger.witnesses)
            with pytest.raises(LedgerUnavailable, match="set back: the witness one"):
                await append(ledger, 1)
            with pytest.raises(LedgerUnavailable, match="set back"):
                await ledger.witnessed(6)

    asyncio.run(life())


@pytest.mark.parametrize("longer", ["ours", "theirs"])
def test_a_forked_log_is_stopped_and_told_where_it_forked(scene, longer):
    scene.witness("one")
    scene.grow(5)
    shutil.copytree(scene.path / "data", scene.path / "fork")
    scene.grow(20 if longer == "theirs" else 2, data="fork", history="second")
    scene.lines, lines = [], scene.lines
    scene.grow(2 if longer == "theirs" else 20, witnessed=False)
    scene.lines = lines

    with pytest.raises(TamperDetected, match="set back" if longer == "theirs" else "rewritten"):
        scene.grow(1)


def test_a_fork_that_shows_while_running_stops_the_log(scene):
    gate = Gate(holds=False)
    gate.open.set()
    scene.witness("one", app=gate)
    scene.grow(5)
    shutil.copytree(scene.path / "data", scene.path / "fork")
    scene.grow(2, data="fork", history="second")
    gate.open.clear()

    async def life():
        async with scene.open() as ledger:
            await append(ledger, 20)
            gate.open.set()
            await until(lambda: "rewritten" in ledger.witnesses().witnesses[0].error, ledger.witnesses)
            with pytest.raises(LedgerUnavailable, match="rewritten"):
                await append(ledger, 1)

    asyncio.run(life())


# --- witnesses that err, or lie


class Liar:
    """An application that says what it was told: one answer to add-checkpoint, one for its recorded checkpoint."""

    def __init__(self, add, shown=(404, "text/plain", b""), cosigner=LIAR):
        self.add, self.shown, self.cosigner = add, shown, cosigner

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        said = self.shown if scope["method"] == "GET" else self.add
        status, content_type, answer = said(codec.decode(body), self.cosigner) if callable(said) else said
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type.encode())]})
        await send({"type": "http.response.body", "body": answer})


def size_said(size):
    return 409, codec.TLOG_SIZE, b"%d\n" % size


def cosigned(at=None, bend=lambda line: line, seed=None):
    """A cosignature of what was asked, by the liar itself or under its name."""

    def answer(request, liar):
        text = note.parse(request.checkpoint)[0].encode()
        cosigner = Cosigner.ed25519(liar.key.name, seed) if seed else liar
        return 200, TEXT, bend(note.line(cosigner.cosign(text, at or int(time.time()))))

    return answer


def of_another(_, liar):
    return 200, TEXT, note.line(liar.cosign(note.parse(AHEAD.note(3))[0].encode(), 5))


TEXT = "text/plain"
AHEAD = Tree(1000)
ERRS = {
    "a size beyond ours, and nothing of ours to show": (
        (size_said(1000), (200, TEXT, AHEAD.note(1000, signer=STRANGER))),
        "did not sign",
    ),
    "a size beyond ours, and a monitoring page that fails": ((size_said(1000), (500, TEXT, b"oh")), "500"),
    "the size that it was asked from": ((size_said(0),), "says that this is another size"),
    "a conflict without a size that reads": (((409, codec.TLOG_SIZE, b"many\n"),), "names no size"),
    "a size that changes each time": ((lambda request, _: size_said(1 - request.old_size),), "another gateway"),
    "a proof refused, with somebody else's checkpoint to show": (
        ((422, TEXT, b"no\n"), (200, TEXT, AHEAD.note(1, signer=STRANGER))),
        "did not sign",
    ),
    "a log that it does not know": (((404, TEXT, b"who\n"),), "limen witness add"),
    "another key for this log": (((403, TEXT, b"no\n"),), "another key"),
    "an error of its own": (((500, TEXT, b"oops\n"),), "500 oops"),
    "somewhere else": (((302, TEXT, b""),), "302"),
    "no cosignature": (((200, TEXT, note.line(note.Signature("x", b"abcd", bytes(72)))),), "no cosignature under a key"),
    "an empty answer": (((200, TEXT, b""),), "does not verify"),
    "a cosignature by another key under its name": ((cosigned(seed=bytes([9]) * 32),), "no cosignature under a key"),
    "a damaged cosignature": ((cosigned(bend=lambda line: line[:-9] + bytes([line[-9] ^ 1]) + line[-8:]),), "does not verify"),
    "a cosignature of another checkpoint": ((of_another,), "does not verify"),
    "a cosignature of the future": ((cosigned(at=int(time.time()) + 10_000),), "future"),
    "more than an answer can be": (((200, TEXT, b"x" * (1 << 20)),), "more than"),
    "bytes that are no text": (((200, TEXT, b"\xff\xfe\x00\n"),), "does not verify"),
}


def test_witnesses_that_err_harm_themselves_alone(scene):
    liars = {}
    for number, (said, _) in enumerate(ERRS.values()):
        cosigner = Cosigner.ed25519(f"liar-{number}.example", bytes([100 + number]) * 32)
        liars[f"/{number}"] = Liar(*said, cosigner=cosigner)

    async def switch(scope, receive, send):
        if scope["type"] == "http":
            await liars["/" + scope["path"].split("/")[1]](scope, receive, send)

    url = scene.serve("nobody", [], switch).url
    scene.lines = [(f"liar-{path[1:]}", liar.cosigner.key.vkey, url + path) for path, liar in liars.items()]

    async def life():
        async with scene.open() as ledger:
            size = await append(ledger, 3)
            await ledger.flush()

            def wrong():
                pairs = zip(ledger.witnesses().witnesses, ERRS.items(), strict=True)
                return [(case, found.error) for found, (case, (_, why)) in pairs if why not in found.error]

            await until(lambda: not wrong(), wrong)
            assert [found.size for found in ledger.witnesses().witnesses] == [None] * len(ERRS)
            assert b"liar" not in scene.published()
            assert await append(ledger, 1) == size + 1, "the log goes on"

    asyncio.run(life())


def test_the_liar_that_tells_the_truth_is_believed(scene):
    scene.serve("liar", [LIAR.key.vkey], Liar(cosigned()))

    assert scene.grow(3) == 3
    assert b"liar.example" in scene.published()


@pytest.mark.parametrize(
    ("add", "why"), [(size_said(1000), "set back: the witness liar"), ((422, TEXT, b"bad proof\n"), "forked: the witness liar")]
)
def test_the_bare_word_of_a_witness_without_a_monitoring_page_is_taken(scene, add, why):
    scene.serve("liar", [LIAR.key.vkey], Liar(add))

    async def life():
        async with scene.open() as ledger:
            with pytest.raises(LedgerUnavailable):
                await ledger.witnessed(await append(ledger, 3))
            with pytest.raises(LedgerUnavailable, match=why):
                await append(ledger, 1)

    asyncio.run(life())


# --- policies


@pytest.mark.parametrize("other", [STRANGER, note.Signer("example.com/log/epoch-1", LOG.seed)])
def test_a_policy_about_another_log_is_refused_with_the_line_that_it_lacks(scene, other):
    policy = Policy.read(f"log {other.vkey}\nquorum none\n")

    with pytest.raises(Invalid, match=LOG.vkey.replace("+", r"\+")[:30]):
        asyncio.run(scene.open(policy=policy).__aenter__())


def test_a_quorum_that_nobody_can_be_asked_for_is_refused(scene):
    policy = Policy.read(f"log {LOG.vkey}\nwitness liar {LIAR.key.vkey}\nquorum liar\n")

    with pytest.raises(Invalid, match="no URL"):
        asyncio.run(scene.open(policy=policy).__aenter__())


def test_an_address_that_is_none_is_refused(scene):
    policy = Policy.read(f"log {LOG.vkey}\nwitness liar {LIAR.key.vkey} ftp://liar\nquorum liar\n")

    with pytest.raises(Invalid, match="ftp"):
        asyncio.run(scene.open(policy=policy).__aenter__())


def test_a_policy_that_asks_for_nobody_is_satisfied_by_publishing(scene):
    async def life():
        async with scene.open(policy=Policy.read(f"log {LOG.vkey}\nquorum none\n")) as ledger:
            await ledger.witnessed(await append(ledger, 3))

    asyncio.run(life())


# --- what it costs


def test_what_waiting_for_a_witness_costs_is_printed_and_all_of_it_is_cosigned(scene):
    """Run with -s: appends with and without the wait, in slices of one run; the witness is another thread of this process."""
    scene.witness("one")
    took = {"L1": [], "L2": []}

    async def life():
        async with scene.open() as ledger:

            async def appends(level):
                for _ in range(5):
                    began = time.perf_counter()
                    size = await append(ledger, 1)
                    if level == "L2":
                        await ledger.witnessed(size)
                    took[level].append(time.perf_counter() - began)

            for level in ("L1", "L2") * 4:
                await asyncio.gather(*(appends(level) for _ in range(8)))
            size = ledger.head().size
            await ledger.witnessed(size)
            return size, ledger.witnesses().size

    size, cosigned_size = asyncio.run(life())

    assert (size, cosigned_size) == (320, 320)
    assert scene.policy().check(scene.published()).size == 320
    medians = {level: 1000 * sorted(times)[len(times) // 2] for level, times in took.items()}
    print(f"\n8 callers, median of {len(took['L1'])}: durable {medians['L1']:.1f} ms, and cosigned {medians['L2']:.1f} ms")
