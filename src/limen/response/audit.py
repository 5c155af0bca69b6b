"""Granted against used: what each of a vendor's principals may do, what they did of it, and the narrower scope that suffices.

Granted by limen (measured), by IAM policies and as GitHub collaborators (evidence: documents say so). Used by the ledger
(measured) and by other systems' logs (observed). Every proposal is replayed: each use that the grants allowed must be
allowed by what is proposed. It speaks of the time that is covered alone; what is not covered, and what no document
explains, is named with it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from limen.core.types import Action, Grade
from limen.formats.iampolicy import verdict
from limen.observe.who import folded
from limen.response import narrowing, served
from limen.response.granted import holders_of
from limen.response.observed import holes, reached, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limen.catalog.snapshot import Snapshot
    from limen.core.types import Checkpoint, Grant
    from limen.observe.depot import Depot
    from limen.observe.who import Attribution, Who
    from limen.response.granted import Paper, Papers
    from limen.response.narrowing import Use

SCHEMA: Final = "limen/access-audit/v1"
KEEP_S: Final = 90 * 86_400
S3: Final = "s3://"
IAM_ACTIONS: Final = {
    "read": "s3:GetObject",
    "head": "s3:GetObject",
    "list": "s3:ListBucket",
    "write": "s3:PutObject",
    "delete": "s3:DeleteObject",
}
NEEDS: Final = {
    "clone": "pull",
    "fetch": "pull",
    "download": "pull",
    "read": "pull",
    "push": "push",
    "write": "push",
    "admin": "admin",
}
UPLOADS: Final = {"begin": "write", "abandon": "write"}  # steps of an upload, which the right to write allows


@dataclass(frozen=True, slots=True)
class Question:
    """Whose access, since when; and until when a grant that is in use may go on."""

    vendor: str
    since_us: int | None
    now_us: int
    keep_s: int = KEEP_S


@dataclass(frozen=True, slots=True)
class Used:
    """One thing that a principal did, how often, and when last."""

    principal: str
    action: str
    resource: str
    times: int
    last_us: int


class Audit:
    """Computes one report; changes nothing. Not for two threads."""

    def __init__(
        self, snapshot: Snapshot, depot: Depot, who: Who, papers: Papers, *, pseudonym: Callable[[str, str], str]
    ) -> None:
        self._snapshot = snapshot
        self._depot = depot
        self._who = who
        self._papers = papers
        self._pseudonym = pseudonym

    def report(self, question: Question, entries: Iterable[tuple[int, bytes]], head: Checkpoint) -> dict[str, Any]:
        """The report as a JSON value. NotFound for a vendor that is not in the catalog."""
        self._snapshot.vendor(question.vendor)
        reach = reached(self._depot, question.since_us, None, question.now_us)
        covered = sources(self._depot, reach) if self._depot.imports() else []
        own, unknown = self._own(question, entries, head)
        used = self._used(reach.windows, question.vendor)
        rows = [*own, *self._iam(question.vendor, used, covered), *self._github(question.vendor, used, covered)]
        strangers = sorted(p for p in self._papers.iam if not self._who.reaching(p))
        unknown += self._papers.unread
        if strangers:
            more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""  # noqa: PLR2004  as many as are named
            unknown.append(f"these have policies and are mapped to nobody: {', '.join(strangers[:5])}{more}")
        return {
            "schema": SCHEMA,
            "vendor": question.vendor,
            "window": {"since_us": question.since_us, "until_us": question.now_us},
            "ledger": {"origin": head.origin, "from": 0, "to": head.size, "root": head.root.hex()},
            "sources": covered,
            "principals": rows,
            "holds": all(not row["check"]["lost"] for row in rows),
            "unknown": unknown,
        }

    # --- limen's own grants

    def _own(
        self, question: Question, entries: Iterable[tuple[int, bytes]], head: Checkpoint
    ) -> tuple[list[dict[str, Any]], list[str]]:
        now = question.now_us // 1_000_000
        holders = [h for h in self._snapshot.holders() if h.vendor == question.vendor]
        by_pseudonym = {(p, self._pseudonym(h.id, p)): h.id for h in holders for p in self._snapshot.projects_ever_of(h.id)}
        uses: dict[tuple[str, str, str], list[int]] = defaultdict(list)

        def take(entry: dict[str, Any]) -> bool:
            holder = by_pseudonym.get((entry.get("project", ""), entry.get("who", "")))
            at_us = served.at_us(entry)
            if holder and entry["kind"] == "access.intent" and (question.since_us is None or at_us >= question.since_us):
                for asset in [entry["asset"]] if "asset" in entry else entry.get("assets", ()):
                    uses[holder, asset, UPLOADS.get(entry["action"], entry["action"])].append(at_us)
            return False  # all that is needed has been taken

        reading = served.read(entries, size=head.size, concerns=take)
        rows = []
        for holder in holders:
            grants = [g for p in self._snapshot.projects_of(holder.id) for g in self._snapshot.grants_of(holder.id, p)]
            grants = [g for g in grants if g.expires_at > now]
            mine = {(asset, action): at for (who, asset, action), at in uses.items() if who == holder.id}
            if grants or mine:
                rows.append(self._own_row(holder.id, grants, mine, expires_at=now + question.keep_s, unknown=reading.unknown))
        return rows, list(reading.unknown)

    def _own_row(
        self, holder: str, grants: list[Grant], uses: dict[tuple[str, str], list[int]], *, expires_at: int, unknown: list[str]
    ) -> dict[str, Any]:
        reaching = {(asset, Action(action)) for asset, action in uses if self._snapshot.has_asset(asset)}
        allowed = {
            u
            for u in reaching
            if any(u[1] in g.actions and self._snapshot.reaches(g, self._snapshot.asset(u[0])) for g in grants)
        }
        narrowed = [
            n
            for g in grants
            for n in narrowing.narrow_grant(
                g, {u for u in allowed if self._snapshot.reaches(g, self._snapshot.asset(u[0]))}, expires_at=expires_at
            )
        ]
        lost = sorted(f"{action} {asset}" for asset, action in allowed if not narrowing.allowed(narrowed, asset, action))
        return {
            "system": "limen",
            "principal": holder,
            "people": [holder],
            "shared_with": [],
            "grade": Grade.MEASURED,
            "granted": [_grant_json(grant) for grant in grants],
            "used": [_used(action, asset, len(at), max(at), Grade.MEASURED) for (asset, action), at in sorted(uses.items())],
            "proposal": {"grants": [_grant_json(grant) for grant in narrowed], "end": [g.id for g in grants]},
            "check": _check(len(uses), len(allowed) - len(lost), lost, [f"{x} {a}" for a, x in sorted(uses.keys() - allowed)]),
            "coverage": {"partial": bool(unknown), "uncovered": []},
            "cannot_say": list(unknown),
        }

    # --- what other systems granted

    def _used(self, windows: dict[str, tuple[int, int]], vendor: str) -> dict[str, list[Used]]:
        """Everything that went through, by principal: of all whom the vendor may be."""
        if not windows:
            return {}
        names = self._depot.ask("SELECT DISTINCT principal FROM observation").column(0).to_pylist()
        theirs = [name for name in names if any(vendor in a.vendors for a in self._who.reaching(name))]
        start, end = min(w[0] for w in windows.values()), max(w[1] for w in windows.values())
        table = self._depot.ask(
            """
            SELECT principal, action, resource, count(*) AS times, max(at_us) AS last_us FROM observation
            WHERE outcome = 'ok' AND at_us >= $start AND at_us < $end AND principal IN (SELECT unnest($theirs::VARCHAR[]))
            GROUP BY ALL ORDER BY ALL
            """,
            start=start,
            end=end,
            theirs=theirs,
        )
        found: dict[str, list[Used]] = {name: [] for name in theirs}
        for row in table.to_pylist():
            found[row["principal"]].append(Used(**row))
        return found

    def _principals(
        self, vendor: str, used: Iterable[str], granted: Iterable[str], system: str
    ) -> Iterator[tuple[str, tuple[Attribution, ...]]]:
        for name in sorted({*used, *granted}):
            attributions = self._who.reaching(name)
            if name.startswith(system) and any(vendor in a.vendors for a in attributions):
                yield name, attributions

    def _iam(self, vendor: str, used: dict[str, list[Used]], covered: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rows = []
        for name, attributions in self._principals(vendor, used, self._papers.iam, "aws:"):
            mine = [u for u in used.get(name, ()) if u.resource.startswith(S3) and u.action in IAM_ACTIONS]
            row = _row("aws", name, vendor, attributions, mine)
            paper = self._papers.iam.get(name)
            if paper is None:
                rows.append({**row, "cannot_say": ["no policy document of it was given: what it may do is not known"]})
            else:
                rows.append({**row, **_iam_narrowed(paper, {_use(u) for u in mine}, covered)})
        return rows

    def _github(self, vendor: str, used: dict[str, list[Used]], covered: list[dict[str, Any]]) -> list[dict[str, Any]]:
        granted = {f"github:{login}".lower(): repos for login, repos in holders_of(self._papers.roles).items()}
        used = {folded(name): uses for name, uses in used.items() if name.startswith("github:")}
        rows = []
        for name, attributions in self._principals(vendor, used, granted, "github:"):
            mine = [u for u in used.get(name, ()) if u.action in NEEDS]
            row = _row("github", name, vendor, attributions, mine)
            if name not in granted:
                rows.append(
                    {**row, "cannot_say": ["it stands in no list of collaborators that was given: what it may do is not known"]}
                )
            else:
                rows.append({**row, **_github_narrowed(granted[name], mine, covered)})
        return rows


def _row(system: str, name: str, vendor: str, attributions: tuple[Attribution, ...], used: list[Used]) -> dict[str, Any]:
    """A row before anything is known of its grants."""
    people = sorted({p for a in attributions for p in a.people if p.partition("/")[0] == vendor})
    others = {v for a in attributions for v in a.vendors} - {vendor}
    shared = sorted(others) + (["lab"] if any(a.lab for a in attributions) else [])
    return {
        "system": system,
        "principal": name,
        "people": people,
        "shared_with": shared,
        "grade": Grade.EVIDENCE,
        "granted": [],
        "used": _used_rows(used),
        "proposal": None,
        "check": _check(len(used), 0, [], []),
        "coverage": {"partial": True, "uncovered": []},
        "cannot_say": [],
    }


def _iam_narrowed(paper: Paper, uses: set[Use], covered: list[dict[str, Any]]) -> dict[str, Any]:
    name = paper.name
    allows = [s for policy in paper.policies for s in policy.statements if s.allow]
    known = {scope["scope"].removeprefix(S3) for source in covered for scope in source["scopes"] if scope["covered"]}

    def keeps(pattern: str) -> bool:
        bucket = pattern.removeprefix(narrowing.ARN).partition("/")[0]
        return pattern.startswith(narrowing.ARN) and not set(bucket) & set("*?$") and bucket not in known

    allowed = {use for use in uses if verdict(paper.policies, *use, name=name) == "granted"}
    narrowed = narrowing.narrow_policies(paper.policies, allowed, keeps=keeps, name=name)
    proposed = narrowing.still_granted(narrowed.document)
    lost = sorted(" ".join(use) for use in allowed if verdict(proposed, *use, name=name) != "granted")
    elsewhere = sorted(" ".join(use) for use in uses - allowed)
    cannot_say = [*paper.cannot_say, *(line for policy in paper.policies for line in policy.unread)]
    if any(s.condition for s in allows):
        cannot_say.append("an Allow with a condition counts as granted; whether the condition ever held, limen cannot say")
    if any(not s.allow and s.condition for policy in paper.policies for s in policy.statements):
        cannot_say.append("a Deny with a condition takes nothing away here")
    if any(keeps(p) for s in allows for p in s.resources):
        cannot_say.append("no import covers some of its buckets: there its rights stand as they were")
    if any(_of_s3_wide(p) for s in allows for p in s.resources):
        cannot_say.append("it reaches buckets by a pattern: of those that no import covers, limen cannot say what was used")
    cannot_say.append("logs of data events tell nothing of actions on a bucket itself, nor of other services")
    return {
        "granted": [
            {
                "actions": list(s.actions),
                "resources": list(s.resources),
                "inverted": sorted(s.inverted),
                "conditional": bool(s.condition),
            }
            for s in allows
        ],
        "proposal": {"document": narrowed.document},
        "check": _check(len(uses), len(allowed) - len(lost), lost, elsewhere),
        "coverage": _coverage(
            covered, lambda scope: scope.startswith(S3) and any(_reaches_bucket(s.resources, scope) or s.inverted for s in allows)
        ),
        "cannot_say": cannot_say,
    }


def _github_narrowed(granted: dict[str, str], used: list[Used], covered: list[dict[str, Any]]) -> dict[str, Any]:
    needs: dict[str, set[str]] = defaultdict(set)
    for use in used:
        needs[use.resource.lower()].add(NEEDS[use.action])
    repositories = {repository: needs.pop(f"github:{repository}".lower(), set()) for repository in granted}
    known = {scope["scope"].lower() for source in covered for scope in source["scopes"] if scope["covered"]}
    blind = {repository for repository in granted if _owner(repository) not in known}
    proposed = {
        repository: granted[repository] if repository in blind else narrowing.narrow_role(granted[repository], need)
        for repository, need in repositories.items()
    }
    held, lost, elsewhere = 0, [], [f"{need} {name}" for name, some in sorted(needs.items()) for need in sorted(some)]
    for repository, some in sorted(repositories.items()):
        for need in sorted(some, key=narrowing.ROLES.index):
            role, rank = proposed[repository], narrowing.ROLES.index(need)
            if rank > narrowing.ROLES.index(granted[repository]):
                elsewhere.append(f"{need} github:{repository}")
            elif role is None or narrowing.ROLES.index(role) < rank:
                lost.append(f"{need} github:{repository}")
            else:
                held += 1
    owners = {_owner(repository) for repository in granted}
    cannot_say = ["rights by a team, a deploy key or as an owner of the organisation are not in a list of collaborators"]
    if blind:
        cannot_say.append(f"no import covers {', '.join(sorted({_owner(r) for r in blind}))}: there its roles stand as they were")
    return {
        "granted": [{"repository": repository, "role": role} for repository, role in sorted(granted.items())],
        "proposal": {"repositories": [{"repository": repository, "role": role} for repository, role in sorted(proposed.items())]},
        "check": _check(held + len(lost) + len(elsewhere), held, lost, elsewhere),
        "coverage": _coverage(covered, lambda scope: scope.lower() in owners, needs=owners),
        "cannot_say": cannot_say,
    }


def _owner(repository: str) -> str:
    """The scope that a repository's log is of."""
    return f"github:{repository.partition('/')[0]}".lower()


