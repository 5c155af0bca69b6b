"""A vendor is paused: its running downloads end at once, stalled readers' too, and nobody else notices anything.

Times are the client's: from before the order is sent until the kernel here knows that the connection is gone. The
downloads are plain sockets, so that nothing between the gateway and the test reads ahead.
"""

import asyncio
import contextlib
import random
import re
import select
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from limen.cli.link import call
from limen.core.errors import SessionEnded
from limen.core.types import Session
from limen.identity.live import Live, Pause
from limen.transport import SEND_BUFFER
from simulator import REGION, World, records

EACH, STALLED = 100, 10
BAR_S = 0.25
BLOB = random.Random(5).randbytes(8 << 20)
SFT = records(400)
READ = 16 << 10
RECEIVE_BUFFER = 32 << 10
CHUNK = 1 << 20
ORDER = {"subject": "vendor/quillwork", "reason": "the vendor was breached", "essential": [], "contact": "sec@lab.example"}
WORDS = re.compile(r"vendor/quillwork is paused since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ: .+ Ask sec@lab.example")


class Download:
    """One GET of the blob on a socket of its own. `read` counts body bytes, each compared with what it should be."""

    def __init__(self, someone, *, stalled=False):
        self.someone, self.stalled = someone, stalled
        self.vendor = "tessel" if someone.subject.startswith("t") else "quillwork"
        self.read, self.right, self.over, self.head = 0, True, False, b""
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.buffer = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.socket.setblocking(False)

    async def start(self):
        loop = asyncio.get_running_loop()
        request = self.someone.signed("GET", "orchid/orchid-blob/blob.bin")
        lines = [
            "GET /orchid/orchid-blob/blob.bin HTTP/1.1",
            f"Host: 127.0.0.1:{self.someone.world.port}",
            *(f"{name}: {value}" for name, value in request.headers.items()),
        ]
        await loop.sock_connect(self.socket, ("127.0.0.1", self.someone.world.port))
        await loop.sock_sendall(self.socket, "\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.head:
            self.head += await loop.sock_recv(self.socket, 4096)
        self.head, _, body = self.head.partition(b"\r\n\r\n")
        assert self.head.startswith(b"HTTP/1.1 200"), self.head
        self._take(body)

    async def some(self):
        """Read once; the download is over at the end of its length, at an EOF, and at a reset."""
        try:
            chunk = await asyncio.get_running_loop().sock_recv(self.socket, READ)
        except ConnectionError:
            chunk = b""
        self.over = not chunk
        self._take(chunk)

    async def run(self, pause_s, hurry):
        """Read slowly until told to hurry."""
        while not self.over:
            await self.some()
            if not hurry.is_set():
                await asyncio.sleep(pause_s)

    async def drain(self):
        while not self.over:
            await self.some()

    def _take(self, chunk):
        self.right = self.right and chunk == BLOB[self.read : self.read + len(chunk)]
        self.read += len(chunk)
        self.over = self.over or self.read == len(BLOB)


class Watch(threading.Thread):
    """Notes when the kernel learns that each connection is gone, whether or not anybody reads from it."""

    def __init__(self, downloads):
        super().__init__()
        self.gone, self._enough = {}, threading.Event()
        self._places = {d.socket.fileno(): d for d in downloads}

    def run(self):
        with select.epoll() as poll:
            for place in self._places:
                poll.register(place, select.EPOLLRDHUP)  # HUP and ERR are always told
            while len(self.gone) < len(self._places) and not self._enough.is_set():
                for place, _ in poll.poll(0.05):
                    poll.unregister(place)
                    self.gone[self._places[place]] = time.monotonic()

    def finish(self):
        self._enough.set()
        self.join()


async def cut(world, *, each, stalled):
    """Start `each` downloads for both vendors, pause quillwork, and let everybody read to their end.

    Returns the downloads of both, when the order was sent, when each of quillwork's was seen to be gone within 2 s, and
    what each of quillwork's had read when the order was sent.
    """
    people = [world.login(f"q{n:02}") for n in range(1, 13)] + [world.login("ci")]
    others = [world.login("t01"), world.login("t02")]
    ours = [Download(people[n % len(people)], stalled=n < stalled) for n in range(each)]
    theirs = [Download(others[n % len(others)], stalled=n < stalled) for n in range(each)]
    hurry, hurry_others = asyncio.Event(), asyncio.Event()
    with contextlib.ExitStack() as stack:
        for download in [*ours, *theirs]:
            stack.enter_context(download.socket)
        for download in [*ours, *theirs]:
            await download.start()
        readers = [asyncio.create_task(d.run(0.1, hurry)) for d in ours if not d.stalled]
        readers += [asyncio.create_task(d.run(0.1, hurry_others)) for d in theirs if not d.stalled]
        await asyncio.sleep(0.5)
        assert not any(d.over for d in [*ours, *theirs])
        watch = Watch(ours)
        watch.start()

        def order():
            at = time.monotonic()
            return at, call(world.data, "pause", ORDER)

        had = {d: d.read for d in ours}
        at, answer = await asyncio.to_thread(order)
        hurry.set()
        await asyncio.to_thread(watch.join, 2)
        watch.finish()
        hurry_others.set()
        await asyncio.gather(*readers, *(d.drain() for d in [*ours, *theirs] if d.stalled))
    return ours, theirs, at, watch.gone, had, answer


def late(ours, at, gone):
    """Those whose connection still stood 250 ms after the order."""
    return [d for d in ours if gone.get(d, float("inf")) - at > BAR_S]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World.make(tmp_path_factory.mktemp("pause"), sft=SFT, blob=BLOB).serve()
    yield world
    world.stop()


@pytest.fixture
def paused(world):
    """Pauses quillwork when called; lifted after the test."""

    def pause(*more):
        return world.ask_json("pause", "vendor/quillwork", "--reason", "breach", "--contact", "sec@lab.example", *more)

    yield pause
    if any(line["subject"] == "vendor/quillwork" for line in call(world.data, "show", {"what": "pauses"})):
        world.limen("resume", "vendor/quillwork", "--reason", "over")


def login_refused(world, subject):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        world.login(subject)
    with refusal.value as answer:
        return answer.read().decode()


def presigned(someone, path):
    request = AWSRequest(method="GET", url=f"{someone.world.url}/{path}")
    S3SigV4QueryAuth(someone.credentials, "s3", REGION, expires=900).add_auth(request)
    return request.url


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read()


def test_a_hundred_downloads_end_within_250_ms_of_the_order_and_another_vendors_hundred_complete(world, paused):
    ours, theirs, at, gone, had, answer = asyncio.run(cut(world, each=EACH, stalled=STALLED))
    took = sorted(1000 * (moment - at) for moment in gone.values())
    more = max(d.read - had[d] for d in ours if d.stalled)
    print(f"order to end, ms: first {took[0]:.1f}, median {took[len(took) // 2]:.1f}, last {took[-1]:.1f};", end=" ")
    print(f"stalled readers got at most {more} bytes more")
    assert late(ours, at, gone) == []
    assert answer["streams"] == EACH
    assert all(d.read - had[d] <= d.buffer + SEND_BUFFER + CHUNK for d in ours)
    assert all(d.right and d.read < len(BLOB) for d in ours)
    assert all(d.right and d.read == len(BLOB) for d in theirs)
    deadline = time.monotonic() + 10
    while call(world.data, "status", {})["streams"] and time.monotonic() < deadline:
        time.sleep(0.01)
    report = world.ask_json("exposure", "vendor/quillwork")
    [blob] = [asset for asset in report["assets"] if asset["asset"] == "orchid-blob"]
    assert report["unknown"] == []  # every download that was cut has its outcome
    assert sum(d.read for d in ours) <= sum(line["bytes"] for line in blob["people"]) < EACH * len(BLOB)


def test_the_250_ms_check_notices_a_gateway_that_pauses_without_aborting_streams(tmp_path):
    world = World.make(tmp_path, blob=BLOB)
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from limen.identity.live import Live\nLive.abort = lambda self, covers: 0\nfrom limen.cli import main\nmain()\n"
    )
    world.command = (sys.executable, str(broken))
    world.serve()
    try:
        ours, _, at, gone, _, _ = asyncio.run(cut(world, each=12, stalled=6))
    finally:
        world.stop()
    assert set(late(ours, at, gone)) >= {d for d in ours if d.stalled}


