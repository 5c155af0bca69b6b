"""Bills of material made to order, and a log in memory that files them: what tests of the vendors' BOMs share."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from limen.assurance.bom.boms import Boms
from limen.assurance.bom.judge import judge
from limen.core.events import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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
    """A component with what generators write besides: hashes, licences, references, properties, evidence."""
    return component(
        name,
        version,
        kind,
        supplier={"name": "Org", "url": ["https://example.org"]},
        hashes=[
            {"alg": "SHA-256", "content": hashlib.sha256(name.encode()).hexdigest()},
            {"alg": "SHA-512", "content": hashlib.sha512(name.encode()).hexdigest()},
        ],
        licenses=[{"license": {"id": "Apache-2.0"}}],
        externalReferences=[
            {"type": "website", "url": f"https://example.org/{name}"},
            {"type": "vcs", "url": f"https://git.example.org/{name}"},
        ],
        properties=[{"name": "a:b", "value": "c"}, {"name": "layer", "value": "sha256:" + "0" * 64}],
        evidence={"occurrences": [{"location": f"/srv/app/lib/{name}/METADATA"}]},
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


def large(count: int, *, seed: str = "a", first: int = 0) -> dict[str, Any]:
    """A BOM of so many rich components of five ecosystems, with the graph of what depends on what."""
    components = [rich(f"package-{seed}-{i}", f"1.{i}.0", KINDS[i % 5]) for i in range(first, first + count)]
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
