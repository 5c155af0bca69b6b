import asyncio
import random
import time
import xml.etree.ElementTree as ET
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import limen.doors.s3.errors  # so that every error of the family that runs beside this door is known here
import limen.formats.awschunked
import limen.formats.checksums
import limen.formats.s3uri  # noqa: F401
from limen.core import errors as core
from limen.core.types import Session
from limen.doors.sts.app import StsDoor
from limen.doors.sts.errors import INTERNAL, TABLE, row_of
from limen.doors.sts.form import MAX_BODY, read_form, read_web_identity
from limen.identity.oidc import Claims
from limen.identity.sessions import Sessions, new_access_key

NOW = int(time.time())  # botocore signs with the machine's clock
NS = "{https://sts.amazonaws.com/doc/2011-06-15/}"
FORM = (b"content-type", b"application/x-www-form-urlencoded; charset=utf-8")
GOOD = {
    "Action": "AssumeRoleWithWebIdentity",
    "Version": "2011-06-15",
    "RoleArn": "arn:aws:iam::000000000000:role/orchid",
    "RoleSessionName": "q03@laptop",
    "WebIdentityToken": "good",
}


class World:
    """A door over real sessions, with an issuer and an enrolment that a test bends in one line."""

    def __init__(self):
        self.sessions = Sessions(bytes(range(32)))
        self.started = []
        self.unresolved = []
        self.verdict = None  # raised by the relying party
        self.refusal = None  # raised when a session is started
        self.cut = None  # raised when a session asks who it is
        self.now = NOW
        self.door = StsDoor(
            self,
            self.sessions,
            self.start,
            admit=self.admit,
            now=lambda: self.now,
            region="limen-1",
            unresolved=self.unresolved.append,
        )

    async def verify(self, unverified_token, *, now):
        if self.verdict:
            raise self.verdict
        return Claims("https://id.example", "0a7f", "hardware", "limen", now + 600)

    async def start(self, claims, project, *, name, duration_s, client):
        if self.refusal:
            raise self.refusal
        self.started.append((claims.subject, project, name, duration_s, client))
        return self.session(project=project, expires_at=self.now + duration_s)

    def session(self, **changes):
        fields = {
            "id": "s01",
            "holder": "quillwork/q03",
            "vendor": "quillwork",
            "sponsor": None,
            "project": "orchid",
            "pseudonym": "p1",
            "access_key": new_access_key(random.Random(1).randbytes),
            "strength": "hardware",
            "issued_at": self.now,
            "expires_at": self.now + 3600,
        }
        return Session(**{**fields, **changes})

    async def admit(self, session, client):
        if self.cut:
            raise self.cut

    def call(self, fields=None, *, method="POST", body=None, headers=(), query=b""):
        raw = urlencode(fields).encode() if fields is not None else body or b""
        if method == "GET":
            query, raw = raw, b""
        scope = {
            "type": "http",
            "method": method,
            "path": "/",
            "raw_path": b"/",
            "query_string": query,
            "headers": [FORM, *headers],
            "client": ("127.0.0.1", 5000),
        }
        return asyncio.run(self.exchange(scope, [{"type": "http.request", "body": raw, "more_body": False}]))

    async def exchange(self, scope, messages):
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        await self.door(scope, receive, send)
        assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
        assert dict(sent[0]["headers"])[b"content-length"] == str(len(sent[1]["body"])).encode()
        return sent[0]["status"], ET.fromstring(sent[1]["body"])

    def who(
        self, session=None, *, sent=None, bend=lambda headers: headers, sign=True, region="limen-1", service="sts", secret=None
    ):
        issued = self.sessions.issue(session or self.session())
        body = urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"})
        request = AWSRequest("POST", "http://limen.test/", data=body, headers={"Content-Type": FORM[1].decode()})
        keys = Credentials(issued.access_key_id, secret or issued.secret_access_key, issued.session_token)
        if sign:
            SigV4Auth(keys, service, region).add_auth(request)
        headers = {name.lower(): value for name, value in request.headers.items()} | {"host": "limen.test"}
        raw = [(name.encode(), value.encode()) for name, value in bend(headers).items() if name != "content-type"]
        return self.call(body=sent or body.encode(), headers=raw)


