"""A small labelling pool with gold items of three people, and the ways in which work on it may come back."""

import csv
import gzip
import html
import io
import json
import random
import re
import textwrap
import unicodedata

import pyarrow as pa
import pyarrow.parquet as pq

from limen.marks.gold import Canaries, split
from limen.marks.keys import MarkKey
from limen.marks.prepare import prepare

_DRAW = random.Random(11)
WORDS = ["".join(_DRAW.choice("bdfgklmnprstvz") + _DRAW.choice("aeiou") for _ in range(_DRAW.randint(1, 4))) for _ in range(900)]


def said(draw, count):
    return " ".join(draw.choice(WORDS) for _ in range(count))


def pool(count, *, seed=3):
    """Records as everybody is served them."""
    draw = random.Random(seed)
    return [{"id": f"rec-{n:05}", "task": "Is this review kind?", "text": said(draw, draw.randint(12, 30))} for n in range(count)]


def gold(people, each, *, seed=4):
    """Gold items: records like the others, with the answer that the lab expects."""
    draw = random.Random(seed)
    return [
        {
            "id": f"rec-{n + 70_000:05}",
            "task": "Is this review kind?",
            "text": said(draw, 20),
            "label": draw.choice(["yes", "no"]),
        }
        for n in range(people * each)
    ]


def bare(item):
    return {name: value for name, value in item.items() if name != "label"}


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def version(root, rows, items, *, each, field="label", seed=0, packed=False):
    """A prepared version that holds the items as canaries, `each` for each recipient."""
    source = root / f"pool-{seed}.jsonl"
    source.write_bytes(gzip.compress(lines(rows)) if packed else lines(rows))
    raw = [json.dumps(item).encode() for item in items]
    served, answers = split(raw, field, random=random.Random(seed).randbytes)
    return prepare(
        source,
        media="jsonl.gz" if packed else "jsonl",
        key=MarkKey("orchid", b"k" * 32, b"s" * 32),
        registry=root / f"orchid-{seed}.slots",
        out=root / f"version-{seed}",
        canaries=Canaries(served, each, answers),
        least=1,
    )


def labelled(rows, *, seed=5):
    """The rows as somebody returns them: with a label of theirs."""
    draw = random.Random(seed)
    return [{**bare(row), "label": draw.choice(["yes", "no"])} for row in rows]


def as_csv(rows, *, end="\r\n", delimiter=","):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator=end, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_parquet(rows, *, metadata=None):
    out = io.BytesIO()
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.replace_schema_metadata(metadata), out, row_group_size=17)
    return out.getvalue()


def as_text(rows):
    return "".join(f"{row['id']}\t{row['text']} -- {row['label']}\n" for row in rows).encode()


def as_wrapped(rows, width=38):
    return "\n\n".join(textwrap.fill(f"{row['text']} ({row['label']})", width) for row in rows).encode() + b"\n"


