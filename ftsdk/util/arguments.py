"""Checks of arguments at public entry points, so that a wrong type is our error and names the argument."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from ftsdk.errors import UsageError

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Check:
    """What an argument must be, in words and as a function."""

    what: str
    accepts: Callable[[Any], bool]

    def __call__(self, where: str, name: str, value: Any) -> None:
        """Raise `UsageError` when the value is not accepted. The value itself is not shown."""
        if not self.accepts(value):
            raise UsageError(
                f"{name} must be {self.what}, not {_described(value)}",
                where=f"the argument {name}= of {where}",
                submitted="no",
            )


def is_text(value: object) -> bool:
    """Whether a value is text that can be stored and sent: without NUL and lone surrogates."""
    if not isinstance(value, str) or "\x00" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_path(value: object) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    try:
        return b"\x00" not in os.fsencode(value) and value != ""
    except UnicodeEncodeError:
        return False


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return False
    try:
        return not math.isnan(value)
    except OverflowError:  # a whole number beyond what a float can be
        return False


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


TEXT = Check("text", is_text)
TEXTS = Check(
    "text, or several texts",
    lambda v: (
        is_text(v)
        or (
            isinstance(v, Collection)
            and not isinstance(v, str | bytes | Mapping)
            and all(map(is_text, v))
        )
    ),
)
PATH = Check("a path", _is_path)
NUMBER = Check("a number", _is_number)
WHOLE = Check("a whole number", _is_whole)
COUNT = Check("a whole number, 0 or more", lambda v: _is_whole(v) and v >= 0)
FLAG = Check("true or false", lambda v: isinstance(v, bool))
MAPPING = Check("a mapping", lambda v: isinstance(v, Mapping))
FUNCTION = Check("a function", callable)


def checked(**checks: Check) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Check the named arguments of a function. None is accepted where it is the default."""

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        parameters = inspect.signature(function).parameters
        optional = {name for name in checks if parameters[name].default is None}
        order = [p.name for p in parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            for name, value in (*zip(order, args, strict=False), *kwargs.items()):
                if name in checks and not (value is None and name in optional):
                    checks[name](function.__name__, name, value)
            return function(*args, **kwargs)

        return call

    return decorate


def _described(value: object) -> str:
    if isinstance(value, str):
        return "an empty text" if value == "" else "text with characters that cannot be stored"
    if value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return (
            f"{value}"[:40]
            if not isinstance(value, int) or abs(value) < 2**63
            else "so large a one"
        )
    return type(value).__name__
