"""The one family of errors that callers of limen can meet.

    LimenError
    ├── Denied(reason)            the caller may not; `reason` reaches the caller
    │   ├── BadCredential         not proven who they are
    │   │   ├── IdentityExpired   the issuer's token was good once: fetch a fresh one
    │   │   └── ClaimRejected     the issuer's token is genuine, but not for us or not for now
    │   ├── IssuerUnavailable     the issuer can't be asked for its keys just now: try again
    │   ├── SessionEnded          proven once, but over: log in again
    │   ├── Paused                cut off: says what is paused, since when, and whom to ask
    │   └── OverQuota             allowed in kind, not in amount, today
    ├── NotFound                  "not yours" and "not there" look alike
    ├── Conflict                  somebody else changed it first
    ├── Invalid(field, why)       bad input; nothing was changed
    ├── Unsupported(what)         a real operation that limen does not offer
    ├── PreconditionFailed        an If-Match and the like did not hold
    ├── LedgerUnavailable         cannot log, so cannot serve
    ├── MarkKeyUnavailable        cannot make the recipient's copy, so cannot serve
    └── TamperDetected            stored bytes are not what was signed

`str(e)` is for the operator's log. Only `reason`, `field` and `why` may reach a caller.
Each door maps this family to its own words in one table (`doors/*/errors.py`), looked up by MRO.
Misuse of limen's own functions is a RuntimeError, never one of these.
"""

from __future__ import annotations


class LimenError(Exception):
    """Anything that a caller of limen can meet; never raised itself."""


class Denied(LimenError):
    """The caller may not do this. `rule` names the policy that decided, for the log and `limen access explain`."""

    def __init__(self, reason: str, *, rule: str = "", detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason
        self.rule = rule


class BadCredential(Denied):
    """The request does not prove who makes it. `step` names the check that failed; operators see it, callers do not."""

    def __init__(self, reason: str, *, step: str = "", detail: str = "") -> None:
        super().__init__(reason, rule="credential", detail=detail or f"{step or 'credential'}: {reason}")
        self.step = step


class IdentityExpired(BadCredential):
    """The identity token is past its expiry: the next step is a fresh one from its issuer, not a new enrolment."""


class ClaimRejected(BadCredential):
    """The identity token's signature holds, but a claim in it does not: another audience, too long a life, no subject."""


class IssuerUnavailable(Denied):
    """The issuer's keys can't be fetched at the moment, so nothing can be verified. Transient: the caller may retry."""

    def __init__(self, reason: str, *, detail: str = "") -> None:
        super().__init__(reason, rule="issuer-unavailable", detail=detail)


class SessionEnded(Denied):
    """The session was real and is over (expired, ended, or cut): a new login is the next step."""


class Paused(Denied):
    """The session's vendor, project, person or session is paused.

    `subject` is what is paused (for instance `vendor/quillwork`), `since` an RFC 3339 time, `contact` whom to ask.
    """

    def __init__(self, *, subject: str, since: str, contact: str, reason: str) -> None:
        super().__init__(f"{subject} is paused since {since}: {reason}. Nothing was served. Ask {contact}.", rule="pause")
        self.subject = subject
        self.since = since
        self.contact = contact


class OverQuota(Denied):
    """The person's export quota for this window is used up; `resets` says when it opens again (RFC 3339)."""

    def __init__(self, reason: str, *, resets: str) -> None:
        super().__init__(reason, rule="quota")
        self.resets = resets


class NotFound(LimenError):
    """No such thing, or none that this caller may know of: the two look alike from outside."""

    def __init__(self, what: str) -> None:
        super().__init__(f"not found: {what}")
        self.reason = "not found"


class Conflict(LimenError):
    """The state changed under the caller, or the thing exists already. Nothing was written."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Invalid(LimenError):
    """Bad input: `field` is where, `why` completes "<field>: ...". Nothing was changed."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why
        self.reason = f"{field}: {why}"


class Unsupported(LimenError):
    """A real operation or option of the protocol that limen does not offer; `reason` says what to use instead."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PreconditionFailed(LimenError):
    """A condition that the caller set (If-Match, If-None-Match) does not hold. Nothing was changed or served."""

    def __init__(self, condition: str) -> None:
        super().__init__(f"{condition} does not hold")
        self.reason = f"{condition} does not hold"
        self.condition = condition


class LedgerUnavailable(LimenError):
    """The log cannot be written, so nothing may be served. `next_step` tells the operator how it recovers."""

    def __init__(self, why: str, *, next_step: str = "") -> None:
        super().__init__(f"ledger unavailable: {why}" + (f"; {next_step}" if next_step else ""))
        self.reason = "the access log is unavailable, so nothing was served; try again shortly"
        self.next_step = next_step


class MarkKeyUnavailable(LimenError):
    """A mark key can't be used: its token or other half is missing, or its record. Nothing is served or made in its place."""

    def __init__(self, why: str, *, next_step: str = "") -> None:
        super().__init__(why)
        self.reason = "the key of this asset's copies is unavailable, so nothing was served; try again shortly"
        self.next_step = next_step


class UpstreamChanged(Conflict):
    """An adopted object is no longer what was adopted: changed, replaced or gone. Nothing of the new one is ever served."""

    def __init__(self, url: str) -> None:
        super().__init__("the object has changed where it rests since it was registered, so it isn't served; ask its owner")
        self.url = url
        self.args = (f"{url} is not what was adopted: it changed, or has gone",)


class UpstreamUnavailable(LimenError):
    """The place where an adopted object rests can't be reached, is too slow, or does not keep its word about lengths."""

    def __init__(self, why: str, *, next_step: str = "") -> None:
        super().__init__(why)
        self.reason = "the place where this object rests did not deliver it; try again shortly"
        self.next_step = next_step


class Failed(LimenError):
    """A program or a disk that the work at hand needs has failed. What was begun counts for nothing, and nothing was lost."""

    reason = "limen failed; the operator's log says why"


class TamperDetected(LimenError):
    """Stored bytes differ from what was signed or digested. `index` is the first bad entry, or -1 if it is not an entry.

    `evidence` is a signed checkpoint that the log contradicts, where there is one: an alarm keeps it.
    """

    def __init__(self, why: str, *, index: int = -1, evidence: bytes = b"", next_step: str = "") -> None:
        super().__init__(why)
        self.reason = "stored content failed verification; nothing was served"
        self.index = index
        self.evidence = evidence
        self.next_step = next_step
