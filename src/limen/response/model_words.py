"""A model test's report in words and as a picture: text, SVG, one HTML page. Pure; the same report gives the same bytes.

The picture shows how 20,000 copies score that nobody was dealt, where the compared copy stands, and which score would name
one. Every value is escaped where it is put in; nothing is fetched, no script runs.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Final

from limen.response.trace_page import STYLE
from limen.response.trace_words import AFTER, odds, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Report = Mapping[str, Any]

NOT_PROVED: Final = (
    "who trained the model, or how the copy got there: a copy is implicated, not a person",
    "that nobody framed this copy who holds the data set's mark key",
    "that other copies had no part, or, where none is named, that none was used",
    "how likely it is that somebody is innocent: p and q are about our secret marks, not about people",
)
_WIDTH, _HEIGHT, _LEFT, _FOOT, _TOP = 720, 300, 40, 60, 40
_BARS: Final = 36
_SVG: Final = 'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="13" fill="currentColor"'


def sentence(report: Report) -> str:
    """The verdict."""
    copies, vendors = report["copies"], report["vendors"]
    if copies:
        named = ", ".join(f"{short(copy['copy'])} (pseudonym {copy['pseudonym']})" for copy in copies)
        return f"NAMED: the model leans to {'the copy' if len(copies) == 1 else f'{len(copies)} copies'} {named}."
    if vendors:
        return f"NAMED: no single copy, but the model leans to copies of {', '.join(str(firm['vendor']) for firm in vendors)}."
    return "ABSTAIN: no copy is named. That does not show that none was used."


def plain(report: Report) -> Iterator[str]:
    """The report as lines of text."""
    registered = report["registered"]
    yield sentence(report)
    yield f"  suspect   {registered['suspect']}"
    yield f"  reference {registered['reference']}"
    yield f"  {asked(report)}"
    for copy in report["copies"]:
        yield f"  copy {short(copy['copy'])} of {copy['vendor'] or 'the lab'}: {figures(copy, report)}"
    for firm in report["vendors"]:
        yield f"  vendor {firm['vendor']}: p <= {firm['p']:.1e}, q <= {firm['q']:.1e}"
    if report["best"] and not report["copies"]:
        yield f"  the copy that comes nearest: {figures(report['best'], report)}"
    for line in report["unknown"]:
        yield f"  UNKNOWN: {line}"
    yield from (f"  {line}" for line in bars(report))
    yield f"  p: {_meant(report)}"
    yield f"  entries {report['test']} (registered, before anything was measured) and {report['result_entry']} (result)"
    yield f"  {AFTER}"


def asked(report: Report) -> str:
    """What was measured, and what wasn't."""
    registered = report["registered"]
    measure = "losses" if registered["measure"] == "loss" else f"next words among {registered['top']} candidates"
    slots = report["slots_person"] + report["slots_vendor"]
    erased = f"; {report['erased']} slots erased for want of an answer" if report["erased"] else ""
    return (
        f"{slots} slots of {registered['asset']}@{registered['version']} by {measure} (person tier {report['slots_person']},"
        f" vendor tier {report['slots_vendor']}){erased}; copies compared: {report['compared']}; alpha {report['alpha']:g} for"
        f" the {registered['models']} models that case {registered['case']} has room for"
    )


def figures(copy: Report, report: Report) -> str:
    """One copy's figures."""
    draws = report["innocents"]["draws"]
    return (
        f"p <= {copy['p']:.1e} ({odds(copy['p'])}), q <= {copy['q']:.1e}; {copy['agree']} of {copy['slots']} slots lean its way;"
        f" rank {copy['rank']:,} among {draws:,} fresh copies"
    )