def code_of(answer):
    status, document = answer
    assert document.tag == f"{NS}ErrorResponse"
    return status, document.findtext(f"{NS}Error/{NS}Code")


def message_of(answer):
    return answer[1].findtext(f"{NS}Error/{NS}Message")


@pytest.fixture
def world():
    return World()


def test_a_verified_identity_gets_credentials_that_resolve_to_its_session(world):
    status, document = world.call({**GOOD, "DurationSeconds": "900"})
    assert status == 200
    result = document.find(f"{NS}AssumeRoleWithWebIdentityResult")
    keys = result.find(f"{NS}Credentials")
    session = world.sessions.resolve(keys.findtext(f"{NS}AccessKeyId"), keys.findtext(f"{NS}SessionToken"), now=world.now)
    assert (session.holder, session.project, session.expires_at) == ("quillwork/q03", "orchid", world.now + 900)
    assert keys.findtext(f"{NS}SecretAccessKey") == world.sessions.secret_for(session.access_key)
    assert result.findtext(f"{NS}SubjectFromWebIdentityToken") == "0a7f"
    assert result.findtext(f"{NS}Provider") == "https://id.example"
    ((subject, project, name, duration_s, client),) = world.started
    assert (subject, project, name, duration_s, client.address) == ("0a7f", "orchid", "q03@laptop", 900, "127.0.0.1")


def test_a_get_with_the_same_parameters_gives_the_same(world):
    assert world.call(GOOD, method="GET")[0] == 200
    assert world.started[0][3] == 3600


def test_a_token_file_that_ends_in_a_newline_is_read_as_it_was_meant(world):
    assert world.call({**GOOD, "WebIdentityToken": GOOD["WebIdentityToken"] + "\n"})[0] == 200


def test_answers_are_never_stored_on_the_way(world):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": urlencode(GOOD).encode()}

    scope = {"method": "POST", "query_string": b"", "headers": [FORM], "client": None}
    asyncio.run(world.door(scope, receive, send))
    assert (b"cache-control", b"no-store") in sent[0]["headers"]


