"""Where keys rest, and what happens when a part of one is missing: nothing is served, and nothing is made in its place."""

import json
import os
import stat

import pytest
from orchid import jsonl, records

from limen.core.errors import Conflict, Invalid, MarkKeyUnavailable, NotFound
from limen.core.types import Recipient, Shard
from limen.marks.keep import Keep, _subkeys
from limen.marks.keys import MarkKey, write_record
from limen.marks.shelf import Shelf
from limen.marks.token import Token
from tokens import PIN, soft_token

ADA = Recipient("quillwork/ada", "quillwork", "copy-ada", "firm")
PLAIN = Shard(path="a.jsonl", digest="ab" * 32, source_length=1, length=1, content_type="application/x-ndjson")


@pytest.fixture(scope="module")
def token_():
    return soft_token()


@pytest.fixture
def token(token_):
    return Token(token_.module, token_.label, lambda: PIN)


@pytest.fixture
def keep(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "escrow").mkdir()
    return Keep(tmp_path / "keys", tmp_path / "escrow")


def with_token(keep, token):
    return Keep(keep.records, keep.escrow, token)


# --- two halves


def test_a_split_key_is_whole_only_with_both_halves(keep):
    made = keep.make("orchid", random=os.urandom, kind="split")
    assert keep.load("orchid") == made
    assert keep.kind_of("orchid") == "split"
    for path in (keep.path("orchid"), keep.escrow / "orchid.half"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert made.secret.hex() not in path.read_text()


def test_without_the_other_half_there_is_no_key_and_none_is_made(keep):
    made = keep.make("orchid", random=os.urandom, kind="split")
    half = keep.escrow / "orchid.half"
    half.rename(keep.escrow / "elsewhere")
    with pytest.raises(MarkKeyUnavailable, match="the other half of mark key orchid is not at"):
        keep.load("orchid")
    with pytest.raises(Conflict, match="never replaced"):
        keep.make("orchid", random=os.urandom, kind="split")
    (keep.escrow / "elsewhere").rename(half)
    assert keep.load("orchid") == made


def test_a_half_of_another_key_is_noticed(keep):
    keep.make("orchid", random=os.urandom, kind="split")
    keep.make("quill", random=os.urandom, kind="split")
    (keep.escrow / "orchid.half").write_bytes((keep.escrow / "quill.half").read_bytes())
    with pytest.raises(MarkKeyUnavailable, match="is not the other half of mark key orchid"):
        keep.load("orchid")


def test_a_half_that_others_can_read_is_refused(keep):
    keep.make("orchid", random=os.urandom, kind="split")
    (keep.escrow / "orchid.half").chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600"):
        keep.load("orchid")


def test_a_crash_between_the_halves_leaves_a_place_that_can_be_used_again(keep, monkeypatch):
    def stopped(path, record):
        if path.suffix == ".key":
            raise KeyboardInterrupt
        write_record(path, record)

    with monkeypatch.context() as bent:
        bent.setattr("limen.marks.keep.write_record", stopped)
        with pytest.raises(KeyboardInterrupt):
            keep.make("orchid", random=os.urandom, kind="split")
    made = keep.make("orchid", random=os.urandom, kind="split")
    assert keep.load("orchid") == made


def test_no_key_is_split_into_a_place_that_is_not_there_or_not_named(keep, tmp_path):
    gone = Keep(keep.records, tmp_path / "nowhere")
    with pytest.raises(MarkKeyUnavailable, match="can't be written: No such file"):
        gone.make("orchid", random=os.urandom, kind="split")
    with pytest.raises(MarkKeyUnavailable, match="does not say where the escrow's halves are"):
        Keep(keep.records).make("orchid", random=os.urandom, kind="split")
    assert list(keep.records.iterdir()) == []


# --- a token


def test_a_key_made_in_a_token_is_never_in_a_record_and_comes_back_the_same(keep, token):
    made = with_token(keep, token).make("orchid", random=os.urandom, kind="token", levels="nuida16")
    assert made.secret == b""
    loaded = with_token(keep, Token(token.module, token.label, lambda: PIN)).load("orchid")
    assert loaded == made
    assert (loaded.subkeys, loaded.levels) == (made.subkeys, "nuida16")
    record = keep.path("orchid").read_text()
    assert all(raw.hex() not in record for _, raw in made.subkeys.items())
    assert json.loads(record)["subkeys"] == made.digests


def test_the_secret_can_t_be_read_out_of_the_token(keep, token):
    import pkcs11  # noqa: PLC0415  the extra `hsm`
    from pkcs11.exceptions import AttributeSensitive  # noqa: PLC0415

    with_token(keep, token).make("sealed", random=os.urandom, kind="token")
    handle = bytes.fromhex(json.loads(keep.path("sealed").read_text())["handle"])
    with pkcs11.lib(token.module).get_token(token_label=token.label).open(user_pin=PIN) as session:
        key = session.get_key(id=handle)
        assert (key[pkcs11.Attribute.SENSITIVE], key[pkcs11.Attribute.EXTRACTABLE]) == (True, False)
        with pytest.raises(AttributeSensitive):
            key[pkcs11.Attribute.VALUE]


def test_a_key_in_a_token_deals_what_a_file_with_its_subkeys_would(keep, token):
    """The token computes HMAC-SHA256 as the code says: the same secret, put into it, gives the same subkeys."""
    import pkcs11  # noqa: PLC0415  the extra `hsm`

    known = MarkKey("known", b"k" * 32, b"s" * 32)
    with pkcs11.lib(token.module).get_token(token_label=token.label).open(user_pin=PIN, rw=True) as session:
        wanted = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.GENERIC_SECRET,
            pkcs11.Attribute.VALUE: known.secret,
            pkcs11.Attribute.ID: b"known-secret-001",
            pkcs11.Attribute.TOKEN: True,
            pkcs11.Attribute.SIGN: True,
        }
        session.create_object(wanted)
    assert _subkeys(token, b"known-secret-001") == known.subkeys


