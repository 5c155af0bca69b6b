"""CloudTrail from log file to observation: what a row says, that nothing is counted twice, and where coverage ends."""

import json

import pytest

from limen.core.events import decode
from limen.ledger.sqlite import SqliteStore
from logs import ACCOUNT, APRIL, assumed, cloudtrail, json_lines, log_file, log_name

HOUR = 3600


def spans(answer):
    return {row["scope"]: [tuple(span) for span in row["spans"]] for row in answer["covered"]}


def us(at):
    return int(at) * 1_000_000


def test_a_read_becomes_one_row_that_holds_no_more_than_it_must(lab):
    lab.put("one.json.gz", log_file(cloudtrail(5, at=APRIL + 9)))
    code, answer = lab.run("cloudtrail")
    assert (code, answer["grade"], answer["new"]) == (0, "observed", 1)
    [row] = lab.rows()
    assert len(row.pop("id")) == 16
    assert str(row.pop("day")) == "2026-04-01"
    assert row == {
        "source": "trail-eu",
        "kind": "cloudtrail",
        "at_us": us(APRIL + 9),
        "principal": f"aws:role/{ACCOUNT}/quill-annotator",
        "session": "q01",
        "credential": "ASIAEXAMPLE000000001",
        "action": "read",
        "resource": "s3://orchid-data/sft/shard-00005.jsonl",
        "bytes": 1005,
        "outcome": "ok",
        "network": "203.0.113.0/24",
        "detail": "",
        "entry": answer["entry"],
    }


IDENTITIES = [
    ({"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/teams/quill/ada"}, (f"aws:user/{ACCOUNT}/ada", "")),
    ({"type": "Root", "arn": f"arn:aws:iam::{ACCOUNT}:root", "accountId": ACCOUNT}, (f"aws:root/{ACCOUNT}", "")),
    (assumed("r", "s@x"), (f"aws:role/{ACCOUNT}/r", "s@x")),
    ({"type": "AWSAccount", "principalId": "AIDAX", "accountId": "999900001111"}, ("aws:account/999900001111", "")),
    ({"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS_PRINCIPAL"}, ("aws:anonymous", "")),
    ({"type": "AWSService", "invokedBy": "backup.amazonaws.com"}, ("aws:service/backup.amazonaws.com", "")),
    ({"type": "IAMUser", "accessKeyId": "AKIAEXAMPLE"}, ("aws:key/AKIAEXAMPLE", "")),
    ({"type": "WebIdentityUser", "identityProvider": "idp.example", "userName": "u1"}, ("aws:federated/idp.example/u1", "")),
    ({}, ("aws:unknown", "")),
]


def test_a_principal_is_named_by_its_grammar(lab):
    records = [cloudtrail(n, at=APRIL + n, userIdentity=identity) for n, (identity, _) in enumerate(IDENTITIES)]
    lab.put("one.json", json_lines(*records))
    assert lab.run("cloudtrail")[0] == 0
    assert lab.rows("principal, session") == [expected for _, expected in IDENTITIES]


