"""The result folder of a run: as a model handle, and copied elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.status import FREE
from ftsdk.errors import NotFound, StoreError, UsageError
from ftsdk.types.model import ModelHandle, ModelKind


def model_of(run: RunDir, provider_job_id: str, provider: str) -> ModelHandle:
    """The model of a run that succeeded; an adapter can be called while its base model is here."""
    facts: dict[str, Any] = json.loads((run.result_path / "ftsdk.json").read_bytes())
    base = run.spec.base_model
    adapter = facts.get("adapter")
    return ModelHandle(
        kind=ModelKind.MERGED if adapter is None else ModelKind.ADAPTER,
        provider=provider,
        id=f"local:{provider_job_id}",
        base_model=base.name,
        base_revision=base.revision,
        chat_template_sha256=facts.get("chat_template_sha256"),
        adapter=adapter,
        path=run.result_path,
        size_bytes=sum(p.stat().st_size for p in run.result_path.glob("*.safetensors")),
        callable_now=adapter is None or base.path.is_dir(),
        running_cost=FREE,
        job_id=run.spec.job_id,
        parent_job_id=None if run.spec.parent is None else run.spec.parent.job_id,
        raw={**facts, "base_path": str(base.path)},
    )


def existing_result(handle: ModelHandle) -> Path:
    """The result folder of a handle. Raises `NotFound` when it was deleted or moved."""
    if handle.path is None or not handle.path.is_dir():
        raise NotFound(
            "The result's folder is gone",
            where=str(handle.path),
            hint="the run was deleted or moved; train it again",
        )
    return handle.path


def copy_result(result: Path, folder: Path) -> Path:
    """Copy a result folder; returns `folder`.

    Raises `UsageError` when `folder` has files, `StoreError` when the copy cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "The folder is not empty, and nothing is overwritten",
            where=str(folder),
            hint="give a new or empty folder",
        )
    try:
        shutil.copytree(result, folder, dirs_exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The result cannot be copied: {error}",
            where=str(folder),
            hint="check the space and the permissions there; the result itself is intact",
        ) from error
    return folder
