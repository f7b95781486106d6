"""The first snapshot of a job: what is journaled before anything is sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.jobs.kept_rows import keep_dataset
from ftsdk.types.job import JobSnapshot
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.ids import client_token, new_job_id, submission_tag

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset


def new_snapshot(
    home: Path,
    spec: JobSpec,
    train: Dataset,
    validation: Dataset | None,
    *,
    key: str | None,
    profile: str | None,
    account: str | None,
    facts: Mapping[str, Any],
    now: dt.datetime,
) -> JobSnapshot:
    """Keep the rows of a new job in `home` and return its snapshot, with a new id, tag and token.

    `facts` are added to `dataset`. Raises `StoreError` when the rows cannot be kept.
    """
    validation_sha256 = None if validation is None else validation.sha256
    kept = keep_dataset(home, train)
    kept_validation = None if validation is None else keep_dataset(home, validation)
    job_id = new_job_id(now)
    return JobSnapshot(
        id=job_id,
        provider=spec.provider,
        account=account,
        status=JobStatus.CREATED,
        model=spec.model,
        method=spec.method,
        name=spec.name,
        profile=profile,
        key=key,
        tag=submission_tag(job_id),
        client_token=client_token(),
        fingerprint=spec.fingerprint(train.sha256, validation_sha256),
        tags=spec.tags,
        spec=spec.model_dump(mode="json"),
        dataset={
            "name": train.name,
            "rows": train.rows,
            "sha256": train.sha256,
            "kept": kept.name,
            "validation_rows": None if validation is None else validation.rows,
            "validation_kept": None if kept_validation is None else kept_validation.name,
            **facts,
        },
        created_at=now,
        updated_at=now,
    )
