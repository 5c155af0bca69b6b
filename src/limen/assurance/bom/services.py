"""Where the lab's assets go at a vendor's services, and which of their providers nobody told the lab about. Pure.

A BOM describes data by a *classification*, a text of the vendor's choosing, and perhaps a name. Data is bound to an asset
class of the lab's if the classification is the class's name, if it was said to stand for it, or if the name is the id of an
asset of that class. What is bound by none of these is shown as such: which assets it is can't be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.bom.values import Flow, Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROVIDER: Final = 2  # its place among a stored service's values, which are those of `cyclonedx.Service`


@dataclass(frozen=True, slots=True)
class Disclosing:
    """Whose services are no surprise: the vendor's own, those declared, and those of `before`, which an earlier BOM names."""

    own: str
    declared: frozenset[str]
    before: frozenset[str]
    first: bool

    @classmethod
    def of(cls, vendor: str, declared: Iterable[str], before: Iterable[str], *, first: bool) -> Disclosing:
        """For a vendor's BOM; `first` if there is none before it, which then is what later ones are compared with."""
        return cls(folded(vendor), frozenset(map(folded, declared)), frozenset(map(folded, before)), first)

    def why_not(self, provider: str) -> str:
        """Why a provider counts as undisclosed; empty if it does not."""
        if not provider:
            return "the BOM does not say who provides it"
        name = folded(provider)
        if name == self.own or name in self.declared:
            return ""
        if self.declared:
            return f"{provider} is not among the sub-processors that were declared"
        if self.first or name in self.before:
            return ""
        return f"{provider} is named in no earlier BOM, and no sub-processors were declared"


@dataclass(frozen=True, slots=True)
class Binding:
    """What classifications stand for: class names and asset ids by what a BOM may write for them."""

    classes: Mapping[str, str]
    assets: Mapping[str, str]
    said: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, classes: Iterable[str], assets: Mapping[str, str], said: Iterable[tuple[str, str]]) -> Binding:
        """From the lab's asset classes, its assets' classes, and what each classification was said to stand for."""
        stands: dict[str, tuple[str, ...]] = {}
        for classification, name in said:
            stands[folded(classification)] = (*stands.get(folded(classification), ()), name)
        return cls({folded(name): name for name in classes}, assets, stands)

    def flow(self, flow: str, classification: str, name: str) -> Flow:
        """One flow, with the asset classes that it carries."""
        words = [classification, *self.said.get(folded(classification), ())]
        found = {self.classes[folded(word)] for word in words if folded(word) in self.classes}
        if name in self.assets:
            found.add(self.assets[name])
        return Flow(flow, classification, name, tuple(sorted(found)), bound=bool(found))


def service(vendor: str, bom: int, found: list[Any], disclosing: Disclosing, binding: Binding) -> Service:
    """A stored service as it is shown."""
    name, path, provider, endpoints, authenticated, crosses, data = found
    why = disclosing.why_not(provider)
    return Service(
        vendor=vendor,
        bom=bom,
        name=name,
        path=path,
        provider=provider,
        endpoints=tuple(endpoints),
        crosses_boundary=crosses,
        authenticated=authenticated,
        flows=tuple(binding.flow(*each) for each in data),
        undisclosed=bool(why),
        why=why,
    )


def folded(text: str) -> str:
    """A name as names are compared: case and spacing aside."""
    return " ".join(text.casefold().split())
