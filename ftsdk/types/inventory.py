"""What an account has at a provider, as it was fetched into a bundle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from ftsdk.types.job import FileRole
from ftsdk.types.record import Record

__all__ = ["Inventory", "InventoryFile", "InventoryJob", "InventoryModel"]


class InventoryModel(Record):
    """A fine-tune of the account. `ends_on` is the day on which it shuts down, if announced."""

    id: str
    base_model: str | None = None
    ends_on: dt.date | None = None


class InventoryJob(Record):
    """A job of the account.

    `job_id` is its id in the journal, `record` the file in the bundle with everything that the
    provider reports about it: settings, events, checkpoints, metrics.
    """

    provider_job_id: str
    job_id: str | None = None
    status: str
    model: str | None = None
    result_model: str | None = None
    created_at: dt.datetime | None = None
    record: str


class InventoryFile(Record):
    """A file that jobs name.

    `path` is its place in the bundle, with its size in `bytes` and its hash; None where it could not
    be fetched, and `missing` says why: `gone` (deleted, or not readable with this key) or
    `unavailable` (the provider did not answer; the next inventory tries again). `findings` has
    the number of rows with each fault or notice, by code, of training and validation files.

    Where rows call functions in the form before tools, `converted` is the place of a copy with tools,
    written as `ftsdk validate --fix` does; the fetched file stays as it was. `not_converted` names
    what a person has to change, by line and field.
    """

    id: str
    role: FileRole
    jobs: tuple[str, ...] = ()
    path: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    rows: int | None = None
    findings: Mapping[str, int] = Field(default_factory=dict)
    converted: str | None = None
    not_converted: tuple[str, ...] = ()
    missing: Literal["gone", "unavailable"] | None = None
    why: str = ""


class Inventory(Record):
    """What an account has, and what of it is in the bundle `folder`.

    `not_read` names what the provider did not let ftsdk read, with the reason.
    """

    folder: Path
    provider: str
    base_url: str | None = None
    sealed_at: dt.datetime
    models: tuple[InventoryModel, ...] = ()
    jobs: tuple[InventoryJob, ...] = ()
    files: tuple[InventoryFile, ...] = ()
    not_read: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[InventoryFile, ...]:
        """The files that are not in the bundle."""
        return tuple(one for one in self.files if one.path is None)

    @property
    def is_complete(self) -> bool:
        """True when another inventory would not find more: all was read, or is gone."""
        return not self.not_read and all(one.missing != "unavailable" for one in self.files)