def _coverage(covered: list[dict[str, Any]], concerns: Callable[[str], bool], *, needs: Iterable[str] = ()) -> dict[str, Any]:
    """What of the window the logs do not cover where these grants reach. Two sources of one scope help each other."""
    near = {scope: hole for scope, hole in holes(covered).items() if concerns(scope)}
    named = {scope.lower() for scope in near}
    nowhere = sorted(scope for scope in needs if scope not in named)
    uncovered: list[dict[str, Any]] = [
        {"scope": scope, "intervals": [list(span) for span in hole]} for scope, hole in sorted(near.items()) if hole
    ]
    uncovered += [{"scope": scope, "intervals": None} for scope in nowhere]
    return {"partial": bool(uncovered) or not near, "uncovered": uncovered}


def _use(used: Used) -> Use:
    bucket, _, key = used.resource.removeprefix(S3).partition("/")
    action = IAM_ACTIONS[used.action]
    return action, f"{narrowing.ARN}{bucket}" + ("" if action == "s3:ListBucket" else f"/{key}")


def _of_s3_wide(pattern: str) -> bool:
    """Whether a resource pattern reaches buckets that it does not name."""
    if not pattern.startswith(narrowing.ARN):
        return pattern.startswith("*") or "*" in pattern.partition(":::")[0]
    return bool(set(pattern.removeprefix(narrowing.ARN).partition("/")[0]) & set("*?$"))


