"""Real text, downloaded by two people through the door, laundered, and traced by the command: both copies, and no other.

Slow; `tools/robustness` prints the whole table, `tests/unit/marks/test_marks_laundered.py` is the same in small.
"""

import pytest

from laundering.doors import LEAKERS, Downloads
from laundering.texts import library, speeches
from laundering.transforms import LAUNDERED, UNCHANGED

SETS = {"speeches": speeches, "library": library}
ENOUGH = 800  # records of both together; a good 400 do


@pytest.fixture(scope="module", params=SETS)
def downloads(request, tmp_path_factory):
    found = Downloads.of(tmp_path_factory.mktemp("laundered"), SETS[request.param]())
    try:
        yield found
    finally:
        found.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", LAUNDERED)
def test_both_copies_are_implicated_and_no_other(downloads, name):
    for seed in (1, 2):
        assert downloads.named(downloads.trace(downloads.leak(name, ENOUGH, seed))) == set(LEAKERS)


@pytest.mark.slow
def test_the_check_notices_a_leak_of_one_copy_alone(downloads):
    alone = Downloads(downloads.world, [downloads.held[0], downloads.held[0]], downloads.whose)
    assert alone.named(alone.trace(alone.leak(UNCHANGED, ENOUGH, 1))) == {LEAKERS[0]}
