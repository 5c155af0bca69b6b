"""Digests of a column of texts: a plain function of an Arrow array, for scans that a single process doesn't finish.

A value depends on its text alone: not on its neighbours, on how a column is cut, or on any registry. So a query engine may
call `digests_of` on whatever batches it has, wherever it has them, and join what comes back with a table of registered ones.
"""

from __future__ import annotations

from itertools import compress
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limen.core.errors import Invalid
from limen.marks import normalise

_STRINGS: Final = (pa.string(), pa.large_string(), pa.string_view())


def digests_of(texts: pa.Array) -> pa.Array:
    """The 128-bit digest of each text's comparable form; null for a null, and for a text too short to say anything.

    Strings of any Arrow type, also in a dictionary; Invalid for anything else, and for bytes that aren't UTF-8.
    """
    kind = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
    if kind not in _STRINGS:
        raise Invalid("texts", f"is no column of texts but of {kind}; decode it first")
    texts = texts.cast(pa.large_string())
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as e:
        raise Invalid("texts", "is a column of strings that aren't UTF-8; decode it again") from e
    lengths = pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    out = np.zeros((len(texts), 16), dtype=np.uint8)
    says = np.zeros(len(texts), dtype=np.bool_)
    for first, last in normalise.batches(lengths):
        forms = normalise.forms_in(_joined(texts.slice(first, last - first)))
        long_enough = np.fromiter(map(len, forms), dtype=np.int64, count=len(forms)) >= normalise.MIN_TEXT
        says[first:last] = long_enough
        named = normalise.digests(compress(forms, long_enough.tolist()))
        out[first:last][long_enough] = np.frombuffer(named, dtype=np.uint8).reshape(-1, 16)
    known = np.packbits(says, bitorder="little").tobytes()
    parts = [pa.py_buffer(known), pa.py_buffer(out)]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(texts), parts)


def _joined(texts: pa.Array) -> bytes:
    texts = texts.fill_null("")
    between = normalise.BETWEEN
    for again in (False, True):
        if again:
            texts = pc.replace_substring(texts, between, " ")
        whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
        joined = bytes(pc.binary_join(whole, pa.scalar(between, pa.large_string()))[0].as_buffer())
        if joined.count(between.encode()) == len(texts) - 1:
            break
    return joined
