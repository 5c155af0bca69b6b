"""The nouns of limen as frozen values: what services return and verbs pass on.

Times are aware UTC or integer seconds (`_at`); durations are seconds (`_s`); byte ranges are half-open [start, end).
Ids of people, vendors and projects are the short names that the CLI takes: `quillwork`, `quillwork/q03`, `orchid`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, NamedTuple

REF_BYTES: Final = 16


class Action(StrEnum):
    """What an access does. HEAD and LIST are accesses too: both reveal that something is there."""

    READ = "read"
    HEAD = "head"
    LIST = "list"
    WRITE = "write"
    DELETE = "delete"


class Grade(StrEnum):
    """How a figure is known, the strongest first. A report names the grade of every row; no grade is ever raised.

    *measured*: by this gateway, in the data path. *observed*: read in another system's log. *evidence*: a document by a third
    party. *declared*: said by whom it is about.
    """

    MEASURED = "measured"
    OBSERVED = "observed"
    EVIDENCE = "evidence"
    DECLARED = "declared"

    def outranks(self, other: Grade) -> bool:
        """Whether this is the stronger way of knowing."""
        order = list(Grade)
        return order.index(self) < order.index(other)


@dataclass(frozen=True, slots=True)
class Tier:
    """A sensitivity tier: the least controls that an asset of this tier gets.

    `granted_by`: the roles of which one must sign a grant. `session_s`: the longest session that may read it.
    `hardware_key`: a session must have been opened with a hardware-backed factor. `export_bytes_day`: the most one
    person may take in one UTC day, or None for no limit. `window_bytes` and `window_s`: the most that one intent may cover
    for later reads, and for how long; 0 means that every read waits for an intent of its own.
    """

    name: str
    granted_by: frozenset[str]
    session_s: int
    hardware_key: bool
    export_bytes_day: int | None
    window_bytes: int = 0
    window_s: int = 0


@dataclass(frozen=True, slots=True)
class AssetClass:
    """A class of assets. `vendors=False` is the hard barrier: no vendor grant can name an asset of this class."""

    name: str
    vendors: bool = True


@dataclass(frozen=True, slots=True)
class Vendor:
    """An outside company. `contact` is whom a paused person is told to ask."""

    id: str
    name: str
    contact: str


@dataclass(frozen=True, slots=True)
class Person:
    """A named human: `id` is `vendor/handle` (or `lab/handle`), identity is (issuer, subject), never an e-mail address.

    `roles` are lab roles (`owner`, `security`, ...), empty for vendors' people. `ended_at` is set once, for good.
    """

    id: str
    vendor: str | None
    issuer: str
    subject: str
    roles: frozenset[str] = frozenset()
    ended_at: int | None = None
    erased_at: int | None = None  # from then on issuer and subject are empty


@dataclass(frozen=True, slots=True)
class Workload:
    """A non-human identity; every access it makes names its sponsor, a Person of the same vendor."""

    id: str
    vendor: str | None
    issuer: str
    subject: str
    sponsor: str
    ended_at: int | None = None
    erased_at: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A legal hold on one person's records: in force from `since` until it is lifted."""

    person: str
    since: int
    lifted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A sandbox: the set of assets that a session in it can name. One S3 bucket."""

    id: str
    title: str
    owner: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where an adopted shard's bytes rest: one object, and what that place said of it when it was adopted.

    `url` is `s3://BUCKET/KEY` or `file:///PATH`; `etag` is as the place writes it.
    """

    url: str
    etag: str


