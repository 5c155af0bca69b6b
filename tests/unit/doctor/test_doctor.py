"""The doctor: a sound directory has nothing broken, and each thing that is bent in turn is named, with a next step."""

import asyncio
import http.server
import json
import socket
import threading
import time

import pytest
from joserfc import jwk

from inprocess import a_gateway
from limen.config import load
from limen.doctor import alerts, clock, disk, far, near, visit
from limen.doctor.lines import State, broken, ok, unknown, warning
from serving import Served
from simulator import World


@pytest.fixture
def data(tmp_path, limen):
    """A data directory with one entry, and a free port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert limen("init", tmp_path / "data", "--dev", "--listen", f"127.0.0.1:{port}")[0] == 0
    vendors = tmp_path / "vendors.toml"
    vendors.write_text('[[vendor]]\nid = "quillwork"\nname = "Quillwork"\ncontact = "ops@quillwork.example"\n')
    assert limen("import", vendors, "--data", tmp_path / "data")[0] == 0
    return tmp_path / "data"


@pytest.fixture
def doctor(data, limen):
    """The doctor's exit code, and what it says of each part: (state, words)."""

    def look():
        code, out, _ = limen("doctor", "--data", data, "--json")
        answer = json.loads(out)
        assert answer["schema"] == "limen/doctor/v1"
        assert all(line["next"] for line in answer["checks"] if line["state"] != "ok")
        return code, [(line["part"], line["state"], line["says"]) for line in answer["checks"]]

    return look


def of(found, part):
    return [(state, says) for name, state, says in found[1] if name == part]


def worst(found, part):
    order = ["ok", "warning", "cannot say", "broken"]
    return max((state for state, _ in of(found, part)), key=order.index)


def test_a_sound_directory_has_nothing_broken(doctor):
    found = doctor()
    parts = {name for name, _, _ in found[1]}
    assert {"configuration", "disk", "ledger", "ports", "keys", "start-up", "extras", "clock"} <= parts
    assert [line for line in found[1] if line[1] == "broken"] == []
    assert any("head verifies: 1 entries" in says for _, says in of(found, "ledger"))


def test_people_get_a_line_for_each_and_the_next_step(data, limen):
    code, out, err = limen("doctor", "--data", data)
    assert code in (0, 6)  # whether somebody keeps this machine's clock is not ours to say
    assert "ok          ledger" in out
    assert "0 broken" in err


def test_a_directory_that_is_none_is_refused(tmp_path, limen):
    code, _, err = limen("doctor", "--data", tmp_path)
    assert code == 2
    assert "is not a data directory" in err


def test_a_log_that_was_set_back_is_told_and_exits_with_5(data, doctor, limen, tmp_path):
    older = (data / "ledger.db").read_bytes()
    more = tmp_path / "more.toml"
    more.write_text('[[vendor]]\nid = "tessel"\nname = "Tessel"\ncontact = "ops@tessel.example"\n')
    assert limen("import", more, "--data", data)[0] == 0
    assert doctor()[0] in (0, 6)
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (data / name).unlink(missing_ok=True)
    (data / "ledger.db").write_bytes(older)
    found = doctor()
    assert found[0] == 5
    assert any("set back" in says for state, says in of(found, "ledger") if state == "broken")


def test_an_alarm_is_told_first(data, doctor):
    (data / "alarm.json").write_text(json.dumps({"why": "it was rewritten", "evidence": "", "raised_at": 1}))
    found = doctor()
    assert found[0] == 5
    assert "AN ALARM STANDS" in of(found, "ledger")[0][1]


def test_a_key_that_others_can_read_is_broken(data, doctor):
    assert worst(doctor(), "keys") == "ok"
    (data / "keys" / "log.key").chmod(0o640)
    found = doctor()
    assert found[0] == 1
    assert worst(found, "keys") == "broken"
    (data / "keys" / "log.key").chmod(0o600)
    (data / "keys" / "server.key").write_bytes(b"short")
    assert any("not a key of 32 bytes" in says for _, says in of(doctor(), "keys"))


def test_a_directory_that_other_accounts_can_read_is_told(data, doctor):
    assert worst(doctor(), "keys") == "ok"
    data.chmod(0o755)
    assert worst(doctor(), "keys") == "warning"


def test_a_taken_port_is_told_from_a_free_one(data, doctor):
    config = (data / "limen.toml").read_text()
    port = int(config.partition('listen = "127.0.0.1:')[2].partition('"')[0])
    assert worst(doctor(), "ports") == "ok"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert worst(doctor(), "ports") == "broken"


