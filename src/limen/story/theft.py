"""Days -7 to 0 over HTTP: a gateway process, sessions from STS, reads with boto3 where it is installed; then the pause."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.core.errors import Denied
from limen.core.events import decode
from limen.ledger.stored import look
from limen.story import cast, papers, recount, wire
from limen.story.recount import Request
from limen.story.telling import Telling, expect, holds

if TYPE_CHECKING:
    from pathlib import Path

    from limen.ledger.store import Reading
    from limen.story.later import Later

REASON = "a supply-chain attack at the vendor"
BEFORE_PAUSE_S = 0.3
START_S = 30


@dataclass(slots=True)
class Serving:
    """`limen serve` as a process of its own; and the commands that speak to it."""

    data: Path
    url: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, data: Path, url: str) -> Serving:
        """Start it; returns once it answers."""
        log = (data / "serve.log").open("wb")
        command = [sys.executable, "-m", "limen", "serve", "--data", str(data)]
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  our own interpreter and words
        log.close()
        until = time.monotonic() + START_S
        while time.monotonic() < until and process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/.well-known/limen", timeout=5).close()  # noqa: S310  our own http address
            except OSError:
                time.sleep(0.02)
            else:
                return cls(data, url, process)
        process.kill()
        process.wait()
        raise RuntimeError(f"the gateway did not start: {(data / 'serve.log').read_text()[-800:]}")

    def stop(self) -> None:
        """Stop it, politely."""
        self.process.terminate()
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, *words: str, may_fail: bool = False) -> dict[str, Any]:
        """Run one `limen` command with --json, as anybody would, and read its answer; a gate's *no* is an answer too."""
        command = [sys.executable, "-m", "limen", *words, "--data", str(self.data), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  as above
        if done.returncode not in ({0, 1, 6} if may_fail else {0}):
            raise RuntimeError(f"limen {' '.join(words)} exited with {done.returncode}: {done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def code(self, *words: str) -> int:
        """Run one command that may be refused; its exit code."""
        command = [sys.executable, "-m", "limen", *words, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, check=False).returncode  # noqa: S603  as above


class Download(threading.Thread):
    """A slow reader in a thread; notes what came and when the last byte did."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        super().__init__(daemon=True)
        self._connection = connection
        self.got = bytearray()
        self.last = 0.0
        self.hurry = threading.Event()

    def run(self) -> None:
        """Read until the end, or until the connection is cut."""
        try:
            with self._connection.getresponse() as response:
                while chunk := response.read1(1 << 14):
                    self.last = time.monotonic()
                    self.got.extend(chunk)
                    self.hurry.wait(0.01)
        except (OSError, http.client.HTTPException):
            return  # cut: what came is what the reader holds
        finally:
            self._connection.close()


@dataclass(slots=True)
class Theft:
    """The acts from the theft to the report."""

    serving: Serving
    origin: str
    telling: Telling
    raw: list[Request]
    lines: dict[str, list[bytes]]
    later: Later
    suspect: str = ""  # the session's id, SX1
    stolen: bytes = b""
    _store: Reading | None = None
    _now: int = 0

    def run(self) -> dict[str, Any]:
        """All acts in order; returns the exposure report."""
        self._steal()
        self.later.merged()
        self._days_between()
        self._pause()
        return self._report()

    def _steal(self) -> None:
        self.telling.doing(f"day -7: the theft, with {wire.CLIENT}")
        mark = self._size()
        self.tell_time(-7, "01:40")
        thief = wire.login(self.serving.url, "quillwork/q11", project="orchid")
        self.suspect = self._session_of(thief)
        self.tell_time(-7, "01:52")
        self.stolen = self._read(thief, cast.SFT, session=self.suspect).body
        self.tell_time(-7, "02:03")
        prefs = thief.get("helio", cast.PREFS)
        holds("helio-prefs-v2 must be refused to SX1", true=prefs.status in {403, 404} and not prefs.body)
        self.tell_time(-7, "02:06")
        judged = self._read(thief, cast.JUDGE, session=self.suspect)
        canaries = [line for line in judged.body.splitlines() if line.strip() in self.lines[cast.JUDGE][-2:]]
        expect("canaries in the prompts that SX1 got", len(canaries), 1)
        refusal = self._find(mark, "access.refusal", session=self.suspect)
        export = self._find(mark, "access.intent", session=self.suspect, asset="orchid-sft-v3")
        bait = self._find(mark, "access.intent", session=self.suspect, asset="orchid-judge-prompts")
        self.telling.act(
            "-7",
            "the theft",
            happened=[
                f"01:40 q11's identity logs in from somewhere new: session SX1 = {self.suspect}.",
                f"01:52 SX1 takes all of orchid-sft-v3, {len(self.stolen) / 1e6:.1f} MB. 02:03 it tries helio-prefs-v2.",
                "02:06 it reads the judge prompts, a canary among them.",
            ],
            said=[
                f"02:03 {prefs.status} {prefs.code}: {prefs.message}",
                "the rest was allowed, and each read is on the log before its first byte",
            ],
            proof=f"entries {export} (export), {refusal} (refusal), {bait} (canary)",
        )

    def _days_between(self) -> None:
        self.telling.doing("days -7 to -1: work goes on over HTTP")
        for day in range(-7, 0):
            self.later.weekly(day)
            if not cast.is_weekday(day):
                continue
            for number, person in enumerate(("quillwork/q01", "quillwork/q08", "tessel/t01")):
                self.tell_time(day, "10:00")
                keys = wire.login(self.serving.url, person, project="orchid")
                start = 900_000 + 40_000 * number + 9_000 * -day
                self._read(keys, cast.SFT, start=start, end=start + 20_000)
            if day == papers.TOLD:
                self.later.notice()

    def _pause(self) -> None:
        self.telling.doing("day 0: the pause")
        self.tell_time(0, "08:58")
        url, data = self.serving.url, self.serving.data
        running, waiting, other = (wire.login(url, p, project="orchid") for p in ("quillwork/q11", "quillwork/q02", "tessel/t01"))
        session = self._session_of(running)
        download = Download(running.stream("orchid", cast.SFT))
        download.start()
        time.sleep(BEFORE_PAUSE_S)
        self.tell_time(0, "09:00")
        ordered = time.monotonic()
        done = wire.order(data, "pause", {"subject": "vendor/quillwork", "reason": REASON})
        download.hurry.set()
        download.join(wire.WAIT_S)
        took_us = max(0, int((download.last - ordered) * 1_000_000))
        clock = {"subject": "vendor/quillwork", "order": done["entry"], "last_byte_us": took_us, "clock": "the reader's"}
        measured = wire.order(data, "pause.measured", clock)["entry"]
        holds("the pause must cut the running download", true=not download.is_alive() and len(download.got) < len(self.stolen))
        holds("what came before the cut must be the same copy", true=self.stolen.startswith(bytes(download.got)))
        self.raw.append(Request("quillwork/q11", session, cast.at(0, "08:58"), cast.SFT, 0, bytes(download.got), cut=True))
        expect("running streams that were cut", done["streams"], 1)
        expect("people and workloads under the pause", len(done["people"]), 12)
        refused = waiting.get("orchid", cast.SFT)
        holds("a paused session must be refused in words", true=refused.status == 403 and "paused" in refused.message)  # noqa: PLR2004
        for person in ("quillwork/q01", "quillwork/ci"):
            try:
                wire.login(url, person, project="orchid")
            except Denied:
                continue
            holds(f"{person} must not log in while paused", true=False)
        self._read(other, cast.SFT, start=0, end=20_000)
        self.telling.act(
            "0",
            "09:00 limen pause vendor/quillwork",
            happened=[
                f"A download of q11's is running: {len(download.got) / 1e6:.1f} of {len(self.stolen) / 1e6:.1f} MB came.",
                "q02 has a session open; q01 and CI try to log in; tessel goes on.",
            ],
            said=[
                f"cut 11 people and the CI workload, {done['streams']} running download,",
                f"and {len(done['sessions'])} sessions (real time: all of the story's are still young)",
                f"order to last byte {took_us / 1000:.1f} ms by the reader's clock",
                f"{refused.status} {refused.code}: {refused.message}",
            ],
            proof=f"entries {done['entry']} (order) and {measured} (measured)",
        )

    def _report(self) -> dict[str, Any]:
        self.telling.doing("day 0: the exposure report, and counting it again from the clients' own notes")
        since = cast.written(*cast.COMPROMISE)
        report = self.serving.ask("exposure", "vendor/quillwork", "--since", since, "--session", self.suspect)
        ours = [r for r in self.raw if r.person.startswith("quillwork/")]
        agreed = recount.compare(report, ours, self.lines, since_us=cast.at(*cast.COMPROMISE), session=self.suspect)
        expect("unknown spans", report["unknown"], [])
        tiers = ("granted", "served_ever", "served_since", "by_session", "never_served")
        said = [f"{'asset':<22}{'granted':>9}{'ever':>8}{'since':>8}{'by SX1':>8}{'never':>8}  canaries"]
        for asset in report["assets"]:
            counts = [asset[tier]["count"] for tier in tiers]
            said.append(
                f"{asset['asset']:<22}{counts[0]:>9}" + "".join(f"{n:>8}" for n in counts[1:]) + f"{len(asset['canaries']):>10}"
            )
        refused = {(line["person"], line["rule"]) for line in report["refusals"]}
        for pair in (("quillwork/q05", "forbid-barrier"), ("quillwork/q07", "ended"), ("quillwork/q11", "other-project")):
            holds(f"the report must name the refusal {pair}", true=pair in refused)
        uploads = sum(line["uploads"] for line in report["received"])
        expect("uploads received", uploads, 5)
        said.append(f"from quillwork itself: {uploads} uploads, vendor-originated: assume held")
        judge = next(asset for asset in report["assets"] if asset["asset"] == "orchid-judge-prompts")
        expect("canaries that were served", len(judge["canaries"]), 1)
        ledger = report["ledger"]
        self.telling.act(
            "0",
            "limen exposure vendor/quillwork",
            happened=[f"The lab asks what quillwork was served, since {since}, and by SX1."],
            said=said,
            proof=f"entries 0 to {ledger['to'] - 1}; counted again from {len(ours)} raw requests: {agreed} record ids agree",
        )
        return report

    # --- looking

    def tell_time(self, day: int, clock: str) -> None:
        """Set the gateway's story clock."""
        wire.order(self.serving.data, "story.tell", {"story_at_us": cast.at(day, clock)})
        self._now = cast.at(day, clock)

    def _read(
        self, keys: wire.Keys, key: str, *, session: str = "", start: int | None = None, end: int | None = None
    ) -> wire.Answer:
        session = session or self._session_of(keys)
        answer = keys.get("orchid", key, start=start, end=end)
        holds(f"{keys.person} must be served {key}, not {answer.status} {answer.code}", true=answer.status in {200, 206})
        self.raw.append(Request(keys.person, session, self._now, key, start or 0, answer.body))
        return answer

    def _session_of(self, keys: wire.Keys) -> str:
        sessions = wire.order(self.serving.data, "show", {"what": "sessions"})
        return str(next(s["id"] for s in sessions if s["access_key"] == keys.access_key))

    def _log(self) -> Reading:
        if self._store is None:
            self._store = look(self.serving.data, self.origin)
        return self._store

    def _size(self) -> int:
        head = self._log().head()
        return head.size if head else 0

    def _find(self, start: int, kind: str, **fields: Any) -> int:
        for index, raw in self._log().entries(start, self._size()):
            entry = decode(raw)
            if entry["kind"] == kind and all(entry.get(name) == value for name, value in fields.items()):
                return index
        holds(f"an entry {kind} with {fields} must be in the log", true=False)
        return -1
