"""Whatever an attack hypothesis says a leak looks like, no decoder of the bank lets an innocent copy gain on average."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.marks import decoder as dec
from limen.marks.classes import Classes
from limen.marks.code import BIASES

FOUND = st.integers(0, 6)


@st.composite
def leaks(draw):
    """Class counts that no code and no coalition needs to have made."""
    found = draw(FOUND)
    kind = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, found), st.integers(0, 1))
    kinds = draw(st.lists(kind, min_size=1, max_size=40, unique=True))
    count = draw(st.lists(st.integers(1, 100_000), min_size=len(kinds), max_size=len(kinds)))
    level, symbol, held, key = np.array(sorted(kinds), dtype=np.int64).T
    return found, Classes(BIASES[level], symbol, held, key, np.array(count))


def gains(classes, decoders):
    """The largest of |p e^w1 + (1 - p) e^w0 - 1| over decoders and classes."""
    return max(float(np.abs(classes.bias * np.exp(d.one) + (1 - classes.bias) * np.exp(d.zero) - 1).max()) for d in decoders)


@settings(max_examples=60, deadline=None)
@given(leaks(), st.floats(0.5, 80))
def test_no_leak_makes_a_decoder_that_an_innocent_copy_gains_from(leak, threshold):
    found, classes = leak
    decoders = dec.bank(classes, found=found, threshold=threshold)
    assert math.isclose(sum(d.share for d in decoders), 1.0, rel_tol=1e-12)
    assert gains(classes, decoders) <= 1e-12


@settings(max_examples=20, deadline=None)
@given(leaks())
def test_a_tilt_without_its_normalisation_is_caught(leak):
    found, classes = leak
    decoders = dec.bank(classes, found=found, threshold=20.0)
    bent = [dec.Decoder(d.name, d.colluders, d.share, 0.5 * d.one, 0.5 * d.zero) for d in decoders if np.abs(d.one).max() > 1e-3]
    assert not bent or gains(classes, bent) > 1e-12


@settings(max_examples=60, deadline=None)
@given(leaks(), st.floats(0.5, 60), st.integers(0, 2**32 - 1))
def test_one_over_the_e_value_is_never_below_the_chernoff_bound_of_the_decoder(leak, threshold, seed):
    found, classes = leak
    ones = np.random.default_rng(seed).binomial(classes.count, classes.bias)
    for d in dec.bank(classes, found=found, threshold=threshold):
        score = float(ones @ (d.one - d.zero) + classes.count @ d.zero)
        assert dec.chernoff(d, classes, score) <= math.exp(min(0.0, -score)) * (1 + 1e-6)
