"""Fine-tune language models anywhere through one job object.

    job = ftsdk.create_job(dataset="train.jsonl", model="smollm2-135m")
    job.wait()
    print(job.result().chat("hello").text)

Names are loaded at first use, so that `import ftsdk` is fast. The module's functions use a default
`Client`, which is created from the configuration at the first call.
"""

from __future__ import annotations

import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

from ftsdk._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from ftsdk.async_client import AsyncClient, AsyncFineTuneJob
    from ftsdk.client import Client
    from ftsdk.dataset import Dataset, DatasetReport
    from ftsdk.errors import (
        AuthError,
        BackendError,
        BudgetError,
        ConfigError,
        DatasetError,
        FtsdkError,
        JobCancelled,
        JobError,
        JobFailed,
        JournalDamaged,
        JournalLocked,
        JournalTooNew,
        MissingExtra,
        NeedsDecision,
        NotFound,
        NotReady,
        ProviderClosed,
        RateLimited,
        Rejected,
        SpecError,
        StoreError,
        Unavailable,
        UnexpectedResponse,
        UnknownBackend,
        UnknownJob,
        UnknownModel,
        Unsupported,
        UsageError,
        WaitTimeout,
    )
    from ftsdk.evaluation.captured import Captured
    from ftsdk.evaluation.participants import Prompt
    from ftsdk.evaluation.report import EvaluationReport
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.spending.switch import forbid_spending
    from ftsdk.types.capture import Capture, Rights
    from ftsdk.types.chat_stream import ChatStream
    from ftsdk.types.cost import Cost
    from ftsdk.types.events import Checkpoint, Event, MetricPoint, Progress
    from ftsdk.types.inventory import Inventory
    from ftsdk.types.job import JobSnapshot
    from ftsdk.types.migration import Migration
    from ftsdk.types.model import ChatAnswer, ModelHandle
    from ftsdk.types.plan import Plan
    from ftsdk.types.spec import Hyperparameters, JobSpec, LoRA
    from ftsdk.types.status import JobStatus

    _bound = Client()
    adopt_job = _bound.adopt_job
    capture = _bound.capture
    create_job = _bound.create_job
    evaluate = _bound.evaluate
    estimate = _bound.estimate
    get_job = _bound.get_job
    inspect = _bound.inspect
    inventory = _bound.inventory
    list_jobs = _bound.list_jobs
    migrate = _bound.migrate
    plan = _bound.plan
    reconcile = _bound.reconcile
    resolve = _bound.resolve
    validate = _bound.validate

__all__ = [
    "AsyncClient",
    "AsyncFineTuneJob",
    "AuthError",
    "BackendError",
    "BudgetError",
    "Capture",
    "Captured",
    "ChatAnswer",
    "ChatStream",
    "Checkpoint",
    "Client",
    "ConfigError",
    "Cost",
    "Dataset",
    "DatasetError",
    "DatasetReport",
    "EvaluationReport",
    "Event",
    "FineTuneJob",
    "FtsdkError",
    "Hyperparameters",
    "Inventory",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JobSnapshot",
    "JobSpec",
    "JobStatus",
    "JournalDamaged",
    "JournalLocked",
    "JournalTooNew",
    "LoRA",
    "MetricPoint",
    "Migration",
    "MissingExtra",
    "ModelHandle",
    "NeedsDecision",
    "NotFound",
    "NotReady",
    "Plan",
    "Progress",
    "Prompt",
    "ProviderClosed",
    "RateLimited",
    "Rejected",
    "Rights",
    "SpecError",
    "StoreError",
    "Unavailable",
    "UnexpectedResponse",
    "UnknownBackend",
    "UnknownJob",
    "UnknownModel",
    "Unsupported",
    "UsageError",
    "WaitTimeout",
    "__version__",
    "adopt_job",
    "capture",
    "create_job",
    "default_client",
    "estimate",
    "evaluate",
    "forbid_spending",
    "get_job",
    "inspect",
    "inventory",
    "list_jobs",
    "migrate",
    "plan",
    "reconcile",
    "reset_default_client",
    "resolve",
    "validate",
]

