import pytest

from limen.formats import purl as reading
from limen.formats.purl import Package, digest_of, image_of, package, package_of, why_not

D = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("purl", "ecosystem", "name", "version"),
    [
        ("pkg:pypi/litellm@1.82.8", "PyPI", "litellm", "1.82.8"),
        ("pkg:pypi/LiteLLM@1.82.8", "PyPI", "litellm", "1.82.8"),
        ("pkg:pypi/zope.interface@6.0?x=y", "PyPI", "zope-interface", "6.0"),
        ("pkg:npm/%40angular/core@17.0.0", "npm", "@angular/core", "17.0.0"),
        ("pkg:npm/JSONStream@1.3.5", "npm", "jsonstream", "1.3.5"),
        ("pkg:golang/github.com/gin-gonic/gin@v1.9.1", "Go", "github.com/gin-gonic/gin", "1.9.1"),
        ("pkg:golang/stdlib@1.22.0", "Go", "stdlib", "1.22.0"),
        ("pkg:cargo/serde@1.0.200", "crates.io", "serde", "1.0.200"),
        ("pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1", "Maven", "org.apache.logging.log4j:log4j-core", "2.14.1"),
        ("pkg:deb/debian/libc6@2.36-9?distro=debian-12.5&upstream=glibc", "Debian:12", "glibc", "2.36-9"),
        ("pkg:deb/debian/libc6@2.36-9?distro=bookworm&upstream=glibc%402.36-8", "Debian:12", "glibc", "2.36-8"),
        ("pkg:deb/debian/curl@7.88.1-10", "Debian", "curl", "7.88.1-10"),
        ("pkg:deb/ubuntu/curl@8.5.0-2?distro=ubuntu-24.04", "Ubuntu:24.04:LTS", "curl", "8.5.0-2"),
        ("pkg:deb/ubuntu/curl@8.5.0-2?distro=ubuntu-23.10", "Ubuntu:23.10", "curl", "8.5.0-2"),
        ("pkg:apk/alpine/libcurl@8.5.0-r0?distro=alpine-3.18.4&upstream=curl", "Alpine:v3.18", "curl", "8.5.0-r0"),
        ("pkg:rpm/redhat/bash@5.1.8-6.el9?epoch=1&upstream=bash-5.1.8-6.el9.src.rpm", "Red Hat", "bash", "1:5.1.8-6.el9"),
        ("pkg:github/aquasecurity/Trivy-Action@0.33.1", "GitHub Actions", "aquasecurity/trivy-action", "0.33.1"),
        ("pkg:nuget/Newtonsoft.Json@13.0.1", "NuGet", "newtonsoft.json", "13.0.1"),
        (f"pkg:oci/litellm@{D}?repository_url=ghcr.io/berriai/litellm&tag=main", "container", "ghcr.io/berriai/litellm", "main"),
        (f"pkg:oci/debian@{D}?repository_url=index.docker.io/library/debian", "container", "docker.io/library/debian", D),
        ("pkg:docker/debian@12", "container", "docker.io/library/debian", "12"),
        ("pkg:docker/berriai/litellm@v1?repository_url=ghcr.io", "container", "ghcr.io/berriai/litellm", "v1"),
        ("pkg:pypi/litellm", "PyPI", "litellm", ""),
    ],
)
def test_a_purl_names_the_package_that_advisories_name(purl, ecosystem, name, version):
    assert package_of(purl) == (Package(ecosystem, name), version)
    assert why_not(purl) == ""


@pytest.mark.parametrize(
    ("purl", "why"),
    [
        ("litellm", "not a purl"),
        ("", "not a purl"),
        ("pkg:pypi", "not a purl"),
        ("pkg:generic/openssl@3.0", "type generic"),
        ("pkg:deb/parrot/curl@1", "distribution parrot"),
        ("pkg:maven/log4j@1", "without its group"),
        ("pkg:pypi/" + "x" * 5000, "characters"),
    ],
)
def test_a_purl_that_names_no_package_says_why(purl, why):
    assert package_of(purl) is None
    assert why in why_not(purl)


def test_a_name_from_an_advisory_equals_that_of_the_purl_and_a_similar_one_does_not():
    assert package("PyPI", "LiteLLM") == package_of("pkg:pypi/litellm@1")[0]
    assert package("PyPI", "lite_llm") == package_of("pkg:pypi/lite.llm@1")[0] != package("PyPI", "litellm")
    assert package("NuGet", "Newtonsoft.Json") == package_of("pkg:nuget/newtonsoft.json@1")[0]
    assert package("Go", "github.com/A/b") != package("Go", "github.com/a/b")


def test_an_image_reference_is_read_as_registries_read_it():
    assert image_of("debian") == (Package("container", "docker.io/library/debian"), "latest", "")
    assert image_of("localhost:5000/tool") == (Package("container", "localhost:5000/tool"), "latest", "")
    assert image_of(f"ghcr.io/berriai/litellm:main@{D}") == (Package("container", "ghcr.io/berriai/litellm"), "main", D)
    assert image_of(f"ghcr.io/berriai/litellm@{D}") == (Package("container", "ghcr.io/berriai/litellm"), D, D)
    assert image_of("two words") is None
    assert image_of("debian@sha256:12") is None


def test_a_pinned_image_carries_its_digest():
    assert digest_of(f"pkg:oci/litellm@{D}?tag=main") == D
    assert digest_of("pkg:docker/debian@12") == digest_of("pkg:pypi/x@1") == ""


def test_simple_purls_are_read_as_all_are():
    names = [
        "litellm",
        "LiteLLM",
        "a.b_c--d",
        "0x",
        "%40scope/x",
        "%40S/Y.z",
        "github.com/gin-gonic/gin",
        "a/b/c",
        "x..y",
        "-x",
        "a//b",
        "v1",
    ]
    versions = ["1.82.8", "v1.0.0", "2.0+incompatible", "1.0-rc.1", "v", "vv1", "1%2B2", "1~2", ""]
    for kind in ("cargo", "gem", "npm", "pypi", "golang", "PyPI"):
        for name in names:
            for version in versions:
                purl = f"pkg:{kind}/{name}@{version}"
                assert reading._read(purl) == reading._read_whole(purl), purl
    for distro in ("debian-12", "bookworm", "DEBIAN-12", ""):
        for upstream in ("", "&upstream=glibc", "&upstream=a=b", "&upstream=", "&upstream=a&upstream=b"):
            for version in ("1:2.36-9+deb12u4~x", "1%3A2", "1"):
                purl = f"pkg:deb/debian/libc6@{version}?arch=amd64&distro={distro}{upstream}"
                assert reading._read(purl) == reading._read_whole(purl), purl
