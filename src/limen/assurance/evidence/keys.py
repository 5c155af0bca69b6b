"""The evidence key: an Ed25519 seed in `DATA/keys/evidence.key`, and the entries that say from when on it was which.

Made when first needed. Its public half is an entry before it signs anything, so whoever trusts the log knows the key. A key
that the log holds and the directory has lost is not replaced in silence.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.durable import write_atomically
from limen.formats.sshsig import PublicKey, Signer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limen.assurance.evidence.filed import Filed
    from limen.filing import Filing

NAME: Final = "evidence.key"
SEED_BYTES: Final = 32


class Keys:
    """The evidence key of one data directory. Its coroutines run on the event loop's thread; `random` gives random bytes."""

    def __init__(self, data: Path, filed: Filed, filing: Filing, random: Callable[[int], bytes]) -> None:
        self._path = data / "keys" / NAME
        self._filed = filed
        self._filing = filing
        self._random = random
        self._one = asyncio.Lock()  # two exports at once must not make two keys

    async def current(self, *, by: str) -> tuple[Signer, int]:
        """The key, and the entry that holds its public half; made and entered if there is none yet. Invalid if it was lost."""
        async with self._one:
            logged = await asyncio.to_thread(self._logged)
            if not self._path.exists() and logged is not None:
                shown = logged[0].fingerprint
                why = f"is missing; the log holds {shown}. Put it back, or make another: limen evidence key --new"
                raise Invalid(str(self._path), why)
            signer = Signer(self._path.read_bytes()) if self._path.exists() else self._made()
            if logged is not None and logged[0] == signer.key:
                return signer, logged[1]
            return signer, await self._entered(signer, by)

    async def renew(self, *, by: str) -> tuple[Signer, int]:
        """A new key from now on. Bundles under the old one stay what they are: the log holds both."""
        async with self._one:
            signer = self._made()
            return signer, await self._entered(signer, by)

    def all(self) -> list[tuple[int, str]]:
        """Every key that the log holds, with its entry, the oldest first. Reads the disk."""
        return [(row.entry, str(row.fields["key"])) for row in self._filed.rows(["evidence.key"])]

    async def _entered(self, signer: Signer, by: str) -> int:
        filed = await self._filing.note("evidence.key", {"key": PublicKey(signer.key.raw).line}, by=by)
        return filed.entry

    def _logged(self) -> tuple[PublicKey, int] | None:
        rows = self.all()
        return (PublicKey.from_line(rows[-1][1]), rows[-1][0]) if rows else None

    def _made(self) -> Signer:
        """A new key, durable before it is used; an older one stays beside it under another name."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        if self._path.exists():
            old = Signer(self._path.read_bytes()).key
            self._path.replace(self._path.with_name(f"evidence-{old.raw.hex()[:16]}.key"))
        seed = self._random(SEED_BYTES)
        write_atomically(self._path, seed)
        self._path.chmod(0o600)
        return Signer(seed)