_MODULES = {
    "ftsdk.async_client": ("AsyncClient", "AsyncFineTuneJob"),
    "ftsdk.spending.switch": ("forbid_spending",),
    "ftsdk.client": ("Client",),
    "ftsdk.dataset": ("Dataset", "DatasetReport"),
    "ftsdk.evaluation.captured": ("Captured",),
    "ftsdk.evaluation.participants": ("Prompt",),
    "ftsdk.evaluation.report": ("EvaluationReport",),
    "ftsdk.jobs.job": ("FineTuneJob",),
    "ftsdk.types.capture": ("Capture", "Rights"),
    "ftsdk.types.chat_stream": ("ChatStream",),
    "ftsdk.types.cost": ("Cost",),
    "ftsdk.types.events": ("Checkpoint", "Event", "MetricPoint", "Progress"),
    "ftsdk.types.inventory": ("Inventory",),
    "ftsdk.types.job": ("JobSnapshot",),
    "ftsdk.types.migration": ("Migration",),
    "ftsdk.types.model": ("ChatAnswer", "ModelHandle"),
    "ftsdk.types.plan": ("Plan",),
    "ftsdk.types.status": ("JobStatus",),
    "ftsdk.types.spec": ("Hyperparameters", "JobSpec", "LoRA"),
}
_FUNCTIONS = frozenset(name for name in __all__ if name.islower()) - {
    "__version__",
    "default_client",
    "forbid_spending",
    "reset_default_client",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
# All other capitalised names are errors.
_MODULE_OF |= {n: "ftsdk.errors" for n in __all__ if n[0].isupper() and n not in _MODULE_OF}

_CREATED_FROM = ("FTSDK_HOME", "FTSDK_PROFILE", "FTSDK_CONFIG")
"""The variables that a client reads only when it is created."""
_default: tuple[tuple[str | None, ...], Client] | None = None
_default_lock = threading.Lock()


def default_client() -> Client:
    """Return the client of the module's functions, which is created at the first call.

    A new one is created when `FTSDK_HOME`, `FTSDK_PROFILE` or `FTSDK_CONFIG` has changed since.
    """
    global _default  # noqa: PLW0603  # one per process, on purpose
    with _default_lock:
        settings = tuple(os.environ.get(name) for name in _CREATED_FROM)
        if _default is None or _default[0] != settings:
            from ftsdk.client import Client

            _default = (settings, Client())
        return _default[1]


def _after_fork() -> None:
    """Give a forked process a default client of its own, and a lock that no other thread holds."""
    global _default, _default_lock  # one per process, on purpose
    _default, _default_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def reset_default_client() -> None:
    """Forget the default client: the next call creates one from the configuration of that moment.

    Jobs of the old one go on working.
    """
    global _default  # noqa: PLW0603  # one per process, on purpose
    with _default_lock:
        _default = None


if not TYPE_CHECKING:  # type checkers use the imports above

    def __getattr__(name: str) -> Any:
        if name in _MODULE_OF:
            value = getattr(importlib.import_module(_MODULE_OF[name]), name)
            globals()[name] = value
            return value
        if name in _FUNCTIONS:
            value = _client_function(name)
            globals()[name] = value
            return value
        raise AttributeError(f"module 'ftsdk' has no attribute {name!r}")


def _client_function(name: str) -> Callable[..., Any]:
    import functools
    import inspect

    from ftsdk.client import Client

    method = getattr(Client, name)

    @functools.wraps(method, assigned=("__doc__", "__name__", "__annotations__"))
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(default_client(), name)(*args, **kwargs)

    call.__qualname__ = name
    signature = inspect.signature(method)
    shown = [p for p in signature.parameters.values() if p.name != "self"]
    call.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]  # for help()
    return call


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
