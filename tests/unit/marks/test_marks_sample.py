import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from orchid import jsonl, records

from limen.core.errors import Conflict, Invalid
from limen.marks.index import Index
from limen.marks.pieces import pieces_in
from limen.marks.sample import open_sample, sample_of
from limen.marks.unpack import Limits


def tar(members, mode="w", form=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return out.getvalue()


def zstd(raw):
    return pa.compress(raw, "zstd", asbytes=True)


def table_of(raw):
    return pa.table({"rows": pa.array([json.loads(line) for line in raw.splitlines()])}).flatten()


def parquet(raw, **options):
    out = io.BytesIO()
    pq.write_table(table_of(raw), out, **options)
    return out.getvalue()


def nested_parquet(raw):
    """As chats are kept: lists of turns, each with a role and a text; and a column of bytes."""
    rows = [json.loads(line) for line in raw.splitlines()]
    turns = [[{"role": "user", "content": r["instruction"]}, {"role": "assistant", "content": r["answer"]}] for r in rows]
    out = io.BytesIO()
    columns = {
        "picture": [b"\xff\x00"] * len(rows),
        "raw": [r["id"].encode() for r in rows],
        "messages": turns,
        "n": range(len(rows)),
    }
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def arrow(raw, made=pa.ipc.new_file):
    out = io.BytesIO()
    with made(out, table_of(raw).schema) as writer:
        writer.write_table(table_of(raw), max_chunksize=7)
    return out.getvalue()


def feather(raw):
    out = io.BytesIO()
    pa.feather.write_feather(table_of(raw), out, compression="zstd")
    return out.getvalue()


def halves(raw):
    lines = raw.splitlines(keepends=True)
    return {"a/first.jsonl": b"".join(lines[: len(lines) // 2]), "second.jsonl": b"".join(lines[len(lines) // 2 :])}


CONTAINERS = {
    "zip": lambda raw: zipped(halves(raw)),
    "tar": lambda raw: tar(halves(raw)),
    "tar, old": lambda raw: tar(halves(raw), form=tarfile.USTAR_FORMAT),
    "tar, GNU, long names": lambda raw: tar(
        {"x" * 200 + name: body for name, body in halves(raw).items()}, form=tarfile.GNU_FORMAT
    ),
    "tar, pax, long names": lambda raw: tar({"\u00fc" * 200 + name: body for name, body in halves(raw).items()}),
    "tar.gz": lambda raw: tar(halves(raw), "w:gz"),
    "tar.bz2": lambda raw: tar(halves(raw), "w:bz2"),
    "tar.xz": lambda raw: tar(halves(raw), "w:xz"),
    "tar.zst": lambda raw: zstd(tar(halves(raw))),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "gzip, two members and padding": lambda raw: b"".join(gzip.compress(half) for half in halves(raw).values()) + bytes(100),
    "Parquet": parquet,
    "Parquet, small groups, zstd": lambda raw: parquet(raw, row_group_size=7, compression="zstd"),
    "Parquet, lists and bytes": nested_parquet,
    "Parquet in tar.gz": lambda raw: tar({"data/train-00000.parquet": parquet(raw)}, "w:gz"),
    "Arrow file": arrow,
    "Arrow stream": lambda raw: arrow(raw, pa.ipc.new_stream),
    "Feather": feather,
    "zip in tar.gz in zip": lambda raw: zipped({"in.tgz": tar({"in.zip": zipped(halves(raw))}, "w:gz")}),
}


def shown(index, sample):
    seen = index.observe_sample(sample)
    return sum(len(some) for some in seen.matched.values()), seen


@pytest.mark.parametrize("form", CONTAINERS)
def test_records_are_found_in_archives(lab, form):
    rows = records(60)
    index = Index([lab.prepare(jsonl(rows))])
    count, seen = shown(index, sample_of(CONTAINERS[form](jsonl(rows[:40]))))
    assert count == 40
    assert not seen.unread
    # The control: the same archive of others' records shows nothing.
    assert not shown(index, sample_of(CONTAINERS[form](jsonl(records(40, seed=9)))))[0]


def test_a_directory_is_read_to_its_depth_and_what_is_left_out_is_told(lab, tmp_path):
    rows = records(60)
    index = Index([lab.prepare(jsonl(rows))])
    top = tmp_path / "leak"
    deep = top
    for n in range(40):
        deep /= f"level-{n}"
    deep.mkdir(parents=True)
    (deep / "deep.jsonl").write_bytes(jsonl(rows[:10]))
    (top / ".hidden").write_bytes(jsonl(rows[10:20]))
    (top / "nothing").touch()
    (top / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (top / "loop").symlink_to(top)
    os.mkfifo(top / "fifo")
    (top / "locked").write_bytes(b"locked")
    (top / "bad\nname \udcff\x1b[31m").write_bytes(b"\0")
    sample = open_sample([top])
    count, seen = shown(index, sample)
    assert count == 20
    left = {one.name: one.why for one in seen.unread}
    assert left["picture.png"] == "is no text, and of no kind that is known here"
    assert left["loop"] == "is a symbolic link: not followed"
    assert "is a fifo" in left["fifo"]
    assert "bad\\nname \\udcff\\x1b[31m" in left
    assert seen.kinds["empty"] == 1
    assert len(seen.unread) == 4


def test_the_digest_of_one_part_is_its_own_and_of_several_what_sha256sum_says(tmp_path):
    one = tmp_path / "one.txt"
    one.write_bytes(b"one")
    assert open_sample([one]).digest == hashlib.sha256(b"one").hexdigest()
    top = tmp_path / "top"
    (top / "in").mkdir(parents=True)
    for name in ("b", "a", "in/c d", "back\\slash", "new\nline"):
        (top / name).write_text(name)
    printed = subprocess.run(
        "find . -type f -printf '%P\\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum",
        shell=True,
        check=True,
        cwd=top,
        capture_output=True,
    )
    whole = open_sample([top])
    assert whole.digest == printed.stdout.decode().split()[0]
    # The control: another byte, another name, or one part fewer is another sample.
    (top / "a").write_text("A")
    others = {open_sample([top]).digest}
    (top / "a").rename(top / "z")
    others.add(open_sample([top]).digest)
    (top / "z").unlink()
    others.add(open_sample([top]).digest)
    assert len(others | {whole.digest}) == 4


def test_what_is_given_by_name_must_be_there_and_plain(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path, why in (("fifo", "a fifo"), ("absent", "No such file")):
        with pytest.raises(Invalid, match=why):
            open_sample([tmp_path / path])
    with pytest.raises(Invalid, match="a device"):
        open_sample([tmp_path.__class__("/dev/zero")])
    (tmp_path / "hollow").mkdir()
    with pytest.raises(Invalid, match="nothing in what was given"):
        open_sample([tmp_path / "hollow"])


def test_a_part_that_changes_between_its_digest_and_its_reading_ends_the_trace(lab, tmp_path):
    index = Index([lab.prepare(jsonl(records(30)))])
    part = tmp_path / "part"
    for change in (lambda: part.write_bytes(b"others"), part.unlink):
        part.write_bytes(jsonl(records(10)))
        sample = open_sample([part])
        assert len(index.observe_sample(sample).slots)
        change()
        with pytest.raises(Conflict, match="changed while it was read: nothing was scored"):
            index.observe_sample(sample)


def test_a_bomb_is_read_as_far_as_the_limits_go_and_what_lies_beside_it_is_read(lab, tmp_path):
    rows = records(60)
    index = Index([lab.prepare(jsonl(rows))])
    (tmp_path / "leak").mkdir()
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.jsonl", jsonl(rows[:10]))
        with archive.open("bomb.txt", "w") as member:
            for _ in range(40):
                member.write(b" and more of this\n" * (1 << 12))
        archive.writestr("last.jsonl", jsonl(rows[10:20]))
    (tmp_path / "leak" / "bomb.zip").write_bytes(zeros.getvalue())
    (tmp_path / "leak" / "quine.jsonl").write_bytes(jsonl(rows[20:30]))
    sample = open_sample([tmp_path / "leak"], limits=Limits(least=1 << 19))
    count, seen = shown(index, sample)
    assert count == 20  # what follows a bomb in one archive is left out, and so told
    [left] = seen.unread
    assert left.name == "bomb.zip"
    assert "as a bomb does" in left.why
    # The control: with a higher ratio all of it is read.
    count, seen = shown(index, open_sample([tmp_path / "leak"], limits=Limits(ratio=2000)))
    assert count == 30
    assert not seen.unread


def test_what_is_beyond_the_limit_is_told_part_by_part(lab, tmp_path):
    rows = records(60)
    index = Index([lab.prepare(jsonl(rows))])
    for n in range(3):
        (tmp_path / f"part-{n}").write_bytes(jsonl(rows[20 * n : 20 * n + 20]))
    paths = [tmp_path / f"part-{n}" for n in range(3)]
    room = paths[0].stat().st_size
    count, seen = shown(index, open_sample(paths, limits=Limits(total=room)))
    assert count == 20
    assert [left.name for left in seen.unread] == ["part-1", "part-2"]
    assert f"beyond the limit of {room} bytes" in seen.unread[0].why
    assert shown(index, open_sample(paths))[0] == 60


def encrypted(raw):
    """A zip whose member says that it is encrypted."""
    out = bytearray(zipped({"secret.jsonl": raw}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        out[out.index(mark) + at] |= 1
    return bytes(out)


def nested(raw, times=12):
    for _ in range(times):
        raw = gzip.compress(raw)
    return raw


def linked():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"../../{kind.decode()}")
            info.type = kind
            info.linkname = "/etc/passwd"
            archive.addfile(info)
    return out.getvalue()


def greedy():
    """A tar whose header asks for a terabyte of memory."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


RAW = jsonl(records(60)[:10])
REFUSED = {
    "encrypted zip": (encrypted(RAW), "is encrypted", 0),
    "too deep": (nested(RAW), "packed more than 8 times over", 0),
    "links and devices in a tar": (linked(), "is a", 0),
    "a greedy tar": (greedy(), "a header of 1099511627776 bytes", 0),
    "damaged gzip": (b"\x1f\x8b" + bytes(40), "damaged gzip", 0),
    "damaged zip": (b"PK\x03\x04" + bytes(40), "as zip", 0),
    "damaged zstd": (b"\x28\xb5\x2f\xfd" + bytes(40), "damaged zstd", 0),
    "gzip cut short": (gzip.compress(RAW + os.urandom(1 << 16).hex().encode())[:-20000], "cut short", 10),
    "tar cut short": (tar({"a": RAW, "b": bytes(5000)})[: 512 + len(RAW) + 512 + 1000], "cut short", 10),
    "a member cut short": (zipped({"a.gz": gzip.compress(RAW)[:-12], "b": b"text"}), "cut short", 0),
    "Parquet cut short": (parquet(RAW)[:-40] + b"PAR1", "as Parquet", 0),
    "an Arrow file cut short": (arrow(RAW)[:300], "as Arrow", 0),
    "an executable": (b"\x7fELF\2\1\1\0" + bytes(100), "is no text", 0),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_read_is_told_with_its_reason(lab, form):
    raw, why, found = REFUSED[form]
    index = Index([lab.prepare(jsonl(records(60)))])
    count, seen = shown(index, sample_of(raw))
    assert count >= found
    assert seen.unread
    assert all(why in left.why for left in seen.unread)
    # The control: whole and plain, it is read.
    count, seen = shown(index, sample_of(RAW))
    assert (count, seen.unread) == (10, ())


def test_one_long_text_said_a_million_times_by_a_dictionary_is_a_bomb_too(lab):
    index = Index([lab.prepare(jsonl(records(60)))])
    out = io.BytesIO()
    said_often = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["ours " * 2000]))
    pq.write_table(pa.table({"text": said_often}), out)
    [left] = index.observe_sample(sample_of(out.getvalue(), limits=Limits(least=1 << 22))).unread
    assert "as a bomb does" in left.why
    assert len(out.getvalue()) < 200_000
    # The control: said a few times, all of it is read.
    out = io.BytesIO()
    pq.write_table(pa.table({"text": said_often.slice(0, 50)}), out)
    assert not index.observe_sample(sample_of(out.getvalue(), limits=Limits(least=1 << 22))).unread


def test_names_in_archives_are_labels_and_nothing_is_written(lab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = Index([lab.prepare(jsonl(records(60)))])
    made = sorted(tmp_path.iterdir())
    for pack in (tar, zipped):
        count, _ = shown(index, sample_of(pack({"../../out.jsonl": RAW, "/abs.jsonl": b"\0\0"})))
        assert count == 10
    assert sorted(tmp_path.iterdir()) == made
    assert not (tmp_path.parent.parent / "out.jsonl").exists()


def test_a_thousand_left_out_are_named_and_the_rest_counted():
    sample = sample_of(zipped({f"{n}.bin": b"\0" for n in range(1200)}))
    reading = sample.read()
    assert not list(reading.batches())
    assert len(reading.unread) == 1001
    assert reading.unread[-1].name == "200 more"


def test_progress_ends_at_all_of_the_bytes_and_never_goes_back(tmp_path):
    for n in range(3):
        (tmp_path / f"part-{n}").write_bytes(jsonl(records(8000, seed=n)))
    calls = []
    list(open_sample([tmp_path]).read(lambda done, total: calls.append((done, total))).batches())
    assert calls == sorted(calls)
    assert calls[-1] == (sum(p.stat().st_size for p in tmp_path.iterdir()),) * 2
    assert len(calls) >= 6


def test_long_texts_are_cut_where_nothing_is_lost():
    def pieces(text):
        return list(pieces_in(io.BytesIO(text.encode()).read, "utf-8"))

    rows = records(12_000)
    assert [r for p in pieces(jsonl(rows).decode()) for r in p.records] == [list(row.values()) for row in rows]
    # One value of JSON that is too long to be held is read text by text.
    whole = pieces("[" + ",".join(jsonl([row]).decode() for row in rows) + "]")
    assert len(whole) > 1
    texts = {text for p in whole for [text] in p.records}
    assert sum(row["answer"] in texts for row in rows) >= len(rows) - len(whole)
    # Quoted newlines stay within their fields.
    quoted = "".join(f'"{row["answer"]}\n\nand more",{row["id"]}\r\n' for row in rows)
    assert sum(len(row) == 2 for p in pieces(quoted) for row in (*p.records, *p.rows)) == len(rows)
    # One line without an end is cut between words.
    line = " ".join(row["answer"] for row in rows) * 3
    assert " ".join(x for p in pieces(line) for x in p.lines).split() == line.split()


def test_csv_is_read_as_rows_alone_and_a_line_of_json_by_chance_makes_no_text_json():
    table = '"In a, write b","class B:\n    x = {}\n\n    y = 1"\n"In c, write d","[]"\n'
    [found] = pieces_in(io.BytesIO(table.encode()).read, "utf-8")
    assert [len(row) for row in found.records] == [2, 2]
    assert not found.lines
    text = "Two words, here.\nAnother line without any\n[]\n\nAnd a paragraph\nof two lines."
    [found] = pieces_in(io.BytesIO(text.encode()).read, "utf-8")
    assert len(found.lines) == 5
    assert found.paragraphs == ["Two words, here.\nAnother line without any\n[]", "And a paragraph\nof two lines."]
    # The control: where most lines are JSON, they are records, and what is between them are lines.
    [found] = pieces_in(io.BytesIO(b'{"a": "one"}\n{"a": "two"}\nand so on\n').read, "utf-8")
    assert (found.records, found.lines) == ([["one"], ["two"]], ["and so on"])
