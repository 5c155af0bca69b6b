"""What is far: the issuers whose tokens are believed, and the places where bytes and the published log rest.

Issuers are asked with the gateway's own code, so that what works here works there: no proxy, no redirect. Each answer's
`Date` is held beside our clock.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError

from limen.config import storage_account, upstream_account
from limen.core.errors import LimenError, NotFound
from limen.doctor import clock
from limen.doctor.lines import broken, ok, unknown, warning
from limen.identity.jwks import check_address, discover, fetch_off_loop, read_key_set
from limen.ledger.publication.bucket import Bucket
from limen.objectstore import SCHEME, first_line, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.config import Config, IssuerTable
    from limen.doctor.lines import Line
    from limen.objectstore import Account

ASK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer's `Date` says, and our own time in the middle of asking; seconds. `way_s`: how long it took."""

    theirs: float
    ours: float
    way_s: float


def issuers(config: Config) -> Iterator[Line]:
    """Whether people can log in: each issuer answers, and its keys can be read."""
    if not config.issuer:
        if config.development:
            yield ok("issuers", "none configured; development mode brings its own")
        else:
            yield warning("issuers", "none is configured: nobody can open a session", "add an [[issuer]] to limen.toml")
    for issuer in config.issuer:
        yield from _issuer(issuer, development=config.development)


def _issuer(issuer: IssuerTable, *, development: bool) -> Iterator[Line]:
    async def keys() -> int:
        check_address(issuer.url, field="issuer.url", development=development)
        uri = issuer.jwks_uri or await discover(issuer.url, fetch=fetch_off_loop, development=development)
        return len(read_key_set(json.loads(await fetch_off_loop(uri))))

    try:
        found = asyncio.run(keys())
    except (LimenError, ValueError) as e:
        says = f"{issuer.url}: {e}"
        yield broken("issuers", f"{says}. Its people can't log in", "does the address hold, and is it reachable from here?")
        return
    yield ok("issuers", f"{issuer.url} answers with {found} keys")
    told = date_of(issuer.url)
    if told is None:
        yield unknown("clock", f"beside {issuer.url}: it tells no time", "compare with another clock you trust")
    else:
        yield clock.beside(issuer.url, told.theirs, ours=told.ours, give_s=told.way_s + 1)


def second_place(config: Config) -> Iterator[Line]:
    """Whether the second place of the published log can be reached. A directory tells by its own errors."""
    where = config.ledger.publish
    if not where.startswith(SCHEME):
        return
    account = storage_account()
    if account is None:
        says = f"{where}: there is no AWS_ACCESS_KEY_ID in this environment to ask it with"
        yield unknown("upstreams", says, "ask with the environment that `limen serve` has")
        return
    try:
        Bucket(where, account).read("checkpoint")
    except NotFound:
        yield ok("upstreams", f"{where} may be read; nothing is published there yet")
    except OSError as e:
        yield broken("upstreams", str(e), "does the bucket exist, and may these keys read and write there?")
    else:
        yield ok("upstreams", f"{where} may be read")


def surveyed(config: Config) -> Iterator[Line]:
    """Whether what `limen init` was told of is still within reach."""
    survey = config.survey
    buckets = [*survey.buckets, *(log.place for log in survey.log if log.place.startswith(SCHEME))]
    for where in dict.fromkeys(buckets):
        yield _bucket(where, storage_account())
    local = [*survey.repositories, *survey.boms, *(log.place for log in survey.log if not log.place.startswith(SCHEME))]
    gone = [path for path in dict.fromkeys(local) if not Path(path).exists()]
    if gone:
        says = f"not there any more, or not for this account: {', '.join(gone)}"
        yield warning("upstreams", says, "if they have moved, change [survey] in limen.toml")
    elif local:
        yield ok("upstreams", f"{len(set(local))} places of [survey] on this machine are there")
    if survey.boms:
        says = f"{len(survey.boms)} bills of material are noted, and what they say is not read"
        yield unknown("upstreams", says, "limen can't read them yet; keep them where they are")


def upstreams(config: Config) -> Iterator[Line]:
    """Whether the places of adopted assets may be listed and read, each with its own keys."""
    for table in config.upstream:
        yield _bucket(table.url, upstream_account(table), name=f"LIMEN_{table.account}" if table.account else "AWS")


def _bucket(where: str, account: Account | None, *, name: str = "AWS") -> Line:
    """Whether a bucket may be listed and read with the keys of this environment."""
    if account is None:
        says = f"{where}: there is no {name}_ACCESS_KEY_ID in this environment to ask it with"
        return unknown("upstreams", says, "ask with the environment that `limen serve` has")
    bucket, _, prefix = where.removeprefix(SCHEME).partition("/")
    store = opened(bucket, prefix, account, deadline=timedelta(seconds=ASK_S), retries=0)
    try:
        page = next(iter(obstore.list(store, chunk_size=1)), [])
        if page:
            obstore.head(store, page[0]["path"])
    except (BaseError, OSError) as e:
        return broken("upstreams", f"{where}: {first_line(e)}", "is it the right name, and may these keys list and read there?")
    if not page:
        return warning("upstreams", f"{where} may be listed, and nothing is there", "is it the right prefix?")
    return ok("upstreams", f"{where} may be listed and read")


def date_of(url: str) -> Told | None:
    """What a server's clock says; None if it does not answer or does not tell."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ASK_S)
    began, steady = time.time(), time.perf_counter()
    try:
        connection.request("HEAD", parts.path or "/", headers={"User-Agent": "limen"})
        told = connection.getresponse().getheader("Date")
        way_s = time.perf_counter() - steady
        return None if told is None else Told(parsedate_to_datetime(told).timestamp(), began + way_s / 2, way_s)
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return None
    finally:
        connection.close()
