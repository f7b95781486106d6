"""Export the model of a job: find its weights here, or download them first."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.resolve import resolve_model
from ftsdk.exporting.export import ExportOptions, check_arguments, export
from ftsdk.exporting.push import check_access, push
from ftsdk.exporting.source import ExportSource
from ftsdk.jobs.portability import require_weights
from ftsdk.session import Session
from ftsdk.types.export import Export, ExportTarget
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ModelHandle
from ftsdk.types.pushed import Pushed

OnStep = Callable[[str], None]


def export_model(
    session: Session,
    handle: ModelHandle,
    target: ExportTarget,
    folder: Path,
    options: ExportOptions,
    *,
    snapshot: JobSnapshot,
    base: str | None = None,
    base_id: str | None = None,
    on_step: OnStep = lambda _: None,
) -> Export:
    """Export the model behind `handle`. `base` is a model's name or folder, where it must be said.

    Raises `Unsupported` for a model whose weights nobody can have, and what `export` raises.
    """
    with _source(session, handle, base, base_id, on_step) as source:
        check_arguments(source, target, options)
        known = replace(options, job=_journaled(snapshot))
        return export(source, target, folder, known, on_step=on_step)


def push_model(
    session: Session,
    handle: ModelHandle,
    repo: str,
    target: ExportTarget,
    options: ExportOptions,
    *,
    snapshot: JobSnapshot,
    public: bool = False,
    base: str | None = None,
    base_id: str | None = None,
    on_step: OnStep = lambda _: None,
) -> Pushed:
    """Export the model into a folder of its own, push that to `repo`, and remove the folder.

    Raises what `export_model` and `push` raise.
    """
    on_step(f"asking the hub about {repo}")
    check_access(repo, public=public)
    session.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=session.home, prefix=".push-") as scratch:
        folder = Path(scratch) / repo.rpartition("/")[2]
        export_model(
            session, handle, target, folder, options,
            snapshot=snapshot, base=base, base_id=base_id, on_step=on_step,
        )  # fmt: skip
        return push(folder, repo, public=public, on_step=on_step)


@contextlib.contextmanager
def _source(
    session: Session,
    handle: ModelHandle,
    base: str | None,
    base_id: str | None,
    on_step: OnStep,
) -> Iterator[ExportSource]:
    """Yield the weights: where they are, or downloaded into a folder that ends with the block."""
    require_weights(handle)
    if handle.path is not None:
        yield ExportSource.read(handle.path, base=base_folder(session, base), base_id=base_id)
        return
    session.home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=session.home, prefix=".export-") as scratch:
        on_step("downloading the weights")
        weights = handle.download(Path(scratch) / "result")
        named = base_folder(session, base or handle.base_model)
        yield ExportSource.read(weights, base=named, base_id=base_id)


def base_folder(session: Session, base: str | None) -> Path | None:
    """The folder of a base model by its name or path; None where none is named.

    Raises `UnknownModel` for one that is not here.
    """
    if base is None:
        return None
    path = Path(base).expanduser()
    if (path / "config.json").is_file():
        return path.resolve()
    return resolve_model(base, home=session.home, allow_pull=False).path


def _journaled(snapshot: JobSnapshot) -> dict[str, Any]:
    """What the journal knows of the job and others may know: no path, no row."""
    data = snapshot.dataset
    cost = snapshot.cost
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "provider": snapshot.provider,
        "model": snapshot.model,
        "method": snapshot.method,
        "hyperparameters": snapshot.spec.get("hyperparameters"),
        "dataset": {
            name: data[name] for name in ("rows", "sha256", "validation_rows") if name in data
        },
        "cost": {"basis": str(cost.basis), "low": _text(cost.low), "high": _text(cost.high)},
        "created_at": snapshot.created_at.isoformat(),
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
