"""The canonical form: what the fast writer writes is what `json.dumps` and RFC 8785 would, byte for byte, or nothing."""

import enum
import json
import string
import unicodedata

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from limen.core import events
from limen.core.errors import Invalid

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.text(st.characters(max_codepoint=127), max_size=12)
TEXT = st.text(max_size=12).map(lambda text: unicodedata.normalize("NFC", text))
NUMBERS = st.integers(-events.MAX_INT, events.MAX_INT)
FORMED = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
ANYTHING = st.recursive(
    FORMED | st.integers() | st.floats() | st.binary(max_size=3) | st.text(st.characters(), max_size=4) | st.sets(NUMBERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3) | NUMBERS, inner, max_size=3),
    max_leaves=8,
)
SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def plain(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def rfc8785(value):
    """RFC 8785 §3.2, written anew from its text, for values without fractions."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return f"{value:d}"  # below 2^53 ECMAScript writes an integer as its decimal digits
    if isinstance(value, str):
        escaped = (SHORT.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in value)
        return '"' + "".join(escaped) + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(rfc8785, value)) + "]"
    pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
    return "{" + ",".join(f"{rfc8785(key)}:{rfc8785(item)}" for key, item in pairs) + "}"


def said(work):
    """What a refusal says, or None if there is none."""
    try:
        work()
    except Invalid as e:
        return str(e)
    return None


@PATIENT
@given(st.dictionaries(KEYS, FORMED, max_size=6))
@example({c: "".join(map(chr, range(0x25))) for c in string.printable})
@example({"": [], "a": {}, "A": [[]], "\x7f": "\x7f\u2028\U0001f600", "z": (1, "é")})
@example({"least": -events.MAX_INT, "most": events.MAX_INT, "true": True, "false": False, "null": None})
def test_a_formed_value_is_written_as_json_dumps_and_as_rfc_8785_would(fields):
    assert events._encoded(fields) == plain(fields) == rfc8785(fields).encode()


@PATIENT
@given(st.dictionaries(KEYS, ANYTHING, max_size=4))
@example({"deep": {"text": "e\u0301"}})
@example({"surrogate": "\ud800"})
@example({"large": 2**53})
@example({"fraction": 1.0})
@example({"mixed": {1: 1, "1": 1}})
@example({"bytes": b""})
def test_any_other_value_is_refused_with_the_part_that_is_wrong_and_never_written_another_way(fields):
    wrong = said(lambda: events.check(fields, "entry"))

    assert said(lambda: events._encoded(fields)) == wrong
    if wrong is None:
        assert events._encoded(fields) == plain(fields)


@PATIENT
@given(st.dictionaries(KEYS, FORMED, max_size=4))
def test_an_entry_reads_back_as_it_was_written(fields):
    raw = events.encode("server.start", 1, bytes(16), fields)

    assert events.decode(raw) == {**json.loads(plain(fields)), "v": 1, "kind": "server.start", "at": 1, "salt": "00" * 16}


def test_a_name_and_a_number_of_a_class_of_their_own_are_written_as_what_they_are():
    class Colour(enum.StrEnum):
        RED = "red"

    class Level(enum.IntEnum):
        HIGH = 3

    fields = {"a": Colour.RED, Colour.RED: Level.HIGH}

    assert events._encoded(fields) == plain(fields) == b'{"a":"red","red":3}'


def test_a_writer_that_sorts_keys_without_case_would_be_noticed(monkeypatch):
    monkeypatch.setattr(events, "sorted", lambda keys: sorted(keys, key=str.lower), raising=False)

    assert events._encoded({"a": 1, "B": 2}) != plain({"a": 1, "B": 2})
