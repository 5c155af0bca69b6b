"""Bills of material made to order, and a log in memory that files them: what tests of the vendors' BOMs share."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from limen.assurance.bom.boms import Boms
from limen.assurance.bom.judge import judge
from limen.core.events import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

KINDS = ("pypi", "npm", "cargo", "golang", "deb")
PURLS = {
    "pypi": "pkg:pypi/{name}@{version}",
    "npm": "pkg:npm/%40scope/{name}@{version}",
    "cargo": "pkg:cargo/{name}@{version}",
    "golang": "pkg:golang/github.com/org/{name}@v{version}",
    "deb": "pkg:deb/debian/{name}@{version}-1?arch=amd64&distro=debian-12",
}


def component(name: str, version: str = "1.0.0", kind: str = "pypi", **more: Any) -> dict[str, Any]:
    """A component of the given purl type."""
    purl = PURLS[kind].format(name=name, version=version)
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, **more}


def rich(name: str, version: str, kind: str) -> dict[str, Any]:
    """A component with all that generators write: as cdxgen does for what a manifest names, as Syft for what is installed."""
    return _named(name, version, kind) if kind in {"npm", "cargo", "golang"} else _installed(name, version, kind)


def _named(name: str, version: str, kind: str) -> dict[str, Any]:
    method = {"technique": "manifest-analysis", "confidence": 1, "value": f"/app/{name}/lock"}
    return component(
        name,
        version,
        kind,
        author="Somebody",
        description=f"What {name} does, in a sentence or two, as its registry has it.",
        scope="required",
        hashes=[{"alg": "SHA-512", "content": hashlib.sha512(name.encode()).hexdigest()}],
        licenses=[{"license": {"id": "MIT", "url": "https://opensource.org/licenses/MIT"}}],
        externalReferences=[
            {"type": kind_, "url": f"https://{kind_}.example/{name}"}
            for kind_ in ("website", "vcs", "issue-tracker", "distribution")
        ],
        properties=[
            {"name": f"cdx:{key}", "value": f"{name}/{key}"}
            for key in ("SrcFile", "resolved", "registry", "engine", "development")
        ],
        evidence={
            "identity": [{"field": "purl", "confidence": 1, "methods": [method]}],
            "occurrences": [{"location": f"/app/src/{name}.js", "line": 7}],
        },
    )


def _installed(name: str, version: str, kind: str) -> dict[str, Any]:
    cpes = [f"cpe:2.3:a:{who}:{name}:{version}:*:*:*:*:*:*:*" for who in (name, f"{name}_project", "python", f"python-{name}")]
    return component(
        name,
        version,
        kind,
        publisher="Somebody",
        cpe=cpes[0],
        hashes=[{"alg": "SHA-256", "content": hashlib.sha256(name.encode()).hexdigest()}],
        licenses=[{"license": {"id": "Apache-2.0"}}],
        externalReferences=[{"type": "website", "url": f"https://example.org/{name}"}],
        properties=[
            {"name": "syft:package:foundBy", "value": f"{kind}-installed-cataloger"},
            {"name": "syft:package:language", "value": "python"},
            {"name": "syft:package:type", "value": kind},
            {"name": "syft:package:metadataType", "value": f"{kind}-package"},
            *({"name": "syft:cpe23", "value": cpe} for cpe in cpes[1:]),
            {"name": "syft:location:0:layerID", "value": "sha256:" + "0" * 64},
            {"name": "syft:location:0:path", "value": f"/usr/lib/{name}/METADATA"},
        ],
        evidence={"occurrences": [{"location": f"/usr/lib/{name}/METADATA"}]},
    )


def bom(components: Iterable[dict[str, Any]], timestamp: str | None = "2026-03-24T11:10:00Z", **more: Any) -> dict[str, Any]:
    """A complete BOM of a vendor's platform."""
    metadata: dict[str, Any] = {"component": {"type": "platform", "bom-ref": "platform", "name": "quillwork"}}
    if timestamp is not None:
        metadata["timestamp"] = timestamp
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
        "version": 1,
        "metadata": metadata,
        "components": list(components),
        "compositions": [{"aggregate": "complete", "assemblies": ["platform"]}],
        **more,
    }


def large(count: int, *, seed: str = "a", make: Callable[[str, str, str], dict[str, Any]] = rich) -> dict[str, Any]:
    """A BOM of so many components of five ecosystems, with the graph of what depends on what."""
    components = [make(f"package-{seed}-{i}", f"1.{i}.0", KINDS[i % 5]) for i in range(count)]
    refs = [each["bom-ref"] for each in components]
    graph = [{"ref": ref, "dependsOn": refs[max(0, i - 3) : i]} for i, ref in enumerate(refs)]
    return bom(components, dependencies=[{"ref": "platform", "dependsOn": refs}, *graph])


class Log:
    """Entries in memory, and the bytes that they name."""

    def __init__(self) -> None:
        self.raws: list[bytes] = []
        self.blobs: dict[str, bytes] = {}

    def entries(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        return iter([*enumerate(self.raws)][start:end])

    def read(self, digest: str) -> bytes:
        try:
            return self.blobs[digest]
        except KeyError as e:
            raise FileNotFoundError(digest) from e

    def file(self, vendor: str, document: Any, *, at: int, **fields: Any) -> int:
        """File a BOM (a value, or its bytes) at a time in µs, judged as the gateway judges it; its entry's index."""
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        digest = hashlib.sha256(raw).hexdigest()
        self.blobs[digest] = raw
        judged = {**judge(raw).fields(), "vendor": vendor, "digest": digest, "length": len(raw), "by": "uid:0", **fields}
        self.raws.append(encode("bom.add", at, len(self.raws).to_bytes(16), judged))
        return len(self.raws) - 1

    def boms(self, data: Path) -> Boms:
        return Boms(data, self, self.read, origin="test")
