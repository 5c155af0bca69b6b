"""A process to be killed: copies a log once.

    mirror_copier.py DIRECTORY URL honest|early

`early` is the negative control: a mirror that puts the checkpoint out before it has what lies under it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from limen.ledger.witnesses.mirror import Mirror
from limen.verify.published import Published
from limen.verify.remote import Remote
from witnessing import LOG

NOW = 1_780_000_000


class EarlyMirror(Mirror):
    """Trusts that what it has begun it will finish."""

    def _hold(self, shown):
        self._place.root.mkdir(parents=True, exist_ok=True)
        held = self.held
        self._publish(shown, b"")
        self.held = held
        super()._hold(shown)


if __name__ == "__main__":
    kind = EarlyMirror if sys.argv[3] == "early" else Mirror
    kind(Path(sys.argv[1]), Published(Remote(sys.argv[2])), LOG.verifier).update(NOW)