def test_a_wrong_pin_is_tried_once_and_then_only_when_told_to(keep, token):
    with_token(keep, token).make("pinned", random=os.urandom, kind="token")
    asked = []

    def wrong():
        asked.append(1)
        return "0815"

    bad = with_token(keep, Token(token.module, token.label, wrong))
    for _ in range(5):
        with pytest.raises(MarkKeyUnavailable, match="refuses the PIN"):
            bad.load("pinned")
    assert len(asked) == 1
    bad.retry()
    with pytest.raises(MarkKeyUnavailable, match="refuses the PIN"):
        bad.load("pinned")
    assert len(asked) == 2


def test_a_token_that_is_gone_gives_no_key_and_gives_it_again_once_it_is_back(keep, token, token_):
    made = with_token(keep, token).make("gone", random=os.urandom, kind="token")
    token_.take_away()
    try:
        with pytest.raises(MarkKeyUnavailable, match=f"token {token.label} is not there"):
            with_token(keep, token).load("gone")
        with pytest.raises(MarkKeyUnavailable, match="is not there"):
            with_token(keep, token).make("more", random=os.urandom, kind="token")
    finally:
        token_.bring_back()
    assert with_token(keep, token).load("gone") == made
    assert not keep.path("more").exists()


def test_another_tokens_secret_under_the_same_handle_is_noticed(keep, token):
    with_token(keep, token).make("first", random=os.urandom, kind="token")
    with_token(keep, token).make("second", random=os.urandom, kind="token")
    record = json.loads(keep.path("first").read_text())
    record["handle"] = json.loads(keep.path("second").read_text())["handle"]
    keep.path("first").write_text(json.dumps(record))
    with pytest.raises(MarkKeyUnavailable, match="holds another secret than mark key first was made with"):
        with_token(keep, token).load("first")


@pytest.mark.parametrize(
    ("module", "why"), [("/nonexistent.so", "can't be used"), ("", "names none")], ids=["no such module", "no module"]
)
def test_a_module_that_is_not_there_is_told_as_such(keep, token, module, why):
    with_token(keep, token).make("orchid", random=os.urandom, kind="token")
    with pytest.raises(MarkKeyUnavailable, match=why):
        with_token(keep, Token(module, token.label, lambda: PIN) if module else None).load("orchid")