@dataclass(frozen=True, slots=True)
class Shard:
    """One object of an asset version: `path` below the asset, plain bytes by digest, and its prepared form if marked.

    `upstream` says where the bytes of an adopted shard rest; its `digest` is empty until they were first read whole.

    `prepared` names a directory of prepared segments in the store (see `marks.prepare`); None means unmarked, and
    `unmarked_why` is the sentence that everyone is shown. `length` is the served length, the same for every recipient;
    for a marked shard it differs from `source_length`.
    """

    path: str
    digest: str  # sha256 hex of the registered bytes; empty if nobody has read them yet
    source_length: int
    length: int
    content_type: str
    prepared: str | None = None
    unmarked_why: str = ""
    records: int = 0
    upstream: Upstream | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of an asset. `number` counts from 1; `entry` is the ledger index of its registration."""

    asset: str
    number: int
    shards: tuple[Shard, ...]
    registered_at: int
    entry: int
    mark_key: str | None = None  # id of the mark key (lineage) its shards were prepared under


@dataclass(frozen=True, slots=True)
class Lineage:
    """A mark key of an asset. `number` counts from 1; `entry` named it first, and is None while nothing has.

    `retired`, `opened`: the entries by which it ended, and was first opened to an arbiter. Only samples that were logged
    before `retired` count under it.
    """

    id: str
    asset: str
    number: int
    entry: int | None
    retired: int | None = None
    opened: int | None = None


@dataclass(frozen=True, slots=True)
class Asset:
    """A dataset, guideline, prompt set, model file ... in one project; `kind` is `dataset` or `drop` (a drop box).

    Its objects' paths all begin with its id: `orchid-sft-v3/train.jsonl`. A `canary` is an asset that nobody has a reason to
    open: that somebody does is worth an alert. Only the lab knows which one is.
    """

    id: str
    project: str
    asset_class: str
    tier: str
    kind: Literal["dataset", "drop"] = "dataset"
    description: str = ""
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a vendor signed: a document's digest and its validity [`valid_from`, `valid_until`). None is served without."""

    id: str
    vendor: str
    digest: str
    valid_from: int
    valid_until: int


@dataclass(frozen=True, slots=True)
class Admission:
    """Until when grants to a gated vendor's people may be made, and by which entry: a gate that passed, or a waiver."""

    vendor: str
    basis: str = ""  # gate or waiver; empty: not admitted
    entry: int = 0
    valid_until: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """Person or workload x project x assets x actions x expiry. `assets` may be {"*"}: all of the project's, barrier aside.

    `entry` is the ledger index of the entry that made it; `ended_at` is set when it was revoked.
    """

    id: str
    holder: str
    project: str
    assets: frozenset[str]
    actions: frozenset[Action]
    granted_by: str
    not_before: int
    expires_at: int
    entry: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whose copy: a person or workload of a vendor, under a random opaque copy id that re-enrolment keeps.

    `vendor_copy_id` is the same for all of a vendor's people (the vendor tier's bits). `canary` is the recipient's
    place, from 0, in the append-only order of all who were ever granted the asset; it picks their canary.
    """

    id: str
    vendor: str | None
    copy_id: str
    vendor_copy_id: str
    canary: int | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """The short-lived authority of one person (or workload) in one project.

    `pseudonym` is what entries call them, one per project. `strength` is how they proved themselves at login.
    """

    id: str
    holder: str
    vendor: str | None
    sponsor: str | None
    project: str
    pseudonym: str
    access_key: str
    strength: Literal["single", "hardware"]
    issued_at: int
    expires_at: int
    sponsor_pseudonym: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Where a request came from. Kept only encrypted beside the entry, never in it."""

    address: str
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed tree head: origin, size, root, and the note that carries the signature."""

    origin: str
    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that an entry is durable. Only the ledger makes one; a Delivery can't exist without one."""

    index: int
    leaf_hash: bytes
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Side:
    """What stands behind an entry's commitments: clear values by class (`identity`, `network`, `device`, ...).

    The ledger stores it encrypted under the subject's own key; destroying that key erases it, and every proof still holds.
    """

    subject: str
    classes: dict[str, dict[str, object]] = field(default_factory=dict)


class SubjectKey(NamedTuple):
    """The key that seals a subject's side records, and the random reference under which they lie: it names nobody."""

    ref: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Span:
    """What of a copy one access asks for: bytes [start, end), and the status that says so (200, 206, 304, 412, 416).

    Decided from the copy before the intent is written, so that the intent covers the status as well as the bytes.
    """

    status: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing: a shard as this recipient would get it, or an upload of the writer's own."""

    path: str
    length: int
    etag: str
    modified_at: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that a drop box has taken and made durable. `sha256` is of its bytes; `entry` covers it.

    The receipt is of the outcome, which names the digest: its writer's proof that it arrived.
    """

    path: str
    length: int
    etag: str
    sha256: str
    entry: int
    receipt: Receipt
