"""kill -9 of a process that sends alerts: none is lost, and none comes twice under the same number of an attempt.

Half of the kills come at the worst moment: the receiver has taken the alert, and has not answered yet. The others come at
random. `LIMEN_KILLS` sets how many (6 in `make test`).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from receivers import Webhook

KILLS = min(int(os.environ.get("LIMEN_KILLS", "6")), 500)
SENDER = Path(__file__).with_name("alert_sender.py")
COUNT = 30


def killed_again_and_again(book, kind, *, kills, seed):
    """What the receiver got, as (id, attempt), when all was sent at last; and how many processes were killed."""
    draw = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": str(SENDER.parents[1])}
    died = 0
    with Webhook() as webhook:
        command = [sys.executable, str(SENDER), str(book), webhook.url, str(COUNT), kind]
        for n in range(kills):
            left = draw.randrange(1, 6)
            with subprocess.Popen(command, env=environment) as process:

                def answer(event, process=process):
                    nonlocal left
                    left -= 1
                    if left == 0 and process.poll() is None:
                        process.send_signal(signal.SIGKILL)
                    return 204

                webhook.status = answer if n % 2 else 204
                try:
                    process.wait(None if n % 2 else draw.uniform(0.3, 0.8))
                except subprocess.TimeoutExpired:
                    process.kill()
                died += process.wait() == -signal.SIGKILL
        webhook.status = 204
        subprocess.run(command, env=environment, check=True, timeout=120)
        return [(event["id"], event["limenattempt"]) for event in webhook.events()], died


def test_after_kills_every_alert_has_arrived_and_every_repeat_is_numbered(tmp_path):
    got, died = killed_again_and_again(tmp_path / "watch.db", "careful", kills=KILLS, seed=1)
    assert died >= min(KILLS // 2, 3)
    assert {id_ for id_, _ in got} == {f"{n:032x}" for n in range(COUNT)}
    assert [pair for pair, times in Counter(got).items() if times > 1] == []
    if KILLS > 50:
        print(f"{died} kills, {len(got)} deliveries of {COUNT} alerts")


def test_control_a_number_taken_afterwards_comes_twice(tmp_path):
    for seed in range(5):
        got, _ = killed_again_and_again(tmp_path / f"{seed}.db", "careless", kills=4, seed=seed)
        if any(times > 1 for times in Counter(got).values()):
            return
    pytest.fail("an alert that was repeated under its number was not noticed")