def bars(report: Report) -> Iterator[str]:
    """The picture in letters: one line of fresh copies, and where the compared copy stands."""
    innocents = report["innocents"]
    if not innocents["counts"] or not report["best"]:
        return
    low, high = _span(report)
    most = max(innocents["counts"])
    cells = [" "] * (_BARS + 1)
    for at, count in enumerate(innocents["counts"]):
        middle = (innocents["edges"][at] + innocents["edges"][at + 1]) / 2
        place = int((middle - low) / (high - low) * _BARS)
        cells[place] = max(cells[place], " .:-=+*#"[min(7, -(-7 * count // most))], key=" .:-=+*#".index)
    line = [*cells]
    mark = int((report["best"]["score"] - low) / (high - low) * _BARS)
    yield f"fresh copies |{''.join(line)}|"
    yield f"this copy    |{' ' * mark}^{' ' * (_BARS - mark)}| score {report['best']['score']:.1f}; {_wanted(report)}"


def picture(report: Report) -> str:
    """The picture as an SVG of its own: fresh copies' scores, the compared copy, and the score that would name one."""
    innocents = report["innocents"]
    if not innocents["counts"] or not report["best"]:
        return f'<svg {_SVG} viewBox="0 0 {_WIDTH} 40"><text x="8" y="24">Nothing was compared.</text></svg>\n'
    low, high = _span(report)
    most = max(innocents["counts"])
    floor = _HEIGHT - _FOOT

    def x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - 2 * _LEFT)

    parts = [
        f'<svg {_SVG} viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(sentence(report))}</title>",
    ]
    for at, count in enumerate(innocents["counts"]):
        left, right = x(innocents["edges"][at]), x(innocents["edges"][at + 1])
        tall = count / most * (floor - _TOP - 30)
        parts.append(
            f'<rect x="{left:.1f}" y="{floor - tall:.1f}" width="{right - left:.1f}" height="{tall:.1f}" fill="#8899aa"/>'
        )
    parts.append(f'<line x1="{_LEFT}" y1="{floor}" x2="{_WIDTH - _LEFT}" y2="{floor}" stroke="currentColor"/>')
    if innocents["needed"]:
        wanted = x(innocents["needed"])
        line = (
            f'<line x1="{wanted:.1f}" y1="{_TOP}" x2="{wanted:.1f}" y2="{floor}" stroke="currentColor" stroke-dasharray="4 4"/>'
        )
        parts += [line, _label(wanted, _TOP - 6, "would name a copy")]
    mine = x(report["best"]["score"])
    parts.append(f'<line x1="{mine:.1f}" y1="{_TOP + 22}" x2="{mine:.1f}" y2="{floor}" stroke="#b4530a" stroke-width="3"/>')
    whose = f"copy {short(report['copies'][0]['copy'])}" if report["copies"] else "the copy that comes nearest"
    parts.append(_label(mine, _TOP + 16, whose))
    parts += [_label(x(value), floor + 18, f"{value:.0f}") for value in (low, 0.0, high)]
    bounds = f"p <= {report['best']['p']:.1e}, q <= {report['best']['q']:.1e}"
    foot = f"scores of {innocents['draws']:,} copies that nobody was dealt; {bounds}"
    parts.append(f'<text x="{_WIDTH / 2:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(foot)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def page(report: Report) -> str:
    """The whole report as one HTML page."""
    registered = report["registered"]
    title = f"Model test {report['test']}: case {registered['case']}"
    rows = [("suspect", registered["suspect"]), ("reference", registered["reference"]), ("authority", registered["authority"])]
    table = "".join(f"<tr><th>{escape(name)}</th><td><code>{escape(str(value))}</code></td></tr>" for name, value in rows)
    copies = [
        f"Copy {short(copy['copy'])} of {copy['vendor'] or 'the lab'}: {figures(copy, report)}." for copy in report["copies"]
    ]
    if report["best"] and not copies:
        copies = [f"The copy that comes nearest: {figures(report['best'], report)}."]
    firms = [f"Vendor {firm['vendor']}: p <= {firm['p']:.1e}, q <= {firm['q']:.1e}." for firm in report["vendors"]]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="verdict">{escape(sentence(report))}</p>',
            f'<p class="soft">{escape(AFTER)}</p>',
            picture(report),
            _list([*copies, *firms, asked(report) + "."]),
            f"<p>{escape(_meant(report))}</p>",
            f"<table>{table}</table>",
            "<h2>What this does not prove</h2>",
            _list(NOT_PROVED),
            *([f"<h2>Unknown</h2>{_list(report['unknown'])}"] if report["unknown"] else []),
            f"<p>Entries {report['test']} (registered, before anything was measured) and {report['result_entry']} (result).</p>",
        ]
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _meant(report: Report) -> str:
    return str(report["meaning"])


def _wanted(report: Report) -> str:
    needed = report["innocents"]["needed"]
    return f"{needed:.1f} would name a copy" if needed else "no score could name a copy with so few slots"


def _span(report: Report) -> tuple[float, float]:
    innocents = report["innocents"]
    values = [*innocents["edges"], report["best"]["score"], innocents["needed"]]
    low, high = min(values), max(values)
    return low, high if high > low else low + 1


def _label(x: float, y: float, text: str) -> str:
    anchor = "start" if x < _LEFT * 2 else "end" if x > _WIDTH - _LEFT * 3 else "middle"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _list(lines: Any) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
