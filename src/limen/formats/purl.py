"""Package URLs (purl-spec, ECMA-427) as packages under the names that OSV 1.7 gives their ecosystems.

`package_of` reads a purl; `package` gives a name from elsewhere, an advisory say, the same form: two names that one registry
takes for the same package are equal, two that it keeps apart are not (`LiteLLM` is `litellm`; `lite_llm` is `lite-llm`, another
project). Where registries and generators of purls disagree about upper and lower case (npm, NuGet) case is dropped: at worst
an old name that differs in case alone is taken for the other, and none is missed.

Packages of distributions carry the release if the purl names it: `Debian:12`, `Alpine:v3.18`, `Ubuntu:22.04:LTS`; without it
the ecosystem is `Debian`, of no release that is known. Their name is the *source* package's, as in OSV: the purl's `upstream`
if it has one. Container images have no ecosystem in OSV; here it is `container`, their name the whole repository
(`ghcr.io/berriai/litellm`, `docker.io/library/debian`), their version the tag, or the digest if there is no tag.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from packageurl import PackageURL

CONTAINER: Final = "container"
DOCKER: Final = "docker.io"
_MAX: Final = 4096  # characters of a purl: longer ones name nothing
_KEPT: Final = 65_536  # purls that are remembered; a vendor names the same ones in each of its BOMs


class Package(NamedTuple):
    """A package as OSV names it. Make one with `package` or `package_of`, which give equal packages equal names."""

    ecosystem: str
    name: str


_PLAIN: Final = {  # purl type -> OSV ecosystem, for types whose name is the OSV name
    "bioconductor": "Bioconductor",
    "bitnami": "Bitnami",
    "cargo": "crates.io",
    "conan": "ConanCenter",
    "cran": "CRAN",
    "gem": "RubyGems",
    "hackage": "Hackage",
    "hex": "Hex",
    "julia": "Julia",
    "nuget": "NuGet",
    "opam": "opam",
    "pub": "Pub",
    "pypi": "PyPI",
}
_PATHS: Final = {  # likewise, with the namespace before the name
    "composer": "Packagist",
    "github": "GitHub Actions",  # an action is the repository that holds it
    "githubactions": "GitHub Actions",
    "golang": "Go",
    "npm": "npm",
    "swift": "SwiftURL",
    "vscode": "VSCode",
}
_DISTRIBUTIONS: Final = {  # (purl type, namespace) -> OSV ecosystem without its release
    ("apk", "alpaquita"): "Alpaquita",
    ("apk", "alpine"): "Alpine",
    ("apk", "chainguard"): "Chainguard",
    ("apk", "minimos"): "MinimOS",
    ("apk", "wolfi"): "Wolfi",
    ("deb", "debian"): "Debian",
    ("deb", "echo"): "Echo",
    ("deb", "ubuntu"): "Ubuntu",
    ("rpm", "almalinux"): "AlmaLinux",
    ("rpm", "mageia"): "Mageia",
    ("rpm", "openeuler"): "openEuler",
    ("rpm", "opensuse"): "openSUSE",
    ("rpm", "redhat"): "Red Hat",
    ("rpm", "rhel"): "Red Hat",
    ("rpm", "rocky"): "Rocky Linux",
    ("rpm", "rocky-linux"): "Rocky Linux",
    ("rpm", "suse"): "SUSE",
}
_DEBIAN: Final = {
    "wheezy": "7", "jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13",
    "forky": "14",
}  # fmt: skip
_UBUNTU: Final = {
    "trusty": "14.04", "xenial": "16.04", "bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04",
    "resolute": "26.04",
}  # fmt: skip
_FOLDED: Final = frozenset({"npm", "NuGet", "Packagist", "GitHub Actions", "Hex", "Pub", "Bitnami", "SwiftURL", CONTAINER})
_RUNS: Final = re.compile(r"[-_.]+")
_DIGEST: Final = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
_WORD: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SIMPLE: Final = re.compile(rf"pkg:(cargo|gem|npm|pypi)/({_WORD})@([A-Za-z0-9._+-]+)\Z")
_SCOPED: Final = re.compile(rf"pkg:npm/%40({_WORD})/({_WORD})@([A-Za-z0-9._+-]+)\Z")
_MODULE: Final = re.compile(rf"pkg:golang/((?:{_WORD}/)*{_WORD})@([A-Za-z0-9._+-]+)\Z")
_DEB: Final = re.compile(rf"pkg:deb/(debian|ubuntu)/({_WORD})@([A-Za-z0-9._+~:-]+)(?:\?((?:[a-z]+=[A-Za-z0-9._:-]+&?)+))?\Z")
_SOURCE_RPM: Final = re.compile(r"(?P<name>.+)-(?P<version>[^-]+-[^-]+?)(?:\.(?:no)?src)?\.rpm\Z")


def package(ecosystem: str, name: str) -> Package:
    """The package with this name in this OSV ecosystem (`PyPI`, `Debian:12`), its name in the one form that compares equal."""
    if ecosystem == "PyPI":
        return Package(ecosystem, _RUNS.sub("-", name).lower())  # PEP 503
    if ecosystem in _FOLDED:
        return Package(ecosystem, name.lower())
    return Package(ecosystem, name)


def package_of(purl: str) -> tuple[Package, str] | None:
    """The package and the version (empty if none is given) that a purl names; None if it names none: `why_not` says why."""
    found = _read(purl)
    return None if isinstance(found, str) else found[:2]


def why_not(purl: str) -> str:
    """Why a purl names no package that an advisory could name; empty if it names one."""
    found = _read(purl)
    return found if isinstance(found, str) else ""


def digest_of(purl: str) -> str:
    """The digest (`sha256:…`) that the purl of a container image is pinned to; empty if it is pinned to none."""
    found = _read(purl)
    return "" if isinstance(found, str) else found[2]


def image_of(reference: str) -> tuple[Package, str, str] | None:
    """The package, version and digest of an image reference (`ghcr.io/berriai/litellm:main@sha256:…`); None if it is none.

    The version is the tag, else the digest, else `latest`, which is what a reference without both means.
    """
    rest, _, digest = reference.partition("@")
    digest = digest.lower()
    if (digest and not _DIGEST.match(digest)) or not rest or any(c.isspace() for c in rest):
        return None
    before, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:  # the colon of a port
        before, tag = rest, ""
    return package(CONTAINER, _repository(before)), tag or digest or "latest", digest


@lru_cache(_KEPT)
def _read(purl: str) -> tuple[Package, str, str] | str:
    """Package, version and digest; or the sentence that says why not."""
    if len(purl) > _MAX:
        return f"the purl has {len(purl)} characters, more than {_MAX}"
    # Most purls have nothing that needs decoding, and reading them whole takes ten times as long.
    if match := _SIMPLE.match(purl):
        kind, name, version = match.groups()
        return package(_PLAIN.get(kind, kind), name), version, ""
    if match := _SCOPED.match(purl):
        scope, name, version = match.groups()
        return package("npm", f"@{scope}/{name}"), version, ""
    if match := _MODULE.match(purl):
        return package("Go", match[1]), _go(match[2]), ""
    if match := _DEB.match(purl):
        kind, name, version, qualifiers = match.groups()
        pairs = dict(pair.split("=", 1) for pair in (qualifiers or "").split("&") if pair)
        return _of_distribution(PackageURL("deb", kind, name, version, pairs, None, normalize_purl=False), version)
    return _read_whole(purl)


def _read_whole(purl: str) -> tuple[Package, str, str] | str:
    try:
        url = PackageURL.from_string(purl)
    except ValueError as e:
        return f"not a purl: {e}"
    version = url.version or ""
    if url.type in _PLAIN:
        return package(_PLAIN[url.type], url.name), version, ""
    if url.type in _PATHS:
        ecosystem = _PATHS[url.type]
        version = _go(version) if ecosystem == "Go" else version
        return package(ecosystem, f"{url.namespace}/{url.name}" if url.namespace else url.name), version, ""
    if url.type == "maven":
        if not url.namespace:
            return "a Maven package without its group"
        return package("Maven", f"{url.namespace}:{url.name}"), version, ""
    if url.type in {"docker", "oci"}:
        return _image(url, version)
    if url.type in {"apk", "deb", "rpm"}:
        return _of_distribution(url, version)
    return f"advisories name no packages of type {url.type}"


def _go(version: str) -> str:
    """A version as OSV writes it: without the `v` that the module's tags have."""
    return version[1:] if version[:1] == "v" else version


