"""Questions and answers come back as they were written, and what can't be scored is refused with its line."""

import json

import pytest

from limen.core.errors import Invalid
from limen.formats.modelanswers import Answers, Loss, check_digest, read_answers, read_questions, write_answers, write_questions

MODEL = "sha256:" + "a" * 64
HEAD = json.dumps({"schema": "limen/model-answers/v1", "test": 7, "model": MODEL})


def answers(*lines):
    return "\n".join([HEAD, *lines]).encode()


def test_questions_come_back():
    asked = {"b": "two\nlines", "a": "“quoted” \u2028 and é"}
    head, found = read_questions(write_questions(7, asked))
    assert head["test"] == 7
    assert list(found.items()) == list(asked.items())


def test_a_file_of_questions_that_was_cut_is_refused():
    whole = write_questions(7, {"a": "1", "b": "2"})
    with pytest.raises(Invalid, match="not whole"):
        read_questions(whole[: whole.rindex(b'{"question"')])


def test_answers_come_back_with_one_digest_whoever_wrote_them():
    told = Answers(MODEL, losses={"b": Loss(1.25, 3), "a": Loss(0.1, 1)}, about={"longest_tokens": 512})
    head, found = read_answers(write_answers(told, test=7))
    assert (head["test"], found) == (7, told)
    other = answers('{"tokens": 3, "loss": 1.250, "question": "b"}', "", '{"question": "a", "loss": 1e-1, "tokens": 1}')
    assert read_answers(other)[1].digest == told.digest
    assert Answers(MODEL, losses={"a": Loss(0.1, 1)}).digest != told.digest


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"question": "a", "loss": NaN, "tokens": 1}', "no finite number"),
        ('{"question": "a", "loss": Infinity, "tokens": 1}', "no finite number"),
        ('{"question": "a", "loss": 1e999, "tokens": 1}', "no finite number"),
        ('{"question": "a", "loss": true, "tokens": 1}', "no finite number"),
        ('{"question": "a", "loss": 1, "tokens": 0}', "tokens"),
        ('{"question": "a", "candidates": "the"}', "candidates"),
        ('{"question": "a", "candidates": [1]}', "candidates"),
        ('{"loss": 1, "tokens": 1}', "names no question"),
        ("[1]", "not a JSON object"),
        ("{", "not JSON"),
        ("\xff", "not JSON"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_its_line(line, why):
    with pytest.raises(Invalid, match=f"line 2.*{why}"):
        read_answers(answers(line))


def test_a_question_answered_twice_is_refused():
    with pytest.raises(Invalid, match="line 3"):
        read_answers(answers('{"question": "a", "loss": 1, "tokens": 1}', '{"question": "a", "loss": 2, "tokens": 1}'))


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"{}", b'{"schema": "limen/model-questions/v1"}', b"\x00\xff" * 99])
def test_another_file_is_refused(raw):
    with pytest.raises(Invalid, match="line 1"):
        read_answers(raw)


@pytest.mark.parametrize("text", ["sha256:abc", "sha256:" + "A" * 64, "md5:" + "a" * 64, ""])
def test_a_digest_has_one_form(text):
    assert check_digest(MODEL, "--suspect") == MODEL
    with pytest.raises(Invalid, match="64 hex digits"):
        check_digest(text, "--suspect")
