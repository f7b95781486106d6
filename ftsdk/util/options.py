"""Functions whose keyword arguments are declared once, as a `TypedDict`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from ftsdk.util.arguments import Check
from ftsdk.util.names import nearest

_P = ParamSpec("_P")
_R = TypeVar("_R")


def accepts_options(
    options: type,
    defaults: Mapping[str, Any] | None = None,
    checks: Mapping[str, Check] | None = None,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Give a function that has `**options` the names, types and defaults of `options`.

    Options that `defaults` does not name default to None. `help()` and `inspect.signature` then
    show each option, and an unknown name raises `TypeError`, as for any function. `checks` has the
    checks of options by name; None is always accepted.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        shown = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=(defaults or {}).get(name),
                annotation=getattr(annotation, "__forward_arg__", annotation),
            )
            for name, annotation in options.__annotations__.items()
        ]
        known = {parameter.name for parameter in (*own, *shown)}

        @functools.wraps(function)
        def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            for name, value in kwargs.items():
                if checks is not None and name in checks and value is not None:
                    checks[name](function.__name__, name, value)
                if name not in known:
                    raise TypeError(
                        f"{function.__name__}() got an unexpected keyword argument {name!r}"
                        f"{nearest(name, known)}"
                    )
            return function(*args, **kwargs)

        checked.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]  # inspect reads it
        return checked

    return decorate
