"""Days -60 to -9: what vendors say they run, and what an advisory makes of it, revision by revision."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen import verbs
from limen.story import cast, papers
from limen.story.telling import Telling, expect, holds

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.story.papers import Paper

BY = "uid:0"  # who runs the demo; limen takes root's word for whom it acts


@dataclass(slots=True)
class Warned:
    """Files the vendors' papers on an open gateway, and asks what follows from them."""

    gateway: Gateway
    telling: Telling

    def tell_time(self, day: int, clock: str) -> None:
        """Set the story's clock."""
        self.gateway.custody.clock.tell(cast.at(day, clock))

    async def weekly(self, day: int) -> None:
        """What comes every week, if this is the day for it."""
        if day in papers.WEEK:
            self.tell_time(day, papers.WEEKLY_AT)
            for paper in papers.weekly(day):
                await self.file(paper)

    async def onboard(self) -> None:
        """Day -60: all but oakline send a bill of materials."""
        self.tell_time(-60, "10:00")
        filed = [await self.file(paper) for paper in papers.weekly(-60)]
        gaps = await self._ask("bom.gaps", {})
        expect("vendors without a bill of materials", [(g["vendor"], g["state"]) for g in gaps["gaps"]], [("oakline", "none")])
        self.telling.act(
            "-60",
            "bills of material",
            happened=["quillwork, lexara, tessel and brightfold send one, and then every week. oakline sends none."],
            said=[f"{g['vendor']}: BOM unknown, a gap: {g['why']}" for g in gaps["gaps"]],
            proof=f"entries {filed[0]['entry']} to {filed[-1]['entry']}",
        )

    async def sign(self) -> None:
        """Day -60: quillwork's contract is filed, on limen's own profile; from then on its people wait for its admission."""
        self.tell_time(-60, "11:00")
        made = await self._ask("contract.set", {"text": papers.contract(), "name": "quillwork.yaml"})
        none = await self._ask("static.list", {"vendor": "quillwork"})
        expect("long-lived keys at the beginning", none["count"], 0)
        self.telling.act(
            "-60",
            "limen contract set",
            happened=["quillwork and the lab agree on limen's AI training contractor profile, until 10 May."],
            said=[f"{made['clauses']} clauses; no grant to quillwork's people before its gate passes or is waived"],
            proof=f"entry {made['entry']}",
        )

    async def admit(self) -> None:
        """Day -59: nothing is known of quillwork yet, so the gate can't pass; a person signs for that."""
        judged = await self._ask("gate", {"vendor": "quillwork", "purpose": "onboarding"})
        verdict = judged["verdict"]
        expect("the gate of a vendor of whom nothing is known", verdict["outcome"], "undecided")
        unknown = sum(1 for clause in verdict["clauses"] if clause["verdict"] == "unknown")
        until = papers.ENDS
        waived = await self._ask(
            "waiver.add",
            {
                "vendor": "quillwork",
                "clause": "onboarding",
                "until": until,
                "reason": "a first contract: there is nothing to measure yet",
                "as": "lab/mira",
            },
        )
        holds("a signed waiver must admit the vendor", true=waived["admitted"])
        self.telling.act(
            "-59",
            "limen gate quillwork --onboarding",
            happened=["The gate is asked before the first grant; then lab/mira signs a waiver."],
            said=[
                f"UNDECIDED: {unknown} of {len(verdict['clauses'])} clauses are unknown, and unknown is never met",
                f"admitted until {until} by a waiver that names who signed it",
            ],
            proof=f"entries {judged['entry']} (run of the gate) and {waived['entry']} (waiver)",
        )

    async def keys(self) -> None:
        """Day -58: two long-lived keys turn up, and nobody takes them away."""
        self.tell_time(-58, "09:00")
        added = [
            await self._ask("static.add", {"vendor": "quillwork", "key": key, "what": what, "issued_us": cast.at(-58, "08:00")})
            for key, what in papers.STATIC_KEYS
        ]
        listed = await self.list_keys(-58, "09:30")
        expect("long-lived keys that are known", listed["count"], len(papers.STATIC_KEYS))
        self.telling.act(
            "-58",
            "static keys",
            happened=["A deploy key and a webhook secret are issued to quillwork, as in the old days."],
            said=[f"static-key debt {listed['count']}: they age from now on, and the contract allows none"],
            proof=f"entries {added[0]['entry']} to {listed['entry']}",
        )

    async def list_keys(self, day: int, clock: str) -> dict[str, Any]:
        """Somebody says that the keys which are known are all; that holds for a month."""
        self.tell_time(day, clock)
        return await self._ask("static.list", {"vendor": "quillwork"})

    async def drill(self) -> None:
        """Day -48: cutting q12 off is rehearsed."""
        self.tell_time(-48, "14:00")
        done = await self._ask("pause", {"subject": "person/quillwork/q12", "reason": "a drill", "drill": True})
        took = {"subject": "person/quillwork/q12", "order": done["entry"], "last_byte_us": 0, "clock": "nothing was running"}
        measured = await self._ask("pause.measured", took)
        self.tell_time(-48, "14:05")
        await self._ask("resume", {"subject": "person/quillwork/q12", "reason": "the drill is over"})
        self.telling.act(
            "-48",
            "limen pause person/quillwork/q12 --drill",
            happened=["Cutting q12 off is rehearsed, and lifted five minutes later."],
            said=[f"{len(done['sessions'])} sessions ended; the contract asks for a drill at most 92 days old"],
            proof=f"entries {done['entry']} (order) and {measured['entry']} (measured)",
        )

    async def first(self) -> int:
        """Day -9: fresh bills of material, and five minutes later the advisory that names one version. Returns its entry."""
        self.tell_time(-9, "11:10")
        since = cast.written(*cast.COMPROMISE)
        ours = await self.file(papers.fresh("quillwork", effective=since, litellm="1.82.8", number=9))
        theirs = await self.file(papers.fresh("brightfold", effective=cast.written(-9, "10:50"), litellm="1.82.7", number=9))
        self.telling.act(
            "-9",
            "11:10 fresh bills of material",
            happened=["quillwork and brightfold send new ones. Nobody has warned of anything yet."],
            said=["filed: what each ran before is kept beside it"],
            proof=f"entries {ours['entry']} and {theirs['entry']}",
        )
        self.tell_time(-9, "11:15")
        feed = await self.file(papers.feed(papers.advisory(1)))
        found = await self._affected({"quillwork": "yes", "brightfold": "no"})
        [hit] = found["quillwork"]["components"]
        expect("which litellm, and since when", (hit["version"], hit["from"]), ("1.82.8", since))
        waiting = await self._waiting()
        noticed = await self._ask(
            "notice.add",
            {
                "vendor": "quillwork",
                "notice": "incident",
                "incident": papers.INCIDENT,
                "at_us": cast.at(-9, "11:15"),
                "of": [feed["entry"]],
            },
        )
        self.telling.act(
            "-9",
            f"11:15 limen advisory affected {papers.MAL}",
            happened=["An advisory names litellm 1.82.8, and only that. No signed source says so."],
            said=[
                *_table(found),
                "a week before quillwork says so itself",
                *waiting,
            ],
            proof=f"entries {feed['entry']} (revision 1) and {noticed['entry']} (incident: quillwork's notice is awaited)",
        )
        return int(feed["entry"])

    async def second(self) -> None:
        """Day -9, night: the advisory's second revision names 1.82.7 too."""
        self.tell_time(-9, "22:11")
        feed = await self.file(papers.feed(papers.advisory(2)))
        found = await self._affected({"quillwork": "yes", "brightfold": "yes"})
        served = found["brightfold"]["served"] or {"assets": [], "unknown": []}
        expect("what brightfold was served", (served["assets"], served["unknown"]), ([], []))
        before = await self._affected({"quillwork": "yes", "brightfold": "no"}, as_of_us=cast.at(-9, "12:00"))
        self.telling.act(
            "-9",
            f"22:11 limen advisory affected {papers.MAL}",
            happened=["Its second revision names 1.82.7 as well."],
            said=[
                *_table(found),
                "brightfold: nobody there was ever served anything; the exposure is empty",
                f"as was known at noon: brightfold {before['brightfold']['verdict']}",
            ],
            proof=f"entry {feed['entry']} (revision 2)",
        )

    async def _waiting(self) -> list[str]:
        """What limen would do about it, and that nothing was done: the feed is unsigned, so somebody has to say yes."""
        [action] = (await self._ask("advisory.actions", {"waiting": True}))["actions"]
        expect("what was done about an unsigned advisory", [v["order"] for v in action["vendors"]], [None])
        expect("whom it would meet", [v["vendor"] for v in action["vendors"]], ["quillwork"])
        return [f"{v['act']} {v['vendor']} waits (action {action['action']}): {action['why'][0]}" for v in action["vendors"]]

    async def _affected(self, expected: dict[str, str], **asked: Any) -> dict[str, dict[str, Any]]:
        """Each vendor's answer; Wrong unless it is the expected one, the others' being always the same."""
        answer = await self._ask("advisory.affected", {"id": papers.MAL, **asked})
        return judged(answer, expected)

    async def file(self, paper: Paper) -> dict[str, Any]:
        """Put a paper's bytes where documents rest, and hand it in."""
        digest, _ = await asyncio.to_thread(self.gateway.custody.blobs.put, [paper.raw])
        return await self._ask(paper.verb, {**paper.args, "digest": digest})

    async def _ask(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await verbs.VERBS[verb](self.gateway, args, BY)
        return answer


def judged(answer: dict[str, Any], expected: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The rows of an answer by vendor; Wrong unless each says what the story expects."""
    rows = {row["vendor"]: row for row in answer["vendors"]}
    told = {vendor: row["verdict"] for vendor, row in rows.items()}
    expect("who is affected", told, {"lexara": "no", "tessel": "no", "oakline": "cannot say", **expected})
    return rows


def _table(rows: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{vendor:<11}{row['verdict'].upper():<11}{row['why']}" for vendor, row in rows.items()]
