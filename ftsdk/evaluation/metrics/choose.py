"""Which metrics fit the rows: the first is the primary one, on which the verdict rests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.errors import UsageError
from ftsdk.evaluation.metrics.chrf import ChrF
from ftsdk.evaluation.metrics.function import Function
from ftsdk.evaluation.metrics.json_answers import JsonFields, JsonValid
from ftsdk.evaluation.metrics.json_values import unchecked
from ftsdk.evaluation.metrics.labels import Labels
from ftsdk.evaluation.metrics.loss import Loss
from ftsdk.evaluation.metrics.metric import Chosen, Metric, references_of, text_of
from ftsdk.evaluation.metrics.numbers import Number
from ftsdk.evaluation.metrics.text import Exact, Normalized
from ftsdk.evaluation.metrics.tool_calls import ToolCalls
from ftsdk.util.names import nearest

# The first group that has a metric for the rows decides; all of its metrics that fit are used.
_GROUPS: tuple[tuple[type[Metric], ...], ...] = (
    (ToolCalls,),
    (JsonFields, JsonValid),
    (Labels,),
    (Number,),
    (Exact, ChrF),
    (ChrF,),
)
_BY_NAME: Mapping[str, Callable[[Sequence[Row]], Metric]] = {
    "exact": lambda _: Exact(),
    "normalized": lambda _: Normalized(),
    "label": lambda rows: Labels(text_of(message) for message in references_of(rows)),
    "number": lambda _: Number(),
    "json": lambda _: JsonValid(),
    "json_fields": lambda _: JsonFields(),
    "tool_calls": lambda _: ToolCalls(),
    "chrf": lambda _: ChrF(),
    "loss": lambda _: Loss(),
}
GivenMetric = str | Metric | Callable[..., Any]


def choose(
    rows: Sequence[Row],
    metrics: str | Sequence[GivenMetric] = "auto",
    *,
    schema: Mapping[str, Any] | None = None,
) -> list[Chosen]:
    """Return the metrics for these rows, the primary one first, each with its reason.

    `metrics` names them (as `_BY_NAME`), or gives metrics or functions; `auto` chooses by the
    reference answers. `schema` is what JSON answers must fit. Raises `UsageError` for an unknown name,
    a metric that is given twice, and where no row has an answer to compare with.
    """
    if next(references_of(rows), None) is None:
        raise UsageError(
            "No row ends in an answer of the assistant, so there is nothing to compare with",
            where=f"{len(rows)} rows",
            hint="add the right answer to each row as its last message",
        )
    given = [metrics] if isinstance(metrics, str) else list(metrics)
    chosen = _automatic(rows) if given == ["auto"] else [_given(one, rows) for one in given]
    if schema is not None:
        chosen = _with_schema(chosen, schema)
    _check_names(chosen)
    return chosen


def _automatic(rows: Sequence[Row]) -> list[Chosen]:
    for group in _GROUPS:
        found = [metric.chosen_for(rows) for metric in group]
        if found[0] is not None:
            return [one for one in found if one is not None]
    return [Chosen(Exact(), "the answers have no text")]


def _given(one: GivenMetric, rows: Sequence[Row]) -> Chosen:
    if isinstance(one, Metric):
        return Chosen(one, "as requested")
    if not isinstance(one, str):
        return Chosen(Function(one), "as requested")
    if one not in _BY_NAME:
        raise UsageError(
            f"There is no metric {one!r}{nearest(one, _BY_NAME)}",
            where="the argument metrics=",
            hint=f"give auto, {', '.join(_BY_NAME)}, or a function",
        )
    return Chosen(_BY_NAME[one](rows), "as requested")


def _with_schema(chosen: list[Chosen], schema: Mapping[str, Any]) -> list[Chosen]:
    """The metrics with the schema's check in place of that for any JSON."""
    skipped = unchecked(schema)
    reason = "a schema is given"
    if skipped:
        reason += f"; not checked in it: {', '.join(skipped)}"
    others = [one for one in chosen if not isinstance(one.metric, JsonValid)]
    return [*others, Chosen(JsonValid(schema), reason)]


def _check_names(chosen: Sequence[Chosen]) -> None:
    names = [one.metric.name for one in chosen]
    double = sorted({name for name in names if names.count(name) > 1})
    if double or not names:
        raise UsageError(
            f"Two metrics are called {', '.join(double)}" if double else "No metric is given",
            where="the argument metrics=",
            hint="give each function another name: Function(function, name='…')"
            if double
            else "leave metrics= out to choose by the rows",
        )
