"""What receivers get: signed, framed, marked, by id; and what counts as not delivered."""

from __future__ import annotations

import ipaddress
import json
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from limen.core.errors import Invalid
from limen.formats import webhooks
from limen.watch.finding import Finding
from limen.watch.outgoing import Alert, Undelivered, sender
from limen.watch.rules import BULK, Severity
from limen.watch.target import Target, check_all, variable
from receivers import SECRET, Datagrams, Mail, Syslog, Webhook

NOW = 1_800_000_000
FINDING = Finding(
    BULK, Severity.MEDIUM, NOW * 1_000_000, (7, 9), {"who": "p-1", "vendor": "quillwork", "project": "orchid"}, {"bytes": 5}
)


def alert(**more):
    id_ = FINDING.uid("lab.example/log")
    return Alert(id_, "lab.example/log", FINDING.at_us, 3, FINDING.to_json("lab.example/log", "r"), **more)


def send(target, alert, *, data=None, secret=""):
    target.check(secret)
    sender(target, secret, data=data, now=lambda: NOW)(alert)


def test_a_webhook_carries_a_signed_event(tmp_path):
    with Webhook() as webhook:
        send(Target(name="soc", kind="webhook", url=webhook.url), alert(attempt=3, again=True), secret=SECRET)
        _, headers, body = webhook.wait()
    event = json.loads(body)
    assert (event["id"], event["limenattempt"], event["limenagain"]) == (headers["webhook-id"], 3, True)
    assert event["data"]["unmapped"]["entries"] == [7, 9]
    assert event["time"] == "2027-01-15T08:00:00.000000Z"
    key = webhooks.key_of(SECRET)
    assert webhooks.verifies(key, headers, body, now=NOW)
    assert not webhooks.verifies(key, headers, body.replace(b"p-1", b"p-2"), now=NOW)
    assert not webhooks.verifies(key, headers, body, now=NOW + 301)
    assert not webhooks.verifies(bytes(32), headers, body, now=NOW)
    assert not webhooks.verifies(key, {**headers, "webhook-id": "x"}, body, now=NOW)


def test_the_signature_is_that_of_the_specification():
    key = webhooks.key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = webhooks.headers(key, id_="msg_p5jXN8AQM9LWM0D4loKWxJek", at=1614265330, body=b'{"test": 2432232314}')
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("status", [199 + 101, 400, 410, 429, 500])
def test_an_answer_that_is_no_2xx_is_no_delivery(status):
    with Webhook() as webhook:
        webhook.status = status
        with pytest.raises(Undelivered, match=str(status)):
            send(Target(name="soc", kind="webhook", url=webhook.url), alert(), secret=SECRET)


def test_a_receiver_that_is_not_there_is_no_delivery(tmp_path):
    with Webhook() as webhook:
        gone = webhook.port
    for target in (
        Target(name="a", kind="webhook", url=f"http://127.0.0.1:{gone}/"),
        Target(name="b", kind="email", url=f"smtp+plain://127.0.0.1:{gone}", sender="a@b", to=("c@d",)),
        Target(name="c", kind="syslog", url=f"tcp://127.0.0.1:{gone}"),
        Target(name="d", kind="file", path="no/such/folder/x"),
    ):
        with pytest.raises(Undelivered):
            send(target, alert(), data=tmp_path, secret=SECRET)


def test_an_email_names_the_finding_and_the_attempt():
    with Mail() as mail:
        url = f"smtp+plain://127.0.0.1:{mail.port}"
        target = Target(name="duty", kind="email", url=url, sender="limen@lab.example", to=("a@lab.example", "b@lab.example"))
        send(target, alert(attempt=2))
        to, raw, login = mail.wait()
        assert (to, login) == (["a@lab.example", "b@lab.example"], "")
        text = raw.decode()
        assert "Subject: limen: bulk-read (attempt 2)" in text
        assert f"X-Limen-Id: {alert().id}" in text
        assert "X-Limen-Attempt: 2" in text
        send(Target(**{**target_fields(target), "login": "limen"}), alert(), secret="open")
        assert mail.wait()[2].startswith("AUTH PLAIN ")
        mail.refuse = True
        with pytest.raises(Undelivered):
            send(target, alert())
        with pytest.raises(Undelivered, match="STARTTLS"):
            send(Target(**{**target_fields(target), "url": url.replace("smtp+plain", "smtp")}), alert())