REFUSED = {
    "no action": ({"Version": "2011-06-15"}, 400, "MissingAction"),
    "AssumeRole": ({**GOOD, "Action": "AssumeRole"}, 400, "InvalidAction"),
    "GetSessionToken": ({**GOOD, "Action": "GetSessionToken"}, 400, "InvalidAction"),
    "GetFederationToken": ({**GOOD, "Action": "GetFederationToken"}, 400, "InvalidAction"),
    "AssumeRoleWithSAML": ({**GOOD, "Action": "AssumeRoleWithSAML"}, 400, "InvalidAction"),
    "an action in small letters": ({**GOOD, "Action": "assumerolewithwebidentity"}, 400, "InvalidAction"),
    "another version": ({**GOOD, "Version": "2010-05-08"}, 400, "InvalidAction"),
    "a policy": ({**GOOD, "Policy": "{}"}, 400, "MalformedPolicyDocument"),
    "an empty policy": ({**GOOD, "Policy": ""}, 400, "MalformedPolicyDocument"),
    "policy arns": ({**GOOD, "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/X"}, 400, "MalformedPolicyDocument"),
    "a provider id": ({**GOOD, "ProviderId": "www.amazon.com"}, 400, "MalformedPolicyDocument"),
    "an unknown parameter": ({**GOOD, "ExternalId": "x"}, 400, "ValidationError"),
    "no role": ({k: v for k, v in GOOD.items() if k != "RoleArn"}, 400, "ValidationError"),
    "a user's arn": ({**GOOD, "RoleArn": "arn:aws:iam::1:user/orchid"}, 400, "ValidationError"),
    "a role with a path": ({**GOOD, "RoleArn": "arn:aws:iam::1:role/a/orchid"}, 400, "ValidationError"),
    "a role with a line break": ({**GOOD, "RoleArn": GOOD["RoleArn"] + "\n"}, 400, "ValidationError"),
    "a role in capitals": ({**GOOD, "RoleArn": "arn:aws:iam::1:role/ORCHID"}, 400, "ValidationError"),
    "no session name": ({k: v for k, v in GOOD.items() if k != "RoleSessionName"}, 400, "ValidationError"),
    "a short session name": ({**GOOD, "RoleSessionName": "x"}, 400, "ValidationError"),
    "a long session name": ({**GOOD, "RoleSessionName": "x" * 65}, 400, "ValidationError"),
    "a session name with a space": ({**GOOD, "RoleSessionName": "a b"}, 400, "ValidationError"),
    "no token": ({k: v for k, v in GOOD.items() if k != "WebIdentityToken"}, 400, "ValidationError"),
    "an empty token": ({**GOOD, "WebIdentityToken": ""}, 400, "ValidationError"),
    "a short duration": ({**GOOD, "DurationSeconds": "899"}, 400, "ValidationError"),
    "a long duration": ({**GOOD, "DurationSeconds": "43201"}, 400, "ValidationError"),
    "a negative duration": ({**GOOD, "DurationSeconds": "-900"}, 400, "ValidationError"),
    "a duration in words": ({**GOOD, "DurationSeconds": "hour"}, 400, "ValidationError"),
    "a duration in other digits": ({**GOOD, "DurationSeconds": "٩٠٠"}, 400, "ValidationError"),
    "an endless duration": ({**GOOD, "DurationSeconds": "9" * 5000}, 400, "ValidationError"),
    "too many parameters": ({**GOOD, **{f"x{n}": "1" for n in range(40)}}, 400, "ValidationError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_asks_wrongly_is_refused_before_the_token_is_looked_at(world, name):
    fields, status, code = REFUSED[name]
    world.verdict = AssertionError("the token was looked at")
    assert code_of(world.call(fields)) == (status, code)
    assert not world.started


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MissingAction"),
        (b"&&&", "MissingAction"),
        (b"Action=GetCallerIdentity&Action=AssumeRole", "ValidationError"),
        (b"Action=%FF", "ValidationError"),
        (b"\xff\xfe", "ValidationError"),
        (b"=&=", "ValidationError"),
        (b"A" * (MAX_BODY + 1), "ValidationError"),
    ],
)
def test_a_body_that_is_no_form_is_refused(world, body, code):
    assert code_of(world.call(body=body)) == (400, code)


def test_a_body_that_breaks_off_is_refused(world):
    scope = {"method": "POST", "query_string": b"", "headers": [FORM], "client": None}
    messages = [{"type": "http.request", "body": b"Action=", "more_body": True}, {"type": "http.disconnect"}]
    assert code_of(asyncio.run(world.exchange(scope, messages))) == (400, "ValidationError")


def test_other_methods_are_refused(world):
    assert code_of(world.call(GOOD, method="DELETE")) == (400, "InvalidAction")


TOKEN_FAULTS = [
    (core.BadCredential("malformed", step="shape"), 400, "InvalidIdentityToken"),
    (core.ClaimRejected("another audience", step="audience"), 403, "IDPRejectedClaim"),
    (core.IdentityExpired("expired", step="expiry"), 400, "ExpiredTokenException"),
    (core.IssuerUnavailable("try again"), 400, "IDPCommunicationError"),
]


@pytest.mark.parametrize(("fault", "status", "code"), TOKEN_FAULTS)
def test_a_refused_token_is_counted_and_has_its_own_code(world, fault, status, code):
    world.verdict = fault
    answer = world.call(GOOD)
    assert code_of(answer) == (status, code)
    assert message_of(answer) == fault.reason
    assert world.unresolved == [fault]


