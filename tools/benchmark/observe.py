"""`tools/bench observe [N] [--keep DIR]`: imports N CloudTrail events (2,000,000 unless told) and asks about them.

It generates 30 days of log files itself, each record with all of CloudTrail's fields; imports them by the command, in a
process of its own; beside it, in the same run, gunzips and parses a share of the same files and does nothing else. Then it
asks for the observed part of one vendor's exposure over all 30 days, and imports the same files again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ACCOUNT = "111122223333"
START = 1_775_001_600  # 2026-04-01T00:00:00Z
DAYS = 30
A_FILE = 8_000  # records
VENDORS = ("quillwork", "tessel", "brightline")
PEOPLE = 1_000
SHARDS = 4_000
READS = 0.9
LAB = 0.7  # the share of the lab's own jobs; each of three vendors has a tenth
YARDSTICK = """
import gzip, json, sys, time
began = time.process_time()
count = sum(len(json.loads(gzip.decompress(open(path, "rb").read()))["Records"]) for path in sys.argv[1:])
print(json.dumps({"events": count, "cpu_s": time.process_time() - began}))
"""
GUNZIP = """
import gzip, json, sys, time
began = time.process_time()
for path in sys.argv[1:]: gzip.decompress(open(path, "rb").read())
print(json.dumps({"cpu_s": time.process_time() - began}))
"""
ASK = """
import json, sys, time
from pathlib import Path
from limen.observe.depot import Depot
from limen.observe.who import Who
from limen.response.observed import Look, report
since, until = int(sys.argv[3]), int(sys.argv[4])
who, depot, took = Who.read(Path(sys.argv[2]).read_bytes()), Depot.open(Path(sys.argv[1])), []
for _ in range(5):
    began, ran = time.perf_counter(), time.process_time()
    found = report(depot, who, Look("vendor/quillwork", since, until, until, lambda _: "orchid"))
    took.append((time.perf_counter() - began, time.process_time() - ran))
print(json.dumps({"rows": len(found["rows"]), "seen": sum(row["observations"] for row in found["rows"]), "took": took}))
"""


def record(draw: random.Random, at: int) -> str:
    """One record, as CloudTrail writes it: about 1.5 kB."""
    person = draw.randrange(PEOPLE)
    vendor = VENDORS[person % 3]
    role, session = f"{vendor}-annotator", f"{vendor[:1]}{person:04}"
    if draw.random() < LAB:
        role, session = "training-pipeline", f"job-{person % 40}"
    key = f"ASIA{person * 7919 + at // 43200:016X}"
    place, shard = f"orchid-{vendor}", f"sft/v{person % 5}/shard-{draw.randrange(SHARDS):05}.jsonl"
    name = "GetObject" if draw.random() < READS else "HeadObject"
    noise = f"{draw.getrandbits(512):0128x}"
    return (
        f'{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","principalId":"AROA3XFRBF535EXAMPLE1:{session}",'
        f'"arn":"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}","accountId":"{ACCOUNT}","accessKeyId":"{key}",'
        f'"sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROA3XFRBF535EXAMPLE1",'
        f'"arn":"arn:aws:iam::{ACCOUNT}:role/{role}","accountId":"{ACCOUNT}","userName":"{role}"}},'
        f'"attributes":{{"creationDate":"{stamp(at - at % 3600)}","mfaAuthenticated":"false"}}}}}},"eventTime":"{stamp(at)}",'
        f'"eventSource":"s3.amazonaws.com","eventName":"{name}","awsRegion":"eu-central-1",'
        f'"sourceIPAddress":"203.0.{person % 200}.{person % 250}","userAgent":"[Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 '
        f'os/linux#6.8.0 md/arch#x86_64 lang/python#3.12.3 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.40.1]",'
        f'"requestParameters":{{"bucketName":"{place}","Host":"{place}.s3.eu-central-1.amazonaws.com","key":"{shard}"}},'
        f'"responseElements":null,"additionalEventData":{{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256",'
        f'"bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"{noise[:76]}=",'
        f'"bytesTransferredOut":{draw.randrange(1 << 22)}}},"requestID":"{noise[76:92].upper()}",'
        f'"eventID":"{noise[92:100]}-{noise[100:104]}-4{noise[104:107]}-a{noise[107:110]}-{noise[110:122]}","readOnly":true,'
        f'"resources":[{{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::{place}/{shard}"}},'
        f'{{"accountId":"{ACCOUNT}","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::{place}"}}],"eventType":"AwsApiCall",'
        f'"managementEvent":false,"recipientAccountId":"{ACCOUNT}","eventCategory":"Data","tlsDetails":{{"tlsVersion":"TLSv1.3",'
        f'"cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{place}.s3.eu-central-1.amazonaws.com"}}}}'
    )


_stamps: dict[int, str] = {}


def stamp(at: int) -> str:
    """An RFC 3339 time."""
    if at not in _stamps:
        _stamps[at] = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _stamps[at]


def people() -> str:
    """The mapping: everybody by role and session, the lab's own jobs, and an asset for each bucket."""
    rules = [f'[[who]]\nprincipal = "aws:role/{ACCOUNT}/training-pipeline"\nlab = true\n']
    for person in range(PEOPLE):
        vendor = VENDORS[person % 3]
        name = f"{vendor[:1]}{person:04}"
        rules.append(
            f'[[who]]\nprincipal = "aws:role/{ACCOUNT}/{vendor}-annotator"\nsession = "{name}"\nperson = "{vendor}/{name}"\n'
        )
    rules += [f'[[place]]\nresource = "s3://orchid-{vendor}/*"\nasset = "orchid-{vendor}"\n' for vendor in VENDORS]
    return "\n".join(rules)


