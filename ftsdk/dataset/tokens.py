"""Token counts: exact where the tokenizer is known, marked as estimated elsewhere."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ftsdk.dataset.limits import Limits, model_row_tokens
from ftsdk.dataset.report import Fault
from ftsdk.dataset.rules import RULES

__all__ = ["Counting", "TokenSummary", "counter_for"]


@dataclass(frozen=True)
class TokenSummary:
    """Tokens of one dataset for one tokenizer.

    `total` counts every token that the model sees in one epoch, `trained` those that the loss
    counts; quantiles are of whole rows. `exact` is False for an estimate.
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

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)

    def phrases(self) -> Iterator[str]:
        """The parts of a headline."""
        how = "exact" if self.exact else "estimated"
        yield f"{self.total:,} tokens ({how}, {self.tokenizer})"
        if self.trained:
            yield f"{self.trained:,} trained on"


class Counter(Protocol):
    """Counts one row."""

    name: str
    exact: bool

    def count(self, row: dict[str, Any]) -> tuple[int, int]:
        """`(all tokens, trained tokens)` of a canonical row."""
        ...


class Counting:
    """Counts rows as they pass."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.totals = array("I")
        self.lines = array("I")
        self._trained = array("I")
        self.trained = 0

    def add(self, line: int, row: dict[str, Any]) -> None:
        """Count one row."""
        total, trained = self.counter.count(row)
        self.totals.append(total)
        self.lines.append(line)
        self.trained += trained
        self._trained.append(trained)

    def again(self, line: int, index: int) -> None:
        """Count a row whose bytes are those of the row counted as number `index`."""
        self.totals.append(self.totals[index])
        self.lines.append(line)
        self.trained += self._trained[index]
        self._trained.append(self._trained[index])

    def faults(
        self, limits: Limits | None, model: str | None, method: str, max_length: int | None
    ) -> Iterator[Fault]:
        """Rows above the limit of the provider, or of the job."""
        if limits is not None:
            fact = model_row_tokens(limits.provider, model, method) or limits.row_tokens
            if fact is not None:
                rule = RULES["FT204"]
                sure = fact.sure and self.counter.exact
                for line, total in zip(self.lines, self.totals, strict=True):
                    if total > fact.value:
                        yield Fault("FT204", "fault" if sure else "notice", line,
                                    f"{total:,} tokens, {limits.title} trains on {fact.value:,} a row",
                                    f"{rule.mend} (source: {fact.source}, read {fact.as_of})")  # fmt: skip

    def summary(self, max_length: int | None) -> TokenSummary | None:
        """The figures; None without rows."""
        if not self.totals:
            return None
        ordered = sorted(self.totals)
        last = len(ordered) - 1
        return TokenSummary(
            tokenizer=self.counter.name,
            exact=self.counter.exact,
            rows=len(ordered),
            total=sum(ordered),
            trained=self.trained,
            shortest=ordered[0],
            median=ordered[len(ordered) // 2],
            p95=ordered[min(last, len(ordered) * 95 // 100)],
            longest=ordered[-1],
            longest_line=self.lines[self.totals.index(ordered[-1])],
            truncated_rows=0 if max_length is None else sum(t > max_length for t in ordered),
            max_length=max_length,
        )


def counter_for(
    tokenizer: Any, *, model: str | None, provider: str | None, wanted: bool
) -> Counting | None:
    """A counter for a tokenizer or a model; None when none is at hand (or none is wanted)."""
    return None