def test_the_failed_step_is_for_the_operator_and_never_for_the_caller(world):
    world.verdict = core.BadCredential("no", step="key-id", detail="issuer at 10.0.0.7 said no")
    text = ET.tostring(world.call(GOOD)[1], encoding="unicode")
    assert "key-id" not in text
    assert "10.0.0.7" not in text


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (core.Denied("not enrolled"), 403, "AccessDenied"),
        (
            core.Paused(subject="vendor/quillwork", since="2026-04-02T09:00:00Z", contact="sec@lab", reason="drill"),
            403,
            "AccessDenied",
        ),
        (core.SessionEnded("ended"), 403, "ExpiredToken"),
        (core.NotFound("project"), 403, "AccessDenied"),
        (core.LedgerUnavailable("disk full"), 503, "ServiceUnavailable"),
        (core.TamperDetected("head"), 500, "InternalFailure"),
    ],
)
def test_a_session_that_may_not_start_releases_no_credential(world, refusal, status, code):
    world.refusal = refusal
    answer = world.call(GOOD)
    assert code_of(answer) == (status, code)
    assert "AccessKeyId" not in ET.tostring(answer[1], encoding="unicode")


def test_a_paused_vendor_is_told_what_is_paused_since_when_and_whom_to_ask(world):
    world.refusal = core.Paused(subject="vendor/quillwork", since="2026-04-02T09:00:00Z", contact="sec@lab", reason="drill")
    said = message_of(world.call(GOOD))
    assert all(word in said for word in ("vendor/quillwork", "2026-04-02T09:00:00Z", "sec@lab", "drill"))


def test_a_failure_of_our_own_is_a_500_without_its_details(world, capsys):
    world.refusal = KeyError("secret detail")
    answer = world.call(GOOD)
    assert code_of(answer) == (500, "InternalFailure")
    assert "secret detail" not in message_of(answer)


def test_a_session_learns_whose_it_is(world):
    status, document = world.who()
    result = document.find(f"{NS}GetCallerIdentityResult")
    said = {child.tag.removeprefix(NS): child.text for child in result}
    assert status == 200
    assert (said["Person"], said["Vendor"], said["Project"], said["Session"]) == ("quillwork/q03", "quillwork", "orchid", "s01")
    assert said["Arn"] == "arn:aws:sts::000000000000:assumed-role/orchid/quillwork/q03"
    assert said["Expiration"].endswith("Z")


def without(*names):
    return lambda headers: {name: value for name, value in headers.items() if name not in names}


def changed(name, change):
    return lambda headers: {**headers, name: change(headers.get(name, ""))}


BAD_SIGNATURES = {
    "unsigned": ({"sign": False}, 403, "MissingAuthenticationToken"),
    "another secret": ({"secret": "x" * 40}, 403, "SignatureDoesNotMatch"),
    "another region": ({"region": "us-east-1"}, 400, "IncompleteSignature"),
    "signed for S3": ({"service": "s3"}, 400, "IncompleteSignature"),
    "a changed signature": (
        {"bend": changed("authorization", lambda v: v[:-1] + ("0" if v[-1] != "0" else "1"))},
        403,
        "SignatureDoesNotMatch",
    ),
    "no date": ({"bend": without("x-amz-date")}, 400, "IncompleteSignature"),
    "no token": ({"bend": without("x-amz-security-token")}, 400, "IncompleteSignature"),
    "version 2": ({"bend": changed("authorization", lambda _: "AWS LMNX:abc=")}, 400, "IncompleteSignature"),
    "basic": ({"bend": changed("authorization", lambda _: "Basic eDp5")}, 400, "IncompleteSignature"),
    "a foreign key id": (
        {"bend": changed("authorization", lambda v: v.replace(v.split("Credential=")[1][:20], "AKIAIOSFODNN7EXAMPLE"))},
        403,
        "InvalidClientTokenId",
    ),
    "a bent token": ({"bend": changed("x-amz-security-token", lambda v: v[:-2] + "AA")}, 403, "SignatureDoesNotMatch"),
}


@pytest.mark.parametrize("name", BAD_SIGNATURES)
def test_a_caller_identity_that_is_not_proven_is_refused(world, name):
    change, status, code = BAD_SIGNATURES[name]
    answer = world.who(**change)
    assert code_of(answer) == (status, code)
    assert len(world.unresolved) == 1


