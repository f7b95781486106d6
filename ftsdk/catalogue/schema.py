"""The schema of a catalogue of models and prices; every figure has a source and a date.

The file is TOML; these models check it strictly. An unknown name, a negative price, a reversed
range, or a figure whose source is not in the table of sources is an error.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

YOURS = "yours"
"""The source of figures in a user's own file that name none."""


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # pydantic takes ValueError
    return value


Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_bool)]
"""An amount in US dollars."""

Count = Annotated[int, Field(ge=0), BeforeValidator(_no_bool)]
"""A limit in whole units."""

Factor = Annotated[int, Field(ge=1), BeforeValidator(_no_bool)]
"""How many times something is counted."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Span(_Entry):
    """A price range in US dollars, from `low` to `high` inclusive."""

    low: Price
    high: Price

    @model_validator(mode="before")
    @classmethod
    def _from_toml(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a price, not true or false")
        if isinstance(value, list | tuple):
            if len(value) != 2 or any(isinstance(price, bool) for price in value):
                raise ValueError("a range is two prices: [low, high]")
            return {"low": value[0], "high": value[1]}
        return value if isinstance(value, Mapping | Span) else {"low": value, "high": value}

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.low > self.high:
            raise ValueError("a range runs from low to high")
        return self

    def times(self, factor: int) -> Span:
        """Return the range times `factor`, for instance from seconds to hours."""
        return Span(low=self.low * factor, high=self.high * factor)

    def format(self) -> str:
        """Return `5.49`, or `1.50–4.12`; at least two digits after the point."""
        ends = [format_price(end) for end in (self.low, self.high)]
        return ends[0] if ends[0] == ends[1] else "–".join(ends)


class Source(_Entry):
    """Where a figure comes from: the page and its date."""

    title: str
    url: str | None = None
    day: dt.date


class _Figure(_Entry):
    source: str = YOURS
    confirmed: bool = True
    note: str = ""


class Dated(_Figure):
    """A day on which something ends or closes."""

    day: dt.date


class Rule(_Figure):
    """A billing rule that a provider has or does not have."""

    holds: bool


class Minimum(_Figure):
    """The minimum price of one job, in US dollars."""

    usd: Price


class Rate(_Figure):
    """US dollars per million trained tokens. None for `methods` or `adapters` means all."""

    usd_per_mtok: Span
    methods: tuple[str, ...] | None = None
    adapters: tuple[str, ...] | None = None

    def covers(self, method: str, adapter: str | None) -> bool:
        """Return True when this rate applies to the method and the kind of training."""
        if self.methods is not None and method not in self.methods:
            return False
        return self.adapters is None or adapter is None or adapter in self.adapters


class Inference(_Figure):
    """US dollars per million tokens when calling a model."""

    input: Price
    output: Price
    cached_input: Price | None = None
    batch_factor: Price | None = None
    """What a batch costs compared with single calls, such as 0.5; None where that is not known."""


class Hosting(_Figure):
    """US dollars per hour while a tuned model is deployed."""

    usd_per_hour: Span


class Hardware(_Figure):
    """The price of a machine, given in one of two units; `per_hour` converts it."""

    usd_per_second: Span | None = None
    usd_per_hour: Span | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if (self.usd_per_second is None) == (self.usd_per_hour is None):
            raise ValueError("give either usd_per_second or usd_per_hour")
        return self

    @property
    def per_hour(self) -> Span:
        """US dollars per hour."""
        if self.usd_per_hour is not None:
            return self.usd_per_hour
        assert self.usd_per_second is not None  # noqa: S101  # checked by the validator
        return self.usd_per_second.times(3600)


class Limits(_Figure):
    """A provider's limits on training data."""

    min_rows: Count | None = None
    max_rows: Count | None = None
    max_file_bytes: Count | None = None


