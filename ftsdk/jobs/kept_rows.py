"""The rows of each job, stored in the home folder under their hash."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from ftsdk.errors import StoreError
from ftsdk.types.job import JobSnapshot
from ftsdk.util.files import fsync_folder, make_private_folder, rename_if_free

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset


def keep_dataset(home: Path, dataset: Dataset) -> Path:
    """Keep the canonical rows in `home/datasets` under their SHA-256, once. Returns the file.

    An existing file is never replaced, not even by an equal one: another process may be reading
    it, and would take the new file for a changed one.
    """
    path = home / "datasets" / f"{dataset.sha256}.jsonl"
    try:
        folder = make_private_folder(path.parent)
        if not path.is_file():
            temporary = folder / f".{dataset.sha256}.{secrets.token_hex(6)}.tmp"
            try:
                dataset.save(temporary)
                rename_if_free(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
            fsync_folder(folder)
    except OSError as error:
        raise StoreError(
            f"The rows cannot be kept: {error.strerror or error}",
            where=str(path.parent),
            hint="free some space or set FTSDK_HOME to another disk; nothing was submitted",
            submitted="no",
        ) from error
    return path


def kept_dataset(home: Path, snapshot: JobSnapshot, name: str) -> Dataset:
    """The kept rows of a job, by their file name. Raises `StoreError` when they are gone."""
    from ftsdk.dataset import Dataset  # reading rows is not needed to list jobs

    path = home / "datasets" / name
    if not path.is_file():
        raise StoreError(
            "The job's rows are no longer kept on this machine",
            where=str(path),
            hint="put the file back, or create the job again from its data",
            job_id=snapshot.id,
        )
    return Dataset.load(path, name=snapshot.dataset.get("name"))
