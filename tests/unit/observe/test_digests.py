"""CloudTrail's digest files: what they prove to be all there, and what they show to be lost."""

import gzip
import hashlib
import json

import pytest

from limen.core.intervals import Intervals
from logs import ACCOUNT, APRIL, cloudtrail, log_file, log_name, moment

HOUR = 3600
FOLDER = f"AWSLogs/{ACCOUNT}/CloudTrail"
REGION = "eu-central-1"


def us(at):
    return int(at) * 1_000_000


class Trail:
    """Log files and a chain of digests, hour after hour."""

    def __init__(self, lab):
        self.lab = lab
        self.before = None

    def hour(self, number, events, *, region=REGION):
        """Deliver one hour: a log file, if there are events, and its digest. Returns the log file's path."""
        start, listed, path = APRIL + number * HOUR, [], None
        if events:
            records = [cloudtrail(number * 1000 + n, at=start + n * 600) for n in range(events)]
            name = f"{FOLDER}/{region}/{log_name(number, at=start + HOUR - 300)}"
            packed = log_file(*records)
            path = self.lab.put(name, packed)
            listed.append(
                {
                    "s3Bucket": "trail",
                    "s3Object": name,
                    "hashValue": hashlib.sha256(gzip.decompress(packed)).hexdigest(),
                    "hashAlgorithm": "SHA-256",
                    "oldestEventTime": moment(start),
                    "newestEventTime": moment(start + (events - 1) * 600),
                }
            )
        return path, self.digest(start, listed, region=region)

    def digest(self, start, listed, *, region=REGION):
        """A digest, behind the one before."""
        stamp = moment(start + HOUR).replace("-", "").replace(":", "")
        name = f"{FOLDER}-Digest/{region}/{ACCOUNT}_CloudTrail-Digest_{region}_aurelia_{region}_{stamp}.json.gz"
        before = self.before or (None, None)
        raw = json.dumps(
            {
                "awsAccountId": ACCOUNT,
                "digestStartTime": moment(start),
                "digestEndTime": moment(start + HOUR),
                "digestS3Object": name,
                "previousDigestS3Object": before[0],
                "previousDigestHashValue": before[1],
                "logFiles": listed,
            }
        ).encode()
        self.before = (name, hashlib.sha256(raw).hexdigest())
        return self.lab.put(name, gzip.compress(raw, mtime=0))


@pytest.fixture
def trail(lab):
    return Trail(lab)


def covers(lab, scope="s3://orchid-data"):
    return list(lab.depot.coverage()["trail-eu", scope])


def test_quiet_hours_are_covered_where_digests_say_that_nothing_was_logged(lab, trail):
    for number in range(12):
        trail.hour(number, 3 if number in (0, 11) else 0)
    code, answer = lab.run("cloudtrail", "--scope", "s3://orchid-data")
    assert (code, answer["new"]) == (0, 6)
    assert covers(lab) == [(us(APRIL), us(APRIL + 12 * HOUR - 900))]


def test_without_digests_the_same_quiet_hours_are_not(lab, trail):
    for number in range(12):
        trail.hour(number, 3 if number in (0, 11) else 0)[1].unlink()
    lab.run("cloudtrail", "--scope", "s3://orchid-data")
    assert covers(lab) == [(us(APRIL), us(APRIL + 1200) + 1), (us(APRIL + 11 * HOUR), us(APRIL + 11 * HOUR + 1200) + 1)]


def test_a_log_file_that_a_digest_names_and_nobody_has_is_a_hole(lab, trail):
    paths = [trail.hour(number, 6)[0] for number in range(5)]
    lost = paths[2].read_bytes()
    paths[2].unlink()
    lab.run("cloudtrail", "--scope", "s3://orchid-data")
    start = APRIL + 2 * HOUR
    assert not Intervals.of(covers(lab)).within(us(start), us(start + 3000))
    assert [hole.why for hole in lab.depot.imports()[0].manifest.holes] == ["CloudTrail's digest names it, and it is not here"]
    paths[2].write_bytes(lost)  # it comes late, and the hole is gone
    assert lab.run("cloudtrail", "--scope", "s3://orchid-data")[1]["new"] == 6
    assert covers(lab)[0][1] >= us(APRIL + 5 * HOUR - 900)


def test_a_log_file_that_was_changed_is_a_hole_however_often_it_is_imported(lab, trail):
    paths = [trail.hour(number, 6)[0] for number in range(5)]
    records = json.loads(gzip.decompress(paths[2].read_bytes()))["Records"]
    paths[2].write_bytes(log_file(*records[:2], *records[3:]))
    for _ in range(2):
        lab.run("cloudtrail", "--scope", "s3://orchid-data")
        start = APRIL + 2 * HOUR
        assert not Intervals.of(covers(lab)).within(us(start), us(start + 3000))


def test_a_digest_that_its_successor_does_not_know_proves_nothing(lab, trail):
    digests = [trail.hour(number, 0)[1] for number in range(6)]
    trail.hour(6, 2)
    told = json.loads(gzip.decompress(digests[3].read_bytes()))
    digests[3].write_bytes(gzip.compress(json.dumps({**told, "awsAccountId": "0"}).encode()))
    code, answer = lab.run("cloudtrail", "--scope", "s3://orchid-data")
    assert code == 6
    assert [why for *_, why in answer["errors"]] == ["is not the digest that the next one names"]
    assert covers(lab) == [(us(APRIL), us(APRIL + 3 * HOUR - 900)), (us(APRIL + 4 * HOUR), us(APRIL + 7 * HOUR - 900))]


def test_only_what_every_region_proves_is_covered(lab, trail):
    for number in range(4):
        trail.hour(number, 0)
    other = Trail(lab)
    for number in range(2, 6):
        other.hour(number, 2 if number == 2 else 0, region="us-east-1")
    lab.run("cloudtrail", "--scope", "s3://orchid-data")
    assert covers(lab) == [(us(APRIL + 2 * HOUR), us(APRIL + 4 * HOUR - 900))]


def test_what_is_called_a_digest_and_is_none_is_told(lab, trail):
    path = trail.hour(0, 0)[1]
    for raw in (b"{}", b"\x1f\x8bxx", gzip.compress(b"[]"), gzip.compress(b"{}" * 99)[:-4]):
        path.write_bytes(raw)
        code, answer = lab.run("cloudtrail")
        assert (code, answer["bad"], answer["new"]) == (6, 1, 0)