def make_file(folder: Path, number: int, first: int, last: int, count: int) -> tuple[int, int]:
    """One log file with the events of a stretch of time; the bytes of its records and its own."""
    draw = random.Random(number)
    moments = sorted(draw.randrange(first, last) for _ in range(count))
    draw.shuffle(moments)  # CloudTrail promises no order in a file
    raw = ('{"Records":[' + ",".join(record(draw, at) for at in moments) + "]}").encode()
    packed = gzip.compress(raw, 6)
    delivered = datetime.fromtimestamp(last + 240, UTC)
    path = (
        folder
        / delivered.strftime("%Y/%m/%d")
        / f"{ACCOUNT}_CloudTrail_eu-central-1_{delivered:%Y%m%dT%H%MZ}_{number:016x}.json.gz"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    return len(raw), len(packed)


def generate(folder: Path, events: int) -> tuple[int, int]:
    """All log files, on all cores; plain and packed bytes."""
    files = max(DAYS, -(-events // A_FILE))
    edges = [START + DAYS * 86_400 * n // files for n in range(files + 1)]
    counts = [events * (n + 1) // files - events * n // files for n in range(files)]
    with ProcessPoolExecutor() as pool:
        sizes = list(pool.map(make_file, [folder] * files, range(files), edges, edges[1:], counts, chunksize=8))
    return sum(plain for plain, _ in sizes), sum(packed for _, packed in sizes)


def measured(*command: object) -> tuple[float, float, int, str]:
    """Run a command: seconds by the clock, seconds of processor, the most memory it had (bytes), and its answer."""
    began = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    answer = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[1:5]} exited {process.returncode}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, answer


def imports(place: Path, logs: Path) -> tuple[float, float, int, dict[str, Any]]:
    """Import everything by the command."""
    limen = Path(sys.executable).with_name("limen")
    words = ["observe", "import", "cloudtrail", logs, "--source", "trail-eu", "--data", place, "--json"]
    wall, cpu, memory, answer = measured(limen, *words)
    return wall, cpu, memory, json.loads(answer)


def main() -> None:
    """Generate, import, ask, import again; print each figure with what it is compared to."""
    asked = argparse.ArgumentParser(prog="tools/bench observe")
    asked.add_argument("events", nargs="?", type=int, default=2_000_000)
    asked.add_argument("--keep", type=Path, help="use and keep this directory's logs")
    given = asked.parse_args()
    began = time.time()
    base = given.keep or Path(tempfile.mkdtemp(prefix="limen-observe-"))
    logs, data = base / "logs", base / "data"
    try:
        if not logs.exists():
            plain, packed = generate(logs, given.events)
            each = f"{plain / given.events:.0f} B a record"
            print(f"generated {given.events:,} events in {time.time() - began:.0f} s: {each}, {packed >> 20:,} MiB as gzip")
        shutil.rmtree(data, ignore_errors=True)
        subprocess.run([Path(sys.executable).with_name("limen"), "init", data, "--dev"], check=True, capture_output=True)
        every = sorted(logs.rglob("*.gz"))
        some = every[:: max(1, len(every) // 40)][:40]
        yard = [json.loads(measured(sys.executable, "-c", YARDSTICK, *some)[3])]
        wall, cpu, memory, answer = imports(data, logs)
        yard.append(json.loads(measured(sys.executable, "-c", YARDSTICK, *some)[3]))
        gunzip = json.loads(measured(sys.executable, "-c", GUNZIP, *some)[3])
        rate = answer["events"] / cpu
        beside = statistics.mean(one["events"] / one["cpu_s"] for one in yard)
        print(
            f"imported  {answer['events']:,} events: {rate:,.0f} a second and core"
            f" ({cpu:.0f} s of processor, {wall:.0f} s by the clock)"
        )
        print(f"          at most {memory / 2**20:,.0f} MiB of memory")
        print(
            f"beside    gunzip and json.loads alone {beside:,.0f},"
            f" gunzip alone {yard[0]['events'] / gunzip['cpu_s']:,.0f} events a second and core"
        )
        print(f"          the import is {rate / beside:.2f} x gunzip and json.loads")
        window = START * 1_000_000, (START + DAYS * 86_400) * 1_000_000
        mapping = base / "who.toml"
        mapping.write_text(people())
        question = json.loads(measured(sys.executable, "-c", ASK, data / "observed", mapping, *window)[3])
        first, *later = question["took"]
        print(
            f"asked     the observed exposure of one vendor, {question['rows']:,} people, {DAYS} days,"
            f" {question['seen']:,} events:"
            f" first {first[0]:.2f} s, then {statistics.median(wall for wall, _ in later):.2f} s"
            f" ({statistics.median(cpu for _, cpu in later):.2f} s of processor)"
        )
        size = sum(path.stat().st_size for path in (data / "observed").rglob("*.parquet"))
        print(f"          {size / max(1, answer['new']):.0f} bytes an observation at rest")
        wall, cpu, memory, again = imports(data, logs)
        print(
            f"again     {again['new']} new, entry {again['entry']}: {again['events'] / cpu:,.0f} events a second and core,"
            f" at most {memory / 2**20:,.0f} MiB"
        )
        print(f"in all    {time.time() - began:.0f} s, load average {os.getloadavg()[0]:.2f}")
    finally:
        if given.keep is None:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
