"""Tokens: how many a plan trains on, and how many a provider would bill for."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ftsdk.backends.capabilities import Capabilities
from ftsdk.catalogue.schema import Catalogue
from ftsdk.catalogue.training_cost import estimate_training, token_range, training_tokens
from ftsdk.config import Config
from ftsdk.dataset.findings.token_summary import BilledTokens
from ftsdk.dataset.provider_limits import limits_for
from ftsdk.dataset.rules.token_counts import counter_for
from ftsdk.types.plan import Plan

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset, DatasetReport

_FASTER, _SLOWER = 0.7, 1.6
"""How far a run's duration may be from the speed of an earlier one: other load, other lengths."""
_BYTES_PER_TOKEN = 4
"""English text in today's vocabularies; used without a tokenizer, and then as a range."""


def with_tokens(plan: Plan, report: DatasetReport, tokens_per_s: float | None = None) -> Plan:
    """The plan with the tokens of one epoch, and its duration in seconds where a speed is known.

    The report may cover more rows than the plan trains on, when a fraction is held out; the
    tokens are then estimated from the share of the rows.
    """
    counted = report.tokens
    if counted is None or not report.rows or plan.rows is None:
        return plan
    whole = plan.rows >= report.rows
    tokens = counted.total if whole else round(counted.total * plan.rows / report.rows)
    changes: dict[str, Any] = {
        "tokens": tokens,
        "tokens_basis": "exact" if counted.exact and whole else "estimated",
    }
    epochs = _epochs(plan)
    if tokens_per_s and epochs is not None:
        seconds = tokens * epochs / tokens_per_s
        changes["duration_s"] = (seconds * _FASTER, seconds * _SLOWER)
    return plan.model_copy(update=changes)


def _epochs(plan: Plan) -> float | None:
    """How often the rows are seen: as sent, or by the steps that were asked for."""
    sent = plan.sent()
    steps, batch = sent.get("max_steps"), sent.get("batch_size")
    if isinstance(steps, int) and isinstance(batch, int) and batch and plan.rows:
        return float(steps * batch * (sent.get("gradient_accumulation_steps") or 1) / plan.rows)
    epochs = sent.get("epochs")
    # "auto": the provider chooses, and nobody knows yet.
    return float(epochs) if isinstance(epochs, int | float) else None


def with_bill(
    report: DatasetReport,
    method: str,
    able: Capabilities | None,
    config: Config,
    catalogue: Catalogue,
    today: dt.date,
) -> DatasetReport:
    """The report with what its provider would bill for these rows: tokens, epochs, minimum, price.

    Epochs are the configured ones, else our backend's default, else the provider's; packing is on
    unless it is configured off. Nothing is sent; what is unknown is listed as an assumption.
    """
    counted, provider, model = report.tokens, report.provider, report.model or ""
    if counted is None or provider is None or (able is not None and able.price == "free"):
        return report
    tokens = token_range(counted.kept, "exact" if counted.exact else "estimated")
    given = config.table("hyperparameters").get("epochs")
    if given is None and able is not None and "epochs" in able.hyperparameters:
        given = able.hyperparameters["epochs"].default
    epochs = None if isinstance(given, str) else given  # "auto": the provider chooses
    packed = config.table("provider_options").get("packing", True) is not False
    facts: dict[str, Any] = {
        "method": method,
        "tokens": tokens,
        "epochs": epochs,
        "rows": report.rows,
        "catalogue": catalogue,
        "packed": packed or report.format == "tokenized",  # such rows are taken as they are
        "max_length": counted.max_length,
    }
    found = training_tokens(provider, model, **facts)
    if isinstance(found, str):
        line = BilledTokens(provider, model, None, None, assumptions=(found,))
    else:
        cost = estimate_training(provider, model, **facts, today=today)
        priced = [one for one in cost.assumptions if one not in found[2]]
        assumptions = (*found[2], *_left_out(report), *priced)
        line = BilledTokens(provider, model, found[0], found[1], cost.low, cost.high, assumptions)
    return dataclasses.replace(report, billed_tokens={**report.billed_tokens, provider: line})


def counts_tokens(able: Capabilities | None) -> bool:
    """Whether rows for this backend are counted, roughly if need be: a provider that bills."""
    paid = able is not None and able.price != "free"
    return paid and importlib.util.find_spec("bpe_openai") is not None


def _left_out(report: DatasetReport) -> list[str]:
    """Assumptions about rows that are cut, and about validation rows that are billed as well."""
    counted, assumptions = report.tokens, []
    if counted is not None and counted.kept < counted.total:
        lost = counted.total - counted.kept
        assumptions.append(
            f"rows are cut at {counted.cut_at:,} tokens: {lost:,} are neither seen nor billed"
        )
    if report.validation_tokens:
        assumptions.append(
            f"{report.validation_tokens:,} validation tokens, billed at each evaluation where a "
            "provider does so, are not in it"
        )
    return assumptions


class TokenCounts:
    """The tokens of one dataset, counted once for each tokenizer."""

    def __init__(self, train: Dataset) -> None:
        self._train = train
        self._by_tokenizer: dict[str, int] = {}
        self._text_bytes: int | None = None

    def of(self, provider: str, model: str) -> int | tuple[int, int]:
        """The exact count where the tokenizer is on this machine, else a range (low, high)."""
        limits = limits_for(provider, model)
        counting = counter_for(None, model=model, limits=limits, wanted=False)
        if counting is not None and counting.counter.exact:
            counter = counting.counter
            if counter.name not in self._by_tokenizer:
                count = sum(counter.count(row)[0] for row in self._train)
                self._by_tokenizer[counter.name] = count
            return self._by_tokenizer[counter.name]
        if self._text_bytes is None:
            self._text_bytes = sum(_text_bytes(row) for row in self._train)
        guess = token_range(self._text_bytes // _BYTES_PER_TOKEN, "estimated")
        assert guess is not None  # noqa: S101  # only an unknown basis gives None
        return guess


def _text_bytes(value: Any) -> int:
    """The bytes of every string in a row, and a little for what a template adds around each."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) + _BYTES_PER_TOKEN
    if isinstance(value, Mapping):
        return sum(_text_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_text_bytes(item) for item in value)
    return 0
