import hmac
import json
import stat

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from orchid import person

from limen.core.errors import Invalid, NotFound
from limen.marks import code
from limen.marks.keys import MarkKey

KEY = MarkKey("orchid", b"k" * 32, b"s" * 32)


def slots(count, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "tiers": rng.integers(0, 2, count).astype(np.uint8),
        "levels": rng.integers(0, 4, count).astype(np.uint8),
        "indexes": rng.integers(0, 5000, count).astype(np.uint32),
    }


def bit_by_hand(secret, tier, whose, level, index):
    """The code as docs/marks.md states it, one bit at a time."""
    subkey = hmac.digest(secret, b"limen marks v1: copy", "sha256")
    key = hmac.digest(subkey, bytes([tier]) + whose.encode(), "sha256")[:16]
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes([level]) + bytes(15))).encryptor().update(bytes(index + 1))
    return stream[index] < (18, 84, 172, 238)[level]


def test_a_codeword_is_what_the_document_says_bit_by_bit():
    some, q03 = slots(60), person(3)
    got = code.codeword(KEY, q03, **some)
    for n, bit in enumerate(got):
        tier, level, index = (int(some[name][n]) for name in ("tiers", "levels", "indexes"))
        whose = q03.copy_id if tier == code.PERSON else q03.vendor_copy_id
        assert bit == bit_by_hand(KEY.secret, tier, whose, level, index)


def test_the_codebook_holds_the_same_bits_as_the_codewords():
    some = slots(300)
    people = [person(n) for n in range(20)]
    mine = some["tiers"] == code.PERSON
    book = code.codebook(
        KEY, code.PERSON, [p.copy_id for p in people], levels=some["levels"][mine], indexes=some["indexes"][mine]
    )
    for n, one in enumerate(people):
        assert (book[:, n] == code.codeword(KEY, one, **some)[mine]).all()


def test_colleagues_share_the_vendor_tier_and_nothing_else():
    some = slots(2000)
    a, b, other = (code.codeword(KEY, p, **some) for p in (person(1), person(2), person(1, "lexara")))
    vendor = some["tiers"] == code.VENDOR
    assert (a[vendor] == b[vendor]).all()
    assert (a[~vendor] != b[~vendor]).any()
    assert (a[vendor] != other[vendor]).any()


def test_bits_are_one_as_often_as_their_level_says():
    levels = np.repeat(np.arange(4, dtype=np.uint8), 500)
    indexes = np.tile(np.arange(500, dtype=np.uint32), 4)
    book = code.codebook(KEY, code.PERSON, [f"c{n}" for n in range(200)], levels=levels, indexes=indexes)
    for level, bias in enumerate(code.BIASES):
        share = book[levels == level].mean()
        assert abs(share - bias) < 5 * (bias * (1 - bias) / 100_000) ** 0.5


def test_slots_are_drawn_over_levels_and_tiers_in_the_code_s_proportions():
    drawn = np.array([code.draw(KEY, n.to_bytes(16, "big")) for n in range(20_000)])
    assert abs((drawn[:, 0] == code.VENDOR).mean() - 1 / 3) < 0.02
    assert np.abs(np.bincount(drawn[:, 1]) / 20_000 - [0.2483, 0.2517, 0.2517, 0.2483]).max() < 0.02
    assert abs(drawn[:, 2].mean() - 0.5) < 0.02


def test_a_key_survives_on_disk_for_its_owner_only(tmp_path):
    path = tmp_path / "orchid.key"
    made = MarkKey.make("orchid", random=lambda n: bytes(range(n)))
    made.save(path)
    assert MarkKey.load(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.secret.hex() not in repr(made)
    with pytest.raises(FileExistsError):
        made.save(path)


def test_a_key_that_others_can_read_or_that_is_damaged_is_refused(tmp_path):
    path = tmp_path / "orchid.key"
    with pytest.raises(NotFound):
        MarkKey.load(path)
    KEY.save(path)
    path.chmod(0o644)
    with pytest.raises(Invalid, match="chmod 600"):
        MarkKey.load(path)
    path.chmod(0o600)
    for damage in (b"", b"[]", b"{}", json.dumps({"id": "x", "secret": "00", "salt": "00"}).encode()):
        path.write_bytes(damage)
        with pytest.raises(Invalid, match="not a mark key"):
            MarkKey.load(path)


def test_every_use_of_a_key_has_a_subkey_of_its_own():
    sub = KEY.subkeys
    assert len({sub.slot, sub.side, sub.level, sub.tier, sub.order, sub.copy, KEY.secret}) == 7