def test_a_session_token_that_is_not_ours_is_refused_even_under_a_good_signature(world):
    """The secret follows from the access key alone, so the token must be checked on its own."""
    session = world.session()
    other = Sessions(bytes(32)).issue(session).session_token
    ours = world.sessions.issue(session)
    real = world.sessions.issue
    world.sessions.issue = lambda s: type(ours)(ours.access_key_id, ours.secret_access_key, other, ours.expires_at)
    try:
        assert code_of(world.who(session)) == (403, "InvalidClientTokenId")
    finally:
        world.sessions.issue = real


def test_an_old_signature_is_refused(world):
    world.now = NOW + 3000
    assert code_of(world.who(world.session())) == (400, "RequestExpired")


def test_an_expired_session_is_told_to_log_in_again(world):
    assert code_of(world.who(world.session(expires_at=NOW - 1))) == (403, "ExpiredToken")


def test_a_paused_session_can_not_even_ask_who_it_is(world):
    world.cut = core.Paused(subject="vendor/quillwork", since="2026-04-02T09:00:00Z", contact="sec@lab", reason="drill")
    assert code_of(world.who()) == (403, "AccessDenied")


def test_a_door_that_forgets_to_admit_would_answer_a_paused_session(world):
    """Negative control for the test above."""

    async def forgets(session, client):
        return

    world.cut = core.Denied("paused")
    world.door._admit = forgets
    assert world.who()[0] == 200


def test_a_presigned_caller_identity_is_refused(world):
    fields = {"Action": "GetCallerIdentity", "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Signature": "0" * 64}
    assert code_of(world.call(fields, method="GET")) == (403, "MissingAuthenticationToken")


@pytest.mark.parametrize(
    ("method", "headers", "query", "speaks"),
    [
        ("POST", [FORM], b"", True),
        ("POST", [(b"content-type", b"Application/X-WWW-Form-Urlencoded")], b"", True),
        ("GET", [], b"Action=GetCallerIdentity&Version=2011-06-15", True),
        ("POST", [(b"authorization", b"AWS4-HMAC-SHA256 Credential=X/20260402/limen-1/sts/aws4_request")], b"", True),
        ("GET", [], b"", False),
        ("GET", [(b"authorization", b"AWS4-HMAC-SHA256 Credential=X/20260402/limen-1/s3/aws4_request")], b"", False),
        ("POST", [(b"content-type", b"application/xml")], b"delete", False),
        ("GET", [], b"prefix=Action=", False),
    ],
)
def test_the_door_takes_its_own_requests_and_leaves_s3_its(world, method, headers, query, speaks):
    assert world.door.speaks({"method": method, "headers": headers, "query_string": query}) is speaks


def every_kind(kind=core.LimenError):
    yield kind
    for child in kind.__subclasses__():
        yield from every_kind(child)


def test_every_error_of_the_family_has_a_row():
    for kind in every_kind():
        if kind is not core.LimenError:
            assert any(parent in TABLE for parent in kind.__mro__), kind


def test_an_error_outside_the_table_is_an_internal_failure():
    assert row_of(core.LimenError("new")) is INTERNAL


def test_only_transient_faults_have_codes_that_sdks_try_again():
    again = {kind for kind, row in TABLE.items() if row.code == "IDPCommunicationError" or row.status == 503}
    assert again == {core.IssuerUnavailable, core.LedgerUnavailable, core.UpstreamUnavailable, core.MarkKeyUnavailable}


def test_the_form_reads_plus_and_percent_alike():
    assert read_form(b"a=1+2&b=1%202&c") == {"a": "1 2", "b": "1 2", "c": ""}
    assert read_web_identity({**GOOD}).duration_s == 3600


def test_the_signature_covers_the_body(world):
    assert code_of(world.who(sent=b"Action=GetCallerIdentity&Version=2011-06-15&x=1")) == (403, "SignatureDoesNotMatch")
    assert world.who()[0] == 200
