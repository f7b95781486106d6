"""`forbid_spending`: a switch that refuses to start anything that costs.

`FTSDK_FORBID_SPENDING=1` is the same switch for a whole process, such as a CI run. Cancelling and
undeploying always work: they end spending.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

from ftsdk.errors import BudgetError

FORBID_VARIABLE = "FTSDK_FORBID_SPENDING"

_lock = threading.Lock()
_depth = 0


@contextlib.contextmanager
def forbid_spending() -> Iterator[None]:
    """Inside this block this process starts nothing that costs: no create, resume or deploy.

    It holds for all threads. What is free (this machine, `fake`) still works, and so do cancelling
    and undeploying. Chatting with a model that is callable works too; a provider may bill it by
    the token.
    """
    global _depth  # noqa: PLW0603  # one switch per process, on purpose
    with _lock:
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1


def require_spending(
    what: str, provider: str, *, free: bool = False, env: Mapping[str, str] | None = None
) -> None:
    """Raise `BudgetError` where spending is forbidden and `what` would spend at `provider`."""
    if free:
        return
    if _depth > 0:
        why, hint = "inside forbid_spending()", "do it outside of that block"
    elif (env or {}).get(FORBID_VARIABLE, "").strip().lower() not in ("", "0", "false", "no"):
        why, hint = f"the variable {FORBID_VARIABLE}", f"unset {FORBID_VARIABLE}, if you mean it"
    else:
        return
    raise BudgetError(
        f"Spending is forbidden here, and {what} at {provider} may cost",
        where=why,
        hint=hint,
        submitted="no",
    )