def test_without_the_extra_the_next_step_is_said(keep, token, monkeypatch):
    with_token(keep, token).make("orchid", random=os.urandom, kind="token")
    monkeypatch.setitem(__import__("sys").modules, "pkcs11", None)
    with pytest.raises(MarkKeyUnavailable, match="python-pkcs11 is not installed") as told:
        with_token(keep, token).load("orchid")
    assert told.value.next_step == "install limen with its extra `hsm`"


# --- the shelf over all of them


@pytest.fixture(params=["file", "split", "token"])
def shelf(request, tmp_path, keep):
    (tmp_path / "source").write_bytes(jsonl(records(400)))
    token = None
    if request.param == "token":
        soft = request.getfixturevalue("token_")
        token = Token(soft.module, soft.label, lambda: PIN)
    return Shelf(tmp_path / "prepared", keep.records, keep=Keep(keep.records, keep.escrow, token, request.param))


def again(shelf):
    """The same directory, opened anew."""
    return Shelf(shelf._root, shelf._key_root, keep=shelf.keep)


def served(shelf, shard):
    copy = shelf.copy_of(shard, ADA, version_id="orchid@1/a.jsonl")
    return b"".join(copy.read(0, copy.length))


def lose(shelf):
    """Take away what the key can't be had without; returns how it is put back."""
    kind = shelf.keep.kind_of("orchid")
    path = shelf.keep.escrow / "orchid.half" if kind == "split" else shelf.keep.path("orchid")
    away = path.with_name("away")
    path.rename(away)
    return lambda: away.rename(path)


def test_a_copy_is_the_same_after_a_restart_wherever_the_key_rests(shelf, tmp_path):
    shard = shelf.prepare("orchid", PLAIN, source=tmp_path / "source", media="jsonl", name="orchid@1/a.jsonl")
    fresh = again(shelf)
    assert fresh.load_kept() == {}
    assert served(fresh, shard) == served(shelf, shard)


def test_a_key_that_can_t_be_had_serves_nothing_and_is_not_made_anew(shelf, tmp_path):
    shard = shelf.prepare("orchid", PLAIN, source=tmp_path / "source", media="jsonl", name="orchid@1/a.jsonl")
    before = served(shelf, shard)
    put_back = lose(shelf)
    fresh = again(shelf)
    fresh.load_kept()
    with pytest.raises(MarkKeyUnavailable) as told:
        served(fresh, shard)
    assert told.value.next_step
    with pytest.raises(MarkKeyUnavailable):
        fresh.prepare("orchid", PLAIN, source=tmp_path / "source", media="jsonl", name="orchid@2/a.jsonl")
    assert fresh.check("orchid")
    put_back()
    assert fresh.check("orchid") == ""
    assert served(fresh, shard) == before


def test_the_check_notices_a_shelf_that_makes_what_it_misses(shelf, tmp_path, monkeypatch):
    shard = shelf.prepare("orchid", PLAIN, source=tmp_path / "source", media="jsonl", name="orchid@1/a.jsonl")
    before = served(shelf, shard)
    shelf.keep.path("orchid").unlink()
    fresh = again(shelf)
    monkeypatch.setattr(fresh, "_key_for", fresh.make_key)
    other = fresh.prepare("orchid", PLAIN, source=tmp_path / "source", media="jsonl", name="orchid@1/a.jsonl")
    assert served(fresh, other) != before


def test_one_key_that_can_t_be_had_does_not_keep_the_others_from_being_read(shelf, tmp_path):
    shards = [
        shelf.prepare(name, PLAIN, source=tmp_path / "source", media="jsonl", name=f"{name}@1/a.jsonl")
        for name in ("orchid", "quill")
    ]
    lose(shelf)
    fresh = again(shelf)
    keys = fresh.keys_of(fresh.index(shards))
    assert sorted(keys) == ["orchid", "quill"]
    assert keys["quill"].id == "quill"
    with pytest.raises(MarkKeyUnavailable):
        keys["orchid"]
    with pytest.raises(KeyError):
        keys["nobody's"]


def test_a_record_that_is_no_key_is_passed_over_at_start(keep):
    (keep.records / "odd.key").write_text("[]")
    (keep.records / "odd.key").chmod(0o600)
    assert list(keep.kept()) == []
    with pytest.raises(Invalid, match="not a mark key"):
        keep.load("odd")
    with pytest.raises(NotFound):
        keep.load("none")
