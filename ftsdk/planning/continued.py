"""A job whose model is the result of an earlier one: what that means for its options."""

from __future__ import annotations

from typing import Any, cast

from ftsdk.errors import UsageError
from ftsdk.planning.arguments import DEFAULT, JobOptions
from ftsdk.session import Session
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.util.ids import JOB_ID

_LOCAL = "local"


def with_parent(session: Session, options: JobOptions) -> JobOptions:
    """Return the options of a job that continues another, with the model it starts from.

    `model` may be the handle of a result, or the id of a job on this machine. An adapter is
    continued with its own settings, on its own base, unless others are given; a model that was
    trained whole is the base; a hosted model has its provider's name. Raises `UsageError` for
    another provider, and what reading the result raises.
    """
    handle = _handle(session, options.get("model"))
    if handle is None:
        return options
    asked = options.get("provider")
    if asked is not None and asked != handle.provider:
        raise UsageError(
            f"{handle.id} is a model of {handle.provider}, and the job is for {asked}",
            where="the job's arguments",
            hint=f"leave provider out, or give provider={handle.provider!r}",
            submitted="no",
        )
    changed: dict[str, Any] = {**options, "provider": handle.provider, "model": handle.id}
    if handle.provider == _LOCAL:
        changed |= (
            _of_adapter(handle, options)
            if handle.kind is ModelKind.ADAPTER
            else {"model": str(handle.path)}
        )
    return cast("JobOptions", changed)


def _handle(session: Session, model: Any) -> ModelHandle | None:
    if isinstance(model, ModelHandle):
        return model
    if isinstance(model, str) and JOB_ID.match(model.removeprefix("local:")):
        return session.backend(_LOCAL).model(model.removeprefix("local:"))
    return None


def _of_adapter(handle: ModelHandle, options: JobOptions) -> dict[str, Any]:
    given = dict(options.get("provider_options") or {})
    tokens = handle.raw.get("added_tokens")
    if tokens and "add_tokens" not in given:
        given["add_tokens"] = list(tokens)
    adapter = options.get("adapter", DEFAULT)
    if isinstance(adapter, str) and handle.adapter is not None:  # the default
        adapter = {k: v for k, v in handle.adapter.items() if k != "kind"}
    return {
        "model": handle.base_model,
        "adapter": adapter,
        "provider_options": {**given, "init_adapter": handle.job_id or str(handle.path)},
    }