def target_fields(target):
    return {name: getattr(target, name) for name in target.__struct_fields__}


EXPECTED = f'[limen@32473 id="{FINDING.uid("lab.example/log")}" attempt="1" ledger="lab.example/log" who="p-1"'


def test_syslog_goes_as_one_datagram_or_framed_on_a_stream():
    with Datagrams() as datagrams:
        send(Target(name="s", kind="syslog", url=f"udp://127.0.0.1:{datagrams.port}"), alert())
        raw = datagrams.wait()
    head, _, text = raw.partition(b"\xef\xbb\xbf")
    assert head.decode().startswith(f"<108>1 2027-01-15T08:00:00.000000Z - limen - bulk-read {EXPECTED}")
    assert text.decode().startswith("far more was read")
    with Syslog() as syslog:
        send(Target(name="s", kind="syslog", url=f"tcp://127.0.0.1:{syslog.port}"), alert())
        assert syslog.wait() == b"%d %s" % (len(raw), raw)


def test_syslog_over_tls_asks_who_answers(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Syslog(tls=context) as syslog:
        target = Target(name="s", kind="syslog", url=f"tls://127.0.0.1:{syslog.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send(target, alert())
        assert EXPECTED.encode() in syslog.wait()
        monkeypatch.setenv("SSL_CERT_FILE", str(key))
        syslog._server.handle_error = lambda *_: None  # it is told that nobody trusts it
        with pytest.raises(Undelivered, match="SSL"):
            send(target, alert())


def self_signed(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    raw = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "k.pem").write_bytes(raw)
    return folder / "c.pem", folder / "k.pem"


def test_a_file_gets_one_event_a_line_and_a_torn_line_stays_by_itself(tmp_path):
    target = Target(name="kept", kind="file", path="alerts.jsonl")
    send(target, alert(), data=tmp_path)
    path = tmp_path / "alerts.jsonl"
    with path.open("ab") as stream:
        stream.write(b'{"specversion":"1.0","id":"torn')
    send(target, alert(attempt=2), data=tmp_path)
    first, torn, second = path.read_text().splitlines()
    assert [json.loads(line)["limenattempt"] for line in (first, second)] == [1, 2]
    assert torn.endswith("torn")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"name": "SOC"}, "small letters"),
        ({"kind": "webhook", "url": "ftp://x"}, "https"),
        ({"kind": "webhook", "url": "https://user:pass@x"}, "https"),
        ({"kind": "syslog", "url": "udp://x"}, "port"),
        ({"kind": "syslog", "url": "udp://x:99999"}, "url"),
        ({"kind": "email", "url": "smtp://x", "sender": "a@b"}, "`to`"),
        ({"kind": "file"}, "`path`"),
    ],
)
def test_a_target_that_can_not_work_is_refused(fields, why):
    with pytest.raises(Invalid, match=why):
        Target(**{"name": "soc", "kind": "webhook", "url": "https://x", **fields}).check(SECRET)


def test_a_secret_is_asked_for_by_its_variable_and_never_told():
    soc = Target(name="soc-2", kind="webhook", url="https://x")
    assert variable("soc-2") == "LIMEN_ALERT_SOC_2_SECRET"
    with pytest.raises(Invalid, match="LIMEN_ALERT_SOC_2_SECRET"):
        soc.check("")
    for wrong in ("hunter2", "whsec_c2hvcnQ=", "whsec_***"):
        with pytest.raises(Invalid, match="whsec_") as told:
            soc.check(wrong)
        assert wrong not in str(told.value)
    with pytest.raises(Invalid, match="twice"):
        check_all((soc, soc), {"soc-2": SECRET})
