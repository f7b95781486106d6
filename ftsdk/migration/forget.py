"""Remove what was captured or fetched: bundles, and the stored answers of a model."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.artifacts.bundle import (
    CAPTURE_KIND,
    INVENTORY_KIND,
    MANIFEST,
    files_of_bundle,
    read_manifest,
)
from ftsdk.errors import StoreError, UsageError
from ftsdk.evaluation.answers import stores_in
from ftsdk.session import Session
from ftsdk.util.locks import file_lock


@dataclass(frozen=True)
class Forgettable:
    """A folder that can be removed: what it holds, and how large it is."""

    folder: Path
    what: str
    bytes: int


def forgettable(session: Session, name: str) -> list[Forgettable]:
    """Return what `name` names: the folder of a bundle, or a model with its answers and bundles.

    Raises `UsageError` where there is nothing of that name.
    """
    folder = Path(name)
    if (folder / MANIFEST).is_file():
        found = [_bundle(folder)]
    else:
        bundles = _bundles(session)
        found = [*_stores(session, {name, *_bases_of_only(bundles, name)})]
        found += [_bundle(path) for path, model, _ in bundles if model == name]
    if not found:
        raise UsageError(
            "Nothing was captured or fetched under this name",
            where=name,
            hint="give the folder of a bundle, or a model as `ftsdk capture` named it",
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
            yield Forgettable(folder, whose, _size(folder))


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
    strange = sorted(set(files_of_bundle(folder)) - known)
    if strange:
        raise UsageError(
            f"The folder has files that are not of the bundle: {', '.join(strange[:5])}",
            where=str(folder),
            hint="move them elsewhere first",
        )
    return Forgettable(folder, str(manifest["kind"]).removeprefix("ftsdk-"), _size(folder))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
