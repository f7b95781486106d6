"""A metric that is a Python function of the user."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.errors import FtsdkError, UsageError
from ftsdk.evaluation.metrics.metric import Message, Metric, answer_text, text_of
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score


class Function(Metric):
    """Scores answers by a function `(reference, answer)` or `(reference, answer, row)`.

    It gets the two texts, and the row as a dictionary. `scale` is the range of its values. It returns true or false, a number (higher is
    better), a `Score`, or None where the row cannot be scored. Raises `UsageError`, naming the
    metric, when the function fails or returns anything else.
    """

    is_pass_or_fail = False

    def __init__(self, function: Callable[..., Any], name: str = "", *, scale: float = 1.0) -> None:
        self.name = name or getattr(function, "__name__", "") or "function"
        self.scale = scale
        self._function = function
        self._takes_row = _takes_three(function)

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return what the function says about an answer."""
        texts = (text_of(reference), answer_text(answer, reference))
        try:
            found = self._function(*texts, row) if self._takes_row else self._function(*texts)
        except FtsdkError:
            raise
        except Exception as error:
            raise self._fault(f"failed: {type(error).__name__}: {error}") from error
        return self._read(found)

    def _read(self, found: Any) -> Score:
        if isinstance(found, Score):
            return found
        if found is None:
            return Score(None)
        if isinstance(found, bool):
            return Score(float(found), passed=found)
        try:
            value = float(found)
        except (TypeError, ValueError) as error:
            raise self._fault(f"returned a {type(found).__name__}") from error
        if not math.isfinite(value):
            raise self._fault(f"returned {value}")
        return Score(value)

    def _fault(self, what: str) -> UsageError:
        return UsageError(
            f"The metric {self.name} {what}",
            where="a function given as a metric",
            hint="return true or false, a number, a Score, or None where a row cannot be scored",
        )


def _takes_three(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions in C have no signature
        return False
    needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(needed) > 2 or any(p.kind is p.VAR_POSITIONAL for p in parameters)