def test_the_byte_bound_notices_a_gateway_that_neither_aborts_nor_checks_each_chunk(tmp_path):
    world = World.make(tmp_path, blob=BLOB)
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from limen.identity.live import Live\n"
        "Live.abort = Live.check = lambda self, *whom: 0\n"
        "from limen.cli import main\n"
        "main()\n"
    )
    world.command = (sys.executable, str(broken))
    world.serve()
    try:
        ours, _, _, _, had, _ = asyncio.run(cut(world, each=6, stalled=3))
    finally:
        world.stop()
    assert all(d.read - had[d] > d.buffer + SEND_BUFFER + CHUNK for d in ours if d.stalled)


def test_every_way_in_that_was_opened_before_is_refused_in_the_pauses_words(world, paused):
    q01, t01 = world.login("q01"), world.login("t01")
    link = presigned(q01, "orchid/orchid-blob/blob.bin")
    assert fetch(link)[0] == 200
    s3 = q01.boto3()
    upload = s3.create_multipart_upload(Bucket="orchid", Key="quill-assessments/a.bin")["UploadId"]
    part = {"Bucket": "orchid", "Key": "quill-assessments/a.bin", "UploadId": upload}
    done = s3.upload_part(**part, PartNumber=1, Body=b"x" * (5 << 20))
    paused()

    old = q01.get("orchid-blob/blob.bin", start=0, end=10)
    assert (old.status, old.code, old.headers["x-limen-reason"]) == (403, "AccessDenied", "paused")
    assert WORDS.search(old.message)
    assert WORDS.search(login_refused(world, "q01"))
    assert WORDS.search(login_refused(world, "ci"))
    status, said = fetch(link)
    assert status == 403
    assert WORDS.search(said.decode())
    for ask in (
        lambda: s3.upload_part(**part, PartNumber=2, Body=b"y" * 100),
        lambda: s3.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": done["ETag"]}]}),
        lambda: s3.list_objects_v2(Bucket="orchid"),
    ):
        with pytest.raises(ClientError) as refusal:
            ask()
        assert WORDS.search(refusal.value.response["Error"]["Message"])
    s3.close()
    assert t01.get("orchid-blob/blob.bin").body == BLOB


