from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from limen.formats import s3xml


def test_what_is_written_is_what_another_parser_reads():
    text = "<&>\"' ]]> ä 🙂 \t\n\r end"

    raw = s3xml.document("Root", [("Key", text), ("Size", 42), ("IsTruncated", False), ("Inner", [("A", ""), ("A", "2")])])

    root = ET.fromstring(raw)
    found = [(element.tag.rpartition("}")[2], element.text) for element in root]
    assert found == [("Key", text), ("Size", "42"), ("IsTruncated", "false"), ("Inner", None)]


def test_text_that_xml_cannot_hold_is_replaced_so_that_the_document_stays_one():
    root = ET.fromstring(s3xml.document("Root", "a\x00b\x1fc\ud800d\ufffee", namespace=""))

    assert root.text == "a\ufffdb\ufffdc\ufffdd\ufffde"


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', ' xmlns="urn:other"'])
def test_a_document_is_read_whatever_its_namespace(namespace):
    root = s3xml.read(
        f"<Delete{namespace}><Object><Key> a &amp; b </Key></Object><Quiet> true </Quiet></Delete>".encode(), root="Delete"
    )

    assert root.get("Quiet") == "true"
    assert [element.all("Key")[0].text for element in root.all("Object")] == [" a & b "]
    assert root.get("Absent") is None


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><Delete>&c;</Delete>'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<Delete>",
        b"<Delete></Other>",
        b"<Other/>",
        b"text",
        b"<Delete/><Delete/>",
        b"\xff\xfe<\x00D\x00",
        b"<Delete>\xff</Delete>",
        b"<Delete>&undefined;</Delete>",
        b"<Delete>\x00</Delete>",
        b"<!DOCTYPE Delete><Delete/>",
        b'<!DOCTYPE Delete SYSTEM "http://127.0.0.1/x.dtd"><Delete/>',
        BOMB,
        b'<?xml-stylesheet href="x"?><Delete/>',
        b"<Delete>" + b"<a>" * 20 + b"</a>" * 20 + b"</Delete>",
        b"<Delete>" + b"<a/>" * 60_000 + b"</Delete>",
        b"<Delete>" + b" " * (1 << 20) + b"</Delete>",
    ],
)
def test_a_document_that_is_not_plain_or_not_small_is_refused(raw):
    with pytest.raises(s3xml.Malformed):
        s3xml.read(raw, root="Delete")


def test_a_declared_encoding_changes_nothing():
    with pytest.raises(s3xml.Malformed):
        s3xml.read('<?xml version="1.0" encoding="ISO-8859-1"?><Delete>ä</Delete>'.encode("latin-1"), root="Delete")


def test_an_element_that_may_come_once_is_not_taken_twice():
    root = s3xml.read(b"<Delete><Quiet>true</Quiet><Quiet>false</Quiet></Delete>", root="Delete")

    with pytest.raises(s3xml.Malformed, match="twice"):
        root.get("Quiet")
