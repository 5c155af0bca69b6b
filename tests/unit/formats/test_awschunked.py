"""aws-chunked against AWS's published signed examples, and against botocore's own wrapper."""

from __future__ import annotations

import base64
import io

import pytest
from awscrt import checksums as crt
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum

from limen.formats import awschunked, sigv4

KEY = sigv4.signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", day="20130524", region="us-east-1", service="s3")
SCOPE = "20130524/us-east-1/s3/aws4_request"
CONTENT = b"a" * 66_560


def signer(seed):
    return sigv4.ChunkSigner(KEY, "20130524T000000Z", SCOPE, seed)


def body(signatures, ending=b"\r\n"):
    first, second, last = signatures
    return (
        b"10000;chunk-signature=%s\r\n" % first + b"a" * 65_536 + b"\r\n"
        b"400;chunk-signature=%s\r\n" % second + b"a" * 1024 + b"\r\n"
        b"0;chunk-signature=%s\r\n" % last + ending
    )  # fmt: skip


# "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks", Amazon S3 API reference.
SIGNED = body(
    (
        b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    )
)
SIGNED_SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
# The same with trailing headers.
TRAILED_SIGNATURES = (
    b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
)
TRAILER = b"x-amz-checksum-crc32c:sOO8/Q=="
TRAILER_SIGNATURE = b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
TRAILED = body(TRAILED_SIGNATURES, TRAILER + b"\n\r\n" + TRAILER_SIGNATURE)
TRAILED_PLAINLY = body(TRAILED_SIGNATURES, TRAILER + b"\r\n" + TRAILER_SIGNATURE)
TRAILED_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"


def decode(raw, decoder, step=None):
    pieces = [raw] if step is None else [raw[at : at + step] for at in range(0, len(raw), step)]
    content = b"".join(out for piece in pieces for out in decoder.feed(piece))
    return content, decoder.finish()


def signed():
    return awschunked.Decoder(length=len(CONTENT), signer=signer(SIGNED_SEED))


def trailed():
    return awschunked.Decoder(
        length=len(CONTENT), signer=signer(TRAILED_SEED), trailers=["x-amz-checksum-crc32c"], sign_trailers=True
    )


def unsigned(length, trailers=("x-amz-checksum-crc32",)):
    return awschunked.Decoder(length=length, signer=None, trailers=trailers)


@pytest.mark.parametrize("step", [None, 1, 7, 1000, 65_536])
def test_the_published_signed_body_decodes_however_it_is_cut(step):
    assert decode(SIGNED, signed(), step) == (CONTENT, {})


@pytest.mark.parametrize("raw", [TRAILED, TRAILED_PLAINLY, TRAILED_PLAINLY.rstrip()])
@pytest.mark.parametrize("step", [None, 1, 1000])
def test_the_published_signed_trailers_decode_in_each_spelling(raw, step):
    assert decode(raw, trailed(), step) == (CONTENT, {"x-amz-checksum-crc32c": "sOO8/Q=="})
    assert base64.b64encode(crt.crc32c(CONTENT).to_bytes(4, "big")) == b"sOO8/Q=="


@pytest.mark.parametrize("at", [100, 65_600, 66_000])
def test_a_changed_byte_is_caught_in_its_own_chunk(at):
    broken = bytearray(SIGNED)
    broken[at] ^= 1

    with pytest.raises(awschunked.ChunkMismatch):
        decode(bytes(broken), signed())


def test_a_changed_trailer_is_caught():
    with pytest.raises(awschunked.ChunkMismatch, match="trailers"):
        decode(TRAILED.replace(b"sOO8/Q==", b"sOO8/A=="), trailed())


def test_without_signatures_the_same_changes_would_pass():
    """Negative control: it is the chunk signatures that catch the change, not the framing."""
    plain = b"10000\r\n" + b"b" + b"a" * 65_535 + b"\r\n400\r\n" + b"a" * 1024 + b"\r\n0\r\n\r\n"

    assert decode(plain, unsigned(len(CONTENT), ()))[0] != CONTENT


@pytest.mark.parametrize("size", [0, 1, 1024, (1 << 20) + 5])
def test_what_botocore_wraps_decodes(size):
    content = bytes(i % 251 for i in range(size))
    wrapped = AwsChunkedWrapper(io.BytesIO(content), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32").read()

    decoded, trailers = decode(wrapped, unsigned(size), 4096)

    assert decoded == content
    assert trailers == {"x-amz-checksum-crc32": base64.b64encode(crt.crc32(content).to_bytes(4, "big")).decode()}


END = b"0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", awschunked.Truncated),
        (b"3\r\nab", awschunked.Truncated),
        (b"3\r\nabc\r\n", awschunked.Truncated),
        (b"3\r\nabc\r\n0\r\n", awschunked.Truncated),
        (b"3\r\nabc\r\n0\r\n\r\n", awschunked.Truncated),
        (b"4\r\nabcd\r\n" + END, awschunked.BadChunk),
        (b"2\r\nab\r\n" + END, awschunked.BadChunk),
        (b"3\r\nabcd\r\n" + END, awschunked.BadChunk),
        (b"-3\r\nabc\r\n" + END, awschunked.BadChunk),
        (b"0x3\r\nabc\r\n" + END, awschunked.BadChunk),
        (b" 3\r\nabc\r\n" + END, awschunked.BadChunk),
        (b"3;name=value\r\nabc\r\n" + END, awschunked.BadChunk),
        (b"ffffffffffffffff\r\n", awschunked.BadChunk),
        (b"3" * 600, awschunked.BadChunk),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-sha1:AA==\r\n\r\n", awschunked.BadChunk),
        (b"3\r\nabc\r\n0\r\nno colon\r\n\r\n", awschunked.BadChunk),
        (b"3\r\nabc\r\n" + END + b"more\r\n", awschunked.BadChunk),
        (b"3\r\nabc\r\n" + END + b"more", awschunked.Truncated),
    ],
)
def test_a_malformed_body_has_its_own_error(raw, error):
    for step in (None, 1):
        with pytest.raises(error):
            decode(raw, unsigned(3), step)


def test_a_chunk_without_a_signature_is_refused_where_signatures_were_promised():
    with pytest.raises(awschunked.BadChunk, match="signature"):
        decode(b"3\r\nabc\r\n0\r\n\r\n", awschunked.Decoder(length=3, signer=signer("0" * 64)))


def test_the_trailers_signature_must_come_last():
    early = body(TRAILED_SIGNATURES, TRAILER_SIGNATURE[:-2] + TRAILER + b"\r\n\r\n")

    with pytest.raises(awschunked.BadChunk, match="before"):
        decode(early, trailed())
