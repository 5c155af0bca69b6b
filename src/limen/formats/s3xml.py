"""S3's XML, written and read: XML 1.0 documents of elements and text, nothing else.

Written by hand, since escaping is all it takes. Read by expat with document types, entities and processing instructions
refused, at most 1 MiB, so that a request can neither reach out nor grow. Namespaces are dropped: S3's own differ by client.
Shapes follow the Amazon S3 API reference (2006-03-01).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias
from xml.parsers import expat

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 50_000

Content: TypeAlias = "str | int | bool | Iterable[tuple[str, Content]]"

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})


class Malformed(Invalid):
    """XML that is not well formed, not allowed here, or not of the shape asked for."""

    def __init__(self, why: str) -> None:
        super().__init__("body", f"XML: {why}")


def document(root: str, content: Content, *, namespace: str = NAMESPACE) -> bytes:
    """The document `<root>content</root>`. Text that XML 1.0 can't hold becomes U+FFFD."""
    opening = f'<{root} xmlns="{namespace}">' if namespace else f"<{root}>"
    parts = ['<?xml version="1.0" encoding="UTF-8"?>\n', opening]
    _write(content, parts)
    parts.append(f"</{root}>")
    return "".join(parts).encode()


def _write(content: Content, parts: list[str]) -> None:
    if isinstance(content, bool):
        parts.append("true" if content else "false")
    elif isinstance(content, int):
        parts.append(str(content))
    elif isinstance(content, str):
        parts.append(_NOT_XML.sub("\ufffd", content).translate(_ESCAPES))
    else:
        for name, inner in content:
            parts.append(f"<{name}>")
            _write(inner, parts)
            parts.append(f"</{name}>")


@dataclass(slots=True)
class Element:
    """One element that was read: its local name, its text, and its children in order."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        """The children of that name."""
        return [child for child in self.children if child.name == name]

    def get(self, name: str) -> str | None:
        """The stripped text of the only child of that name; None if there is none, Malformed if there are several."""
        found = self.all(name)
        if len(found) > 1:
            raise Malformed(f"<{name}> is given twice")
        return found[0].text.strip() if found else None


class _Reader:
    """Collects elements from expat's events, within limits."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._count = 0

    def start(self, name: str, _attributes: list[str]) -> None:
        self._count += 1
        if len(self._open) >= MAX_DEPTH:
            raise Malformed(f"elements are nested deeper than {MAX_DEPTH}")
        if self._count > MAX_ELEMENTS:
            raise Malformed(f"more than {MAX_ELEMENTS} elements")
        element = Element(name.rpartition(" ")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        self._open[-1].text += text

    def refuse(self, *_event: object) -> NoReturn:
        raise Malformed("document types, entities and processing instructions are not accepted")


def read(raw: bytes, *, root: str) -> Element:
    """The document's root element, which must be named `root`. Raises Malformed."""
    if len(raw) > MAX_BYTES:
        raise Malformed(f"larger than {MAX_BYTES} bytes")
    reader = _Reader()
    # A declared encoding is overruled: it is one more way for two readers to see two documents.
    parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
    parser.buffer_text = True
    parser.ordered_attributes = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.EntityDeclHandler = reader.refuse
    parser.ProcessingInstructionHandler = reader.refuse
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as e:
        raise Malformed("not well formed") from e
    if reader.root is None or reader.root.name != root:
        raise Malformed(f"the root element must be <{root}>")
    return reader.root
