"""What it costs a month to serve a model at given traffic, and when training it pays.

per request = (fresh input · p_in + cached input · p_cached + output · p_out) / 10⁶
month       = requests · per request + 730 · hourly price · replicas
break-even  = (730 · hourly price · replicas + training / months) / saved per request
pay-back    = training / (saved a month / 30), in days
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from ftsdk.catalogue.schema import Span
from ftsdk.errors import UsageError

HOURS = 730
"""Hours in a month: 8,760 / 12."""
SECONDS = HOURS * 3600
DAYS = 30
_MILLION = Decimal(1_000_000)
_MOST_REPLICAS = 10_000


@dataclass(frozen=True)
class Traffic:
    """What a model is asked: requests a month, and the mean tokens of one request.

    `cached_tokens` is the part of `input_tokens` that the provider reads from its cache. Reasoning
    tokens are output. `peak_per_s` is the number of requests in the busiest second; without it the
    number of replicas is not known. Raises `UsageError` for negative or contradicting numbers.
    """

    requests: int
    input_tokens: float
    output_tokens: float
    cached_tokens: float = 0
    peak_per_s: float | None = None

    def __post_init__(self) -> None:
        faults = [
            f"{name} is {value}"
            for name, value in vars(self).items()
            if value is not None and not (math.isfinite(value) and value >= 0)
        ]
        if self.cached_tokens > self.input_tokens:
            faults.append(f"{self.cached_tokens} of {self.input_tokens} input tokens are cached")
        if faults:
            raise UsageError(
                f"The traffic cannot be used: {'; '.join(faults)}",
                where="the traffic of a month",
                hint="give requests a month, and the mean input and output tokens of a request",
            )

    def with_prompt(self, tokens: float, cached: float = 0) -> Traffic:
        """Return the same requests with a longer prompt, of which `cached` tokens are in the cache."""
        return Traffic(
            self.requests,
            self.input_tokens + tokens,
            self.output_tokens,
            self.cached_tokens + cached,
            self.peak_per_s,
        )


@dataclass(frozen=True)
class ServingPrice:
    """What serving is billed by: tokens (US dollars per million), hours of a replica, or both.

    `requests_per_s` is what one replica was measured to answer.
    """

    input: Decimal = Decimal(0)
    cached_input: Decimal | None = None
    output: Decimal = Decimal(0)
    per_hour: Span | None = None
    requests_per_s: float | None = None
    storage: Decimal = Decimal(0)
    """US dollars a month for keeping the model."""

    def per_request(self, traffic: Traffic) -> Decimal:
        """Return the price of the tokens of one request, in US dollars."""
        cached = _decimal(traffic.cached_tokens)
        fresh = _decimal(traffic.input_tokens) - cached
        per_cached = self.input if self.cached_input is None else self.cached_input
        tokens = fresh * self.input + cached * per_cached
        return (tokens + _decimal(traffic.output_tokens) * self.output) / _MILLION

    def replicas(self, traffic: Traffic) -> int | None:
        """Return how many replicas the peak needs: 0 without hourly price, None where not known."""
        if self.per_hour is None:
            return 0
        if traffic.peak_per_s is None or not self.requests_per_s:
            return None
        return max(1, math.ceil(traffic.peak_per_s / self.requests_per_s))

    def fixed(self, replicas: int) -> Span:
        """Return what a month costs whether anything is asked or not, in US dollars."""
        hours = HOURS * replicas
        per_hour = self.per_hour or Span(low=Decimal(0), high=Decimal(0))
        return Span(
            low=per_hour.low * hours + self.storage, high=per_hour.high * hours + self.storage
        )

    def month(self, traffic: Traffic) -> Month:
        """Return the cost of a month. Without a known number of replicas it is that of one."""
        replicas = self.replicas(traffic)
        fixed = self.fixed(1 if replicas is None else replicas)
        tokens = traffic.requests * self.per_request(traffic)
        return Month(
            Span(low=fixed.low + tokens, high=fixed.high + tokens),
            fixed=fixed,
            tokens=tokens,
            replicas=replicas,
            requests=traffic.requests,
            idle_share=self._idle(traffic, replicas),
        )

    def _idle(self, traffic: Traffic, replicas: int | None) -> float | None:
        if not replicas or not self.requests_per_s:
            return None
        busy = traffic.requests / self.requests_per_s
        return max(0.0, 1 - busy / (replicas * SECONDS))


@dataclass(frozen=True)
class Month:
    """The cost of a month in US dollars: `fixed` for the hours, `tokens` for what was asked.

    `replicas` is None where the number that is needed is not known: the cost is then that of one, and
    so the least. `idle_share` is the part of the paid hours in which nothing is asked.
    """

    usd: Span
    fixed: Span
    tokens: Decimal
    replicas: int | None
    requests: int
    idle_share: float | None = None

    @property
    def is_least(self) -> bool:
        """Whether it may cost more, because more replicas may be needed."""
        return self.replicas is None

    @property
    def per_1000(self) -> Span | None:
        """Return the cost per 1,000 requests; None where nothing is asked."""
        if not self.requests:
            return None
        return Span(
            low=self.usd.low * 1000 / self.requests, high=self.usd.high * 1000 / self.requests
        )


def break_even(
    now: ServingPrice,
    new: ServingPrice,
    asked_now: Traffic,
    asked_new: Traffic,
    *,
    training: Decimal = Decimal(0),
    months: int = 12,
    dear: bool = False,
) -> int | None:
    """Return the least requests a month at which `new` costs no more than `now`.

    None where a request saves nothing, or where more replicas always cost more than they save.
    `training` is spread over `months`. The peak grows with the traffic, and the replicas with the
    peak, where both were measured. `dear` takes the high ends of the hourly prices of `new`.
    """
    saved = now.per_request(asked_now) - new.per_request(asked_new)
    if saved <= 0:
        return None
    spread = training / months
    before = _end(now.fixed(0 if now.per_hour is None else 1), not dear)
    replicas = 0 if new.per_hour is None else 1
    while replicas <= _MOST_REPLICAS:
        fixed = _end(new.fixed(replicas), dear) - before + spread
        requests = int(max(Decimal(0), fixed / saved).to_integral_value(ROUND_CEILING))
        needed = _needed(new, asked_new, requests)
        if needed <= replicas:
            return requests
        replicas = needed
    return None


def _needed(price: ServingPrice, asked: Traffic, requests: int) -> int:
    """Return the replicas that another traffic needs, with a peak of the same shape."""
    if price.per_hour is None:
        return 0
    if asked.peak_per_s is None or not price.requests_per_s or not asked.requests:
        return 1
    peak = asked.peak_per_s * requests / asked.requests
    return max(1, math.ceil(peak / price.requests_per_s))


def payback_days(
    training: Decimal, now: Month, new: Month, *, dear: bool = False
) -> Decimal | None:
    """Return the days after which training has paid for itself; None if a month saves nothing.

    `dear` compares the low end of `now` with the high end of `new`, otherwise the other way round.
    """
    saved = _end(now.usd, not dear) - _end(new.usd, dear)
    return None if saved <= 0 else training / (saved / DAYS)


def _end(span: Span, dear: bool) -> Decimal:
    return span.high if dear else span.low


def _decimal(value: float) -> Decimal:
    return Decimal(str(value))
