"""What a vendor's bills of material (BOMs) say, as frozen values. Times are integer microseconds; intervals are [start, end).

Two clocks stand beside each other. *Effective* is when a state of affairs held, by the BOM's own word; *received* is when the
log took the BOM in. A BOM that came later may speak of an earlier time, and then changes what is known of that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from limen.formats.purl import Package

DAY_US: Final = 86_400_000_000
MAX_AGE_US: Final = 7 * DAY_US  # how long a BOM speaks for what came after it, unless told otherwise


@dataclass(frozen=True, slots=True)
class Presence:
    """One component at one place of one vendor's, in every BOM of the vendor's that is effective in [start_us, end_us).

    `end_us` is None if the vendor's newest BOM has it. `package` is None for a component that no advisory can name (its purl
    is of an unknown type, or it has none): whether it is what an advisory means can't be said, though its `name` may be the
    same. `version` is as advisories write it, empty if the BOM does not say. `path` says where: the components around it,
    outermost first, joined by ` > `, then its occurrence if one is given, after ` @ `; components of builds begin with
    `formulation`, tools that made the BOM with `tools`. `bom` is the entry of the first BOM that has it in this stretch;
    `digests` are its hashes (`sha256:…`), for a container image also the digest that it is pinned to.

    `scope` is CycloneDX's: `required`, `optional` (which by its definition is *not installed*), `excluded` (there, but not
    reachable at run time) or `external` (expected in its surroundings, not part of what is described).

    A presence says nothing of the time that no BOM covers: join it with `Coverage`.
    """

    vendor: str
    package: Package | None
    version: str
    purl: str
    path: str
    start_us: int
    end_us: int | None
    bom: int
    digests: tuple[str, ...] = ()
    scope: str = "required"
    name: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """A stretch of time for which one BOM (its entry: `bom`) speaks for a vendor: until the next, or its own greatest age.

    In it a component that is not listed is absent if `complete`; else its absence can't be said, and `why` is the reason.
    What lies in no stretch was covered by no BOM.
    """

    vendor: str
    start_us: int
    end_us: int
    complete: bool
    bom: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """Data that goes to or from a service: `flow` as CycloneDX says it (`inbound`: to the service), and whose it is.

    `classes` are the names of the lab's asset classes that the BOM's classification stands for; `bound` is False if it names
    none of them and nothing was said about it: then it can't be said which assets these are.
    """

    flow: str
    classification: str
    name: str
    classes: tuple[str, ...]
    bound: bool


@dataclass(frozen=True, slots=True)
class Service:
    """A service that a vendor uses or offers, by one BOM, and where the lab's assets go with it.

    `provider` is who runs it (empty: the BOM does not say); `undisclosed` is True if that is neither the vendor itself nor
    among the sub-processors that it declared, nor named in an earlier BOM of its own: `why` says it.
    """

    vendor: str
    bom: int
    name: str
    path: str
    provider: str
    endpoints: tuple[str, ...]
    crosses_boundary: bool | None
    authenticated: bool | None
    flows: tuple[Flow, ...]
    undisclosed: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Bom:
    """One BOM as it was filed: `entry` is its index in the log, `digest` its bytes' SHA-256.

    `effective_us` is its own timestamp or what was given with it, and never later than `received_us`; `quarantined` says why
    nothing of it counts (empty: it counts). `complete` is whether the absence of a component can be said from it, `why` the
    reason if not. `gaps` are sentences: what else it leaves unsaid. `unnamed` is how many components no advisory can name.
    """

    entry: int
    vendor: str
    digest: str
    length: int
    serial: str
    version: int
    spec: str
    effective_us: int
    received_us: int
    components: int
    unnamed: int
    complete: bool
    why: str = ""
    gaps: tuple[str, ...] = ()
    quarantined: str = ""
