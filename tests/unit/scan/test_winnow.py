"""Any run of 95 normalised characters that two texts share gives them a common fingerprint, whatever surrounds it."""

import random
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.scan import winnow

WORDS = ["".join(random.Random(n).choices("abcdefghijklmnop", k=3 + n % 7)) for n in range(500)]


def form_of(text):
    return winnow.normal_text(text)


def prints(form):
    return set(winnow.picked(np.frombuffer(form, np.uint8))[0].tolist())


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.title,
        lambda t: "\n".join("# " + line for line in textwrap.wrap(t, 40)),
        lambda t: "\r\n".join("    //  " + line for line in textwrap.wrap(t, 60)),
        lambda t: "\n".join(" * " + line for line in textwrap.wrap(t, 30)),
        lambda t: "\n".join("-- " + line for line in textwrap.wrap(t, 72)),
        lambda t: "\n".join("> > " + line for line in textwrap.wrap(t, 50)),
        lambda t: "\n".join("; " + line for line in textwrap.wrap(t, 20)),
        lambda t: "".join(c + "\u200b" if n % 17 == 0 else c for n, c in enumerate(t)),
    ],
)
def test_wrapping_case_and_comment_signs_leave_nothing(change):
    text = " ".join(random.Random(1).choices(WORDS, k=60)) + " Weiß Ärger naïve"
    assert winnow.normal(change(text).encode()) == form_of(text)


def test_that_check_sees_a_changed_letter():
    text = " ".join(random.Random(1).choices(WORDS, k=60))
    assert winnow.normal(text.replace("a", "e", 1).encode()) != form_of(text)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3000), st.integers(0, 200_000), st.booleans())
def test_a_shared_run_of_95_gives_a_common_fingerprint_wherever_it_stands(seed, before, far, few_letters):
    draw = random.Random(seed)
    letters = b"ab" if few_letters else bytes(range(97, 123))
    run = bytes(draw.choices(letters, k=winnow.RUN))
    one = bytes(draw.choices(letters, k=before)) + run + bytes(draw.choices(letters, k=draw.randint(0, 500)))
    other = bytes(draw.choices(letters, k=far)) + run + bytes(draw.choices(letters, k=draw.randint(0, 300)))
    assert prints(one) & prints(other)


def test_a_wider_window_would_lose_some(monkeypatch):
    lost = 0
    for seed in range(200):
        draw = random.Random(seed)
        run, a, b = (bytes(draw.choices(range(97, 123), k=n)) for n in (winnow.RUN, 400, 400))
        with monkeypatch.context() as broken:
            broken.setattr(winnow, "WINDOW", 128)
            lost += not prints(a + run + a) & prints(b + run + b)
    assert lost > 0


def test_the_normal_form_of_a_whole_is_that_of_its_lines():
    draw = random.Random(5)
    for _ in range(300):
        text = "".join(draw.choice("aB9 _-\n\r\té—ﬁ漢\u0301ẞ“") for _ in range(draw.randint(0, 200)))
        for raw in (text.encode(), text.encode("utf-16"), text.encode("cp1252", "replace"), text.encode() + b"\xff\0\xfe"):
            assert b"".join(winnow.lines(raw)) == winnow.normal(raw), raw


def test_encodings_of_one_text_have_one_form():
    text = "Größe naïve café"
    assert len({winnow.normal(text.encode(e)) for e in ("utf-8", "utf-16", "utf-8-sig", "cp1252")}) == 1
