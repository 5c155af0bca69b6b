"""S3 server access logs, GitHub's audit log, Vault's audit devices, and logs that a mapping describes: what becomes a row."""

import gzip
import json

import pytest

from limen.core.errors import Invalid
from limen.observe.generic import Mapping
from limen.observe.kinds import reader_of
from logs import ACCOUNT, APRIL, access_line, github, json_lines, vault

CANONICAL = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
TOLD = "principal, session, credential, action, resource, bytes, outcome, network, detail"


def us(at):
    return int(at) * 1_000_000


# --- S3 server access logs


def test_lines_of_an_access_log_become_rows(lab):
    role = f"aws:role/{ACCOUNT}/quill-annotator"
    net = "203.0.113.0/24"
    shard = "s3://orchid-data/sft/shard-00001.jsonl"
    cases = [
        ({}, (role, "q01", "", "read", shard, 1001, "ok", net, "")),
        ({"status": "403", "error": "AccessDenied", "sent": "243"}, (role, "q01", "", "read", shard, 243, "denied", net, "")),
        ({"status": "404", "requester": "-"}, ("aws:anonymous", "", "", "read", shard, 1001, "failed", net, "")),
        ({"requester": CANONICAL, "sent": "-"}, (f"aws:canonical/{CANONICAL}", "", "", "read", shard, None, "ok", net, "")),
        (
            {"operation": "REST.GET.BUCKET", "key": "-", "uri": "GET /orchid-data?list-type=2&prefix=a%20b%2F&x=1 HTTP/1.1"},
            (role, "q01", "", "list", "s3://orchid-data/a b/", None, "ok", net, ""),
        ),
        ({"operation": "REST.PUT.OBJECT"}, (role, "q01", "", "write", shard, 5000, "ok", net, "")),
        (
            {"operation": "REST.COPY.OBJECT_GET", "key": "a%25b"},
            (role, "q01", "", "read", "s3://orchid-data/a%b", 1001, "ok", net, ""),
        ),
        ({"operation": "REST.HEAD.OBJECT"}, (role, "q01", "", "head", shard, None, "ok", net, "")),
        (
            {"operation": "REST.PUT.BUCKETPOLICY", "key": "-"},
            (role, "q01", "", "admin", "s3://orchid-data/", None, "ok", net, "s3.REST.PUT.BUCKETPOLICY"),
        ),
    ]
    lab.put("log-1", b"".join(access_line(1, at=APRIL + n, **bent) for n, (bent, _) in enumerate(cases)))
    lab.put("log-2", access_line(1, operation="S3.EXPIRE.OBJECT") + access_line(1, operation="REST.GET.LOGGING_STATUS"))
    code, answer = lab.run("s3access", source="intake")
    assert code == 0
    assert lab.rows(TOLD) == [row for _, row in cases]
    assert sorted(answer["left_out"]) == ["S3's own acts (lifecycle, restore, batches)", "reads of S3 settings"]
    assert lab.depot.imports()[0].manifest.covered[0].basis == "best-effort"


def test_a_line_that_is_none_is_told_with_its_offset(lab):
    good = access_line(1)
    lab.put(
        "log",
        good + b"\xff\xfe not a line\n" + access_line(2, at=APRIL + 5).replace(b"Apr", b"Foo") + access_line(3, at=APRIL + 9),
    )
    code, answer = lab.run("s3access")
    assert (code, answer["new"], answer["bad"]) == (6, 2, 2)
    assert [offset for _, offset, _ in answer["errors"]] == [len(good), len(good) + len(b"\xff\xfe not a line\n")]
    assert answer["covered"][0]["spans"] == []


# --- GitHub


