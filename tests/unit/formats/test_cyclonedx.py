import json

import pytest

import boms
from limen.core.errors import Invalid
from limen.formats import cyclonedx
from limen.formats.purl import Package

D = "sha256:" + "cd" * 32


def read(document):
    return cyclonedx.read(cyclonedx.parse(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"<?xml version='1.0'?><bom/>", "XML"),
        (b"\xef\xbb\xbf  <bom/>", "XML"),
        (b"", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'{"bomFormat": "CycloneDX", "version": NaN}', "NaN"),
        (b'{"bomFormat": "CycloneDX", "bomFormat": "CycloneDX"}', "twice"),
        (b"[" * 100_000, "deeper than 64"),
        (b'{"bomFormat": "CycloneDX", "x": ' + b"[" * 64 + b"]" * 64 + b"}", "deeper than 64"),
        (b"[" + b"[]," * 4_000_000 + b"[]]", "more than 4000000 objects"),
        (b"[]", "not an object"),
        (b"{}", "bomFormat"),
        (b'{"spdxVersion": "SPDX-2.3"}', "SPDX"),
        (b'{"bomFormat": "CycloneDX", "x": "\\ud800"}', "surrogate"),
        (b" " * (cyclonedx.MAX_BYTES + 1), "more than 67108864"),
    ],
)
def test_what_is_no_document_is_refused_with_the_reason(raw, why):
    with pytest.raises(Invalid, match=why):
        cyclonedx.parse(raw)


def test_a_document_at_the_limits_is_taken():
    raw = (
        b'{"bomFormat": "CycloneDX", "x": '
        + b"[" * 63
        + b"]" * 63
        + b', "y": "\\ud83d\\ude00", "[\\"[\\\\": "'
        + b"[" * 99
        + b'"}'
    )
    assert cyclonedx.parse(raw)["y"] == "\U0001f600"
    assert cyclonedx.parse(b"\xef\xbb\xbf" + raw) == cyclonedx.parse(raw)


def test_more_components_than_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(cyclonedx, "MAX_COMPONENTS", 3)
    nested = boms.component("a", components=[boms.component("b"), boms.component("c", components=[boms.component("d")])])
    with pytest.raises(Invalid, match="split the BOM"):
        read(boms.bom([nested]))
    assert len(read(boms.bom([boms.component(name) for name in "abc"])).parts) == 3


def test_components_are_read_with_what_they_are_in_and_where_they_occur():
    nested = boms.component("inner", evidence={"occurrences": [{"location": "/a"}, {"location": "/b"}]})
    document = read(boms.bom([boms.component("outer", group="org", components=[nested]), nested]))
    assert [(part.name, part.path) for part in document.parts] == [
        ("org/outer", ""),
        ("inner", "org/outer @ /a and 1 more"),
        ("inner", "@ /a and 1 more"),
    ]


def test_actions_of_builds_and_the_tools_that_made_the_bom_are_components_too():
    action = {"type": "application", "bom-ref": "trivy", "name": "trivy", "purl": "pkg:github/aquasecurity/trivy-action@0.33.1"}
    workflow = {"uid": "w", "name": "release", "tasks": [{"uid": "t", "name": "scan", "resourceReferences": [{"ref": "trivy"}]}]}
    document = boms.bom([], formulation=[{"components": [action, boms.component("make")], "workflows": [workflow]}])
    document["metadata"]["tools"] = {"components": [boms.component("syft")]}
    parts = read(document).parts
    assert [(part.name, part.path) for part in parts] == [
        ("syft", "tools"),
        ("trivy", "formulation > release > scan"),
        ("make", "formulation"),
    ]
    assert parts[1].package() == (Package("GitHub Actions", "aquasecurity/trivy-action"), "0.33.1")


def test_a_container_image_is_named_by_its_purl_or_by_its_reference():
    by_purl = {
        "type": "container",
        "name": "litellm",
        "purl": f"pkg:oci/litellm@{D}?repository_url=ghcr.io/berriai/litellm&tag=main",
    }
    by_name = {"type": "container", "name": "ghcr.io/berriai/litellm", "version": D}
    library = {"type": "library", "name": "ghcr.io/berriai/litellm", "version": D}
    purl, name, neither = read(boms.bom([by_purl, by_name, library])).parts
    assert purl.package() == (Package("container", "ghcr.io/berriai/litellm"), "main")
    assert name.package() == (Package("container", "ghcr.io/berriai/litellm"), D)
    assert purl.all_digests() == name.all_digests() == (D,)
    assert neither.package() is None


def test_a_version_comes_from_the_purl_and_else_from_the_component():
    stated = {"type": "library", "name": "gin", "version": "v1.9", "purl": "pkg:golang/github.com/gin-gonic/gin"}
    other = {"type": "library", "name": "litellm", "version": "1.82.6", "purl": "pkg:pypi/litellm@1.82.8"}
    assert [part.package()[1] for part in read(boms.bom([stated, other])).parts] == ["1.9", "1.82.8"]


