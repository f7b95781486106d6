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
from ftsdk.util.files import atomic_folder, sha256_file


def model_of(run: RunDir, provider_job_id: str, provider: str) -> ModelHandle:
    """The model of a run that succeeded; an adapter can be called while its base model is here."""
    return _handle(run, run.result_path, f"local:{provider_job_id}", provider)


def checkpoint_of_run(run: RunDir, provider_job_id: str, provider: str, step: int) -> ModelHandle:
    """The model as it was at a kept checkpoint. Raises `NotFound` and `StoreError`."""
    folder = _checkpoint_result(run, step)
    return _handle(run, folder, f"local:{provider_job_id}@{step}", provider)


def _checkpoint_result(run: RunDir, step: int) -> Path:
    """A folder like the result's with the weights of a checkpoint; it is made at the first call."""
    folder = run.path / "checkpoint-models" / f"step-{step}"
    if (folder / "ftsdk.json").is_file():
        return folder
    found = next((one.path for one in run.checkpoints() if one.step == step), None)
    if found is None:
        raise NotFound(
            f"The run has no checkpoint at step {step}",
            where=str(run.path / "checkpoints"),
            hint=f"ftsdk checkpoints {run.spec.job_id}",
        )
    manifest: dict[str, Any] = json.loads((found / "manifest.json").read_bytes())
    own = [name for name in manifest["files"] if not name.startswith(("optimizer", "state"))]
    facts: dict[str, Any] = json.loads((run.result_path / "ftsdk.json").read_bytes())
    facts |= dict.fromkeys(_OF_THE_END) | {"steps": step, "epochs": manifest.get("epoch")}
    try:
        folder.parent.mkdir(exist_ok=True)
        with atomic_folder(folder) as made:
            for name in own:
                if sha256_file(found / name) != manifest["files"][name]["sha256"]:
                    raise StoreError(
                        f"{name} of the checkpoint was changed after it was written",
                        where=str(found / name),
                        hint="use another checkpoint: ftsdk checkpoints lists them",
                    )
                copy = _copy_weights if name.endswith(".safetensors") else shutil.copy2
                copy(found / name, made / name)
            for path in run.result_path.iterdir():
                if not (made / path.name).exists() and path.suffix != ".safetensors":
                    shutil.copy2(path, made / path.name)
            (made / "ftsdk.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"The model of the checkpoint cannot be written: {error}",
            where=str(folder),
            hint="check the space and the permissions there",
        ) from error
    return folder


def _copy_weights(source: Path, target: Path) -> None:
    """Copy a safetensors file, and say in its header that the tensors are torch's.

    transformers loads no whole model without that, and a checkpoint does not say it.
    """
    with source.open("rb") as read, target.open("wb") as written:
        length = int.from_bytes(read.read(8), "little")
        header: dict[str, Any] = json.loads(read.read(length))
        text = json.dumps({"__metadata__": {"format": "pt"}} | header).encode()
        text += b" " * (-len(text) % 8)
        written.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(read, written, 1 << 20)


_OF_THE_END = (
    "trained_tokens", "train_s", "train_loss", "validation_loss", "skipped_steps", "train_metrics",
    "validation_metrics",
)  # fmt: skip
"""What `ftsdk.json` says about the end of a run; it is not known of a checkpoint."""


def _handle(run: RunDir, folder: Path, identity: str, provider: str) -> ModelHandle:
    facts: dict[str, Any] = json.loads((folder / "ftsdk.json").read_bytes())
    base = run.spec.base_model
    adapter = facts.get("adapter")
    return ModelHandle(
        kind=ModelKind.MERGED if adapter is None else ModelKind.ADAPTER,
        provider=provider,
        id=identity,
        base_model=base.name,
        base_revision=base.revision,
        chat_template_sha256=facts.get("chat_template_sha256"),
        adapter=adapter,
        path=folder,
        size_bytes=sum(p.stat().st_size for p in folder.glob("*.safetensors")),
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
