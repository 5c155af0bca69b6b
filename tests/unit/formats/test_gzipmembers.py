import gzip
import random

import pytest

from limen.formats import gzipmembers


def text(rng, words):
    return b" ".join(bytes(rng.randrange(97, 123) for _ in range(rng.randint(1, 9))) for _ in range(words))


def test_a_member_of_any_length_that_it_can_have_says_what_it_said():
    rng = random.Random(1)
    contents = [b"", b"x", text(rng, 30), text(rng, 2000), bytes(rng.randbytes(5000))]
    for content in contents:
        member = gzipmembers.member(content)
        could = 0
        for gap in range(60):
            length = len(member) + gap
            try:
                padded = member.padded(length)
            except RuntimeError:
                continue
            assert len(padded) == length
            assert gzip.decompress(padded) == content
            could += 1
        assert could == 54  # all but 1, 2, 3, 4, 8 and 9


def test_two_members_meet_in_the_least_length_that_both_can_have():
    rng = random.Random(2)
    for _ in range(200):
        pair = [gzipmembers.member(text(rng, rng.randint(0, 60))) for _ in range(2)]
        length = gzipmembers.length_for(*pair)
        assert 0 <= length - max(map(len, pair)) <= 10
        assert {len(one.padded(length)) for one in pair} == {length}


def test_a_stream_of_members_is_read_as_one_and_a_damaged_one_is_not():
    rng = random.Random(3)
    parts = [text(rng, rng.randint(0, 40)) for _ in range(50)]
    stream = b"".join((m := gzipmembers.member(part)).padded(len(m) + 17) for part in parts)
    assert gzip.decompress(stream) == b"".join(parts)
    with pytest.raises((OSError, EOFError, gzip.zlib.error)):
        gzip.decompress(stream[:-3] + b"abc")
