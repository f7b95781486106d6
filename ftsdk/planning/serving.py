"""The price of serving a candidate, with its source, what is not confirmed, and what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ftsdk.catalogue.inference_cost import is_tuned
from ftsdk.catalogue.load import Entry, lookup
from ftsdk.catalogue.schema import Catalogue, Inference, Span
from ftsdk.catalogue.serving_cost import ServingPrice, Traffic
from ftsdk.planning.candidates import Candidate


@dataclass
class Serving:
    """What serving a candidate costs, with the sources of the figures."""

    candidate: Candidate
    base: Traffic
    catalogue: Catalogue
    sources: list[str] = field(default_factory=list)
    unconfirmed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: str = ""

    def __post_init__(self) -> None:
        one = self.candidate
        self.asked = self.base.with_prompt(one.prompt_tokens, one.prompt_cached)
        self.entry = lookup(one.provider, one.model, self.catalogue)
        self.price = self._price()

    def _price(self) -> ServingPrice | None:
        if self.candidate.serve_on:
            return self._machine(self.candidate.serve_on)
        if self.entry is None:
            self.missing = f"{self.candidate.provider} is not in the catalogue"
            return None
        if self.entry.facts.free:
            self.notes.append("your own machine, whose price is not counted")
            return ServingPrice(requests_per_s=self.candidate.requests_per_s)
        return self._prompted(self.entry) if self._is_untuned else self._tuned(self.entry)

    @property
    def _is_untuned(self) -> bool:
        return self.candidate.kind == "prompt" and not is_tuned(self.candidate.model)

    def _prompted(self, entry: Entry) -> ServingPrice | None:
        found = entry.model.untuned if entry.model is not None else None
        if found is None:
            self.missing = f"no price of the untuned {self.candidate.model} is known"
            return None
        return self._by_tokens(found, "tokens")

    def _tuned(self, entry: Entry) -> ServingPrice | None:
        facts, found = entry.facts, entry.model.inference if entry.model is not None else None
        if facts.hosting is None and found is not None:
            return self._by_tokens(found, "tokens")
        if facts.hosting is None:
            return self._machine(self.candidate.provider)
        free = facts.tokens_are_free
        tokens = ServingPrice() if found is None else self._by_tokens(found, "tokens")
        if found is None and not (free is not None and free.holds):
            self.missing = f"no price of the tokens of {self.candidate.model} is known"
            return None
        self._cite(facts.hosting, "hosting")
        return self._hourly(facts.hosting.usd_per_hour, tokens)

    def _machine(self, provider: str) -> ServingPrice | None:
        """Return the price of the machine that serves the weights."""
        facts = self.catalogue.providers.get(provider)
        name = self.candidate.hardware or ""
        machine = None if facts is None else facts.hardware.get(name)
        if machine is None:
            known = "" if facts is None else ", ".join(facts.hardware)
            self.missing = f"the machine at {provider} is not named" + (
                f"; known: {known}" if known else ""
            )
            return None
        self._cite(machine, f"{name} at {provider}")
        return self._hourly(machine.per_hour, ServingPrice())

    def _by_tokens(self, found: Inference, what: str) -> ServingPrice:
        self._cite(found, what)
        return ServingPrice(
            found.input, found.cached_input, found.output, storage=self.candidate.storage
        )

    def _hourly(self, per_hour: Span, tokens: ServingPrice) -> ServingPrice:
        if self.candidate.requests_per_s is None or self.base.peak_per_s is None:
            self.notes.append("one replica is assumed: peak or requests per second are not given")
        return ServingPrice(
            tokens.input,
            tokens.cached_input,
            tokens.output,
            per_hour,
            self.candidate.requests_per_s,
            self.candidate.storage,
        )

    def _cite(self, figure: Any, what: str) -> None:
        source = self.catalogue.source(figure)
        self.sources.append(f"{what}: {source.title}, {source.day}")
        if not figure.confirmed:
            self.unconfirmed.append(f"{what}: {figure.note or source.title}")
        elif figure.note:
            self.notes.append(f"{what}: {figure.note}")
