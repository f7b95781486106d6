"""Token counts of a dataset: the summary of a report, and what a provider would bill."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class BilledTokens:
    """The tokens that one provider would bill for training, all epochs, and the price if known.

    `low` and `high` are equal where the count is exact; None where a provider bills by another
    measure, or nothing. `usd_low` and `usd_high` are US dollars, a job's minimum charge included.
    """

    provider: str
    model: str
    low: int | None
    high: int | None
    usd_low: Decimal | None = None
    usd_high: Decimal | None = None
    assumptions: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The figures as `--json` prints them; amounts are strings."""
        return {
            **asdict(self),
            "usd_low": None if self.usd_low is None else str(self.usd_low),
            "usd_high": None if self.usd_high is None else str(self.usd_high),
            "assumptions": list(self.assumptions),
        }

    def __str__(self) -> str:
        why = "; ".join(self.assumptions)
        if self.low is None or self.high is None:
            return f"{self.provider}: {why}"
        span = f"{self.low:,}" if self.low == self.high else f"{self.low:,} – {self.high:,}"
        price = ""
        if self.usd_low is not None and self.usd_high is not None:
            price = f", ${self.usd_low:.2f}"
            price += "" if self.usd_low == self.usd_high else f" – {self.usd_high:.2f}"
        return f"{self.provider} would bill {span} tokens{price} ({why})"


@dataclass(frozen=True)
class RowLengths:
    """Lengths in tokens: of all rows together, of the longest row, and of the longest sequence.

    A row is one sequence, or more: the two answers of a pair.
    """

    rows: int
    total: int
    row: int
    sequence: int

    def joined(self, other: RowLengths | None) -> RowLengths:
        """The lengths of these rows and of others."""
        if other is None:
            return self
        return RowLengths(
            self.rows + other.rows,
            self.total + other.total,
            max(self.row, other.row),
            max(self.sequence, other.sequence),
        )


@dataclass(frozen=True)
class TokenSummary:
    """Tokens of one dataset for one tokenizer.

    `total` counts every token that the model sees in one epoch, `trained` those that the loss
    counts; quantiles are of whole rows (both sequences of a pair), and a quantile is a length that
    a row has: of the two nearest the longer. `exact` is False for an estimate.
    """

    tokenizer: str
    exact: bool
    rows: int
    total: int
    trained: int
    shortest: int
    median: int
    p95: int
    longest: int
    longest_line: int
    truncated_rows: int = 0
    max_length: int | None = None
    cut_at: int | None = None
    """The length at which the provider or the job cuts a row, where one is known."""
    kept: int = 0
    """The tokens left of `total` when every row is truncated there."""
    histogram: tuple[int, ...] = ()
    """Rows by length: how many have 0 to `bin_tokens` - 1 tokens, and so on."""
    bin_tokens: int = 1
    counted_rows: int | None = None
    """The rows that `total` counts: none with a fault is counted."""
    longest_sequence: int = 0
    """The tokens of the longest sequence; of a row in one sequence those of the row."""

    @property
    def lengths(self) -> RowLengths:
        """The lengths of the rows, as a run needs them."""
        return RowLengths(self.rows, self.total, self.longest, self.longest_sequence)

    def to_dict(self) -> dict[str, Any]:
        """The summary as `--json` prints it."""
        return asdict(self)

    def phrases(self) -> Iterator[str]:
        """The parts of a headline."""
        how = "exact" if self.exact else "estimated"
        yield f"{self.total:,} tokens ({how}, {self.tokenizer})"
        if self.trained:
            yield f"{self.trained:,} trained on"
