"""Days -60 to -9: what vendors say they run, and what an advisory makes of it, revision by revision."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen import verbs
from limen.story import cast, papers
from limen.story.telling import Telling, expect

if TYPE_CHECKING:
    from limen.server import Gateway
    from limen.story.papers import Paper

BY = "the story"


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

    async def first(self) -> None:
        """Day -9: fresh bills of material, before anybody warns."""
        self.tell_time(-9, "11:10")
        ours = await self.file(papers.fresh("quillwork", effective=cast.written(*cast.COMPROMISE), litellm="1.82.8", number=9))
        theirs = await self.file(papers.fresh("brightfold", effective=cast.written(-9, "10:50"), litellm="1.82.7", number=9))
        ran = await self._ask("bom.show", {"vendor": "quillwork", "components": True})
        [litellm] = [each for each in ran["components_listed"] if each["package"] == "litellm"]
        expect("which litellm quillwork runs", (litellm["version"], litellm["since"]), ("1.82.8", cast.written(*cast.COMPROMISE)))
        before = await self._ask("bom.show", {"vendor": "quillwork", "components": True, "as_of_us": cast.at(-9, "11:00")})
        [older] = [each for each in before["components_listed"] if each["package"] == "litellm"]
        expect("what was known at 11:00", older["version"], "1.82.6")
        self.telling.act(
            "-9",
            "fresh bills of material",
            happened=["11:10 quillwork and brightfold send new ones. Nobody has warned of anything yet."],
            said=[
                f"quillwork runs litellm {litellm['version']} since {litellm['since']}: {litellm['path']}",
                f"as it was known at 11:00, it ran {older['version']}: history, not a snapshot",
            ],
            proof=f"entries {ours['entry']} and {theirs['entry']}",
        )

    async def file(self, paper: Paper) -> dict[str, Any]:
        """Put a paper's bytes where documents rest, and hand it in."""
        digest, _ = await asyncio.to_thread(self.gateway.custody.blobs.put, [paper.raw])
        return await self._ask(paper.verb, {**paper.args, "digest": digest})

    async def _ask(self, verb: str, args: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = await verbs.VERBS[verb](self.gateway, args, BY)
        return answer