def _image(url: PackageURL, version: str) -> tuple[Package, str, str]:
    name = f"{url.namespace}/{url.name}" if url.namespace else url.name
    place = url.qualifiers.get("repository_url", "").removeprefix("https://").strip("/")
    if url.type == "docker":
        name = f"{place}/{name}" if place else name
    elif place:
        name = place if place.rpartition("/")[2].lower() == url.name else f"{place}/{name}"
    digest = version if _DIGEST.match(version) else ""
    tag = url.qualifiers.get("tag", "") or ("" if digest else version)
    return package(CONTAINER, _repository(name)), tag or digest, digest


def _repository(name: str) -> str:
    """A repository with its registry, written out: `debian` is `docker.io/library/debian`."""
    host, slash, rest = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, rest = DOCKER, name
    if host in {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}:
        host = DOCKER
    return f"{host}/library/{rest}" if host == DOCKER and "/" not in rest else f"{host}/{rest}"


def _of_distribution(url: PackageURL, version: str) -> tuple[Package, str, str] | str:
    family = _DISTRIBUTIONS.get((url.type, (url.namespace or "").lower()))
    if family is None:
        return f"advisories name no packages of the distribution {url.namespace or 'that the purl leaves out'} ({url.type})"
    epoch = url.qualifiers.get("epoch", "")
    name, version = _source(url, f"{epoch}:{version}" if epoch and url.type == "rpm" else version)
    release = _release(family, url.qualifiers.get("distro", "").lower())
    return package(f"{family}:{release}" if release else family, name), version, ""


def _source(url: PackageURL, version: str) -> tuple[str, str]:
    """The source package's name and version: the purl's `upstream` where it has one, else its own."""
    upstream = url.qualifiers.get("upstream", "").partition(",")[0]
    if not upstream:
        return url.name, version
    if match := _SOURCE_RPM.match(upstream):
        return match["name"], version  # an rpm's version is its source's, and has the epoch besides
    name, _, other = upstream.partition("@")
    return name, other or version


def _release(family: str, distro: str) -> str:
    """The release as OSV writes it; empty if the purl does not say, or says it in a way that is not known here."""
    known = {"Debian": _DEBIAN, "Ubuntu": _UBUNTU}.get(family, {})
    text = known.get(distro.rpartition("-")[2]) or distro.rpartition("-")[2]
    match = re.match(r"v?(\d+)(?:\.(\d+))?", text)
    if match is None:
        return ""
    major, minor = match[1], match[2]
    if family == "Ubuntu":
        # Long-term releases are those of April in even years.
        return f"{major}.{minor}:LTS" if minor == "04" and int(major) % 2 == 0 else f"{major}.{minor}" if minor else ""
    if family == "Alpine":
        return f"v{major}.{minor}" if minor else ""
    return major if family in {"Debian", "AlmaLinux", "Rocky Linux"} else ""
