"""What a key commits to, and what of it can be opened."""

import hashlib
import hmac

import pytest

from limen.marks.keys import OPENED, USES, MarkKey, Subkeys, agrees, opened

KEY = MarkKey("orchid", b"k" * 32, b"s" * 32)


def by_hand(use):
    """A subkey as docs/marks.md states it."""
    return hmac.digest(b"k" * 32, b"limen marks v1: " + use.encode(), "sha256")


def test_the_log_holds_a_digest_of_each_subkey_beside_that_of_the_key():
    told = KEY.commitments()
    assert (told["key"], told["code"], told["levels"]) == ("orchid", "limen-code/1", "nuida8")
    assert told["commitment"] == hashlib.sha256(b"k" * 32 + b"s" * 32).hexdigest()
    assert told["subkeys"] == {use: hashlib.sha256(by_hand(use) + b"s" * 32).hexdigest() for use in USES}


def test_a_key_whose_secret_stays_in_a_token_has_the_same_subkeys_and_a_commitment_over_their_digests():
    held = MarkKey("orchid", b"", b"s" * 32, from_token=Subkeys.derived(lambda m: hmac.digest(b"k" * 32, m, "sha256")))
    assert held.subkeys == KEY.subkeys
    assert held.digests == KEY.digests
    assert held.commitment() == hashlib.sha256(b"".join(bytes.fromhex(KEY.digests[use]) for use in USES)).hexdigest()
    assert held.commitment() != KEY.commitment()


def test_an_opened_key_holds_the_subkeys_asked_for_and_never_the_secret():
    file = opened(KEY, ("copy", "tier"))
    assert file["schema"] == OPENED
    assert file["subkeys"] == {use: by_hand(use).hex() for use in ("tier", "copy")}
    assert (b"k" * 32).hex() not in str(file)
    assert agrees(file, KEY.digests)


@pytest.mark.parametrize("bent", ["subkeys", "salt", "none"])
def test_an_opened_key_that_is_not_the_one_committed_to_is_noticed(bent):
    file = opened(KEY, ("copy",))
    if bent == "subkeys":
        file["subkeys"]["copy"] = by_hand("tier").hex()
    elif bent == "salt":
        file["salt"] = (b"t" * 32).hex()
    else:
        file["subkeys"] = {}
    assert not agrees(file, KEY.digests)


@pytest.mark.parametrize("parts", [(b"k", b"s" * 32), (b"k" * 32, b"s"), (b"", b"s" * 32)])
def test_a_key_of_the_wrong_size_is_our_own_mistake(parts):
    with pytest.raises(RuntimeError, match="a mark key has"):
        MarkKey("orchid", *parts)
    with pytest.raises(RuntimeError, match="no table of levels nuida9"):
        MarkKey("orchid", b"k" * 32, b"s" * 32, "nuida9")
