"""A trace's report in words: what every form of it says, and the plain text. Pure.

The two probabilities keep the meaning of docs/marks.md, section *What a verdict says*. Copies are implicated; nobody is
anything else here, and a copy has a name in a report only once a second human has opened it.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Report = Mapping[str, Any]

SHORT: Final = 12  # letters of a copy id that are enough to tell one from another on a page
NOT_PROVED: Final = (
    "who typed or copied: a copy is implicated, not a person, and a stolen session looks like its owner's",
    "that nobody framed this copy who holds the data set's mark key: whoever holds it can compute anybody's copy",
    'who leaked: merged, filtered or labelled data is "fed by" the copies that it was made from, not "leaked by" them',
    "that the copies not named had no part: the sample may show too little of them",
    "how likely it is that somebody is innocent: p and q are about our secret marks, not about people",
)
AFTER: Final = "Nothing follows from this by itself. A second human reviews it, and whoever it is about is told and heard first."


def short(copy: str) -> str:
    """A copy id as pages show it."""
    return copy[:SHORT]


def whose(copy: Report) -> str:
    """How a copy is called: by its id, and by the person's id too once that is opened."""
    person = copy.get("person")
    return f"{short(copy['copy'])} ({person})" if person else short(copy["copy"])


def odds(bound: float) -> str:
    """A probability as people read one: 1 in so many."""
    if bound >= 0.1:  # noqa: PLR2004  no long odds
        return f"{bound:.2f}"
    power = math.floor(-math.log10(bound) + 1e-12)
    if power < 4:  # noqa: PLR2004  short enough to be written out
        return f"1 in {math.floor(1 / bound):,}"
    # Cut off, not rounded: the odds told are never longer than they are.
    leading = math.floor(10 * 10 ** (-math.log10(bound) - power) + 1e-9) / 10
    return f"1 in {leading:.1f} × 10^{power}"  # noqa: RUF001  it is a multiplication sign


def sentence(report: Report) -> str:
    """The verdict."""
    copies, vendors = report["copies"], report["vendors"]
    match report["verdict"]:
        case "named" if copies:
            named = ", ".join(whose(copy) for copy in copies)
            return f"NAMED: {'the copy' if len(copies) == 1 else f'{len(copies)} copies'} implicated: {named}."
        case "named":
            firms = ", ".join(str(vendor["vendor"]) for vendor in vendors)
            return f"NAMED: no single copy, but copies of {firms} are implicated."
        case "none":
            return "NONE: not from our copies. Nothing in this sample matches anything that was served."
    more = f"about {report['slots_needed']:,} matched slots would do"
    return f"ABSTAIN: it holds records of ours, and too little to name a copy; {more}."


def found(report: Report) -> str:
    """Slots found over the sample's size."""
    pieces = report["pieces"]
    share = f" ({100 * report['records'] / pieces:.0f} %)" if pieces and report["records"] <= pieces else ""
    tiers = f"person tier {report['slots_person']:,}, vendor tier {report['slots_vendor']:,}"
    both = f", {report['slots_both']:,} of them with both sides" if report["slots_both"] else ""
    this = f"{report['records']:,} of the {pieces:,} pieces of this sample are ours and telling{share}"
    looks = f" over {report['looks']} samples" if report["looks"] > 1 else ""
    return f"{this}; slots matched{looks}: {report['slots_matched']:,} ({tiers}{both})"


def compared(report: Report) -> str:
    """Under which bound, against whom."""
    had = f"of whom {report['served']:,} had any access before the case began"
    return f"alpha {report['alpha']:g} for the case; {report['compared']:,} copies compared, {had}"


def power(report: Report) -> str:
    """The chance of naming somebody at this size, for coalitions of 1, 2, 3, 5, 8."""
    shares = ", ".join(f"{c}: {_percent(share)}" for c, share in report["power"].items())
    return f"chance that a sample of this size names at least one of so many colluders: {shares}"


def meaning(copy: Report) -> str:
    """The two probabilities of one copy, in plain words."""
    return (
        f"if this copy had no part in the leak, a score this high has probability at most {_bound(copy['p'])} over our secret"
        f" marks; corrected for all copies that were compared, at most {_bound(copy['q'])}."
        " This is not the probability of innocence."
    )


def second(report: Report) -> str:
    """The best of those that are not implicated."""
    best = report["second_best"]
    if best is None:
        return "second-best: nobody else was compared"
    return f"second-best copy: {best['agree']:,} of {best['slots']:,} slots agree, q <= {best['q']:.1e}: not implicated"


def moment(at_us: int) -> str:
    """A time as reports write it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def unread(report: Report) -> list[str]:
    """What was not looked at, or can't be said."""
    lines = [str(line) for line in report["unknown"]]
    lines += [f"not read: {name}: {why}" for name, why in report["sample"]["unread"]]
    lines += [
        f"{key['slots']:,} slots of the retired key {key['key']} are not counted: the sample was first logged after entry"
        f" {key['entry']}, by which the key ended"
        for key in report["retired"]
    ]
    if report["unclear"]:
        lines.append(f"{report['unclear']:,} texts mean different things in different versions; they were not used")
    if report["later_copies"]:
        later = f"{report['later_copies']:,} copies made since the case began are not compared"
        lines.append(f"{later}; trace this sample without the case to compare them")
    lines += [f"entry {entry} logged a sample of this case that was never scored" for entry in report["unscored"]]
    return lines


def plain(report: Report) -> Iterator[str]:
    """The report as lines of text."""
    yield sentence(report)
    yield f"  {found(report)}"
    yield f"  {compared(report)}"
    for copy in report["copies"]:
        yield from _copy(copy)
    for vendor in report["vendors"]:
        agree = f"{vendor['agree']:,} of {vendor['slots']:,} slots agree"
        yield f"  vendor tier: {vendor['vendor']}: p <= {vendor['p']:.1e}, q <= {vendor['q']:.1e}; {agree}"
    if report["copies"]:
        yield f"  {second(report)}"
    for canary in report["canaries"]:
        owners = ", ".join(short(copy) for copy in canary["copies"]) or "nobody's yet"
        place = f"{canary['asset']}@{canary['version']}/{canary['shard']}"
        yield f"  canary {canary['canary']} of {place}: {owners} (evidence, not the verdict)"
    if report["verdict"] != "none":
        yield f"  {power(report)}"
    for line in unread(report):
        yield f"  UNKNOWN: {line}"
    entries = f"entries {report['sample_entry']} (sample logged, before it was scored) and {report['result_entry']} (result)"
    yield f"  case {report['case']}, look {report['look']}: {entries}"


def _copy(copy: Report) -> Iterator[str]:
    vendor = copy["vendor"] or "the lab"
    agree = f"{copy['agree']:,} of {copy['slots']:,} slots agree; looks like {copy['attack']}"
    yield f"  copy {whose(copy)} of {vendor}: p <= {copy['p']:.1e}, q <= {copy['q']:.1e}; {agree}"
    yield f"    {meaning(copy)}"
    for line in copy["sessions"]:
        when = f"{moment(line['first_us'])} to {moment(line['last_us'])}"
        yield f"    session {line['session']} was handed {line['records']:,} of the {line['of']:,} leaked records, {when}"
    if copy["person"] is None:
        yield f"    pseudonym {copy['pseudonym']}; the name is closed until somebody who did not run the trace opens it"


def _bound(value: float) -> str:
    return f"{value:.1e} ({odds(value)})"


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.99 else "below 1 %" if share < 0.01 else f"{100 * share:.0f} %"  # noqa: PLR2004