def test_scopes_say_what_is_not_installed_and_what_is_not_part_of_it():
    scopes = [{}, {"scope": "optional"}, {"scope": "excluded"}, {"isExternal": True}]
    parts = read(boms.bom([boms.component(f"c{i}", **scope) for i, scope in enumerate(scopes)])).parts
    assert [part.scope for part in parts] == ["required", "optional", "excluded", "external"]


PART = {"type": "container", "bom-ref": "platform", "name": "x"}
UNSAID = (
    ("no composition", {"compositions": []}),
    ("no composition", {"compositions": [{"aggregate": "complete", "assemblies": ["a"]}]}),
    ("no composition", {"compositions": [{"aggregate": "complete", "dependencies": ["platform"]}]}),
    ("incomplete", {"compositions": [{"aggregate": "complete"}, {"aggregate": "incomplete", "assemblies": ["a"]}]}),
    ("unknown", {"compositions": [{"aggregate": "complete"}, {"aggregate": "unknown", "dependencies": ["a"]}]}),
    ("no platform", {"metadata": {"component": PART}}),
    ("no platform", {"metadata": {}}),
    ("1.2", {"specVersion": "1.2"}),
)


def incomplete(more):
    return read({**boms.bom([boms.component("a")]), **more}).incomplete


def test_a_bom_is_complete_only_if_it_says_so_of_the_whole_vendor():
    for why, more in UNSAID:
        assert why in " ".join(incomplete(more))
    assert incomplete({}) == ()
    assert incomplete({"compositions": [{"aggregate": "complete"}]}) == ()
    assert incomplete({"compositions": [{"aggregate": "complete"}, {"aggregate": "unknown", "vulnerabilities": ["v"]}]}) == ()


def test_that_check_sees_a_reader_that_takes_any_composition_for_the_whole(monkeypatch):
    monkeypatch.setattr(cyclonedx, "_texts", lambda value: iter(()))
    assert [why for why, more in UNSAID if why not in " ".join(incomplete(more))] == ["no composition", "no composition"]


def test_an_image_whose_content_is_not_listed_leaves_the_bom_incomplete():
    image = {"type": "container", "bom-ref": "image", "name": "ghcr.io/berriai/litellm", "version": "main"}
    assert "1 container images is not listed" in read(boms.bom([image])).incomplete[0]
    assert read(boms.bom([{**image, "components": [boms.component("a")]}])).incomplete == ()
    said = [{"aggregate": "complete", "assemblies": ["platform", "image"]}]
    assert read(boms.bom([image], compositions=said)).incomplete == ()


def test_what_is_left_unsaid_is_named():
    odd = [boms.component("a"), {"type": "library", "name": "plain"}, boms.component("a")]
    service = {"name": "s", "bom-ref": "s"}
    gaps = " ".join(read(boms.bom(odd, timestamp=None, services=[service])).gaps)
    for said in ("no timestamp", "1 components have no version", "1 bom-refs", "1 services have no provider", "of 1 services"):
        assert said in gaps
    count, sentences = cyclonedx.unnamed(read(boms.bom([*odd, {"name": "x", "purl": "pkg:generic/x@1"}])).parts)
    assert count == 2
    assert "no package URL" in sentences[0]
    assert "type generic" in sentences[1]


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01t01:00:01.5+01:00", 1_500_000),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1969-12-31T00:00:00Z", None),
        ("9999-12-31T00:00:00Z", None),
        ("1970-01-01T00:00:01", None),
        ("yesterday", None),
        (7, None),
    ],
)
def test_a_timestamp_is_a_time_with_its_zone_or_none(text, us):
    assert read(boms.bom([], text)).timestamp_us == us


@pytest.mark.parametrize("version", [10**40, -1, "1", True, 1.5, None])
def test_a_version_that_is_no_sensible_number_is_refused(version):
    with pytest.raises(Invalid, match="version"):
        read(boms.bom([], version=version))


def test_services_are_read_with_their_provider_and_flows():
    inner = {"name": "inner", "provider": {"url": ["https://b.example"]}, "authenticated": False}
    flow = {"flow": "outbound", "classification": "training", "name": "orchid-sft-v3"}
    outer = {
        "name": "outer", "provider": {"name": "Acme"}, "x-trust-boundary": True, "data": [flow],
        "endpoints": ["https://a.example/v1"], "services": [inner],
    }  # fmt: skip
    assert read(boms.bom([], services=[outer])).services == (
        cyclonedx.Service("outer", "", "Acme", ("https://a.example/v1",), None, True, (cyclonedx.Data(*flow.values()),)),
        cyclonedx.Service("inner", "outer", "https://b.example", (), False, None, ()),
    )
