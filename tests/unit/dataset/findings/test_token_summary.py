"""The figures of a report: quantiles, bins, what is cut, and what would be billed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import ftsdk.dataset.rules.provider  # noqa: F401  # registers FT204
from ftsdk.dataset.findings.token_summary import BilledTokens, TokenSummary
from ftsdk.dataset.provider_limits import limits_for
from ftsdk.dataset.rules.token_counts import _BINS, Counting, _kept, cut_at
from ftsdk.dataset.tokenize.counters import EstimateCounter

# --- bills ---


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((1000, 1000, "1.5", "1.50"), "p would bill 1,000 tokens, $1.50 (why; how)"),
        ((1000, 2000, "1", "2"), "p would bill 1,000 – 2,000 tokens, $1.00 – 2.00 (why; how)"),
        ((1000, 2000, "1", "1"), "p would bill 1,000 – 2,000 tokens, $1.00 (why; how)"),
        ((1000, 1000, None, None), "p would bill 1,000 tokens (why; how)"),
        ((1000, 1000, "1", None), "p would bill 1,000 tokens (why; how)"),
        ((1000, 1000, None, "1"), "p would bill 1,000 tokens (why; how)"),
        ((0, 0, "0", "0"), "p would bill 0 tokens, $0.00 (why; how)"),
        ((None, None, None, None), "p: why; how"),
        ((None, 5, "1", "1"), "p: why; how"),
        ((5, None, "1", "1"), "p: why; how"),
    ],
)
def test_a_bill_is_one_line(figures: tuple[Any, ...], text: str) -> None:
    low, high, *usd = figures
    amounts = [None if one is None else Decimal(one) for one in usd]
    bill = BilledTokens("p", "m", low, high, *amounts, assumptions=("why", "how"))
    assert str(bill) == text
    assert bill.to_dict() == {
        "provider": "p", "model": "m", "low": low, "high": high,
        "usd_low": usd[0], "usd_high": usd[1], "assumptions": ["why", "how"],
    }  # fmt: skip


# --- summaries ---


def counting(*totals: int, longest: tuple[int, ...] | None = None) -> Counting:
    made = Counting(EstimateCounter())
    for line, total in enumerate(totals, 1):
        made.put(line, total, total // 2, None if longest is None else longest[line - 1])
    return made


def summary(made: Counting, max_length: int | None = None, cut: int | None = None) -> TokenSummary:
    found = made.summary(max_length, cut)
    assert found is not None
    return found


def test_no_rows_have_no_summary() -> None:
    assert counting().summary(None) is None


@pytest.mark.parametrize(
    ("totals", "median", "p95"),
    [
        ((5,), 5, 5),
        ((5, 7), 7, 7),
        ((9, 5, 7), 7, 9),
        (tuple(range(1, 20)), 10, 19),
        (tuple(range(1, 21)), 11, 20),
        (tuple(range(1, 101)), 51, 96),
        (tuple(range(1, 102)), 51, 96),
    ],
)
def test_a_quantile_is_a_length_that_a_row_has(
    totals: tuple[int, ...], median: int, p95: int
) -> None:
    found = summary(counting(*totals))
    assert (found.median, found.p95) == (median, p95)
    assert (found.shortest, found.longest) == (min(totals), max(totals))
    assert found.longest_line == totals.index(max(totals)) + 1
    assert (found.rows, found.total) == (len(totals), sum(totals))
    assert found.trained == sum(total // 2 for total in totals)


@pytest.mark.parametrize("longest", [1, _BINS - 1, _BINS, _BINS + 1, 5 * _BINS])
def test_every_row_is_in_one_bin(longest: int) -> None:
    totals = (0, 1, longest // 2, longest)
    found = summary(counting(*totals))
    assert found.bin_tokens == longest // _BINS + 1
    assert sum(found.histogram) == 4
    assert len(found.histogram) == longest // found.bin_tokens + 1 <= _BINS + 1
    for number, rows in enumerate(found.histogram):
        low = number * found.bin_tokens
        assert rows == sum(low <= total < low + found.bin_tokens for total in totals)


@pytest.mark.parametrize(
    ("total", "longest", "cut", "kept"),
    [
        (10, 10, 10, 10),
        (10, 10, 9, 9),
        (10, 10, 11, 10),
        (10, 6, 5, 5 + 4),  # a pair of 6 and 4
        (10, 6, 3, 3 + 3),
        (10, 5, 5, 10),
        (10, 5, 4, 4 + 4),
        (30, 10, 5, 5 + 20),  # in more pieces than two: only the longest is known
        (20, 10, 5, 5 + 5),
    ],
)
def test_what_is_left_of_a_row_that_is_cut(total: int, longest: int, cut: int, kept: int) -> None:
    assert _kept(total, longest, cut) == kept
    found = summary(counting(total, 1, longest=(longest, 1)), cut, cut)
    assert found.kept == (kept if longest > cut else total) + 1
    assert found.truncated_rows == int(longest > cut)
    whole = summary(counting(total, 1, longest=(longest, 1)))
    assert (whole.kept, whole.truncated_rows, whole.cut_at) == (total + 1, 0, None)


def test_a_row_is_cut_at_the_smaller_length() -> None:
    openai = limits_for("openai")
    fact = openai.max_row_tokens("sft")
    assert fact is not None
    most = fact.value
    assert cut_at(None, "sft", 5) is None
    assert cut_at(openai, "sft", None) == most
    assert cut_at(openai, "sft", most - 1) == most - 1
    assert cut_at(openai, "sft", most + 1) == most
    local = limits_for("local")
    assert local.refuses_long_rows
    assert cut_at(local, "sft", 5) is None  # it refuses such a row


def test_a_row_with_a_fault_counts_as_nothing_and_keeps_its_place() -> None:
    made = counting(10, 20, longest=(6, 20))
    made.skip(3)
    assert list(made.totals) == [10, 20, 0]
    assert list(made.longest) == [6, 20, 0]
    assert list(made.learned) == [5, 10, 0]
    assert list(made.lines) == [1, 2, 3]
    assert made.trained == 15


@pytest.mark.parametrize(("over", "found"), [(0, []), (1, ["FT204"])])
def test_a_row_over_the_providers_limit_is_found(over: int, found: list[str]) -> None:
    openai = limits_for("openai")
    fact = openai.max_row_tokens("sft")
    assert fact is not None
    faults = list(counting(fact.value + over).faults(openai, "sft", None))
    assert [fault.code for fault in faults] == found
    assert all(f"trains on {fact.value:,} a row" in fault.message for fault in faults)


def test_dropped_reasoning_names_the_first_row_and_counts_all() -> None:
    made = counting(5, 6)
    assert list(made.faults(None, "sft", None)) == []
    made.add_dropped(2, 7)
    made.add_dropped(1, 9)
    (fault,) = made.faults(None, "sft", None)
    assert (fault.code, fault.line, fault.rows) == ("FT511", 7, 3)


@pytest.mark.parametrize(
    ("more", "phrases"),
    [
        ({}, ["1,000 tokens (exact, t)"]),
        ({"trained": 5, "exact": False}, ["1,000 tokens (estimated, t)", "5 trained on"]),
    ],
)
def test_the_headline_of_a_summary(more: dict[str, Any], phrases: list[str]) -> None:
    base = {"tokenizer": "t", "exact": True, "rows": 1, "total": 1000, "trained": 0}
    sizes = dict.fromkeys(("shortest", "median", "p95", "longest", "longest_line"), 1)
    assert list(TokenSummary(**{**base, **sizes, **more}).phrases())[: len(phrases)] == phrases
