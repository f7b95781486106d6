"""Count the tokens that a plan trains on and that a provider would bill."""

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
from ftsdk.types.plan import Plan

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset, DatasetReport

_FASTER, _SLOWER = 0.7, 1.6
"""The range of a run's duration relative to an earlier one's speed; load and lengths vary."""
_BYTES_PER_TOKEN = 4
"""Typical for English text; used without a tokenizer, and then as a range."""


def with_tokens(plan: Plan, report: DatasetReport, tokens_per_s: float | None = None) -> Plan:
    """Return the plan with the tokens of one epoch, and its duration if a speed is known.

    When a fraction is held out, the report covers more rows than the plan trains on; the tokens are
    then estimated from the share of the rows.
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
    epochs = plan.planned_epochs()
    if tokens_per_s and epochs is not None:
        seconds = tokens * epochs / tokens_per_s
        changes["duration_s"] = (seconds * _FASTER, seconds * _SLOWER)
    return plan.model_copy(update=changes)


def with_bill(
    report: DatasetReport,
    method: str,
    capabilities: Capabilities | None,
    config: Config,
    catalogue: Catalogue,
    today: dt.date,
) -> DatasetReport:
    """Return the report with the tokens and the price that its provider would bill.

    Epochs are the configured ones, else the backend's default, else the provider's. Packing is on
    unless the configuration turns it off. Unknown values are listed as assumptions.
    """
    counted, provider, model = report.tokens, report.provider, report.model or ""
    if (
        counted is None
        or provider is None
        or (capabilities is not None and capabilities.price == "free")
    ):
        return report
    tokens = token_range(counted.kept, "exact" if counted.exact else "estimated")
    given = config.table("hyperparameters").get("epochs")
    if given is None and capabilities is not None and "epochs" in capabilities.hyperparameters:
        given = capabilities.hyperparameters["epochs"].default
    epochs = None if isinstance(given, str) else given  # "auto": the provider chooses
    packed = config.table("provider_options").get("packing", True) is not False
    facts: dict[str, Any] = {
        "method": method,
        "tokens": tokens,
        "epochs": epochs,
        "rows": report.rows,
        "catalogue": catalogue,
        "packed": packed or report.format == "tokenized",  # tokenized rows are sent unchanged
        "max_length": counted.max_length,
    }
    found = training_tokens(provider, model, **facts)
    if isinstance(found, str):
        line = BilledTokens(provider, model, None, None, assumptions=(found,))
    else:
        cost = estimate_training(provider, model, **facts, today=today)
        priced = [text for text in cost.assumptions if text not in found[2]]
        assumptions = (*found[2], *_left_out(report), *priced)
        line = BilledTokens(provider, model, found[0], found[1], cost.low, cost.high, assumptions)
    return dataclasses.replace(report, billed_tokens={**report.billed_tokens, provider: line})


def counts_tokens(capabilities: Capabilities | None) -> bool:
    """Return whether tokens are counted for this backend: it bills, and a tokenizer is installed."""
    paid = capabilities is not None and capabilities.price != "free"
    return paid and importlib.util.find_spec("bpe_openai") is not None


def _left_out(report: DatasetReport) -> list[str]:
    """Return assumptions about rows with faults, truncated rows, and billed validation rows."""
    counted, assumptions = report.tokens, []
    if counted is not None and counted.counted_rows is not None:
        faulty = report.rows - counted.counted_rows
        if faulty > 0:
            one = "1 row with a fault is" if faulty == 1 else f"{faulty:,} rows with faults are"
            assumptions.append(f"{one} not counted")
    if counted is not None and counted.kept < counted.total:
        lost = counted.total - counted.kept
        assumptions.append(
            f"rows are truncated at {counted.cut_at:,} tokens: {lost:,} are neither trained on nor billed"
        )
    if report.validation_tokens:
        assumptions.append(
            f"{report.validation_tokens:,} validation tokens are not included; some providers "
            "bill them at each evaluation"
        )
    return assumptions


class TokenCounts:
    """The tokens of one dataset, counted once for each tokenizer."""

    def __init__(self, train: Dataset) -> None:
        self._train = train
        self._by_tokenizer: dict[str, int] = {}
        self._text_bytes: int | None = None

    def of(self, provider: str, model: str) -> int | tuple[int, int]:
        """Return the exact count if the tokenizer is installed, else a range (low, high)."""
        limits = limits_for(provider, model)
        from ftsdk.dataset.rules.token_counts import (
            counter_for,  # rules are not needed to list jobs
        )

        counting = counter_for(None, model=model, limits=limits, wanted=False)
        if counting is not None and counting.counter.exact:
            counter = counting.counter
            if counter.name not in self._by_tokenizer:
                count = sum(counter.count(row)[0] for row in self._train)
                self._by_tokenizer[counter.name] = count
            return self._by_tokenizer[counter.name]
        if self._text_bytes is None:
            self._text_bytes = sum(_text_bytes(row) for row in self._train)
        estimate = token_range(self._text_bytes // _BYTES_PER_TOKEN, "estimated")
        assert estimate is not None  # noqa: S101  # only an unknown basis gives None
        return estimate


def _text_bytes(value: Any) -> int:
    """Return the bytes of all strings in a row, plus a little for the template around each."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass")) + _BYTES_PER_TOKEN
    if isinstance(value, Mapping):
        return sum(_text_bytes(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_text_bytes(item) for item in value)
    return 0