def test_events_of_github_become_rows_as_lines_and_as_an_array(lab):
    token = "3vLFsj9xWq2YFUVIRF2b0J6A1aV6t2GxkfDQsxFJXuE="
    net, repo = "203.0.113.0/24", "github:aurelia/orchid-tools"
    by_key = {"actor": "", "hashed_token": None, "deploy_key_fingerprint": "SHA256:abc", "programmatic_access_type": "Deploy key"}
    cases = [
        ({}, ("github:ada-quill", "", token, "clone", repo, None, "ok", net, "")),
        (
            {"action": "git.fetch", **by_key},
            ("github:deploy-key/SHA256:abc", "", "SHA256:abc", "fetch", repo, None, "ok", net, ""),
        ),
        ({"action": "git.push", "actor": None}, (f"github:token/{token}", "", token, "push", repo, None, "ok", net, "")),
        ({"actor": None, "hashed_token": None, "actor_ip": None}, ("github:unknown", "", "", "clone", repo, None, "ok", "", "")),
        ({"action": "repo.download_zip"}, ("github:ada-quill", "", token, "download", repo, None, "ok", net, "")),
        (
            {"action": "org.add_member", "repo": None, "user": "grace"},
            ("github:ada-quill", "", token, "admin", "github:aurelia", None, "ok", net, "org.add_member grace"),
        ),
        (
            {"action": "deploy_key.create", "fingerprint": "SHA256:def"},
            ("github:ada-quill", "", token, "admin", repo, None, "ok", net, "deploy_key.create SHA256:def"),
        ),
    ]
    events = [github(n, at=APRIL + n, **bent) for n, (bent, _) in enumerate(cases)]
    lab.put("export.json", json_lines(*events, github(99, at=APRIL + 99, action="workflows.completed_workflow_run")))
    code, answer = lab.run("github", source="github")
    assert code == 0
    assert lab.rows(TOLD) == [row for _, row in cases]
    assert answer["left_out"] == {"events that are neither git nor about access": 1}
    before = lab.whole()
    array = lab.put("export-2.json.gz", gzip.compress(json.dumps(events, indent=1).encode()))
    assert lab.run("github", source="github", path=array)[1]["new"] == 0
    assert lab.whole() == before


def test_githubs_times_come_in_many_forms(lab):
    forms = (1_775_001_600_000, "1775001600000", 1_775_001_600, "2026-04-01T00:00:00.000Z", "1775001600000.000000")
    lab.put("one.json", json_lines(*(github(n, **{"@timestamp": told}) for n, told in enumerate(forms))))
    assert lab.run("github")[0] == 0
    assert lab.rows("at_us") == [(us(APRIL),)] * len(forms)


# --- Vault


def test_a_request_and_its_response_are_one_observation(lab):
    denied = {"error": "1 error occurred:\n\t* permission denied\n\n"}
    cases = [
        (1, {}, ("read", "vault:kv/data/quillwork/annotator", "ok", "")),
        (2, denied, ("read", "vault:kv/data/quillwork/annotator", "denied", "")),
        (3, {"operation": "update", "path": "kv/data/x", "error": "boom"}, ("write", "vault:kv/data/x", "failed", "")),
        (4, {"path": "kv/data/x", "namespace": {"id": "n", "path": "team/"}}, ("read", "vault:team/kv/data/x", "ok", "")),
        (
            5,
            {"operation": "update", "path": "sys/policies/acl/quill"},
            ("admin", "vault:sys/policies/acl/quill", "ok", "vault.update"),
        ),
    ]
    pairs = [vault(n, at=APRIL + n, kind=kind, **bent) for n, bent, _ in cases for kind in ("request", "response")]
    lab.put("audit.log", json_lines(*pairs, vault(9, at=APRIL + 9, operation="renew"), vault(8, at=APRIL + 9, path="sys/mounts")))
    code, answer = lab.run("vault", source="vault")
    assert (code, answer["new"]) == (0, 5)
    assert lab.rows("action, resource, outcome, detail") == [row for *_, row in cases]
    assert set(lab.rows("principal, credential, network")) == {("vault:entity/e-q01", "hmac-sha256:bb", "203.0.113.0/24")}
    assert answer["left_out"] == {"Vault's own operations": 1, "reads of Vault's settings": 1}
    # The halves of a pair in two files are one observation, too.
    lab.put("audit.log", json_lines(*pairs[1::2]))
    assert lab.run("vault", source="vault")[1]["new"] == 0


