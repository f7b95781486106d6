"""`forbid_spending` refuses every action that can cost money.

`FTSDK_FORBID_SPENDING=1` does the same for a whole process, such as a CI run. Cancelling and
undeploying always work, since they end spending.
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
    """Forbid creating, resuming and deploying inside this block, where they can cost money.

    This applies to all threads of the process. `chat_many` and other runs of many chats are refused
    as well. Free backends (`local`, `fake`), cancelling and undeploying still work. So does a single
    `chat` with a callable model, which a provider may bill by the token.
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
        where, hint = "inside forbid_spending()", "run it outside of that block"
    elif (env or {}).get(FORBID_VARIABLE, "").strip().lower() not in ("", "0", "false", "no"):
        where, hint = f"the variable {FORBID_VARIABLE}", f"unset {FORBID_VARIABLE} to allow it"
    else:
        return
    raise BudgetError(
        f"Spending is forbidden here, and {what} at {provider} may cost money",
        where=where,
        hint=hint,
        submitted="no",
    )
