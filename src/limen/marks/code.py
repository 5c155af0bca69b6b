"""The code: which variant of each slot a copy holds. A few bias levels, two tiers, one AES keystream per tier and level.

Levels are those of the key's table (`limen.marks.levels`): a bit is 1 with probability n/256, exactly. A keyed third of
the slots are of the vendor tier (all of a vendor's people share the bit), the rest of the person tier.

Copy key = HMAC-SHA256(subkey, tier byte ‖ copy id)[:16]. Keystream of (tier, level) = AES-128 in counter mode (NIST
SP 800-38A) from the counter block `level byte ‖ 15 zero bytes`. Bit of a slot = keystream[index] < threshold(level).
Nothing here knows a record: slots are (tier, level, index), and bits are the same for ever.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from limen.marks.levels import NUIDA8

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.marks.keys import MarkKey

BIASES: Final = NUIDA8.biases  # of a key that names no other table
_VENDOR_CUT: Final = 21_845  # of 65,536: a third
VENDOR_SHARE: Final = _VENDOR_CUT / 65_536
PERSON: Final = 0
VENDOR: Final = 1
BLOCK: Final = 16
RECIPIENTS_AT_ONCE: Final = 2048


def draw(key: MarkKey, slot_id: bytes) -> tuple[int, int, int]:
    """(tier, level, side of the first member) of a new slot: keyed, and fixed for ever by its id."""
    sub = key.subkeys
    tier = VENDOR if _u16(sub.tier, slot_id) < _VENDOR_CUT else PERSON
    level = int(np.searchsorted(key.table.cuts, _u16(sub.level, slot_id), side="right"))
    return tier, level, _u16(sub.side, slot_id) & 1


def copy_id(recipient: Recipient, tier: int) -> str:
    """Whose key a recipient's bits of a tier come from."""
    return recipient.copy_id if tier == PERSON else recipient.vendor_copy_id


def copy_key(key: MarkKey, tier: int, whose: str) -> bytes:
    """The AES key of one copy id in one tier."""
    return hmac.digest(key.subkeys.copy, bytes([tier]) + whose.encode(), "sha256")[:BLOCK]


def codeword(
    key: MarkKey, recipient: Recipient, *, tiers: NDArray[np.uint8], levels: NDArray[np.uint8], indexes: NDArray[np.uint32]
) -> NDArray[np.bool_]:
    """One recipient's bit for each slot, the slots given by three equally long arrays."""
    bits = np.zeros(len(tiers), dtype=np.bool_)
    thresholds = key.table.thresholds
    for tier in (PERSON, VENDOR):
        raw = copy_key(key, tier, copy_id(recipient, tier))
        for level in range(len(thresholds)):
            mine = np.flatnonzero((tiers == tier) & (levels == level))
            if not len(mine):
                continue
            nonce = bytes([level]) + bytes(BLOCK - 1)
            stream = Cipher(algorithms.AES(raw), modes.CTR(nonce)).encryptor().update(bytes(int(indexes[mine].max()) + 1))
            bits[mine] = np.frombuffer(stream, dtype=np.uint8)[indexes[mine]] < thresholds[level]
    return bits


def codebook(
    key: MarkKey, tier: int, whose: Sequence[str], *, levels: NDArray[np.uint8], indexes: NDArray[np.uint32]
) -> NDArray[np.uint8]:
    """Bits of many copies at once, as (slots x copies) of 0 and 1: the same code as `codeword`, slots of one tier.

    Only the counter blocks that hold a wanted slot are encrypted: 7 microseconds a copy for a sample of 180 records.
    """
    where, block_of = np.unique(levels.astype(np.int64) << 32 | indexes.astype(np.int64) // BLOCK, return_inverse=True)
    counters = np.zeros((len(where), BLOCK), dtype=np.uint8)
    counters[:, 0] = where >> 32
    counters[:, 8:] = (where & 0xFFFF_FFFF).astype(">u8").view(np.uint8).reshape(-1, 8)
    blocks = counters.tobytes()
    at = block_of * BLOCK + indexes % BLOCK
    thresholds = key.table.thresholds[levels]
    bits = np.empty((len(levels), len(whose)), dtype=np.uint8)
    # Counter mode is this cipher applied to counter blocks; ECB here only means "each block by itself".
    ecb = modes.ECB()  # noqa: S305  each block is a distinct counter
    for start in range(0, len(whose), RECIPIENTS_AT_ONCE):
        some = whose[start : start + RECIPIENTS_AT_ONCE]
        streams = b"".join(Cipher(algorithms.AES(copy_key(key, tier, one)), ecb).encryptor().update(blocks) for one in some)
        held = np.frombuffer(streams, dtype=np.uint8).reshape(len(some), -1)
        bits[:, start : start + len(some)] = (held[:, at] < thresholds).T
    return bits


def _u16(subkey: bytes, slot_id: bytes) -> int:
    return int.from_bytes(hmac.digest(subkey, slot_id, "sha256")[:2], "big")
