"""Tool calls: whether to call at all, which tool, and with which arguments.

Arguments are compared as JSON. Parallel calls are in no order: they are paired so that as much as
possible agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.dataset.rules.tools import declared
from ftsdk.evaluation.metrics.json_values import UNREADABLE, is_same, json_of, schema_faults
from ftsdk.evaluation.metrics.metric import Chosen, Message, Metric, references_of
from ftsdk.evaluation.statistics.libraries import load
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score

PARTS = ("decision", "name", "json", "schema", "arguments")
"""What is checked, in this order; each is None where there is nothing to check."""


@dataclass(frozen=True)
class Call:
    """One call of a tool: its name and its arguments, `UNREADABLE` where they are not JSON."""

    name: str
    arguments: Any


class ToolCalls(Metric):
    """Passes an answer that calls the tools of the reference, with the same arguments.

    Where the reference calls none, the answer must call none either; its text is not looked at. With
    `loose`, texts in arguments are compared by their letters and digits. `detail` has `PARTS`, and
    `arguments_right`, the share of the reference's arguments that are right.
    """

    name = "tool_calls"

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        """Fits rows of which some call tools."""
        calls = [bool(calls_in(message)) for message in references_of(rows)]
        if not any(calls):
            return None
        return Chosen(cls(), f"{sum(calls)} of {len(calls)} answers call tools")

    def __init__(self, *, loose: bool = False) -> None:
        self._loose = loose

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether the calls are right, and every part of it."""
        wanted, found = calls_in(reference), calls_in(answer.message)
        detail: dict[str, Any] = dict.fromkeys(PARTS)
        detail["decision"] = bool(wanted) == bool(found)
        if found:
            detail["json"] = all(call.arguments is not UNREADABLE for call in found)
            faults = _schema_faults(found, declared(row))
            detail["schema"], detail["faults"] = not faults, faults
        if wanted and found:
            detail["name"] = Counter(c.name for c in wanted) == Counter(c.name for c in found)
            pairs = paired_calls(wanted, found, loose=self._loose)
            detail["arguments"] = len(wanted) == len(found) and all(
                _is_same_call(one, other, loose=self._loose) for one, other in pairs
            )
            detail["arguments_right"] = _share(wanted, pairs, loose=self._loose)
        right = all(detail[part] is not False for part in PARTS)
        return Score(float(right), passed=right, detail=detail)

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the mean, and for each part the answers that have it and the share that is right."""
        parts = {}
        for part in PARTS:
            known = [score.detail[part] for score in scores if score.detail.get(part) is not None]
            parts[part] = {"rows": len(known), "right": sum(known) / len(known) if known else None}
        return {**super().summary(scores), "parts": parts}


def calls_in(message: Message) -> list[Call]:
    """Return the calls of a message, in `tool_calls` or the older `function_call`."""
    calls = message.get("tool_calls")
    functions = [
        call.get("function") for call in (calls if isinstance(calls, list | tuple) else [])
        if isinstance(call, Mapping)
    ]  # fmt: skip
    functions.append(message.get("function_call"))
    return [
        Call(str(function.get("name")), _arguments(function.get("arguments")))
        for function in functions
        if isinstance(function, Mapping)
    ]


def paired_calls(
    wanted: Sequence[Call], found: Sequence[Call], *, loose: bool = False
) -> list[tuple[Call, Call]]:
    """Return the pairs of calls that agree best in sum: equal calls first, then names and arguments."""
    if len(wanted) == len(found) == 1:
        return [(wanted[0], found[0])]
    likeness = [[_likeness(one, other, loose=loose) for other in found] for one in wanted]
    rows, columns = load("scipy.optimize").linear_sum_assignment(likeness, maximize=True)
    return [(wanted[i], found[j]) for i, j in zip(rows, columns, strict=True)]


def _likeness(wanted: Call, found: Call, *, loose: bool) -> float:
    if wanted.name != found.name:
        return 0.0
    if _is_same_call(wanted, found, loose=loose):
        return 100.0  # more than all else together
    return 1.0 + _right(wanted, found, loose=loose) / (1 + len(_fields(wanted)))


def _is_same_call(wanted: Call, found: Call, *, loose: bool) -> bool:
    if wanted.name != found.name or found.arguments is UNREADABLE:
        return False
    return is_same(wanted.arguments, found.arguments, loose=loose)


def _share(
    wanted: Sequence[Call], pairs: Sequence[tuple[Call, Call]], *, loose: bool
) -> float | None:
    total = sum(len(_fields(call)) for call in wanted)
    return sum(_right(one, other, loose=loose) for one, other in pairs) / total if total else None


def _right(wanted: Call, found: Call, *, loose: bool) -> int:
    """How many of the wanted arguments the found call has, with the same value."""
    given = _fields(found) if wanted.name == found.name else {}
    return sum(
        name in given and is_same(value, given[name], loose=loose)
        for name, value in _fields(wanted).items()
    )


def _fields(call: Call) -> dict[str, Any]:
    return call.arguments if isinstance(call.arguments, dict) else {}


def _arguments(given: Any) -> Any:
    """The value of the arguments; servers send them as text, some as an object, some not at all."""
    if given is None or given == "":
        return {}
    return json_of(given) if isinstance(given, str) else given


def _schema_faults(calls: Sequence[Call], tools: Mapping[str, Any]) -> list[str]:
    """What the calls do that the declared tools do not allow."""
    faults: list[str] = []
    for call in calls:
        if call.name not in tools:
            faults += [f"{call.name} is not declared"] if tools else []
        elif call.arguments is UNREADABLE:
            faults.append(f"{call.name}: the arguments are not JSON")
        elif not isinstance(call.arguments, dict):
            faults.append(f"{call.name}: the arguments are not an object")
        else:
            found = schema_faults(call.arguments, tools[call.name] or {})
            faults += [f"{call.name}: {fault}" for fault in found]
    return faults
