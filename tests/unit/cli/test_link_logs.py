"""What a gateway in a command's own process logs goes to stderr: stdout is for the answer alone."""

import json

import pytest
import structlog

from limen import verbs


@pytest.fixture
def data(tmp_path, limen):
    data = tmp_path / "data"
    assert limen("init", data, "--dev")[0] == 0
    return data


def test_a_verb_that_logs_leaves_stdout_to_the_answer(data, limen, monkeypatch):
    real = verbs.VERBS["bom.list"]

    async def noisy(gateway, args, by):
        structlog.get_logger("limen").warning("something to see")
        return await real(gateway, args, by)

    monkeypatch.setitem(verbs.VERBS, "bom.list", noisy)
    code, out, err = limen("bom", "list", "--json", "--data", data)

    assert (code, "something to see" in err) == (0, True)
    assert json.loads(out)["boms"] == []
