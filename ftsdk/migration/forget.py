"""Remove what was captured or fetched: bundles, stored answers, evaluations, and whole migrations."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from ftsdk.artifacts.bundle import (
    CAPTURE_KIND,
    INVENTORY_KIND,
    MANIFEST,
    files_of_bundle,
    read_manifest,
)
from ftsdk.errors import StoreError, UsageError
from ftsdk.evaluation.answers import stores_in
from ftsdk.evaluation.evaluate import EVALUATIONS, PLAN, REPORT
from ftsdk.migration.migration_files import Forgettable, migration_in, require_no_others, size_of
from ftsdk.migration.receipts import ASKED
from ftsdk.session import Session
from ftsdk.util.locks import file_lock


def forgettable(session: Session, name: str) -> list[Forgettable]:
    """Return what `name` names: a folder, or a model with its answers, bundles and evaluations.

    A folder is that of a bundle, of a migration, or of an evaluation. Raises `UsageError` where there is
    nothing of that name, and for a folder that has other files as well.
    """
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        found = [_bundle(folder)]
    elif (folder / ASKED).is_file():
        found = [migration_in(folder), *_evaluations(session, rows_in=folder.absolute())]
    elif (folder / PLAN).is_file():
        found = [_evaluation(folder)]
    else:
        bundles = _bundles(session)
        found = [*_stores(session, {name, *_bases_of_only(bundles, name)})]
        found += [_bundle(path) for path, model, _ in bundles if model == name]
        found += _evaluations(session, model=name)
    if not found:
        raise UsageError(
            "Nothing was captured or fetched under this name",
            where=name,
            hint="give the folder of a bundle or a migration, or a model as `ftsdk capture` named it",
        )
    return found


def forget(found: Forgettable) -> None:
    """Remove a folder, and nothing in it that is not part of a bundle or a store.

    Raises `StoreError` where a process is writing to it, or where other files are in it.
    """
    with file_lock(found.folder / ".lock", wait_s=0.0) as taken:
        if taken is None:
            raise StoreError(
                "A process is writing there",
                where=str(found.folder),
                hint="wait until it has ended, or end it",
            )
        shutil.rmtree(found.folder)


def _stores(session: Session, models: Collection[str]) -> Iterator[Forgettable]:
    for folder, source in stores_in(session.home):
        if source.get("model") in models:
            whose = f"answers of {source['model']} at {source.get('provider')}"
            yield Forgettable(folder, whose, size_of(folder))


def _bundles(session: Session) -> list[tuple[Path, str, str | None]]:
    """Return the captures in the home folder: their folder, model and base model."""
    found = []
    for path in sorted((session.home / "captures").glob(f"*/{MANIFEST}")):
        manifest = read_manifest(path.parent)
        base = manifest.get("base_model")
        found.append((path.parent, str(manifest.get("model")), None if base is None else str(base)))
    return found


def _bases_of_only(bundles: Sequence[tuple[Path, str, str | None]], model: str) -> set[str]:
    """Return the base models that were asked for this model alone."""
    own = {base for _, name, base in bundles if name == model and base is not None}
    return own - {base for _, name, base in bundles if name != model and base is not None}


def _bundle(folder: Path) -> Forgettable:
    """Return a bundle. Raises `UsageError` for a folder that has other files as well."""
    manifest: Mapping[str, Any] = read_manifest(folder)
    if manifest.get("kind") not in (CAPTURE_KIND, INVENTORY_KIND):
        raise UsageError(
            "The folder is no bundle of ftsdk",
            where=str(folder),
            hint="give a folder that `ftsdk capture` or `ftsdk inventory` made",
        )
    recorded = manifest.get("sha256")
    known = set(recorded) if isinstance(recorded, Mapping) else set()
    require_no_others(folder, set(files_of_bundle(folder)) - known, "the bundle")
    return Forgettable(folder, str(manifest["kind"]).removeprefix("ftsdk-"), size_of(folder))


# --- evaluations ---


def _evaluations(
    session: Session, *, model: str | None = None, rows_in: Path | None = None
) -> Iterator[Forgettable]:
    """Yield the records of evaluations of a model, or of rows in a folder: their reports have texts."""
    for path in sorted((session.home / EVALUATIONS).glob(f"*/{PLAN}")):
        plan = _json(path)
        rows = plan.get("data")
        is_of_model = model in (*plan.get("asked", ()), *plan.get("models", ()))
        if is_of_model or (rows_in is not None and rows and rows_in in Path(rows).parents):
            yield _evaluation(path.parent)


def _evaluation(folder: Path) -> Forgettable:
    names = {path.name for path in folder.iterdir()}
    require_no_others(folder, names - {PLAN, REPORT, ".lock"}, "the evaluation")
    return Forgettable(folder, "evaluation", size_of(folder))


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
