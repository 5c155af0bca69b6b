"""What leakers, converters and cleaners do to records on their way: named, seeded, and free to be put one behind the other.

A *change* makes other records of records; a *form* makes bytes of them. Each text of a record is changed by itself, as a
cleaner of data sets does it. None of it knows how limen compares texts.
"""

from __future__ import annotations

import csv
import html
import html.parser
import io
import json
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

Record = dict[str, Any]
Change = Callable[[list[Record], random.Random], list[Record]]
Form = Callable[[list[Record]], bytes]

SAME = 0.8  # of two records' shingles: more, and one of them goes
SHINGLE = 3
DELETED = 0.35
_WIDE = {**{point: point + 0xFEE0 for point in range(0x21, 0x7F)}, 0x20: 0x3000}


# --- changes


def each(change: Callable[[str, random.Random], str]) -> Change:
    """A change of every text of every record."""

    def changed(records: list[Record], draw: random.Random) -> list[Record]:
        return [
            {name: change(value, draw) if isinstance(value, str) else value for name, value in record.items()}
            for record in records
        ]

    return changed


def shuffled(records: list[Record], draw: random.Random) -> list[Record]:
    """The records in another order, their fields too."""
    names = list(records[0]) if records else []
    draw.shuffle(names)
    out = [{name: record[name] for name in names} for record in records]
    draw.shuffle(out)
    return out


def texts_only(records: list[Record], _: random.Random) -> list[Record]:
    """The longest field of each, and nothing else."""
    longest = max(records[0], key=lambda name: sum(len(str(record[name])) for record in records)) if records else ""
    return [{longest: record[longest]} for record in records]


def without_near_duplicates(records: list[Record], _: random.Random) -> list[Record]:
    """Of records whose runs of three words overlap (Jaccard) by SAME or more, the first."""
    kept: list[Record] = []
    sets: list[frozenset[tuple[str, ...]]] = []
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for record in records:
        words = re.findall(r"\w+", " ".join(str(value) for value in record.values()).lower())
        mine = frozenset(zip(*(words[at:] for at in range(SHINGLE)), strict=False)) or frozenset([tuple(words)])
        shared: dict[int, int] = defaultdict(int)
        for shingle in mine:
            for other in holders[shingle]:
                shared[other] += 1
        if any(count >= SAME * (len(mine) + len(sets[other]) - count) for other, count in shared.items()):
            continue
        for shingle in mine:
            holders[shingle].append(len(kept))
        kept.append(record)
        sets.append(mine)
    return kept


def nfkc(text: str, _: random.Random) -> str:
    """Unicode's compatibility form."""
    return unicodedata.normalize("NFKC", text)


def full_width(text: str, _: random.Random) -> str:
    """Letters, digits and signs as wide as an ideograph, which NFKC undoes."""
    return text.translate(_WIDE)


def upper(text: str, _: random.Random) -> str:
    """All capitals."""
    return text.upper()


def squeezed(text: str, _: random.Random) -> str:
    """Every stretch of white space, line ends too, as one space."""
    return " ".join(text.split())


def without_words(text: str, draw: random.Random) -> str:
    """About 35 of 100 words gone, anywhere."""
    return " ".join(word for word in text.split() if draw.random() >= DELETED)


def half(text: str, draw: random.Random) -> str:
    """One stretch of half of its words, from anywhere."""
    words = text.split()
    size = (len(words) + 1) // 2
    start = draw.randint(0, len(words) - size)
    return " ".join(words[start : start + size])