class Model(_Entry):
    """A base model that can be tuned at a provider now, or could be in the past."""

    aliases: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    methods: tuple[str, ...] | None = None
    adapters: tuple[str, ...] | None = None
    training: tuple[Rate, ...] = ()
    rates: str | None = None
    inference: Inference | None = None
    """The price of calling a tuned model."""
    untuned: Inference | None = None
    """The price of calling the model as it is."""
    hardware: str | None = None
    closed_to_new_accounts_on: Dated | None = None
    no_new_jobs_from: Dated | None = None
    ends_on: Dated | None = None
    replacement: str = ""
    note: str = ""


class Base(_Figure):
    """How well an open model does after tuning: its mean rank among the 12 models that were tested."""

    aliases: tuple[str, ...] = ()
    mean_rank: Annotated[Decimal, Field(ge=1, allow_inf_nan=False), BeforeValidator(_no_bool)]


class Provider(_Entry):
    """A provider: its billing rules, end dates and models."""

    title: str
    free: bool = False
    note: str = ""
    serving: str = ""
    default_epochs: (
        Annotated[Decimal, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None
    ) = None
    bills_validation: Rule | None = None
    pair_factor: tuple[Factor, Factor] = (1, 1)
    minimum: Minimum | None = None
    hosting: Hosting | None = None
    tokens_are_free: Rule | None = None
    """Whether a deployment that is billed by the hour answers without a price per token."""
    failed_jobs_are_free: Rule | None = None
    weights_are_yours: Rule | None = None
    """Whether you can download a tuned model and run it elsewhere; None where that is not known."""
    limits: Limits | None = None
    closed_to_new_accounts_on: Dated | None = None
    no_new_jobs_from: Dated | None = None
    ends_on: Dated | None = None
    rates: Mapping[str, tuple[Rate, ...]] = Field(default_factory=dict)
    hardware: Mapping[str, Hardware] = Field(default_factory=dict)
    models: Mapping[str, Model] = Field(default_factory=dict)


def _day(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        raise ValueError("must be a day, without a time")  # pydantic takes ValueError
    return value


class Catalogue(_Entry):
    """Prices, limits and dates of all providers, as of the day `as_of`."""

    as_of: Annotated[dt.date, BeforeValidator(_day)]
    sources: Mapping[str, Source] = Field(default_factory=dict)
    bases: Mapping[str, Base] = Field(default_factory=dict)
    providers: Mapping[str, Provider] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        faults = [
            f"source {figure.source!r} is not in the table of sources"
            for figure in _figures(self)
            if figure.source not in self.sources
        ]
        for name, provider in self.providers.items():
            for model_id, model in provider.models.items():
                where = f"providers.{name}.models.{model_id}"
                if model.rates is not None and model.rates not in provider.rates:
                    faults.append(f"{where}.rates: there is no rate card called {model.rates!r}")
                if model.hardware is not None and model.hardware not in provider.hardware:
                    faults.append(
                        f"{where}.hardware: there is no hardware called {model.hardware!r}"
                    )
        if faults:
            raise ValueError("; ".join(sorted(set(faults))))
        return self

    def source(self, figure: _Figure) -> Source:
        """Return the page and date of a figure."""
        return self.sources[figure.source]


def _figures(entry: Any) -> Iterator[_Figure]:
    """Yield every figure in `entry`, at any depth."""
    if isinstance(entry, _Figure):
        yield entry
    elif isinstance(entry, BaseModel):
        for name in type(entry).model_fields:
            yield from _figures(getattr(entry, name))
    elif isinstance(entry, Mapping):
        for value in entry.values():
            yield from _figures(value)
    elif isinstance(entry, tuple):
        for value in entry:
            yield from _figures(value)


def format_price(usd: Decimal) -> str:
    """Return an amount with at least two digits after the point, and without trailing zeros."""
    return f"{usd:.2f}" if usd == usd.quantize(Decimal("0.01")) else format_number(usd)


def format_number(value: Decimal) -> str:
    """Return a decimal without an exponent and without trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