def test_who_logs_in_is_told_by_the_response_and_no_token_is_kept(lab):
    path, opened = "auth/userpass/login/ada", {"entity_id": "e-ada", "client_token": "hvs.SECRET"}
    none = {"display_name": "", "client_token": ""}
    plain = {"entity_id": "", "display_name": "ci", "accessor": "notHashed", "client_token": "hvs.SECRET"}
    lab.put(
        "audit.log",
        json_lines(
            vault(1, kind="request", operation="update", path=path, auth=none),
            vault(1, operation="update", path=path, auth=none, response={"auth": opened}),
            vault(2, at=APRIL + 1, auth=plain),
        ),
    )
    assert lab.run("vault")[0] == 0
    assert lab.rows("principal, credential, action") == [("vault:entity/e-ada", "", "admin"), ("vault:token/ci", "", "read")]
    stored = b"".join(path.read_bytes() for path in (lab.data / "observed").rglob("*") if path.is_file())
    assert b"SECRET" not in stored


# --- any other log

MAPPING = """
name = "registry"
time = "when.start"
time_unit = "ms"
id = "id"
principal = "{account.org}/{account.login}"
credential = "token"
resource = "{repo}/{path}"
bytes = "sent"
network = "ip"
detail = "{agent}"
gap_s = 600

[actions]
field = "method"
names = { GET = "read", PUT = "write", DELETE = "delete" }

[outcome]
field = "status"
"""


def line(number, **more):
    return {
        "id": number,
        "when": {"start": (APRIL + number) * 1000},
        "account": {"org": "quillwork", "login": "ada"},
        "token": "s3cr3t-token",
        "repo": "orchid",
        "path": "a/b.whl",
        "method": "GET",
        "status": 200,
        "sent": 77,
        "ip": "2001:db8:1:2::3",
        "agent": "pip/26",
        "secret": "dropped",
        **more,
    }


def test_a_mapping_reads_a_log_of_its_own(lab):
    told = lab.data.parent / "map.toml"
    told.write_text(MAPPING)
    events = [line(1), line(2, method="PUT", status="403", sent=None), line(3, status=500), line(4, method="PATCH")]
    lab.put("a.jsonl", json_lines(*events, line(5, when={}), line(6, account={"org": None, "login": None})))
    code, answer = lab.run("generic", "--map", told, source="registry")
    assert (code, answer["new"], answer["bad"], answer["gap_s"]) == (6, 3, 2, 600)
    rows = lab.rows(TOLD)
    hashed = rows[0][2]
    assert hashed.startswith("blake2b:")
    assert "s3cr3t" not in hashed
    who, where, net = "registry:quillwork/ada", "registry:orchid/a/b.whl", "2001:db8:1::/48"
    assert rows == [
        (who, "", hashed, "read", where, 77, "ok", net, "pip/26"),
        (who, "", hashed, "write", where, None, "denied", net, "pip/26"),
        (who, "", hashed, "read", where, 77, "failed", net, "pip/26"),
    ]
    assert answer["fields"] == [
        "when.start",
        "id",
        "token",
        "sent",
        "ip",
        "account.org",
        "account.login",
        "repo",
        "path",
        "agent",
        "method",
        "status",
    ]
    assert lab.depot.imports()[0].manifest.options == {"map": MAPPING}


def test_equal_lines_without_an_id_are_one_event(lab):
    told = lab.data.parent / "map.toml"
    told.write_text(MAPPING.replace('id = "id"\n', ""))
    lab.put("a.jsonl", json_lines(line(1), line(1), line(1, agent="other")))
    assert lab.run("generic", "--map", told)[1]["new"] == 2


WRONG = [
    ('name = "aws"', "name"),
    ('name = "registry"\nactoin = "read"', "actoin"),
    ('name = "registry"\naction = "read"', "action"),
    ("name = 3", "name"),
    ("name = ", "Invalid value"),
]


@pytest.mark.parametrize(("begin", "named"), WRONG)
def test_a_wrong_mapping_is_refused_by_name(begin, named):
    with pytest.raises(Invalid, match=named):
        Mapping.read(MAPPING.replace('name = "registry"', begin).encode(), "map.toml")


def test_an_action_that_is_none_is_refused():
    with pytest.raises(Invalid, match="'fetched' is none of"):
        Mapping.read(MAPPING.replace('GET = "read"', 'GET = "fetched"').encode(), "map.toml")


def test_only_a_generic_log_takes_a_mapping(tmp_path):
    with pytest.raises(Invalid, match="needed"):
        reader_of("generic")
    with pytest.raises(Invalid, match="vault needs none"):
        reader_of("vault", tmp_path / "x")
    with pytest.raises(Invalid, match="can't be read"):
        reader_of("generic", tmp_path / "x")
