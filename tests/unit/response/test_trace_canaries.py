"""Of a canary in a sample, a trace says whose copy it was dealt to, also where each recipient has several."""

from __future__ import annotations

import json

from limen.registration import Marking, Source
from simulator import records
from tracing import copy_id, trace


def test_a_canary_is_of_the_copy_that_it_was_dealt_to_when_each_has_several(in_gateway, tmp_path):
    async def body(gateway):
        source, leaked = tmp_path / "sft.jsonl", tmp_path / "leak.jsonl"
        source.write_bytes(records(600))
        each = 2
        dealt = [json.dumps({"instruction": f"Name the {n}th river", "answer": f"one that nobody named, {n}"}) for n in range(8)]
        marking = Marking(canaries=tuple(dealt), canaries_each=each)
        await gateway.registrar.register("orchid-sft-v3", [Source("sft.jsonl", source)], marking, by="test")
        whose = {r.canary: r for r in gateway.custody.catalog.snapshot.recipients_of("orchid-sft-v3")}
        leaked.write_text("\n".join(dealt[5:7]) + "\n")

        report = await trace(gateway, leaked)

        told = [(canary["canary"], canary["copies"]) for canary in report["canaries"]]
        assert told == [(number, [copy_id(gateway, whose[number // each].id)]) for number in (5, 6)]
        assert whose[2].id != whose[3].id

    in_gateway(body)
