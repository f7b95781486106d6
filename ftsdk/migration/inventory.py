"""Fetch what an account has at a provider into a bundle. Only GETs are sent.

The bundle has `models.json`, a record for each job in `jobs/`, and the contents of the files that
jobs name in `files/`; rows with functions in the form before tools also as a copy with tools. Killed anywhere, the next call continues: files that are there are not fetched
again; jobs are read again, since they may have changed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ftsdk.artifacts.bundle import INVENTORY_KIND, Bundle
from ftsdk.backends.base import Backend
from ftsdk.errors import (
    AuthError,
    BackendError,
    DatasetError,
    NotFound,
    Rejected,
    StoreError,
    UnknownBackend,
    Unsupported,
)
from ftsdk.jobs.adopt import adopt
from ftsdk.session import Session
from ftsdk.types.account import account_name
from ftsdk.types.inventory import Inventory, InventoryFile, InventoryJob, InventoryModel
from ftsdk.types.job import FileRole, RemoteJob
from ftsdk.types.record import Record
from ftsdk.util.locks import file_lock

_SUFFIX: Mapping[FileRole, str] = {"training": ".jsonl", "validation": ".jsonl", "result": ".csv"}
_SAFE_ID = re.compile(r"[A-Za-z0-9_][\w.:-]{2,199}")
_GONE = (NotFound, AuthError, Rejected)
"""Answers that a second request would get again: deleted, or not readable with this key."""

_OLD = "FT132"  # functions in the form before tools
_MOST_NAMED = 100

_WITHOUT_BACKEND: Mapping[str, tuple[str, str]] = {
    "fireworks": (
        (
            "ftsdk cannot read Fireworks: it has no backend, and Fireworks answers 501 to the download of "
            "a dataset since 2026-11-15 (docs.fireworks.ai/changelog.md)"
        ),
        (
            "list jobs and models with Fireworks' own SDK or firectl, where they stay readable; train "
            "again from your own copy of the rows: `ftsdk estimate ROWS --compare` shows where"
        ),
    ),
}
"""Services that closed before ftsdk had a backend for them: what cannot be done, and what can."""

_T = TypeVar("_T")
OnProgress = Callable[[str], None]
"""Is called with what is read next: `job 2: ftjob-…`, `file 5 of 12: file-…`."""


def take_inventory(
    session: Session,
    provider: str,
    folder: str | Path | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Inventory:
    """Fetch the account's jobs, models and files into a bundle, and add its jobs to the journal.

    `folder` is where the bundle is made or continued; by default it is in `FTSDK_HOME`, one for each
    account. Nothing changes at the provider.

    Raises `Unsupported` for a backend that cannot read the account's files; `StoreError` when another
    process is writing the bundle; the errors of the provider when its jobs cannot be listed. A file,
    or a part of a job, that cannot be read is named in the result instead.
    """
    backend = _backend_of(session, provider)
    if not backend.capabilities.can_read_files:
        raise Unsupported(
            f"{provider} does not let an account's files be read",
            where=f"backend {provider}, before anything was sent",
            hint="`ftsdk backends` shows which provider can; `ftsdk adopt` adds single jobs",
        )
    account = account_name(backend.account())
    source = {"provider": provider, "base_url": backend.base_url, "account": account}
    place = Path(folder) if folder else session.home / "inventories" / f"{provider}-{account}"
    bundle = Bundle(place, INVENTORY_KIND, source)
    before = bundle.open()
    with file_lock(bundle.lock, wait_s=0.0) as taken:
        if taken is None:
            raise StoreError(
                "Another process is writing this inventory",
                where=str(place),
                hint="wait until it has ended; a second one would fetch the same",
            )
        return _Inventory(session, backend, bundle, before, on_progress or _silent).take()


def _backend_of(session: Session, provider: str) -> Backend:
    """Return the backend; for a service that ftsdk cannot read, raise `Unsupported` with the reason."""
    try:
        return session.backend(provider)
    except UnknownBackend as error:
        if provider not in _WITHOUT_BACKEND:
            raise
        why, instead = _WITHOUT_BACKEND[provider]
        raise Unsupported(
            why, where=f"{provider}, before anything was sent", hint=instead
        ) from error


def _silent(_: str) -> None:
    """Report no progress."""


class _Inventory:
    """One inventory on its way."""

    def __init__(
        self,
        session: Session,
        backend: Backend,
        bundle: Bundle,
        before: Mapping[str, Any],
        on_progress: OnProgress,
    ) -> None:
        self._session = session
        self._backend = backend
        self._bundle = bundle
        self._on_progress = on_progress
        hashes = before.get("sha256")
        self._hashes: Mapping[str, Any] = hashes if isinstance(hashes, Mapping) else {}
        self._not_read: list[str] = []

    def take(self) -> Inventory:
        """Read everything, write it, and seal the bundle."""
        models = self._models()
        jobs, named = [], dict[str, tuple[FileRole, list[str]]]()
        for number, remote in enumerate(self._backend.list(), 1):
            self._on_progress(f"job {number}: {remote.provider_job_id}")
            jobs.append(self._job(remote))
            for file_id, role in self._backend.job_files(remote).items():
                named.setdefault(file_id, (role, []))[1].append(remote.provider_job_id)
        files = []
        for number, (file_id, (role, of)) in enumerate(named.items(), 1):
            self._on_progress(f"file {number} of {len(named)}: {file_id}")
            files.append(self._file(file_id, role, tuple(of)))
        found = Inventory(
            folder=self._bundle.folder,
            provider=self._backend.name,
            base_url=self._backend.base_url,
            sealed_at=self._session.clock.now(),
            models=tuple(models),
            jobs=tuple(jobs),
            files=tuple(files),
            not_read=tuple(self._not_read),
        )
        self._bundle.seal(found.model_dump(mode="json", exclude={"folder", "provider", "base_url"}))
        return found

    # --- models ---

    def _models(self) -> list[InventoryModel]:
        """Return the account's fine-tunes, the first to end first."""
        able = self._backend.capabilities
        self._on_progress("models")
        own: Mapping[str, str | None] = {}
        ends: Mapping[str, Any] = {}
        if able.lists_models:
            own = self._tried("the models", self._backend.account_models) or {}
        if able.reports_model_ends:
            ends = self._tried("the models' last days", self._backend.model_ends) or {}
        found = [InventoryModel(id=name, base_model=base, ends_on=ends.get(name)) for name, base in own.items()]  # fmt: skip
        found.sort(key=lambda one: (one.ends_on is None, one.ends_on or 0, one.id))
        self._bundle.write_json("models.json", [one.model_dump(mode="json") for one in found])
        return found

    def _tried(self, what: str, read: Callable[[], _T]) -> _T | None:
        """Return what `read` returns; where the provider refuses, note it and return None."""
        try:
            return read()
        except BackendError as error:
            self._not_read.append(f"{what}: {error.what}")
            return None

    # --- jobs ---

    def _job(self, remote: RemoteJob) -> InventoryJob:
        """Write the record of a job, and add it to the journal."""
        job_id, able = remote.provider_job_id, self._backend.capabilities
        parts: dict[str, Any] = {}
        reads: tuple[tuple[str, bool, Callable[[str], Sequence[Record]]], ...] = (
            ("events", able.has_events, self._backend.events),
            ("checkpoints", able.has_checkpoints, self._backend.checkpoints),
            ("metrics", able.has_metrics, self._backend.metrics),
        )
        for name, can, read in reads:
            if can:
                found = self._tried(f"{name} of {job_id}", functools.partial(read, job_id))
                parts[name] = found and [one.model_dump(mode="json") for one in found]
        record = f"jobs/{_file_name(job_id)}.json"
        self._bundle.write_json(record, {**remote.model_dump(mode="json"), **parts})
        adopted = self._tried(
            f"{job_id} again, to add it to the journal",
            lambda: adopt(self._session, self._backend.name, job_id),
        )
        return InventoryJob(
            provider_job_id=job_id,
            job_id=None if adopted is None else adopted.id,
            status=str(remote.status),
            model=remote.model,
            result_model=remote.result_model,
            created_at=remote.created_at,
            record=record,
        )

    # --- files ---

    def _file(self, file_id: str, role: FileRole, jobs: tuple[str, ...]) -> InventoryFile:
        """Fetch a file that is not in the bundle yet, and check its rows."""
        facts = InventoryFile(id=file_id, role=role, jobs=jobs)
        name = f"files/{_file_name(file_id)}{_SUFFIX[role]}"
        path = self._bundle.folder / name
        known = self._hashes.get(name)
        if not path.is_file() or (known is not None and not self._bundle.has(name, known)):
            try:
                self._bundle.write_blocks(name, self._backend.read_file(file_id))
            except BackendError as error:
                gone = isinstance(error, _GONE)
                return facts.model_copy(
                    update={"missing": "gone" if gone else "unavailable", "why": error.what}
                )
        facts = facts.model_copy(
            update={
                "path": name,
                "bytes": path.stat().st_size,
                "sha256": self._bundle.hash_of(name),
            }
        )
        if role == "result":
            return facts
        facts = facts.model_copy(update=self._checked(path))
        return facts.model_copy(update=self._with_tools(path)) if _OLD in facts.findings else facts

    def _checked(self, path: Path) -> dict[str, Any]:
        """Return the number of rows of a training file, and how many have each fault or notice."""
        from ftsdk.dataset.validation.validate import validate

        report = validate(path, provider=self._backend.name, tokens=False, near_duplicates=False)
        return {"rows": report.rows, "findings": dict(report.row_counts)}

    def _with_tools(self, path: Path) -> dict[str, Any]:
        """Write the rows with tools instead of functions beside the file; say what is left."""
        from ftsdk.dataset.validation.fix import fix

        name = f"files/{path.stem}.tools.jsonl"
        try:
            report = fix(path, self._bundle.folder / name)
        except DatasetError as error:
            return {"not_converted": (error.what,)}
        left = [f"line {one.line}, {one.field}: {one.done}" for one in report.refused]
        if len(left) > _MOST_NAMED:
            left[_MOST_NAMED:] = [f"and {len(left) - _MOST_NAMED:,} more places"]
        return {"converted": name, "not_converted": tuple(left)}


def _file_name(identity: str) -> str:
    """Return an id as the name of a file. Raises `StoreError` for one that would leave the folder."""
    if not _SAFE_ID.fullmatch(identity):
        raise StoreError(
            "The provider uses an id that cannot be the name of a file",
            where=f"id {identity[:60]!r}",
            hint="report it: no provider is known to use such ids",
        )
    return identity.replace(":", "-")
