"""The gate: whether a candidate may replace the reference, from all comparisons together.

The primary metric and the margin are named before the run. Everything else, further metrics and
slices, is corrected together (Holm), and can only stop a candidate, never carry it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ftsdk.evaluation.statistics.compare import corrected
from ftsdk.types.evaluation import Comparison, Verdict


class GateResult(StrEnum):
    """The result of a gate; each has an exit code of its own."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    NOT_COMPARABLE = "not comparable"

    @property
    def exit_code(self) -> int:
        """The exit code of a command that ends with this result."""
        return {"passed": 0, "failed": 8, "inconclusive": 7, "not comparable": 4}[self.value]


@dataclass(frozen=True)
class Gate:
    """The result and why, with all comparisons after their correction, by name, the primary first."""

    result: GateResult
    reason: str
    primary: str
    metrics: Mapping[str, Comparison]
    slices: Mapping[str, Comparison]


def gate(metrics: Mapping[str, Comparison], slices: Mapping[str, Comparison] | None = None) -> Gate:
    """Return the result for the comparisons of a run; the first metric is the primary one.

    It passes where the primary metric is better or at parity and nothing else is worse after the
    correction, fails where anything is worse. Without a margin only better passes.
    """
    primary = next(iter(metrics))
    others = dict(list(metrics.items())[1:])
    together = {**{("metric", name): one for name, one in others.items()},
                **{("slice", name): one for name, one in (slices or {}).items()}}  # fmt: skip
    after = dict(zip(together, corrected(list(together.values())), strict=True))
    found_metrics = {primary: metrics[primary], **{n: after["metric", n] for n in others}}
    found_slices = {name: after["slice", name] for name in slices or {}}
    result, reason = _result(primary, found_metrics, found_slices)
    return Gate(result, reason, primary, found_metrics, found_slices)


def _result(
    primary: str, metrics: Mapping[str, Comparison], slices: Mapping[str, Comparison]
) -> tuple[GateResult, str]:
    main = metrics[primary]
    if main.verdict is Verdict.NOT_COMPARABLE:
        return GateResult.NOT_COMPARABLE, main.reason
    worse = [f"{name} is worse" for name, one in metrics.items() if one.verdict is Verdict.WORSE]
    parts = [name for name, one in slices.items() if one.verdict is Verdict.WORSE]
    if parts:
        worse.append(_slices_are_worse(parts))
    if worse:
        return GateResult.FAILED, "; ".join(worse)
    broken = [name for name, one in metrics.items() if one.verdict is Verdict.NOT_COMPARABLE]
    if broken:
        return GateResult.NOT_COMPARABLE, f"{broken[0]}: {metrics[broken[0]].reason}"
    if main.verdict is Verdict.INCONCLUSIVE:
        return GateResult.INCONCLUSIVE, f"{primary}: {main.reason}"
    return GateResult.PASSED, f"{primary}: {main.reason}"


def _slices_are_worse(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"one slice is worse: {names[0]}"
    return f"{len(names)} slices are worse: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
