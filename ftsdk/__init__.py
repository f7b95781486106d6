"""Fine-tune language models anywhere through one job object.

    job = ftsdk.create_job(dataset="train.jsonl", model="smollm2-135m")
    job.wait()
    print(job.result().chat("hello").text)

Names are loaded at first use, so that `import ftsdk` costs little. The module's functions use one
default `Client`, made from the configuration in force at the first call.
"""

from __future__ import annotations

import importlib
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
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.spending.switch import forbid_spending
    from ftsdk.types.cost import Cost
    from ftsdk.types.events import Checkpoint, Event, MetricPoint, Progress
    from ftsdk.types.job import JobSnapshot
    from ftsdk.types.model import ChatAnswer, ModelHandle
    from ftsdk.types.plan import Plan
    from ftsdk.types.spec import Hyperparameters, JobSpec, LoRA
    from ftsdk.types.status import JobStatus

    _bound = Client()
    adopt_job = _bound.adopt_job
    create_job = _bound.create_job
    estimate = _bound.estimate
    get_job = _bound.get_job
    list_jobs = _bound.list_jobs
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
    "ChatAnswer",
    "Checkpoint",
    "Client",
    "ConfigError",
    "Cost",
    "Dataset",
    "DatasetError",
    "DatasetReport",
    "Event",
    "FineTuneJob",
    "FtsdkError",
    "Hyperparameters",
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
    "MissingExtra",
    "ModelHandle",
    "NeedsDecision",
    "NotFound",
    "NotReady",
    "Plan",
    "Progress",
    "ProviderClosed",
    "RateLimited",
    "Rejected",
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
    "create_job",
    "default_client",
    "estimate",
    "forbid_spending",
    "get_job",
    "list_jobs",
    "plan",
    "reconcile",
    "resolve",
    "validate",
]

_HOMES = {
    "ftsdk.async_client": ("AsyncClient", "AsyncFineTuneJob"),
    "ftsdk.spending.switch": ("forbid_spending",),
    "ftsdk.client": ("Client",),
    "ftsdk.dataset": ("Dataset", "DatasetReport"),
    "ftsdk.jobs.job": ("FineTuneJob",),
    "ftsdk.types.cost": ("Cost",),
    "ftsdk.types.events": ("Checkpoint", "Event", "MetricPoint", "Progress"),
    "ftsdk.types.job": ("JobSnapshot",),
    "ftsdk.types.model": ("ChatAnswer", "ModelHandle"),
    "ftsdk.types.plan": ("Plan",),
    "ftsdk.types.status": ("JobStatus",),
    "ftsdk.types.spec": ("Hyperparameters", "JobSpec", "LoRA"),
}
_VERBS = frozenset(name for name in __all__ if name.islower()) - {
    "__version__",
    "default_client",
    "forbid_spending",
}
_WHERE = {name: module for module, names in _HOMES.items() for name in names}
# Every other name with a capital is an error.
_WHERE |= {n: "ftsdk.errors" for n in __all__ if n[0].isupper() and n not in _WHERE}

_default: Client | None = None
_default_lock = threading.Lock()


def default_client() -> Client:
    """The client behind the module's functions, made at the first call."""
    global _default  # noqa: PLW0603  # one per process, on purpose
    with _default_lock:
        if _default is None:
            from ftsdk.client import Client

            _default = Client()
        return _default


if not TYPE_CHECKING:  # a type checker sees the names above, and so notices a wrong one

    def __getattr__(name: str) -> Any:
        if name in _WHERE:
            value = getattr(importlib.import_module(_WHERE[name]), name)
            globals()[name] = value
            return value
        if name in _VERBS:
            value = _verb(name)
            globals()[name] = value
            return value
        raise AttributeError(f"module 'ftsdk' has no attribute {name!r}")


def _verb(name: str) -> Callable[..., Any]:
    import functools
    import inspect

    from ftsdk.client import Client

    method = getattr(Client, name)

    @functools.wraps(method, assigned=("__doc__", "__name__", "__annotations__"))
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(default_client(), name)(*args, **kwargs)

    call.__qualname__ = name
    whole = inspect.signature(method)
    shown = [one for one in whole.parameters.values() if one.name != "self"]
    call.__signature__ = whole.replace(parameters=shown)  # type: ignore[attr-defined]  # for help()
    return call


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