ACTIONS = [
    ({"name": "HeadObject"}, [("head", "s3://orchid-data/sft/shard-00001.jsonl", "")]),
    (
        {"name": "ListObjects", "requestParameters": {"bucketName": "orchid-data", "prefix": "sft/"}},
        [("list", "s3://orchid-data/sft/", "")],
    ),
    ({"name": "ListBuckets", "requestParameters": None}, [("list", "s3://", "")]),
    ({"name": "DeleteObject", "readOnly": False}, [("delete", "s3://orchid-data/sft/shard-00001.jsonl", "")]),
    (
        {
            "name": "CopyObject",
            "readOnly": False,
            "requestParameters": {"bucketName": "away", "key": "k", "x-amz-copy-source": "orchid-data/a%20b.jsonl?versionId=3"},
        },
        [("write", "s3://away/k", ""), ("read", "s3://orchid-data/a b.jsonl", "s3.CopyObject")],
    ),
    (
        {"name": "PutBucketPolicy", "readOnly": False, "eventCategory": "Management", "requestParameters": {"bucketName": "b"}},
        [("admin", "s3://b/", "s3.PutBucketPolicy")],
    ),
    (
        {"name": "BrandNewObjectCall", "requestParameters": {"bucketName": "b", "key": "k"}},
        [("head", "s3://b/k", "s3.BrandNewObjectCall")],
    ),
    (
        {
            "requestParameters": {"bucketName": "arn:aws:s3:eu-central-1:111122223333:accesspoint/ap", "key": "k"},
            "resources": [{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::orchid-data/k"}],
        },
        [("read", "s3://orchid-data/k", "")],
    ),
    (
        {
            "name": "CreateAccessKey",
            "eventSource": "iam.amazonaws.com",
            "readOnly": False,
            "requestParameters": {"userName": "ada"},
            "responseElements": {"accessKey": {"accessKeyId": "AKIANEW", "status": "Active"}},
        },
        [("admin", f"aws:user/{ACCOUNT}/ada", "iam.CreateAccessKey AKIANEW")],
    ),
    (
        {
            "name": "AssumeRole",
            "eventSource": "sts.amazonaws.com",
            "requestParameters": {"roleArn": f"arn:aws:iam::{ACCOUNT}:role/deep/quill", "roleSessionName": "q07"},
            "responseElements": {"credentials": {"accessKeyId": "ASIANEW", "sessionToken": "not kept"}},
        },
        [("admin", f"aws:role/{ACCOUNT}/quill", "sts.AssumeRole ASIANEW q07")],
    ),
]


def test_an_event_is_named_by_what_it_does(lab):
    records = [cloudtrail(1, at=APRIL + n, **bent) for n, (bent, _) in enumerate(ACTIONS)]
    lab.put("one.json", json_lines(*records))
    assert lab.run("cloudtrail")[0] == 0
    for number, (_, expected) in enumerate(ACTIONS):
        found = lab.rows("action, resource, detail", f"at_us = {us(APRIL + number)}")
        assert sorted(found) == sorted(expected)


def test_an_error_becomes_an_outcome(lab):
    errors = ["AccessDenied", "NoSuchKey", None, "Client.InvalidAccessKeyId"]
    lab.put("one.json", json_lines(*(cloudtrail(n, at=APRIL + n, errorCode=error) for n, error in enumerate(errors))))
    lab.run("cloudtrail")
    assert lab.rows("outcome") == [("denied",), ("failed",), ("ok",), ("denied",)]


def test_events_of_other_services_are_counted_and_show_that_the_log_was_alive(lab):
    other = {"eventSource": "ec2.amazonaws.com", "name": "DescribeInstances", "requestParameters": {"key": [1]}}
    lab.put("x.json.gz", log_file(cloudtrail(1), *(cloudtrail(n, at=APRIL + n * 1800, **other) for n in range(2, 6))))
    code, answer = lab.run("cloudtrail", "--scope", "s3://orchid-data")
    assert (code, answer["new"], answer["left_out"]) == (0, 1, {"events of other services": 4})
    assert spans(answer) == {"s3://orchid-data": [(us(APRIL), us(APRIL + 9000) + 1)]}


def test_the_same_again_changes_nothing_in_any_order_or_overlap(lab):
    events = [cloudtrail(n, at=APRIL + n * 60) for n in range(300)]
    lab.put("a.json.gz", log_file(*events[:200]))
    lab.put("b.json.gz", log_file(*events[100:]))
    first = lab.run("cloudtrail")[1]
    before = lab.whole()
    assert (first["events"], first["kept"], first["new"], len(before)) == (400, 400, 300, 300)
    again = lab.run("cloudtrail")[1]
    assert (again["entry"], again["new"], lab.whole()) == (None, 0, before)
    lab.put("c.json.gz", log_file(*reversed(events)))  # other bytes, the same events
    entered = lab.run("cloudtrail", path=lab.logs / "c.json.gz")[1]
    assert (entered["new"], lab.whole()) == (0, before)
    assert entered["entry"] is not None  # these bytes were never read before


def test_late_events_join_the_day_they_belong_to(lab):
    lab.put("day2.json.gz", log_file(*(cloudtrail(n, at=APRIL + 86_400 + n) for n in range(5))))
    lab.run("cloudtrail")
    late = lab.put(
        "late.json.gz", log_file(*(cloudtrail(n, at=APRIL + n) for n in range(10, 15)), cloudtrail(3, at=APRIL + 86_403))
    )
    assert lab.run("cloudtrail", path=late)[1]["new"] == 5
    assert lab.rows("day::VARCHAR, count(*)", "true GROUP BY day, at_us, resource, principal")[:1] == [("2026-04-01", 1)]
    assert len(lab.rows("id")) == 10


def test_an_event_id_that_was_used_twice_hides_nothing(lab):
    lab.put("x.json.gz", log_file(cloudtrail(1, key="a"), cloudtrail(1, key="b")))
    assert lab.run("cloudtrail")[1]["new"] == 2


def test_a_day_without_logs_is_not_covered(lab):
    day = 86_400
    for start in (0, 2 * day):
        events = [cloudtrail(start + n, at=APRIL + start + n * 600) for n in range(144)]
        lab.put(f"{start}.json.gz", log_file(*events))
    answer = lab.run("cloudtrail")[1]
    end = APRIL + 143 * 600
    assert spans(answer)["s3://orchid-data"] == [
        (us(APRIL), us(end) + 1),
        (us(APRIL + 2 * day), us(end + 2 * day) + 1),
    ]


def test_two_imports_that_meet_within_the_gap_cover_what_is_between(lab):
    for start in (0, 5000):
        path = lab.put(f"{start}.json.gz", log_file(*(cloudtrail(start + n, at=APRIL + start + n * 60) for n in range(60))))
        lab.run("cloudtrail", path=path)
    assert list(lab.depot.coverage()["trail-eu", "s3://orchid-data"]) == [(us(APRIL), us(APRIL + 5000 + 59 * 60) + 1)]


def test_a_scope_that_merely_appears_is_covered_from_its_first_event_to_its_last(lab):
    place = {"bucketName": "helio", "key": "k"}
    events = [cloudtrail(n, at=APRIL + n * 60) for n in range(100)]
    events[40]["requestParameters"] = events[60]["requestParameters"] = place
    lab.put("x.json.gz", log_file(*events))
    assert spans(lab.run("cloudtrail")[1])["s3://helio"] == [(us(APRIL + 2400), us(APRIL + 3600) + 1)]


def test_the_operators_word_is_kept_as_such(lab):
    lab.put("x.json.gz", log_file(cloudtrail(1, at=APRIL + 50)))
    covers = "2026-04-01T00:00:00Z/2026-04-02T00:00:00Z"
    answer = lab.run("cloudtrail", "--covers", covers, "--scope", "s3://orchid-data")[1]
    assert spans(answer) == {"s3://orchid-data": [(us(APRIL), us(APRIL + 86_400))]}
    assert [claim.basis for claim in lab.depot.imports()[0].manifest.covered] == ["told"]


@pytest.mark.parametrize("cut", [5, 300, 2000])
def test_of_a_truncated_file_everything_whole_is_kept_and_coverage_ends_there(lab, cut):
    events = [cloudtrail(n, at=APRIL + n * 10) for n in range(400)]
    before = [cloudtrail(1000 + n, at=APRIL + n * 10) for n in range(0, 1500, 10)]
    raw = log_file(*events)
    name = log_name(7, at=APRIL + 4020)
    lab.put(name, raw[:-cut])
    lab.put("others.json.gz", log_file(*before))
    code, answer = lab.run("cloudtrail")
    kept = answer["new"] - 150
    assert code == 6
    assert 0 < kept < 400 or cut == 5
    [(told, offset, why)] = answer["errors"]
    assert (told.endswith(name), offset > 0, "gzip stream ends" in why) == (True, True, True)
    last = APRIL + (kept - 1) * 10
    assert spans(answer)["s3://orchid-data"] == [
        (us(APRIL), us(last)),
        (us(APRIL + 4080) + 1, us(APRIL + 14_900) + 1),
    ]
    # The whole file, when it comes, mends it.
    lab.put(name, raw)
    assert lab.run("cloudtrail")[0] == 0
    assert list(lab.depot.coverage()["trail-eu", "s3://orchid-data"]) == [(us(APRIL), us(APRIL + 14_900) + 1)]
    assert len(lab.rows("id")) == 550


def test_one_broken_record_costs_itself_and_the_time_around_it(lab):
    events = [json.dumps(cloudtrail(n, at=APRIL + n * 10)) for n in range(100)]
    events[50] = events[50].replace('"eventTime": ', '"eventTime" ')
    lab.put("x.json", ('{"Records": [' + ",\n".join(events) + "]}").encode())
    code, answer = lab.run("cloudtrail")
    assert (code, answer["new"], answer["bad"]) == (6, 99, 1)
    [[_, offset, _]] = answer["errors"]
    assert offset == len('{"Records": [' + ",\n".join(events[:50]) + ",\n")
    assert spans(answer)["s3://orchid-data"] == [(us(APRIL), us(APRIL + 490)), (us(APRIL + 510) + 1, us(APRIL + 990) + 1)]


def test_the_ledger_tells_of_the_import_and_never_of_an_access(lab):
    lab.put("x.json.gz", log_file(*(cloudtrail(n, at=APRIL + n) for n in range(10))))
    answer = lab.run("cloudtrail", "--skew", "600")[1]
    store = SqliteStore(lab.data / "ledger.db", origin="limen.local/log")
    entries = [decode(raw) for _, raw in store.entries(0, answer["entry"] + 1)]
    told = entries[answer["entry"]]
    assert not [entry for entry in entries if entry["kind"].startswith("access.")]
    assert (told["kind"], told["grade"], told["source"], told["log"]) == ("observe.import", "observed", "trail-eu", "cloudtrail")
    assert (told["manifest"], told["rows"], told["skew_s"]) == (lab.depot.imports()[0].digest, 10, 600)
    assert told["covered"] == [["s3://orchid-data", [[us(APRIL), us(APRIL + 9) + 1]]]]
    assert [digest for _, digest in told["inputs"]] == [row[1] for row in answer["inputs"]]
    assert lab.depot.skews() == {"trail-eu": 600}


def test_a_dry_run_imports_nothing(lab):
    lab.put("x.json.gz", log_file(cloudtrail(1)))
    code, answer = lab.run("cloudtrail", "--dry-run")
    assert (code, answer["entry"], answer["new"]) == (0, None, 1)
    assert lab.depot.imports() == ()
    assert list((lab.data / "observed" / "staging").iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--source", "Not a name"),
        ("--skew", "-1"),
        ("--gap", "5"),
        ("--covers", "now/then"),
        ("--covers", "2026-01-01/2999-01-01"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_read(lab, words):
    lab.put("x.json.gz", log_file(cloudtrail(1)))
    code, _, err = lab.limen("observe", "import", "cloudtrail", lab.logs, "--source", "t", "--data", lab.data, *words)
    assert code == 2
    assert words[0] in err
    assert lab.depot.imports() == ()
