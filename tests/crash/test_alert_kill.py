"""kill -9 of a process that sends alerts: none is lost, and none comes twice under the same number of an attempt.

Half of the kills come at the worst moment: the receiver has taken the alert, and has not answered yet. The others come at
random. `LIMEN_KILLS` sets how many (4 in `make test`).
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

from receivers import Webhook

KILLS = int(os.environ.get("LIMEN_KILLS", "4"))
SENDER = Path(__file__).with_name("alert_sender.py")
MOST_AT_ONCE = 6


def ending(end, *, at):
    """What the receiver answers; at the delivery of that number the sender's end comes.

    Each round counts for itself: a straggler of the last one may still be answered while the next is on.
    """
    deliveries = itertools.count(1)

    def answer(_):
        if next(deliveries) == at:
            end()
        return 204

    return answer


def killed_again_and_again(book, kind, *, kills, seed):
    """What the receiver got, as (id, attempt), when all was sent at last; and how many alerts there were."""
    draw = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": str(SENDER.parents[1])}
    count = kills * MOST_AT_ONCE + 10
    with Webhook() as webhook:
        command = [sys.executable, str(SENDER), str(book), webhook.url, str(count), kind]
        for n in range(kills):
            with subprocess.Popen(command, env=environment) as process:
                later = threading.Timer(draw.uniform(0, 0.02), process.kill)
                webhook.status = ending(process.kill if n % 2 else later.start, at=draw.randrange(1, MOST_AT_ONCE))
                assert process.wait(60) == -signal.SIGKILL
        webhook.status = 204
        subprocess.run(command, env=environment, check=True, timeout=120)
        return [(event["id"], event["limenattempt"]) for event in webhook.events()], count


def test_after_kills_every_alert_has_arrived_and_every_repeat_is_numbered(tmp_path):
    got, count = killed_again_and_again(tmp_path / "watch.db", "careful", kills=KILLS, seed=1)
    assert {id_ for id_, _ in got} == {f"{n:032x}" for n in range(count)}
    assert [pair for pair, times in Counter(got).items() if times > 1] == []
    assert len(got) > count, "not one kill came between taking an alert and saying so"
    if KILLS > 50:
        print(f"{KILLS} kills, {len(got)} deliveries of {count} alerts")


def test_control_a_number_taken_afterwards_comes_twice(tmp_path):
    got, _ = killed_again_and_again(tmp_path / "watch.db", "careless", kills=3, seed=1)
    assert any(times > 1 for times in Counter(got).values())