def first_half(text: str, _: random.Random) -> str:
    """Cut in the middle of its characters."""
    return text[: (len(text) + 1) // 2]


def curly(text: str, _: random.Random) -> str:
    """Quotes, dashes and dots as a typesetter has them."""
    text = re.sub(r'(^|[\s(\[{—-])"', "\\1\u201c", text).replace('"', "\u201d")
    text = re.sub(r"(^|[\s(\[{—-])'", "\\1\u2018", text).replace("'", "\u2019")
    return text.replace("...", "\u2026").replace("---", "\u2014").replace("--", "\u2014")


class _Text(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def without_html(text: str, _: random.Random) -> str:
    """What the standard library's parser takes for tags is gone, and character references are decoded."""
    parser = _Text()
    try:
        parser.feed(text)
    except AssertionError:
        return text  # a declaration that is none, as in a program that writes them: a cleaner leaves it
    parser.close()
    return "".join(parser.said)


def without_tags(text: str, _: random.Random) -> str:
    """Whatever stands between angle brackets is gone: the one line that many cleaners have."""
    return html.unescape(re.sub(r"<[^>]+>", "", text))


_MARKDOWN = [
    (re.compile(r"^\s*(```|~~~).*$", re.MULTILINE), ""),
    (re.compile(r"!\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r"\[([^\]]*)\]\[[^\]]*\]"), r"\1"),
    (re.compile(r"^\s{0,3}#{1,6}\s+", re.MULTILINE), ""),
    (re.compile(r"^\s{0,3}>\s?", re.MULTILINE), ""),
    (re.compile(r"^\s*[-*+]\s+", re.MULTILINE), ""),
    (re.compile(r"^\s*\d+[.)]\s+", re.MULTILINE), ""),
    (re.compile(r"^\s*([-*_]\s*){3,}$", re.MULTILINE), ""),
    (re.compile(r"(\*\*|__)(.+?)\1", re.DOTALL), r"\2"),
    (re.compile(r"(?<!\w)([*_])(.+?)\1(?!\w)", re.DOTALL), r"\2"),
    (re.compile(r"~~(.+?)~~", re.DOTALL), r"\1"),
    (re.compile(r"`([^`]*)`"), r"\1"),
]


def without_markdown(text: str, _: random.Random) -> str:
    """Headings, lists, quotes, emphasis, code and links as their text alone."""
    return reduce(lambda said, rule: rule[0].sub(rule[1], said), _MARKDOWN, text)


def as_html(text: str, _: random.Random) -> str:
    """Escaped, in a paragraph, its lines broken by tags."""
    return "<p class='said'>" + html.escape(text).replace("\n", "<br/>\n") + "</p>"


# --- forms


def jsonl(records: list[Record]) -> bytes:
    """One object a line, as anybody's json module writes it."""
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def csv_of(records: list[Record]) -> bytes:
    """RFC 4180, with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]) if records else [])
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue().encode()


def parquet_of(records: list[Record]) -> bytes:
    """CSV as another program reads it, written as Parquet."""
    read = pyarrow.csv.read_csv(io.BytesIO(csv_of(records)), parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    out = pa.BufferOutputStream()
    pyarrow.parquet.write_table(read, out, row_group_size=500)
    return out.getvalue().to_pybytes()


def text_of(records: list[Record]) -> bytes:
    """That Parquet read again, as text: a record a paragraph, a field a line."""
    rows = pyarrow.parquet.read_table(io.BytesIO(parquet_of(records))).to_pylist()
    return "\n\n".join("\n".join(str(value) for value in row.values()) for row in rows).encode() + b"\n"


# --- what is played


def after(*changes: Change, form: Form = jsonl) -> Callable[[list[Record], random.Random], bytes]:
    """One change behind the other, then a form."""
    return lambda records, draw: form(reduce(lambda some, change: change(some, draw), changes, records))


UNCHANGED = "as downloaded"
LAUNDERED: dict[str, Callable[[list[Record], random.Random], bytes]] = {
    UNCHANGED: after(),
    "shuffled, fields too": after(shuffled),
    "longest field alone": after(texts_only),
    "to CSV": after(form=csv_of),
    "to CSV to Parquet": after(form=parquet_of),
    "to CSV to Parquet to text": after(form=text_of),
    "NFKC": after(each(nfkc)),
    "full width": after(each(full_width)),
    "upper case": after(each(upper)),
    "white space squeezed": after(each(squeezed)),
    "HTML stripped by a parser": after(each(without_html)),
    "HTML stripped by a pattern": after(each(without_tags)),
    "made HTML": after(each(as_html)),
    "Markdown stripped": after(each(without_markdown)),
    "curly quotes": after(each(curly)),
    "35 % of words deleted": after(each(without_words)),
    "first half of each text": after(each(first_half)),
    "some half of each text": after(each(half)),
    "near duplicates removed": after(without_near_duplicates),
    "all that keeps words": after(
        without_near_duplicates,
        each(without_html),
        each(without_markdown),
        each(curly),
        each(nfkc),
        each(upper),
        each(squeezed),
        shuffled,
        form=text_of,
    ),
}