def _reaches_bucket(patterns: Iterable[str], scope: str) -> bool:
    bucket = scope.removeprefix(S3)
    for pattern in patterns:
        named = pattern.removeprefix(narrowing.ARN).partition("/")[0]
        begin = named[: min((i for i in map(named.find, "*?$") if i >= 0), default=len(named))]
        if _of_s3_wide(pattern) and bucket.startswith(begin if pattern.startswith(narrowing.ARN) else ""):
            return True
        if named == bucket:
            return True
    return False


def _check(uses: int, held: int, lost: list[str], elsewhere: list[str]) -> dict[str, Any]:
    """What the replay found: how many uses the proposal still allows, which it would lose, and which rest on other grants."""
    return {"uses": uses, "held": held, "lost": lost, "elsewhere": elsewhere}


def _used_rows(used: list[Used]) -> list[dict[str, Any]]:
    """What was done, by action and by folder, as proposals are."""
    by_place: dict[tuple[str, str], list[Used]] = defaultdict(list)
    for use in used:
        begin, slash, key = use.resource.removeprefix(S3).partition("/")
        inside = use.resource.startswith(S3) and slash and use.action != "list"
        by_place[use.action, f"{S3}{begin}/" if inside else use.resource].append(replace(use, resource=key if inside else ""))
    rows = []
    for (action, place), some in sorted(by_place.items()):
        for prefix in narrowing.prefixes(use.resource for use in some):
            mine = [use for use in some if use.resource.startswith(prefix)]
            wide = f"{place}{prefix}*" if place.endswith("/") else place
            times, last_us = sum(use.times for use in mine), max(use.last_us for use in mine)
            rows.append(_used(action, wide, times, last_us, Grade.OBSERVED, objects=len(mine)))
    return rows


def _used(action: str, what: str, times: int, last_us: int, grade: Grade, *, objects: int = 1) -> dict[str, Any]:
    return {"action": action, "resource": what, "objects": objects, "times": times, "last_us": last_us, "grade": grade}


def _grant_json(grant: Grant) -> dict[str, Any]:
    return {
        "grant": grant.id,
        "project": grant.project,
        "assets": sorted(grant.assets),
        "actions": sorted(grant.actions),
        "expires_at": grant.expires_at,
    }
