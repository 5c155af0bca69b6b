"""`tools/lab DIRECTORY [--full]`: make the lab, and serve its buckets until interrupted."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

from lab.build import FULL, SMALL, build
from lab.storage import Storage


def main(directory: str, *more: str) -> None:
    """Make it, serve it, wait."""
    root = Path(directory)
    lab = build(root, FULL if "--full" in more else SMALL)
    with Storage(root / "moto.log") as storage:
        storage.fill(lab)
        print(f"the lab is in {root}: {dict(lab.truth.kept)}; its buckets are served until you press Ctrl-C")
        print("\n".join(f"export {name}={value}" for name, value in storage.environment.items()), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


main(*sys.argv[1:])