def test_a_configuration_that_cannot_be_read_does_not_end_the_visit(data, doctor):
    (data / "limen.toml").write_text("nonsense = 1\n")
    found = doctor()
    assert found[0] in (1, 5)
    assert worst(found, "configuration") == "broken"
    assert of(found, "disk")


def test_unpublished_entries_are_counted(data, doctor):
    for part in (data / "log").rglob("*"):
        if part.name == "checkpoint":
            part.unlink()
    assert worst(doctor(), "ledger") == "warning"


def test_a_served_directory_is_asked_for_what_only_it_knows(tmp_path):
    world = World.make(tmp_path).serve()
    try:
        done = world.limen("doctor", check=False)
        assert "answers as limen" in done.stdout
        assert "runs; 0 streams, 0 pauses" in done.stdout
        assert "entries behind" in done.stdout
        assert " broken" not in done.stdout
    finally:
        world.stop()


def test_marks_of_a_registered_version_are_nobody_elses(tmp_path):
    async def make():
        await (await a_gateway(tmp_path / "data")).close()

    asyncio.run(make())
    (tmp_path / "data").chmod(0o700)
    assert [line.state for line in near.keys(tmp_path / "data")] == [State.OK]


TOLD = {"alerts": [{"name": "desk", "waiting": 0, "attempts": 0}], "no_longer_configured": []}
STUCK = {"alerts": [{"name": "desk", "waiting": 3, "attempts": 9}], "no_longer_configured": ["old"]}


def test_alerts_that_wait_are_told(data, doctor, monkeypatch):
    monkeypatch.delenv("LIMEN_ALERT_DESK_SECRET", raising=False)
    assert of(doctor(), "alerts") == []
    with (data / "limen.toml").open("a") as config:
        config.write('\n[[alert]]\nname = "desk"\nkind = "webhook"\nurl = "https://desk.example/hook"\n')
    assert worst(doctor(), "alerts") == "broken"
    monkeypatch.setenv("LIMEN_ALERT_DESK_SECRET", "whsec_" + "A" * 43 + "=")
    assert worst(doctor(), "alerts") == "cannot say"
    config = load(data)
    assert states(alerts.look(config, lambda _: TOLD, running=True)) == [State.OK]
    assert states(alerts.look(config, lambda _: STUCK, running=True)) == [State.WARNING, State.WARNING]


# --- the clock


def moment(wall, steady=0.0):
    return clock.Moment(wall, steady)


def states(lines):
    return [line.state for line in lines]


def test_the_clock_is_held_against_the_log_and_against_itself():
    kept = clock.Kept(synchronised=True, at_most_off_s=0.01)
    sound = list(clock.look(kept, moment(1000), moment(1001, 1), last_entry_at=990))
    assert states(sound) == [State.OK, State.OK]
    behind = list(clock.look(kept, moment(1000), moment(1001, 1), last_entry_at=2000))
    assert states(behind) == [State.OK, State.BROKEN]
    stepped = list(clock.look(kept, moment(1000), moment(1601, 1), last_entry_at=None))
    assert states(stepped) == [State.OK, State.BROKEN]
    assert "+600.0 s" in stepped[1].says


def test_a_clock_that_nobody_keeps_and_one_that_cannot_be_asked_are_two_things():
    alone = clock.Kept(synchronised=False, at_most_off_s=16)
    assert states(clock.look(alone, moment(0), moment(0), last_entry_at=None)) == [State.WARNING]
    assert states(clock.look(None, moment(0), moment(0), last_entry_at=None)) == [State.UNKNOWN]


@pytest.mark.parametrize(("theirs", "state"), [(1000, "ok"), (1030, "warning"), (400, "broken"), (1600, "broken")])
def test_another_clock_is_compared(theirs, state):
    assert clock.beside("https://id.example", theirs, ours=1000, give_s=1).state == state


def test_the_date_of_an_answer_is_read_off_the_wire():
    class Ahead(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response_only(200)
            self.send_header("Date", "Fri, 01 Jan 2100 00:00:00 GMT")
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Ahead) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = far.date_of(url)
    assert told.theirs > time.time()
    assert clock.beside("x", told.theirs, ours=told.ours, give_s=told.way_s).state == "broken"
    assert far.date_of(url) is None  # nobody is there any more


# --- the disk


