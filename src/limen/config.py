"""One TOML file, `DATA/limen.toml`, and environment variables for where it is: a frozen Config. An unknown key is an error.

Secrets are not in it: keys lie in `DATA/keys`, readable by their owner only, and are made on first start.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from limen.core import epochs
from limen.core.errors import Invalid, MarkKeyUnavailable
from limen.formats.sshsig import PublicKey
from limen.objectstore import Account
from limen.watch.rules import TITLES, Rules
from limen.watch.target import Target, variable

REGION = "limen-1"
EPOCH = "epoch"


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the doors listen. `domain` serves virtual-host style buckets (`orchid.s3.example`)."""

    mode: Literal["production", "development"] = "production"
    listen: str = "127.0.0.1:8460"
    url: str = ""  # what clients call it, if a TLS front stands before it
    domain: str = ""
    contact: str = "the lab's security team"  # whom a paused person is told to ask
    forwarded_from: tuple[str, ...] = ()  # proxies whose X-Forwarded-For is believed


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ledger's origin line, the longest that one append may take before the access is refused, and who watches it.

    `policy` names a C2SP tlog-policy, `high_water` a second place for the newest published checkpoint, `publish` a second
    place for the published log. Paths that are not absolute begin in the data directory.
    """

    origin: str = "limen.local/log"
    append_deadline_s: float = 1.5
    policy: str = ""
    witness_timeout_s: float = 1.0
    witnessed_projects: tuple[str, ...] = ()  # their bytes wait for the witnesses' quorum
    without_quorum: Literal["refuse", "serve"] = "refuse"  # what they meet when it can't be had
    listen: str = ""  # where anybody may read the published log; nowhere unless told
    high_water: str = ""
    publish: str = ""
    network_days: Annotated[int, msgspec.Meta(ge=1)] = 90  # how long addresses and programs are kept beside entries


class IssuerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An OpenID Connect issuer whose tokens are accepted. `client_id` is what `limen login` presents itself as."""

    url: str
    audiences: tuple[str, ...]
    client_id: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_uri: str = ""
    hardware_acr: tuple[str, ...] = ("phr", "phrh")
    vendors: tuple[str, ...] = ()  # whose people it may name; empty: anybody's


class UpstreamTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where adopted assets rest: `url` is `s3://BUCKET` or a prefix in it.

    `account` names the environment variables that hold its keys: `LIMEN_<account>_ACCESS_KEY_ID`, `…_SECRET_ACCESS_KEY`,
    `…_SESSION_TOKEN`; without a name they are those that other S3 programs read. `deadline_s`: how long each step may take.
    """

    url: str
    endpoint: str = ""  # AWS, unless told
    region: str = "us-east-1"
    account: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9_]*$")] = ""
    deadline_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0


class Supply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Start-up code that is known: SHA-256 of each allowed `.pth`, `sitecustomize` or `usercustomize` file."""

    allowed_startup: tuple[str, ...] = ()


class KnownLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A log of another system, as `limen init` was told of it: where it lies, and what an import needs to know."""

    kind: str
    source: str
    place: str
    skew_s: int = 0
    gap_s: int | None = None
    covers: str = ""
    scopes: tuple[str, ...] = ()


class Survey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was there when limen came: noted once by `limen init`. `limen doctor` looks whether it is within reach.

    `boms` are only noted: nothing reads bills of material yet.
    """

    buckets: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    boms: tuple[str, ...] = ()
    log: tuple[KnownLog, ...] = ()


class AdvisorySource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who signs advisory feeds: `key` is one line of an Ed25519 `.pub` file; `may` is how far what it says goes by itself."""

    name: str
    key: str
    may: Literal["notify", "restrict", "pause"] = "notify"


class Watching(Rules, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether the serving process watches its own log, and by which thresholds."""

    on: bool = True

    @property
    def rules(self) -> Rules:
        """The thresholds alone."""
        return Rules(**{name: getattr(self, name) for name in Rules.__struct_fields__})


