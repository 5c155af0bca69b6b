"""A version of several shards is judged as one; and no marker of a guideline is ever served."""

import asyncio
import random
import re

import pytest

from inprocess import a_gateway
from limen.core.errors import Invalid
from limen.registration import Marking, sources_below
from simulator import records
from tracing import Q03, copy_id, trace

ASSET = "orchid-blob"


def guides(directory, count, *, seed=0):
    """A directory of shards of twenty slots each, and one that no carrier is for."""
    directory.mkdir()
    for n in range(count):
        (directory / f"g{n:02}.jsonl").write_bytes(records(40, seed=seed + n + 1000))
    (directory / "logo.bin").write_bytes(b"\0" * 40)
    return sources_below([directory])


def copies(gateway, version):
    """What two people are served of each marked shard."""
    shelf, snapshot = gateway.custody.shelf, gateway.custody.catalog.snapshot
    people = [snapshot.recipient(who, ASSET) for who in ("quillwork/q01", "quillwork/q02")]
    held = [[shelf.copy_of(s, who, version_id=s.path) for s in version.shards if s.prepared] for who in people]
    return [[b"".join(copy.read(0, copy.length)) for copy in some] for some in held]


def test_small_shards_are_marked_if_they_have_enough_slots_together(tmp_path):
    async def play():
        gateway = await a_gateway(tmp_path / "data")
        try:
            few, _ = await gateway.registrar.register(ASSET, guides(tmp_path / "few", 2), Marking(), by="test")
            assert not any(shard.prepared for shard in few.shards)
            assert "the version's 2 shards come to 40 together" in few.shards[0].unmarked_why
            many, told = await gateway.registrar.register(ASSET, guides(tmp_path / "many", 8, seed=99), Marking(), by="test")
            assert [line.split(":")[0] for line in told] == ["logo.bin"]
            mine, theirs = before = copies(gateway, many)
            assert len(mine) == 8
            assert sum(a != b for a, b in zip(mine, theirs, strict=True)) == 8
            # A later version with more shards changes nothing of this one.
            more = [*guides(tmp_path / "more", 2, seed=500), *sources_below([tmp_path / "many"])[:2]]
            more = [type(s)(f"{n}/{s.path}", s.local) for n, s in enumerate(more)]
            later, _ = await gateway.registrar.register(ASSET, more, Marking(), by="test")
            assert all(shard.prepared for shard in later.shards if shard.path.endswith(".jsonl"))
            assert copies(gateway, many) == before
        finally:
            await gateway.close()

    asyncio.run(play())


def place(n):
    either, other = f"Rule {n} in the wording of Ada.", f"The other wording of rule {n}."
    return f"<!-- limen:either -->\n{either}\n<!-- limen:or -->\n{other}\n<!-- limen:end -->\n\n"


@pytest.mark.parametrize("marking", [Marking(), Marking(marked=False), Marking(pairs_percent=0)])
def test_no_marker_reaches_anybody_whether_a_guideline_has_slots_or_not(tmp_path, marking):
    (tmp_path / "few.md").write_text("# Rules\n\n" + "".join(map(place, range(9))))
    (tmp_path / "many.md").write_text("# Rules\n\n" + "".join(map(place, range(10, 160))))
    (tmp_path / "wrong.md").write_text(f"# Rules\n\n{place(1)}<!-- limen:or -->\n")

    async def play():
        gateway = await a_gateway(tmp_path / "data")
        try:
            for name, marked in (("few.md", False), ("many.md", marking == Marking())):
                version, told = await gateway.registrar.register(ASSET, sources_below([tmp_path / name]), marking, by="test")
                assert bool(told) != marked
                mine, theirs = (some[0] for some in copies(gateway, version))
                assert b"<!--" not in mine + theirs
                assert (mine != theirs) == marked
            with pytest.raises(Invalid, match=r"wrong\.md, line 9: limen:or without a limen:either"):
                await gateway.registrar.register(ASSET, sources_below([tmp_path / "wrong.md"]), marking, by="test")
            assert gateway.custody.catalog.snapshot.version(ASSET).number == 2
        finally:
            await gateway.close()

    asyncio.run(play())


def test_guidelines_pasted_together_as_plain_text_name_whose_copies_they_were(tmp_path):
    rng = random.Random(4)
    words = ["".join(rng.choices("bcdfgklmnprst", k=1) + rng.choices("aeiou", k=1)) * 2 for _ in range(60)]
    (tmp_path / "guides").mkdir()
    for n in range(4):
        said = [[" ".join(rng.choices(words, k=9)) for _ in (0, 1)] for _ in range(55)]
        places = [f"<!-- limen:either -->\n- {a}\n<!-- limen:or -->\n- **{b}**\n<!-- limen:end -->\n" for a, b in said]
        (tmp_path / "guides" / f"{n}.md").write_text(f"# Guide {n}\n\n" + "\n".join(places))

    async def play():
        gateway = await a_gateway(tmp_path / "data")
        try:
            version, told = await gateway.registrar.register(ASSET, sources_below([tmp_path / "guides"]), Marking(), by="test")
            assert told == []
            held = [gateway.custody.copy_of(Q03, version, shard) for shard in version.shards]
            pasted = b" ".join(b"".join(copy.read(0, copy.length)) for copy in held).decode()
            (tmp_path / "post.txt").write_text(re.sub(r"[-*#\s]+", " ", pasted).upper())
            found = await trace(gateway, tmp_path / "post.txt")
            assert (found["verdict"], found["slots_matched"]) == ("named", 220)
            assert [copy["copy"] for copy in found["copies"]] == [copy_id(gateway, Q03)]
        finally:
            await gateway.close()

    asyncio.run(play())