def test_a_slow_disk_and_a_full_one_are_told():
    assert disk.pace([0.001] * 5, deadline_s=1.5).state == "ok"
    assert disk.pace([0.2] * 5, deadline_s=1.5).state == "warning"
    assert disk.pace([0.001] * 4 + [2.0], deadline_s=1.5).state == "broken"
    assert [disk.room(free).state for free in (1 << 40, 1 << 30, 1 << 20)] == ["ok", "warning", "broken"]


def test_syncs_are_really_timed_and_leave_nothing(tmp_path):
    times = disk.sync_times(tmp_path)
    assert len(times) == disk.SYNCS
    assert all(each > 0 for each in times)
    assert list(tmp_path.iterdir()) == []


def test_a_second_note_on_the_same_disk_guards_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    assert states(disk.together(tmp_path / "data", None)) == [State.OK]
    assert states(disk.together(tmp_path / "data", tmp_path / "note")) == [State.OK, State.WARNING]


# --- far and near


def issuer_at(documents):
    async def app(scope, receive, send):
        body = json.dumps(documents.get(scope["path"], {})).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    return app


def test_an_issuer_is_asked_as_the_gateway_asks_it(data, doctor):
    key = jwk.ECKey.generate_key("P-256").as_dict(private=False)
    documents = {"/keys": {"keys": [{**key, "kid": "a", "use": "sig", "alg": "ES256"}]}}
    with Served(issuer_at(documents)) as served:
        documents["/.well-known/openid-configuration"] = {"issuer": served.url, "jwks_uri": f"{served.url}/keys"}
        with (data / "limen.toml").open("a") as config:
            config.write(f'\n[[issuer]]\nurl = "{served.url}"\naudiences = ["limen"]\n')
        assert worst(doctor(), "issuers") == "ok"
        documents["/.well-known/openid-configuration"]["issuer"] = "https://somebody.example"
        assert worst(doctor(), "issuers") == "broken"
    assert worst(doctor(), "issuers") == "broken"


def test_an_extra_that_is_not_installed_is_named_with_the_command_that_brings_it():
    [line] = near.extras({"query": ("no-such-distribution", "reads")})
    assert (line.state, line.step) == (State.WARNING, "pip install 'limen[query]'")


def test_the_exit_code_is_the_worst_of_the_lines():
    fine, may_be = ok("a", "b"), warning("a", "b", "c")
    assert visit.exit_code([fine, may_be]) == 0
    assert visit.exit_code([fine, unknown("a", "b", "c")]) == 6
    assert visit.exit_code([unknown("a", "b", "c"), broken("a", "b", "c")]) == 1
    assert visit.exit_code([broken("a", "b", "c"), broken("a", "b", "c", tampered=True)]) == 5


def test_what_init_was_told_of_is_looked_for(data, doctor, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    (tmp_path / "clone").mkdir()
    with (data / "limen.toml").open("a") as config:
        config.write(f'\n[survey]\nrepositories = ["{tmp_path / "clone"}"]\n')
    assert worst(doctor(), "upstreams") == "ok"
    with (data / "limen.toml").open("a") as config:
        config.write(f'buckets = ["s3://orchid-data/sft/"]\nboms = ["{tmp_path / "clone"}"]\n')
    found = doctor()
    assert found[0] == 6
    assert [state for state, _ in of(found, "upstreams")] == ["cannot say", "ok", "cannot say"]
    (tmp_path / "clone").rmdir()
    assert "warning" in [state for state, _ in of(doctor(), "upstreams")]


def test_an_upstream_is_asked_with_its_own_keys(data, doctor, monkeypatch):
    with Served(issuer_at({})) as served, (data / "limen.toml").open("a") as config:
        config.write(f'\n[[upstream]]\nurl = "s3://research"\nendpoint = "{served.url}"\naccount = "RESEARCH"\n')
    [(state, says)] = of(doctor(), "upstreams")
    assert state == "cannot say"
    assert "LIMEN_RESEARCH_ACCESS_KEY_ID" in says
    monkeypatch.setenv("LIMEN_RESEARCH_ACCESS_KEY_ID", "AKIALABLABLABLABLABL")
    monkeypatch.setenv("LIMEN_RESEARCH_SECRET_ACCESS_KEY", "lab")
    found = doctor()
    assert found[0] == 1
    [(state, says)] = of(found, "upstreams")
    assert (state, says.startswith("s3://research: ")) == ("broken", True)