class Assurance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What follows from advisories by itself: at most so many vendors and people a UTC day; beyond it two people approve.

    `advisories` names a directory of which every file is a feed, taken in while `limen serve` runs, which looks every `look_s`;
    one that is not absolute begins in the data directory.
    `cap_findings`: with more findings than that in a day, from sources of one kind, the rest is a flood and held as one.
    `lookback_days`: how long before an advisory's first date a *no* must be covered, where no window is known.
    """

    cap_vendors: Annotated[int, msgspec.Meta(ge=0)] = 3
    cap_people: Annotated[int, msgspec.Meta(ge=0)] = 50
    cap_findings: Annotated[int, msgspec.Meta(ge=1)] = 20
    lookback_days: Annotated[int, msgspec.Meta(ge=1, le=3660)] = 30
    advisories: str = ""
    look_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5


class Marks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where new mark keys rest, and how to reach those that don't lie in the data directory (docs/mark-keys.md).

    `escrow` is the directory of second halves, which somebody else keeps. `module` and `token`: the library of a PKCS#11 token,
    and the token's label; its PIN is in LIMEN_PKCS11_PIN, or alone in the file `pin_file` names, readable by its owner only.
    """

    keep: Literal["file", "split", "token"] = "file"
    levels: Literal["nuida8", "nuida16"] = "nuida8"
    escrow: str = ""
    module: str = ""
    token: str = ""
    pin_file: str = ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. `data` is the directory that the file lies in."""

    data: Path = Path()
    server: Server = Server()
    ledger: Log = Log()
    issuer: tuple[IssuerTable, ...] = ()
    supply: Supply = Supply()
    survey: Survey = Survey()
    watch: Watching = Watching()
    assurance: Assurance = Assurance()
    marks: Marks = Marks()
    alert: tuple[Target, ...] = ()
    upstream: tuple[UpstreamTable, ...] = ()
    advisory_source: tuple[AdvisorySource, ...] = ()

    @property
    def development(self) -> bool:
        """Whether the development issuer and the story clock are on."""
        return self.server.mode == "development"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.server.listen.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def url(self) -> str:
        """What clients call the gateway."""
        return self.server.url.rstrip("/") or f"http://{self.server.listen}"


def storage_account() -> Account | None:
    """What opens S3-compatible storage, from the environment that other S3 programs read; None if there are no keys.

    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and if need be AWS_SESSION_TOKEN, AWS_ENDPOINT_URL, AWS_REGION.
    """
    return _account("AWS", endpoint=os.environ.get("AWS_ENDPOINT_URL", ""), region=os.environ.get("AWS_REGION", "us-east-1"))


def upstream_account(table: UpstreamTable) -> Account | None:
    """What opens the place of adopted assets, from the environment; None if there are no keys."""
    return _account(f"LIMEN_{table.account}" if table.account else "AWS", endpoint=table.endpoint, region=table.region)


def _account(prefix: str, *, endpoint: str, region: str) -> Account | None:
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")
    access_key, secret, token = (os.environ.get(f"{prefix}_{name}", "") for name in names)
    return Account(access_key, secret, token=token, endpoint=endpoint, region=region) if access_key and secret else None


def alert_secrets(targets: tuple[Target, ...]) -> dict[str, str]:
    """What signs webhooks and opens mail accounts, from LIMEN_ALERT_<NAME>_SECRET; by target, those that are set."""
    found = {target.name: os.environ.get(variable(target.name), "") for target in targets}
    return {name: secret for name, secret in found.items() if secret}


def token_pin(config: Config) -> str:
    """The PIN of the PKCS#11 token, from where `[marks]` says. MarkKeyUnavailable if it can't be had; never an argument."""
    if pin := os.environ.get("LIMEN_PKCS11_PIN", ""):
        return pin
    if not config.marks.pin_file:
        raise MarkKeyUnavailable("there is no PIN for the token", next_step="set LIMEN_PKCS11_PIN, or `pin_file` in [marks]")
    path = config.data / config.marks.pin_file
    try:
        if path.stat().st_mode & 0o077:
            raise MarkKeyUnavailable(
                f"{path} can be read by others, so the PIN in it was not used", next_step=f"chmod 600 {path}"
            )
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise MarkKeyUnavailable(f"the PIN can't be read from {path}: {e}", next_step="see to the file, then start again") from e


def load(data: Path) -> Config:
    """The configuration of a data directory; defaults if it has no `limen.toml`. Invalid names the key that is wrong."""
    config = _read(data / "limen.toml")
    log, epoch = config.ledger, epoch_of(data)
    # A second place keeps what it has of an earlier epoch: the log goes on below it, as its name does.
    publish = epochs.name(log.publish.rstrip("/"), epoch) if log.publish else ""
    log = msgspec.structs.replace(log, origin=epochs.name(log.origin, epoch), publish=publish)
    return msgspec.structs.replace(config, data=data, ledger=log)


def epoch_of(data: Path) -> int:
    """Which epoch the log of this directory is in (`DATA/epoch`, written by `limen ledger new-epoch`); 0 from the start."""
    try:
        text = (data / EPOCH).read_text().strip()
    except FileNotFoundError:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise Invalid(f"{data / EPOCH}", "is not a number; it is written by `limen ledger new-epoch` alone")
    return int(text)


def _read(path: Path) -> Config:
    if not path.exists():
        return Config()
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Invalid("limen.toml", str(e)) from e
    if "data" in table:
        raise Invalid("limen.toml: data", "the data directory is the one that holds this file; remove the key")
    try:
        config = msgspec.convert(table, Config)
    except msgspec.ValidationError as e:
        raise Invalid("limen.toml", str(e)) from e
    if not config.server.listen.rpartition(":")[2].isdecimal():
        raise Invalid("limen.toml: server.listen", "must be HOST:PORT")
    if unknown := sorted(set(config.watch.mute) - set(TITLES)):
        raise Invalid("limen.toml: watch.mute", f"{unknown[0]} is no rule; there are {', '.join(sorted(TITLES))}")
    _check_sources(config.advisory_source)
    _check_marks(config.marks)
    if epochs.split(config.ledger.origin)[1]:
        raise Invalid("limen.toml: ledger.origin", "names an epoch; give the log's own name, DATA/epoch says the rest")
    return config


def _check_marks(marks: Marks) -> None:
    """What new keys need is said, before the first of them is made."""
    if marks.keep == "split" and not marks.escrow:
        raise Invalid("limen.toml: marks.escrow", "is empty; a split key's second half needs a place that somebody else keeps")
    if bool(marks.module) != bool(marks.token):
        raise Invalid("limen.toml: marks", "`module` and `token` name a PKCS#11 token together; one of them is missing")
    if marks.keep == "token" and not marks.token:
        raise Invalid("limen.toml: marks.token", 'is empty; `keep = "token"` takes `module` and `token`')


def _check_sources(sources: tuple[AdvisorySource, ...]) -> None:
    """Each has a name and a key of its own: a signature says which of them it is by."""
    for field in ("name", "key"):
        values = [getattr(source, field) for source in sources]
        if again := next((value for value in values if values.count(value) > 1), None):
            raise Invalid("limen.toml: advisory_source", f"two have the {field} {again!r}")
    for source in sources:
        try:
            PublicKey.from_line(source.key)
        except Invalid as e:
            raise Invalid(f"limen.toml: advisory_source {source.name}", str(e)) from e