def test_an_upload_that_is_running_is_cut_too_and_is_not_kept(world, paused):
    q02 = world.login("q02")
    request = q02.signed("PUT", "orchid/quill-assessments/half.bin", body=b"z" * 100_000)
    head = [f"PUT /orchid/quill-assessments/half.bin HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nContent-Length: 100000\r\n"]
    head += [f"{name}: {value}\r\n" for name, value in request.headers.items() if name.lower() != "content-length"]
    with socket.create_connection(("127.0.0.1", world.port), timeout=10) as connection:
        connection.sendall("".join([*head, "\r\n"]).encode() + b"z" * 50_000)
        deadline = time.monotonic() + 10
        while call(world.data, "status", {})["streams"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert paused()["streams"] == 1
        with pytest.raises(ConnectionError):
            connection.recv(4096)
    world.limen("resume", "vendor/quillwork", "--reason", "over")
    s3 = world.login("q02").boto3()
    assert s3.list_objects_v2(Bucket="orchid", Prefix="quill-assessments/")["KeyCount"] == 0
    s3.close()


def test_order_to_last_byte_is_an_entry_when_the_command_ordered_it(world, paused):
    answer = paused()
    lines = world.limen("ledger", "tail", "-n", "50", "--json").stdout
    assert answer["measured_entry"] > answer["entry"]
    assert "pause.measured" in lines
    assert f'"last_byte_us":{answer["order_to_last_byte_us_at_most"]}' in lines.replace(" ", "")


def test_after_resume_people_log_in_again_and_what_the_pause_cut_stays_ended(world, paused):
    before = world.login("q03")
    paused()
    world.limen("resume", "vendor/quillwork", "--reason", "cleared")
    again = world.login("q03")
    assert again.get("orchid-blob/blob.bin", start=0, end=10).body == BLOB[:10]
    ended = before.get("orchid-blob/blob.bin", start=0, end=10)
    assert (ended.status, ended.code) == (400, "ExpiredToken")


def test_two_pauses_within_one_second_both_end_the_sessions_before_them():
    live, now = Live(), 1_800_000_000
    session = Session("s1", "quillwork/q01", "quillwork", None, "orchid", "p1", "LMN", "single", now, now + 3600)
    order = Pause("vendor/quillwork", "breach", now, "sec@lab.example")
    for _ in range(3):
        live.pause(order)
        live.lift(order.subject)
        with pytest.raises(SessionEnded):
            live.check(session)
        session = replace(session, issued_at=max(now, live.issue_after(session)))
        live.check(session)


def test_a_second_order_that_spares_somebody_does_not_revive_the_session_that_the_first_one_cut():
    live, now = Live(), 1_800_000_000
    session = Session("s1", "quillwork/q01", "quillwork", None, "orchid", "p1", "LMN", "single", now, now + 3600)
    order = Pause("vendor/quillwork", "breach", now, "sec@lab.example")
    live.pause(order)
    live.pause(replace(order, essential=frozenset({"person/quillwork/q01"})))
    with pytest.raises(SessionEnded):
        live.check(session)
    live.check(replace(session, issued_at=live.issue_after(session)))


def test_a_dry_run_says_whom_it_would_cut_and_changes_nothing(world, paused):
    q04 = world.login("q04")
    size = call(world.data, "status", {})["size"]
    answer = paused("--dry-run")
    assert {"quillwork/q04", "quillwork/ci"} <= set(answer["people"])
    assert any(session["holder"] == "quillwork/q04" for session in answer["sessions"])
    assert call(world.data, "status", {})["size"] == size
    assert call(world.data, "show", {"what": "pauses"}) == []
    assert q04.get("orchid-blob/blob.bin", start=0, end=10).status == 206


def test_an_essential_persons_work_goes_on_while_the_rest_are_cut(world, paused):
    q05, q06 = world.login("q05"), world.login("q06")
    answer = paused("--essential", "person/quillwork/q05")
    assert "quillwork/q05" not in answer["people"]
    assert q05.get("orchid-blob/blob.bin").body == BLOB
    assert world.login("q05").get("orchid-blob/blob.bin", start=0, end=10).status == 206
    assert q06.get("orchid-blob/blob.bin").headers["x-limen-reason"] == "paused"


def test_a_pause_and_the_sessions_it_ended_survive_a_kill_and_a_restart(world, paused):
    q07 = world.login("q07")
    paused("--essential", "person/quillwork/q05")
    world.stop(kill=True)
    world.serve()
    assert q07.get("orchid-blob/blob.bin", start=0, end=10).headers["x-limen-reason"] == "paused"
    assert WORDS.search(login_refused(world, "q08"))
    assert world.login("q05").get("orchid-blob/blob.bin", start=0, end=10).status == 206
    world.limen("resume", "vendor/quillwork", "--reason", "cleared")
    world.stop()
    world.serve()
    assert q07.get("orchid-blob/blob.bin", start=0, end=10).code == "ExpiredToken"
