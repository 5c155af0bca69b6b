"""Days -7 to +7 with a gateway that serves: one finding from three ids, a late notice, the renewal, and a bundle of evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.store.blobs import Blobs
from limen.story import cast, papers, wire
from limen.story.telling import Telling, expect
from limen.story.warned import judged

if TYPE_CHECKING:
    from pathlib import Path

    from limen.story.papers import Paper
    from limen.story.theft import Serving

AS_OF = (7, "12:00")


@dataclass(slots=True)
class Later:
    """Hands in what comes, and asks as anybody would: with commands, at a gateway that runs."""

    serving: Serving
    telling: Telling
    directory: Path

    def merged(self) -> None:
        """Day -7: three ids turn out to be one thing."""
        self.tell_time(-7, "09:53")
        feed = self.file(papers.feed(papers.advisory(3)))
        for source, end in papers.WINDOWS:
            times = {"from": cast.at(-9, "10:39"), "to": cast.at(-9, end)}
            windows = self.order("advisory.window.add", {"id": papers.MAL, "channel": "pypi", "source": source, **times})
        answers = [self.serving.ask("advisory", "affected", id_) for id_ in (papers.MAL, papers.PYSEC, papers.GHSA)]
        for answer in answers:
            judged(answer, {"quillwork": "yes", "brightfold": "yes"})
            expect("the ids of the finding", sorted(answer["ids"]), sorted([papers.MAL, papers.PYSEC, papers.GHSA]))
            expect("the widest window", answer["widest"], {"from": cast.written(-9, "10:39"), "to": cast.written(-9, "16:00")})
        expect("findings", len({answer["finding"] for answer in answers}), 1)
        actions = self.order("advisory.actions", {})["actions"]
        self.telling.act(
            "-7",
            "09:53 aliases merge",
            happened=[
                "The records of three sources name each other. How long the packages could be had, they don't agree:",
                "until 11:19, 13:11 or 16:00.",
            ],
            said=[
                "all three windows are kept; the widest, 10:39 to 16:00, is the one that is asked about",
                f"one finding {answers[0]['finding']} from three ids: {', '.join(answers[0]['ids'])}",
                f"{len(actions)} actions wait for a person, as before; the same is not counted twice",
            ],
            proof=f"entries {feed['entry']} (records) to {windows['entry']} (windows)",
        )

    def weekly(self, day: int) -> None:
        """What comes every week, if this is the day for it."""
        if day in papers.WEEK:
            self.tell_time(day, papers.WEEKLY_AT)
            for paper in papers.weekly(day):
                self.file(paper)

    def notice(self) -> None:
        """Day -2: the vendor says so itself, and has cleaned up."""
        self.tell_time(papers.TOLD, "16:00")
        clean = self.file(papers.fresh("quillwork", effective=cast.written(papers.TOLD, "15:00"), litellm="1.83.0", number=12))
        self.order("static.list", {"vendor": "quillwork"})
        told = self.order("notice.add", {"vendor": "quillwork", "notice": "told", "incident": papers.INCIDENT})
        self.tell_time(papers.TOLD, "16:01")
        # As of a time: nothing is enforced, the run is only entered.
        clause = self._clauses(self._gate(cast.written(papers.TOLD, "16:01")))["LM-10.1"]
        expect("the notice, by its clause", clause["verdict"], "breached")
        self.telling.act(
            "-2",
            "the vendor's notice",
            happened=["quillwork writes that it had litellm 1.82.8, and sends a clean bill of materials."],
            said=[f"notice latency {clause['value_text']}; {clause['ref']} asks for {clause['threshold_text']}: a clause breach"],
            proof=f"entries {told['entry']} (notice) and {clean['entry']} (bill of materials)",
        )

    def renew(self) -> dict[str, Any]:
        """Day +7: the renewal, from what was measured."""
        self.telling.doing("day +7: renewal")
        self.tell_time(*AS_OF)
        run = self._gate(None, "--renewal")
        verdict = run["verdict"]
        expect("the decision", verdict["decision"], "DO NOT RENEW")
        clauses = self._clauses(run)
        breached = [c for c in clauses.values() if c["verdict"] == "breached"]
        for ref in ("LM-03.1", "LM-09.1", "LM-10.1"):
            expect(f"clause {ref}", clauses[ref]["verdict"], "breached")
        for ref in ("LM-01.1", "LM-04", "LM-05.2", "LM-08.2"):
            expect(f"clause {ref}", clauses[ref]["verdict"], "met")
        expect("a clause of which nobody can say", clauses["LM-14"]["verdict"], "unknown")
        money = verdict["money"]
        expect("the clawback, to the cent", money["total"]["clawback"], str(papers.clawback()))
        said = [f"{verdict['decision']}; notice is due by {verdict['notice_deadline']}"]
        for clause in breached:
            entries = ", ".join(str(e) for worst in clause["worst"][:1] for e in worst["entries"]) or "none"
            said.append(f"{clause['ref']} {clause['text']} {clause['why'][:1].upper()}{clause['why'][1:]} (entries {entries})")
            said.append(f"   green: {clause['green']}")
        said.append(f"clawback {money['currency']} {money['total']['clawback']}, never passed on to contractors")
        unknown = [ref for ref, clause in clauses.items() if clause["verdict"] == "unknown"]
        said.append(f"unknown, and so not met: {', '.join(unknown)}")
        said += [f"at the doors: {step['does']}: {step['failed'] or step['because']}" for step in run["followed"]]
        self.telling.act(
            "+7",
            "limen gate quillwork --renewal",
            happened=["quillwork's contract ends on 10 May; notice must be given by the 10th of April."],
            said=said,
            proof=f"entry {run['entry']}; judged again with --replay: the same bytes",
        )
        again = self.serving.ask("gate", "quillwork", "--replay", str(run["entry"]), may_fail=True)
        expect("the verdict, judged again", again["digest"], run["digest"])
        return run

    def _gate(self, as_of: str | None, *words: str) -> dict[str, Any]:
        asked = ["gate", "quillwork", *words, *(["--as-of", as_of] if as_of else [])]
        return self.serving.ask(*asked, may_fail=True)

    @staticmethod
    def _clauses(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {clause["ref"]: clause for clause in run["verdict"]["clauses"]}

    # --- handing in

    def tell_time(self, day: int, clock: str) -> None:
        """Set the gateway's story clock."""
        wire.order(self.serving.data, "story.tell", {"story_at_us": cast.at(day, clock)})

    def order(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        """Run one verb at the gateway."""
        answer: dict[str, Any] = wire.order(self.serving.data, verb, args)
        return answer

    def file(self, paper: Paper) -> dict[str, Any]:
        """Put a paper's bytes where documents rest, and hand it in."""
        digest, _ = Blobs(self.serving.data / "blobs").put([paper.raw])
        return self.order(paper.verb, {**paper.args, "digest": digest})
