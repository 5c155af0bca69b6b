"""S3-compatible storage that is not ours, opened through obstore 0.12 (the Rust crate object_store).

Keys are always passed: without them the library would ask a cloud's metadata address. What it tells of a failure in many
lines, requests' headers among them, is told in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import S3Config

SCHEME: Final = "s3://"  # how the name of a bucket begins
_FOR_EVER: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Account:
    """What opens S3-compatible storage. An empty `endpoint` is AWS."""

    access_key: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    endpoint: str = ""
    region: str = "us-east-1"


def opened(bucket: str, prefix: str, account: Account, *, deadline: timedelta, whole: bool = True, retries: int = 2) -> S3Store:
    """A bucket below a prefix. `deadline` bounds an answer's beginning and, if `whole`, a request from end to end."""
    options: S3Config = {
        "region": account.region,
        "access_key_id": account.access_key,
        "secret_access_key": account.secret,
    }
    if account.token:
        options["session_token"] = account.token
    if account.endpoint:
        options["endpoint"] = account.endpoint
    return S3Store(
        bucket,
        config=options,
        prefix=prefix,
        client_options={
            "allow_http": account.endpoint.startswith("http://"),
            "timeout": deadline if whole else _FOR_EVER,
            "connect_timeout": deadline / 2,
        },
        retry_config={"max_retries": retries, "retry_timeout": deadline},
    )


def first_line(error: Exception) -> str:
    """One line of what the library tells in many, and none of the request's headers."""
    return str(error).strip().splitlines()[0][:300]
