"""Compare two models row by row: choose the tests that fit the scores, and derive the verdict.

| scores | difference | interval | parity |
|---|---|---|---|
| pass or fail | McNemar mid-p | Tango | Tango, exact in small sets |
| graded, or means of repeats | sign-flip | BCa bootstrap | t-test with added rows |
| in clusters | sign-flip of clusters | clustered t | the same, of clusters |
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ftsdk.errors import UsageError
from ftsdk.evaluation.statistics import graded, paired, power
from ftsdk.evaluation.statistics.libraries import stats
from ftsdk.evaluation.statistics.multiple import holm
from ftsdk.evaluation.statistics.paired import ALPHA
from ftsdk.types.evaluation import Comparison, Verdict

MIN_ROWS = 10
"""Below this no verdict is given."""


@dataclass(frozen=True)
class _Evidence:
    """What the tests found.

    `flip_rate` is that of pass/fail rows; `spread`, for graded scores, the standard deviation of the
    difference of one unit.
    """

    delta: float
    low: float
    high: float
    p: float
    p_parity: float | None
    method: str
    units: int
    rows: int
    flip_rate: float | None = None
    spread: float = 0.0


def compare(
    reference: Sequence[float],
    candidate: Sequence[float],
    *,
    margin: float | None = None,
    clusters: Sequence[Hashable] | None = None,
    alpha: float = ALPHA,
    scale: float = 1.0,
    seed: int = 0,
) -> Comparison:
    """Return the comparison of two models from their scores of the same rows, in the same order.

    A score of only 0 and 1 is pass or fail; average repeats before (`row_means`). `clusters` names
    the cluster of each row. `scale` is the range of the metric; where scores differ by more, it is the
    largest difference. Differences are in points where it is 1. Raises `UsageError` when the
    sequences do not belong together or the margin is not between 0 and `scale`.
    """
    _check_rows(reference, candidate, clusters)
    if clusters is not None and len(set(clusters)) == len(clusters):
        clusters = None  # one row in each: nothing varies together
    differences = [float(b) - float(a) for a, b in zip(reference, candidate, strict=True)]
    scale = max([scale, *map(abs, differences)])
    _check_margin(margin, scale)
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    if not differences:
        return _without_rows(margin)
    if clusters is None and {*reference, *candidate} <= {0, 1}:
        evidence = _pass_or_fail(wins, losses, len(differences), margin, alpha)
    else:
        evidence = _graded(reference, candidate, clusters, margin, alpha, scale, seed)
    verdict = _verdict(evidence, alpha)
    needed = (
        None if verdict is not Verdict.INCONCLUSIVE else _needed(evidence, margin, alpha, scale)
    )
    return Comparison(
        delta=evidence.delta,
        low=max(evidence.low, -scale),
        high=min(evidence.high, scale),
        p=evidence.p,
        wins=wins,
        losses=losses,
        ties=len(differences) - wins - losses,
        n=len(differences),
        verdict=verdict,
        reason=_reason(verdict, evidence, margin, needed, scale),
        method=evidence.method,
        clusters=None if clusters is None else evidence.units,
        margin=margin,
        p_parity=evidence.p_parity,
        smallest_visible=_visible(evidence, alpha, scale),
        rows_needed=needed,
    )


def not_comparable(reason: str, *, rows: int = 0, margin: float | None = None) -> Comparison:
    """Return the comparison of two models whose answers cannot be set against each other."""
    return Comparison(
        delta=None, low=None, high=None, p=None, wins=0, losses=0, ties=0, n=rows, margin=margin,
        verdict=Verdict.NOT_COMPARABLE, reason=reason,
    )  # fmt: skip


def corrected(comparisons: Sequence[Comparison], *, alpha: float = ALPHA) -> list[Comparison]:
    """Return comparisons of several slices or metrics after Holm's correction of their p-values.

    What is better or worse by itself, and no longer so among all of them, becomes inconclusive.
    Parity is not corrected: each claim of it must hold by itself.
    """
    adjusted = holm([1.0 if one.p is None else one.p for one in comparisons])
    return [_corrected(one, p, alpha) for one, p in zip(comparisons, adjusted, strict=True)]


def corrected_choice(
    comparisons: Sequence[Comparison], *, alpha: float = ALPHA
) -> list[Comparison]:
    """Return the comparisons of several candidates of which one is chosen, after Holm's correction.

    The best of several may look good by chance: without a correction, one of three that are all worse by
    the margin passes three times as often. Here parity is corrected as well as better and worse.
    """
    parity = holm([1.0 if one.p_parity is None else one.p_parity for one in comparisons])
    found = []
    for one, p in zip(corrected(comparisons, alpha=alpha), parity, strict=True):
        before = one.p_parity
        now = one if before is None else one.model_copy(update={"p_parity_adjusted": p})
        if now.verdict is Verdict.PARITY and p > alpha / 2:
            why = f"parity by itself, but not after Holm's correction for {len(comparisons)} candidates (p {p:.2g})"  # fmt: skip
            now = now.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": why})
        found.append(now)
    return found


def _corrected(one: Comparison, p: float, alpha: float) -> Comparison:
    if one.p is None:
        return one
    changes: dict[str, object] = {"p_adjusted": p}
    if one.verdict in (Verdict.BETTER, Verdict.WORSE) and p > alpha:
        passes = one.p_parity is not None and one.p_parity <= alpha / 2
        changes["verdict"] = Verdict.PARITY if passes else Verdict.INCONCLUSIVE
        changes["reason"] = f"{one.verdict} by itself, but not after Holm's correction (p {p:.2g})"
    return one.model_copy(update=changes)


def _check_rows(
    reference: Sequence[float],
    candidate: Sequence[float],
    clusters: Sequence[Hashable] | None,
) -> None:
    lengths = {len(reference), len(candidate), *([] if clusters is None else [len(clusters)])}
    if len(lengths) > 1:
        raise UsageError(
            f"The scores are not of the same rows: {len(reference)} of the reference, "
            f"{len(candidate)} of the candidate"
            + ("" if clusters is None else f", {len(clusters)} clusters"),
            where="compare",
            hint="give one score of each model for each row, in the same order",
        )
    if not all(map(math.isfinite, (*reference, *candidate))):
        raise UsageError(
            "A score is not a finite number",
            where="compare",
            hint="leave out the rows that could not be scored, for both models",
        )


def _check_margin(margin: float | None, scale: float) -> None:
    if margin is not None and not 0 < margin < scale:
        raise UsageError(
            f"A margin of {margin:g} is not between 0 and {scale:g}, the range of the score",
            where="compare",
            hint="give it as a share of the range: 0.03 for 3 points",
        )


def _pass_or_fail(
    wins: int, losses: int, rows: int, margin: float | None, alpha: float
) -> _Evidence:
    low, high = paired.tango_interval(wins, losses, rows, level=1 - alpha)
    rate, delta = (wins + losses) / rows, (wins - losses) / rows
    return _Evidence(
        delta=delta,
        low=low,
        high=high,
        p=float(paired.difference_p(wins, losses, rows)),
        p_parity=None if margin is None else paired.parity_p(wins, losses, rows, margin),
        method=f"McNemar {'exact' if rate > paired.MOST_FLIPS else 'mid-p'}, Tango interval",
        units=rows,
        rows=rows,
        flip_rate=rate,
    )


def _graded(
    reference: Sequence[float],
    candidate: Sequence[float],
    clusters: Sequence[Hashable] | None,
    margin: float | None,
    alpha: float,
    scale: float,
    seed: int,
) -> _Evidence:
    differences = [float(b) - float(a) for a, b in zip(reference, candidate, strict=True)]
    low, high, method = graded.difference_interval(
        reference, candidate, clusters, alpha=alpha, scale=scale, seed=seed
    )
    p, test = graded.difference_p(differences, clusters, seed=seed)
    mean = graded.mean_of(differences, clusters)
    cautious = graded.cautious_mean(differences, clusters, alpha=alpha, scale=scale)
    return _Evidence(
        delta=mean.value,
        low=low,
        high=high,
        p=p,
        p_parity=None
        if margin is None
        else graded.parity_p(differences, margin, clusters, alpha=alpha, scale=scale),
        method=f"{test}, {method}",
        units=mean.units,
        rows=len(differences),
        spread=(mean.error or cautious.error) * mean.units**0.5,
    )


def _verdict(evidence: _Evidence, alpha: float) -> Verdict:
    if evidence.rows < MIN_ROWS or evidence.units < 2:
        return Verdict.INCONCLUSIVE
    differs = evidence.p <= alpha
    if differs and evidence.low > 0:
        return Verdict.BETTER
    if evidence.p_parity is not None and evidence.p_parity <= alpha / 2:
        return Verdict.PARITY
    return Verdict.WORSE if differs and evidence.high < 0 else Verdict.INCONCLUSIVE


def _needed(evidence: _Evidence, margin: float | None, alpha: float, scale: float) -> int | None:
    """The rows that would settle it, if the models differ as they seem to."""
    if evidence.units < 2:
        return None
    if evidence.flip_rate is not None:
        found = [power.rows_for_difference(evidence.flip_rate, evidence.delta, alpha=alpha)]
        if margin is not None:
            rate = evidence.flip_rate
            found.append(
                power.rows_for_parity(rate, margin, difference=evidence.delta, alpha=alpha)
            )
    else:
        found = _needed_graded(evidence, margin, alpha, scale)
    possible = [rows for rows in found if rows is not None]
    return max(MIN_ROWS, min(possible)) if possible else None


def _needed_graded(
    evidence: _Evidence, margin: float | None, alpha: float, scale: float
) -> list[int | None]:
    reach = _reach(alpha) * evidence.spread
    size = evidence.rows / evidence.units
    distances = [abs(evidence.delta)]
    fewest = [0.0]
    if margin is not None:
        distances.append(margin + evidence.delta)
        fewest.append(float(power.rows_without_flips(margin / scale, alpha=alpha)))
    return [
        math.ceil(max((reach / distance) ** 2, least) * size) if distance > 1e-9 * scale else None
        for distance, least in zip(distances, fewest, strict=True)
    ]


def _visible(evidence: _Evidence, alpha: float, scale: float) -> float | None:
    if evidence.units < 2:
        return None
    if evidence.flip_rate is not None:
        return power.smallest_visible(evidence.flip_rate, evidence.rows, alpha=alpha)
    return float(min(scale, _reach(alpha) * evidence.spread / evidence.units**0.5))


def _reach(alpha: float) -> float:
    """Standard errors between no difference and one that is found with the usual power."""
    norm = stats().norm
    return float(norm.isf(alpha / 2) + norm.isf(1 - power.POWER))


def _without_rows(margin: float | None) -> Comparison:
    empty = not_comparable("no row was scored for both models", margin=margin)
    return empty.model_copy(update={"verdict": Verdict.INCONCLUSIVE})


def _reason(
    verdict: Verdict, evidence: _Evidence, margin: float | None, needed: int | None, scale: float
) -> str:
    range_ = f"95 %: {_amount(evidence.low, scale)} to {_amount(evidence.high, scale)}"
    if verdict is Verdict.PARITY and margin is not None:
        return f"a loss of {_plain(margin, scale)} or more is ruled out ({range_})"
    if verdict in (Verdict.BETTER, Verdict.WORSE):
        return f"{verdict} by {_plain(abs(evidence.delta), scale)} ({range_})"
    if evidence.units < 2:
        return "all rows are of one cluster: nothing can be said about others"
    if evidence.rows < MIN_ROWS:
        return f"{evidence.rows} rows; at least {MIN_ROWS} are needed for a verdict"
    if needed is None:
        return f"{evidence.rows:,} rows show no difference ({range_})"
    return (
        f"{evidence.rows:,} rows are too few to say; about {about(needed):,} are needed ({range_})"
    )


def _amount(value: float, scale: float) -> str:
    return f"{value * 100:+.1f}" if scale == 1 else f"{value:+.3g}"


def _plain(value: float, scale: float) -> str:
    points = f"{value * 100:.1f}".removesuffix(".0")
    return f"{points} points" if scale == 1 else f"{value:.3g}"


def about(rows: int) -> int:
    """Return a number of rows rounded up to three digits: it is an estimate."""
    unit = int(10 ** max(0, len(str(rows)) - 3))
    return -(-rows // unit) * unit
