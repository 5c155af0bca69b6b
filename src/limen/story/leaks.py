"""Days +3 to +5: five samples turn up; one person asks whose copies they came from, and another opens the names."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.story import content, wire
from limen.story.telling import Telling, expect, holds

if TYPE_CHECKING:
    from pathlib import Path

    from limen.story.theft import Theft

TRACER, REVIEWER = "lab/mira", "lab/noor"
REFUSED = 3  # the exit code of what policy refuses
TAIL = 800_000  # bytes at the end of the copy that only SX1 read of q11's sessions
APART = 2_100_000  # from here on lies nothing that q03 read on day -9


@dataclass(slots=True)
class Leaks:
    """Makes each sample from what a client holds, and traces it with the command."""

    theft: Theft
    telling: Telling
    directory: Path

    def run(self, reading: bytes) -> None:
        """All five; `reading` is what q03 got on day -9."""
        rng = random.Random(5)  # noqa: S311  a story, no secret
        stolen = self.theft.stolen
        q03 = _records(reading)
        late, last = _records(stolen[APART:-TAIL]), _records(stolen[-TAIL:])
        self._first(rng.sample(q03, 150))
        self._second(rng.sample(last, 300))
        mixed = rng.sample(q03, 500) + rng.sample(late, 500)
        rng.shuffle(mixed)
        self._third([line.decode().casefold().encode() for line in mixed])
        self._fourth()
        self._fifth(rng.sample(q03, 10))

    def _first(self, lines: list[bytes]) -> None:
        found = self._trace("L1", 3, lines)
        expect("L1: the verdict", found["verdict"], "named")
        expect("L1: names before a second human has looked", _people(found), [])
        self._refused_to_the_first(found)
        found = self._reviewed(found)
        expect("L1: whose copies", _people(found), ["quillwork/q03"])
        others = [v["vendor"] for v in found["vendors"] if v["vendor"] != "quillwork"]
        expect("L1: other vendors named", others, [])
        self._tell(
            "+3", "L1: 150 records turn up", "A broker offers 150 records. By the log alone q11's SX1 read them too.", found
        )

    def _second(self, lines: list[bytes]) -> None:
        found = self._reviewed(self._trace("L2", 4, lines))
        expect("L2: the verdict", found["verdict"], "named")
        expect("L2: whose copies", _people(found), ["quillwork/q11"])
        sessions = found["copies"][0]["sessions"]
        expect("L2: which sessions", [line["session"] for line in sessions], [self.theft.suspect])
        expect("L2: how many of them it carried", sessions[0]["records"], sessions[0]["of"])
        more = f"only session {self.theft.suspect} (SX1) carried them: a stolen session, not q11 the person"
        self._tell("+4", "L2: 300 records turn up", "300 more, from where no other session of q11's ever read.", found, more)

    def _third(self, lines: list[bytes]) -> None:
        found = self._reviewed(self._trace("L3", 5, lines))
        expect("L3: the verdict", found["verdict"], "named")
        expect("L3: whose copies", _people(found), ["quillwork/q03", "quillwork/q11"])
        self._tell("+5", "L3: two copies, mixed", "500 and 500 records of two copies, shuffled, all in lower case.", found)

    def _fourth(self) -> None:
        found = self._trace("L4", 5, content.foreign(600).splitlines())
        expect("L4: the verdict", found["verdict"], "none")
        expect("L4: slots matched", found["slots_matched"], 0)
        self._tell("+5", "L4: it only looks alike", "600 records in the same style that were never Aurelia's.", found)

    def _fifth(self, lines: list[bytes]) -> None:
        found = self._trace("L5", 5, lines)
        expect("L5: the verdict", found["verdict"], "abstain")
        expect("L5: whose copies", _people(found), [])
        holds("L5: limen must say how many slots would do", true=(found["slots_needed"] or 0) > found["slots_matched"])
        more = f"about {found['slots_needed']} matched slots would do"
        self._tell("+5", "L5: ten records", "Ten records of q03's copy, no more.", found, more)

    def _trace(self, name: str, day: int, lines: list[bytes]) -> dict[str, Any]:
        self.telling.doing(f"day +{day}: tracing {name}")
        self.theft.tell_time(day, "10:00")
        sample = self.directory / f"{name}.jsonl"
        sample.write_bytes(b"\n".join(lines) + b"\n")
        return self.theft.serving.ask("trace", str(sample), "--id-token", self._token(TRACER))

    def _token(self, person: str) -> str:
        """A file with a fresh identity token of a person of the lab."""
        path = self.directory / f"{person.partition('/')[2]}.token"
        path.write_text(wire.identity(self.theft.serving.url, person))
        return str(path)

    def _refused_to_the_first(self, found: dict[str, Any]) -> None:
        """Whoever ran the trace can't open the name."""
        asked = ["case", "review", found["case"], "--open", found["copies"][0]["copy"], "--reason", "to be quick"]
        code = self.theft.serving.code(*asked, "--id-token", self._token(TRACER))
        expect("L1: the review by whoever ran the trace", code, REFUSED)

    def _reviewed(self, found: dict[str, Any]) -> dict[str, Any]:
        """The report once a second human has opened the names behind the copies."""
        for copy in found["copies"]:
            said = ["--open", copy["copy"], "--reason", "the report was read, and the sessions looked at"]
            self.theft.serving.ask("case", "review", found["case"], *said, "--id-token", self._token(REVIEWER))
        return self.theft.serving.ask("case", "show", found["case"])

    def _tell(self, day: str, title: str, happened: str, found: dict[str, Any], *more: str) -> None:
        said = [f"{found['verdict'].upper()}; {found['slots_matched']} slots matched"]
        said += [f"copy {c['copy'][:12]}: p <= {c['p']:.1e}, q <= {c['q']:.1e}" for c in found["copies"]]
        opened = [f"copy {c['copy'][:12]} is {c['person']}'s (entry {c['opened']})" for c in found["copies"]]
        said += [f"opened by {REVIEWER}, after {TRACER} traced: {line}" for line in opened]
        proof = f"entries {found['sample_entry']} (sample, before it was scored) and {found['result_entry']}"
        self.telling.act(day, title, happened=[happened], said=[*said, *more], proof=proof)


def _people(found: dict[str, Any]) -> list[str]:
    return sorted(copy["person"] for copy in found["copies"] if copy["person"])


def _records(part: bytes) -> list[bytes]:
    """The whole lines in a part of a copy."""
    return [line.strip() for line in part.split(b"\n")[1:-1] if line.strip()]