WAYS = {
    "as served": lines,
    "another order of fields": lambda rows: lines([dict(reversed(row.items())) for row in rows]),
    "nothing but text and label": lambda rows: lines([{"text": row["text"], "label": row["label"]} for row in rows]),
    "nothing but id and label": lambda rows: lines([{"Item": row["id"], "label": row["label"]} for row in rows]),
    "capitals": lambda rows: lines([{name: value.upper() for name, value in row.items()} for row in rows]),
    "spaces": lambda rows: lines([{**row, "id": "", "text": "  " + row["text"].replace(" ", " \u00a0  ")} for row in rows]),
    "no spaces": lambda rows: lines([{"text": row["text"].replace(" ", ""), "label": row["label"]} for row in rows]),
    "full width": lambda rows: lines(
        [{"text": "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else c for c in row["text"]), "label": "x"} for row in rows]
    ),
    "escaped markup": lambda rows: lines([{"text": html.escape(f"<p>{row['text']}</p>"), "label": row["label"]} for row in rows]),
    "a value within a text": lambda rows: lines([{"payload": json.dumps(row), "by": "me"} for row in rows]),
    "a value within a value within a text": lambda rows: lines([{"x": json.dumps({"y": json.dumps(row)})} for row in rows]),
    "a value within a cell": lambda rows: as_csv([{"who": "me", "answer": json.dumps(row)} for row in rows]),
    "nested": lambda rows: lines([{"data": {"in": [row]}, "result": [{"label": row["label"]}]} for row in rows]),
    "two fields": lambda rows: lines([{"a": row["text"][:60], "b": row["text"][60:], "label": row["label"]} for row in rows]),
    "keys": lambda rows: lines([{row["id"]: row["label"]} for row in rows]),
    "CSV": as_csv,
    "CSV with semicolons": lambda rows: as_csv(rows, delimiter=";", end="\n"),
    "CSV over two lines": lambda rows: as_csv([{**row, "text": row["text"].replace(" ", "\n", 1)} for row in rows]),
    "CSV in UTF-16": lambda rows: as_csv(rows).decode().encode("utf-16"),
    "JSONL in UTF-8 with a mark": lambda rows: b"\xef\xbb\xbf" + lines(rows),
    "Parquet": as_parquet,
    "Parquet of structures": lambda rows: as_parquet([{"row": row, "votes": [row["label"]]} for row in rows]),
    "Parquet of bytes": lambda rows: as_parquet([{"text": row["text"].encode(), "label": row["label"]} for row in rows]),
    "one JSON list": lambda rows: json.dumps(rows).encode(),
    "one JSON list, indented": lambda rows: json.dumps(rows, indent=2).encode(),
    "one JSON object by id": lambda rows: json.dumps({row["id"]: row for row in rows}, indent=1).encode(),
    "one JSON object of labels": lambda rows: json.dumps({row["id"]: row["label"] for row in rows}).encode(),
    "lists in one JSON object": lambda rows: json.dumps({"meta": {"by": "me"}, "items": rows}).encode(),
    "text": as_text,
    "text, wrapped": as_wrapped,
    "quoted text, wrapped": lambda rows: b"".join(b"> " + line for line in as_wrapped(rows).splitlines(keepends=True)),
    "JSONL, packed": lambda rows: gzip.compress(lines(rows)),
    "CSV, packed": lambda rows: gzip.compress(as_csv(rows)),
    "text, packed": lambda rows: gzip.compress(as_wrapped(rows)),
}


def read_back(raw):
    """All that somebody who trains on an object could read in it, as one text."""
    if raw[:4] == b"PAR1":
        with pq.ParquetFile(io.BytesIO(raw)) as table:
            return json.dumps(table.read().to_pylist(), default=bytes.decode) + str(table.schema_arrow.metadata)
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    return raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")


def flat(value):
    """What a JSON value holds, end to end: its values, then its names."""
    values, names = [], []

    def walk(part):
        if isinstance(part, dict):
            names.extend(part)
            part = list(part.values())
        if isinstance(part, list):
            for item in part:
                walk(item)
        else:
            values.append(str(part))

    walk(value)
    return "".join(values) + " " + " ".join(names)


def letters(text):
    """Letters and digits alone, as a reader who means to find a text anywhere would compare it."""
    try:
        text = flat(json.loads(text))
    except ValueError:
        text = "\n".join(flat(json.loads(line)) if line[:1] == "{" else line for line in text.splitlines())
    while (plainer := text.replace("\\\\", "\\").replace('\\"', '"')) != text:
        text = plainer
    text = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), text)
    text = html.unescape(html.unescape(text))
    text = unicodedata.normalize("NFKC", text).casefold().replace("\\n", " ").replace("<p>", "").replace("</p>", "")
    return "".join(c for c in text if c.isalnum())


def left_in(raw, items):
    """Which of the items can be found in an object: by another way than the product's."""
    plain = letters(read_back(raw))
    return [item["id"] for item in items if letters(item["text"]) in plain or letters(item["id"]) in plain]
