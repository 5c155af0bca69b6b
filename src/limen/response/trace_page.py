"""A trace's report as one HTML page: everything in it, nothing fetched, no scripts. Pure.

Every value is escaped where it is put in. The page forbids itself all requests (`default-src 'none'`), follows the reader's
light or dark setting, and prints in black on white.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from limen.response import trace_words as words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Report = Mapping[str, Any]

STYLE: Final = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; --mark: #b4530a; }
@media (prefers-color-scheme: dark) { :root { --mark: #ffb066; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; border-bottom: 1px solid var(--line); }
.verdict { font-size: 1.15rem; border-left: .4rem solid var(--mark); background: var(--soft); padding: .6rem .9rem; }
.copy { border: 1px solid var(--line); border-radius: .4rem; padding: .2rem .9rem; margin: .8rem 0; break-inside: avoid; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
code { font-size: .92em; overflow-wrap: anywhere; } .soft { opacity: .8; }
@media print { :root { color-scheme: light; } body { margin: 0; max-width: none; font-size: 11pt; } }
"""


def page(report: Report) -> str:
    """The whole page."""
    title = f"Trace: case {report['case']}, look {report['look']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict">{escape(words.sentence(report))}</p>',
        f'<p class="soft">{escape(words.AFTER)}</p>',
        *_copies(report),
        *_vendors(report),
        "<h2>How much was found</h2>",
        _list([words.found(report), words.compared(report), *([words.second(report)] if report["copies"] else [])]),
        *_power(report),
        *_canaries(report),
        "<h2>What this does not prove</h2>",
        _list(words.NOT_PROVED),
        *_unread(report),
        "<h2>Entries to check</h2>",
        _entries(report),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _copies(report: Report) -> Iterable[str]:
    if not report["copies"]:
        return
    yield "<h2>Copies implicated</h2>"
    for copy in report["copies"]:
        vendor = copy["vendor"] or "the lab"
        yield f'<section class="copy"><p><strong>Copy <code>{escape(words.whose(copy))}</code></strong> of {escape(vendor)}</p>'
        yield f"<p>{escape(words.meaning(copy)[0].upper() + words.meaning(copy)[1:])}</p>"
        agree = f"{copy['agree']:,} of the {copy['slots']:,} slots shown hold what this copy holds"
        yield f"<p>{escape(agree)}. What was shown looks like {escape(copy['attack'])}. {_name(copy)}</p>"
        yield from _sessions(copy)
        yield "</section>"


def _name(copy: Report) -> str:
    if copy["person"] is None:
        closed = f"closed until somebody who did not run the trace opens it; entries call it {copy['pseudonym']}"
        return f"The name behind it is {escape(closed)}."
    return f"The name was opened in entry {escape(str(copy['opened']))}."


def _sessions(copy: Report) -> Iterable[str]:
    if not copy["sessions"]:
        yield "<p>No session in the log carried records of this sample to this copy.</p>"
        return
    rows = [
        [line["session"], f"{line['records']:,} of {line['of']:,}", words.moment(line["first_us"]), words.moment(line["last_us"])]
        for line in copy["sessions"]
    ]
    yield _table(["session that could have carried it", "leaked records", "first handed over", "last"], rows)


def _vendors(report: Report) -> Iterable[str]:
    if not report["vendors"]:
        return
    yield "<h2>Vendors implicated by the marks that all of their people share</h2>"
    rows = [
        [v["vendor"], f"{v['p']:.1e}", f"{v['q']:.1e}", f"{v['agree']:,} of {v['slots']:,}", v["attack"]]
        for v in report["vendors"]
    ]
    yield _table(["vendor", "p at most", "q at most", "slots that agree", "looks like"], rows)


def _power(report: Report) -> Iterable[str]:
    if report["verdict"] == "none":
        return
    yield "<p>Chance that a sample of this size names at least one of so many colluders:</p>"
    power = report["power"]
    yield _table(list(power), [[f"{100 * share:.1f} %" for share in power.values()]])
    if report["verdict"] == "abstain":
        yield f"<p>About {report['slots_needed']:,} matched slots would do.</p>"


def _canaries(report: Report) -> Iterable[str]:
    if not report["canaries"]:
        return
    yield "<h2>Canaries in the sample</h2><p>Evidence beside the verdict, and no part of it.</p>"
    rows = [
        [f"{c['asset']}@{c['version']}/{c['shard']}", c["canary"], ", ".join(map(words.short, c["copies"])) or "nobody's yet"]
        for c in report["canaries"]
    ]
    yield _table(["version", "canary", "copy"], rows)


def _unread(report: Report) -> Iterable[str]:
    lines = words.unread(report)
    if lines:
        yield "<h2>What can't be said</h2>"
        yield _list(lines)


def _entries(report: Report) -> str:
    rows = [
        [report["sample_entry"], "trace.sample", "the sample's digest, before it was scored"],
        [report["result_entry"], "trace.result", "what was said, and the digest of the look's document"],
    ]
    rows += [
        [review["entry"], "case.review", f"a second human's decision on {review['who']}: {review['outcome']}"]
        for review in report["reviews"]
    ]
    facts = _table(["entry", "kind", "what it holds"], rows)
    digests = _table(
        ["", "SHA-256"], [["sample", report["digest"]], ["look's document", report["document"]], ["decoders", report["bank"]]]
    )
    return facts + digests


def _list(lines: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{escape(str(column))}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
