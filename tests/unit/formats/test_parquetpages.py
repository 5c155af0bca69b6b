import random
from io import BytesIO

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from limen.formats import parquetpages
from limen.formats import thriftcompact as thrift


def written(rows=50, **options):
    out = BytesIO()
    table = pa.table(
        {"n": range(rows), "text": [f"row {n} says {n * n}" for n in range(rows)], "tags": [["a"] * (n % 3) for n in range(rows)]}
    )
    pq.write_table(table, out, use_dictionary=False, write_statistics=False, **options)
    return out.getvalue()


def test_a_footer_decoded_and_encoded_again_is_the_same_to_its_library():
    raw = written(row_group_size=20)
    body = thrift.encode(parquetpages.metadata_of(raw))
    again = raw[: -8 - int.from_bytes(raw[-8:-4], "little")] + body + len(body).to_bytes(4, "little") + b"PAR1"
    assert pq.ParquetFile(BytesIO(again)).metadata.equals(pq.ParquetFile(BytesIO(raw)).metadata)
    assert pq.read_table(BytesIO(again)).equals(pq.read_table(BytesIO(raw)))


@pytest.mark.parametrize("length", [5, 6, 131, 132, 133, 134, 200, 16_389, 16_390, 16_391, 30_000])
def test_an_extension_has_any_length_from_five_and_is_passed_over(length):
    field = thrift.padding(length, parquetpages.MARK)
    assert len(field) == length
    raw = written()
    body = thrift.encode(parquetpages.metadata_of(raw))
    body = body[:-1] + field + body[-1:]
    longer = raw[: -8 - int.from_bytes(raw[-8:-4], "little")] + body + len(body).to_bytes(4, "little") + b"PAR1"
    assert pq.read_table(BytesIO(longer)).equals(pq.read_table(BytesIO(raw)))
    found, end = thrift.decode(body)
    assert end == len(body)
    assert found[32767][1] == (parquetpages.MARK * length)[: len(found[32767][1])]


def test_padded_pages_are_read_as_before():
    raw = written(data_page_size=1 << 30)
    chunk = pq.ParquetFile(BytesIO(raw)).metadata.row_group(0).column(1)
    start, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    pages = parquetpages.pages(raw[start:end])
    assert pages.padded(len(pages)) == raw[start:end]
    for gap in (5, 40, 133, 5000):
        longer = pages.padded(len(pages) + gap)
        assert len(longer) == len(pages) + gap
        assert parquetpages.pages(longer).header == pages.header + gap
        assert longer.endswith(raw[start + pages.header : end])
    with pytest.raises(RuntimeError):
        pages.padded(len(pages) + 4)
    assert parquetpages.length_for(pages, parquetpages.Pages(pages.raw + b"x" * 3, pages.header)) == len(pages) + 8


def test_what_is_no_thrift_is_a_value_error_whatever_it_is():
    raw = thrift.encode(parquetpages.metadata_of(written()))
    rng = random.Random(5)
    seen = 0
    for _ in range(3000):
        bent = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            bent[rng.randrange(len(bent))] = rng.randrange(256)
        try:
            thrift.decode(bytes(bent[: rng.randrange(len(bent))]))
        except ValueError:
            seen += 1
    assert seen > 1000
    with pytest.raises(ValueError, match="doesn't end as Parquet does"):
        parquetpages.metadata_of(b"no Parquet at all")
