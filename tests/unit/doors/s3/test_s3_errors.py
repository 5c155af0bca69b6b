"""The one table from limen's errors to S3's words is complete."""

from __future__ import annotations

import importlib
import pkgutil
from xml.etree import ElementTree as ET

import pytest

import limen
from limen.core import errors as core
from limen.doors.s3 import errors, reply
from limen.formats import sigv4


def every_subclass(kind):
    for sub in kind.__subclasses__():
        yield sub
        yield from every_subclass(sub)


def load_everything_that_defines_errors():
    for module in pkgutil.walk_packages(limen.__path__, "limen."):
        if "__main__" not in module.name and ".migrations." not in module.name:
            importlib.import_module(module.name)


def missing(table):
    load_everything_that_defines_errors()
    return [kind for kind in every_subclass(core.LimenError) if not any(base in table for base in kind.__mro__)]


def test_every_error_of_limen_has_a_row():
    assert limen.__name__
    assert missing(errors.TABLE) == []


def test_a_table_that_lacks_a_row_is_noticed():
    without = {kind: row for kind, row in errors.TABLE.items() if kind is not core.LedgerUnavailable}

    assert missing(without) == [core.LedgerUnavailable]


def test_only_what_is_not_the_callers_fault_is_a_500_or_503():
    faults = {kind for kind, row in errors.TABLE.items() if row.status in (500, 503)}

    unavailable = {core.LedgerUnavailable, core.UpstreamUnavailable, core.MarkKeyUnavailable}
    assert faults == unavailable | {core.TamperDetected, core.Failed}


@pytest.mark.parametrize(
    ("error", "code", "status", "word"),
    [
        (core.Paused(subject="vendor/quillwork", since="09:00", contact="sec@lab", reason="x"), "AccessDenied", 403, "paused"),
        (core.SessionEnded("over"), "ExpiredToken", 400, "ended"),
        (core.OverQuota("used up", resets="2026-03-28T00:00:00Z"), "QuotaExceeded", 403, "quota"),
        (core.NotFound("orchid/x"), "NoSuchKey", 404, "not-found"),
        (core.LedgerUnavailable("disk full"), "ServiceUnavailable", 503, "ledger"),
        (core.IdentityExpired("old"), "InvalidAccessKeyId", 403, "credential"),
    ],
)  # fmt: skip
def test_an_error_is_said_by_its_nearest_row(error, code, status, word):
    assert errors.row_of(error)[:3] == (code, status, word)


def test_the_operators_text_never_reaches_the_caller():
    secret = "the row that decided, the path on disk"
    shown = [
        core.Denied("ask the owner", detail=secret),
        core.BadCredential("log in again", detail=secret),
        core.NotFound(secret),
        core.TamperDetected(secret),
        core.LedgerUnavailable(secret, next_step=secret),
    ]

    for error in shown:
        document = errors.document(errors.row_of(error), error, resource="/orchid/a", request_id="1").decode()
        assert secret not in document
        assert secret in str(error)
        assert ET.fromstring(document).findtext("Message")


def test_a_wrong_region_is_put_right_in_a_header_too_as_a_head_has_no_document():
    wrong = reply.refusal(sigv4.MalformedAuthorization("wrong", region="limen-1"), resource="/", request_id="1")
    other = reply.refusal(sigv4.MalformedAuthorization("broken"), resource="/", request_id="1")

    assert (b"x-amz-bucket-region", b"limen-1") in wrong.headers
    assert b"x-amz-bucket-region" not in dict(other.headers)
