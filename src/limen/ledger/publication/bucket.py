"""A published log in S3-compatible storage.

What such storage has acknowledged is durable and visible to every reader, so nothing is left to sync. A request that
fails is repeated for seconds, not minutes; the publisher tries again.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError

from limen.core.errors import Invalid, NotFound
from limen.formats.merkle import MAX_SIZE
from limen.objectstore import SCHEME, first_line, opened

if TYPE_CHECKING:
    from obstore.store import S3Store

    from limen.objectstore import Account

PARALLEL: Final = 8
TIMEOUT: Final = timedelta(seconds=10)


class Bucket:
    """The files of one log below `s3://bucket/prefix`. Several writes are on their way at once.

    Without an account every call fails: a command that only appends an entry needs no keys, and the log is behind there.
    """

    def __init__(self, url: str, account: Account | None) -> None:
        bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        if not url.startswith(SCHEME) or not bucket:
            raise Invalid("ledger.publish", f"{url} is not s3://BUCKET/PREFIX")
        self.name = url
        self._stored = None if account is None else opened(bucket, prefix.strip("/"), account, deadline=TIMEOUT)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="limen-bucket")
        self._flying: list[Future[None]] = []

    @property
    def _store(self) -> S3Store:
        if self._stored is None:
            raise OSError(f"{self.name} needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        return self._stored

    def read(self, path: str) -> bytes:
        """A whole object."""
        try:
            return bytes(obstore.get(self._store, path).bytes())
        except FileNotFoundError as e:
            raise NotFound(f"{path} in {self.name}") from e
        except BaseError as e:
            raise _trouble(f"{path} can't be read from {self.name}", e) from e

    def write(self, path: str, raw: bytes) -> None:
        """Begin to put an object."""
        if len(self._flying) >= 4 * PARALLEL:
            self.settle()
        self._flying.append(self._pool.submit(self._put, path, raw))

    def settle(self) -> None:
        """Wait for every put; one that failed raises."""
        flying, self._flying = self._flying, []
        wait(flying)
        for put in flying:
            put.result()

    def remove(self, folder: str) -> None:
        """Delete the objects below a folder; what can't be deleted stays, and does no harm."""
        try:
            paths = [found["path"] for page in obstore.list(self._store, f"{folder}/") for found in page]
            obstore.delete(self._store, paths)
        except (BaseError, OSError):
            return

    def sync(self, size: int) -> None:
        """Nothing to do: an acknowledged put is durable."""

    def synced(self) -> int:
        """Everything that is there."""
        return MAX_SIZE

    def _put(self, path: str, raw: bytes) -> None:
        try:
            obstore.put(self._store, path, raw, use_multipart=False)
        except (BaseError, FileNotFoundError) as e:
            raise _trouble(f"{path} can't be written to {self.name}", e) from e


def _trouble(what: str, error: Exception) -> OSError:
    return OSError(f"{what}: {first_line(error)}")
