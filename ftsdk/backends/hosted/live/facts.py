"""The facts about a provider that no source states firmly: in its capabilities and in the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ftsdk.backends.capabilities import Capabilities
from ftsdk.catalogue.schema import Catalogue, Dated, Rate, Span, format_price

_UNCONFIRMED = "UNCONFIRMED"


@dataclass(frozen=True)
class Fact:
    """One unconfirmed fact: its path, and what it says."""

    name: str
    says: str

    @property
    def subject(self) -> str:
        """What it is about, for people: a claim, a model, a rate card, a machine."""
        path = self.name.partition(".")[2].removesuffix(".note")
        return path.removeprefix("models.") or "provider"


def unconfirmed_facts(
    provider: str, capabilities: Capabilities, catalogue: Catalogue
) -> list[Fact]:
    """Return every unconfirmed fact about the provider."""
    facts = [Fact(f"capabilities.{name}", says) for name, says in capabilities.unconfirmed.items()]
    entry = catalogue.providers.get(provider)
    if entry is not None:
        facts += [Fact(f"catalogue.{path}", says) for path, says in _inside(entry, "")]
    return facts


def _inside(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of each unconfirmed figure and note."""
    if isinstance(value, BaseModel):
        if getattr(value, "confirmed", True) is False:
            yield path, _text_of(value)
        else:
            note = getattr(value, "note", "")
            if _UNCONFIRMED in note:
                yield _joined(path, "note"), note.removeprefix(f"{_UNCONFIRMED}: ")
        for name in type(value).model_fields:
            yield from _inside(getattr(value, name), _joined(path, name))
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _inside(inner, _joined(path, str(name)))
    elif isinstance(value, tuple):
        for number, inner in enumerate(value, 1):
            yield from _inside(inner, _joined(path, str(number)))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _text_of(figure: Any) -> str:
    if isinstance(figure, Dated):
        return _with_note(f"{figure.day:%Y-%m-%d}", figure.note)
    if isinstance(figure, Rate):
        methods = ", ".join(figure.methods or ("every method",))
        return _with_note(f"{_price(figure.usd_per_mtok)} per 1M tokens, {methods}", figure.note)
    for name, unit in (("usd_per_second", "second"), ("usd_per_hour", "hour")):
        span = getattr(figure, name, None)
        if isinstance(span, Span):
            return _with_note(f"{_price(span)} per {unit}", figure.note)
    return _with_note(type(figure).__name__.lower(), figure.note)


def _price(span: Span) -> str:
    low, high = (format_price(end) for end in (span.low, span.high))
    return f"${low}" if low == high else f"${low} – {high}"


def _with_note(text: str, note: str) -> str:
    return f"{text} ({note})" if note else text
