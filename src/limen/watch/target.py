"""Where alerts go: one value for each `[[alert]]` table of limen.toml. Secrets are not in it; they come from the environment."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from limen.core.errors import Invalid
from limen.formats import webhooks
from limen.watch.rules import Severity

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_MAIL: Final = re.compile(r"[^\s<>@,]+@[^\s<>@,]+")
SCHEMES: Final = {
    "webhook": frozenset({"https", "http"}),
    "email": frozenset({"smtps", "smtp", "smtp+plain"}),
    "syslog": frozenset({"tls", "tcp", "udp"}),
}
LEAST: Final = {"low": Severity.LOW, "medium": Severity.MEDIUM, "high": Severity.HIGH}


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One receiver. Everything from `least` on goes there; one that is down delays only itself."""

    name: str
    kind: Literal["webhook", "email", "syslog", "file"]
    url: str = ""  # https://…, smtps://HOST[:PORT] or smtp://… (STARTTLS), tls://HOST:PORT, tcp://…, udp://…
    path: str = ""  # of a file; one that is not absolute begins in the data directory
    sender: str = ""  # e-mail: From
    to: tuple[str, ...] = ()  # e-mail: To
    login: str = ""  # e-mail: the account, if the server wants one
    least: Literal["low", "medium", "high"] = "medium"
    timeout_s: float = 5.0

    @property
    def severity(self) -> Severity:
        """The least severity that goes there."""
        return LEAST[self.least]

    @property
    def address(self) -> SplitResult:
        """Its URL in parts."""
        return urlsplit(self.url)

    @property
    def needs_secret(self) -> bool:
        """Whether it can't be sent to without a secret: a webhook is signed, an e-mail account has a password."""
        return self.kind == "webhook" or bool(self.login)

    def check(self, secret: str) -> None:
        """Pass in silence if alerts can go there; Invalid says what is missing, and never what the secret is."""
        field = f"limen.toml: alert {self.name}"
        if not _NAME.fullmatch(self.name):
            raise Invalid("limen.toml: alert.name", f"{self.name!a} must be small letters, digits and hyphens")
        if self.needs_secret and not secret:
            raise Invalid(field, f"needs its secret in the environment variable {variable(self.name)}")
        if self.kind == "webhook":
            webhooks.key_of(secret)
        if self.kind == "file":
            if not self.path or self.url:
                raise Invalid(field, "needs `path`, and has no `url`")
            return
        try:
            parts, port = self.address, self.address.port
        except ValueError as e:
            raise Invalid(field, f"url: {e}") from e
        if parts.scheme not in SCHEMES[self.kind] or not parts.hostname or parts.username or parts.fragment:
            raise Invalid(field, f"url: a {self.kind} needs {' or '.join(sorted(SCHEMES[self.kind]))}://HOST")
        if self.kind == "syslog" and port is None:
            raise Invalid(field, "url: needs a port")
        if self.kind == "email" and not (self.to and all(map(_MAIL.fullmatch, (self.sender, *self.to)))):
            raise Invalid(field, "an e-mail needs `sender` and `to`, each NAME@HOST")


def variable(name: str) -> str:
    """The environment variable that holds a target's secret: LIMEN_ALERT_SOC_SECRET for `soc`."""
    return f"LIMEN_ALERT_{name.upper().replace('-', '_')}_SECRET"


def check_all(targets: tuple[Target, ...], secrets: dict[str, str]) -> None:
    """Pass in silence if every target can be sent to; Invalid for the first that can't, or for two of one name."""
    names = [target.name for target in targets]
    for target in targets:
        if names.count(target.name) > 1:
            raise Invalid("limen.toml: alert.name", f"{target.name!a} is given twice")
        target.check(secrets.get(target.name, ""))
