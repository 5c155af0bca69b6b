"""A process that brings alerts to a webhook until none waits: BOOK URL COUNT KIND. It is killed while it does.

`careless` takes an attempt's number only once the attempt was made, as a naive outbox would.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from limen.watch.book import Book, Found
from limen.watch.courier import Courier
from limen.watch.outgoing import sender
from limen.watch.target import Target
from receivers import SECRET


class Careless(Courier):
    def step(self, book):
        due = book.due(self.target.name, self._now_us())
        if due is None:
            return False
        self._send(self._alert(due, due.attempts + 1))
        book.begin(due, self.target.name, again_us=0)
        book.arrived(due.uid, self.target.name, self._now_us())
        return True


def main(path, url, count, kind):
    target = Target(name="soc", kind="webhook", url=url)
    now_us = lambda: time.time_ns() // 1000  # noqa: E731  the wall clock, as the gateway has it
    with Book(path) as book:
        raw = json.dumps({"finding_info": {"title": "t", "analytic": {"uid": "bulk-read"}}}).encode()
        some = [Found(f"{n:032x}", n, "bulk-read", 3, n, 0, "r", again=False, raw=raw) for n in range(count)]
        book.keep(some, {}, queue=[(found.uid, target.name) for found in some], now_us=now_us())
        send = sender(target, SECRET, data=path.parent, now=time.time)
        courier = {"careful": Courier, "careless": Careless}[kind](target, send, book=path, source="lab", now_us=now_us)
        while book.waiting():
            if not courier.step(book):
                time.sleep(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
