"""A job as its provider reports it (`RemoteJob`), and as the journal stores it (`JobSnapshot`).

Both are frozen and round-trip through JSON and pickle. The provider's own status is kept in
`raw_status`, and fields unknown to ftsdk in `raw`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ftsdk.types.cost import Cost
from ftsdk.types.events import Progress
from ftsdk.types.record import Record
from ftsdk.types.status import JobStatus

__all__ = ["FileRole", "JobSnapshot", "RemoteJob"]

FileRole = Literal["training", "validation", "result"]
"""What a file is to a job."""


def _with_hint(error: Any) -> Any:
    """Read an error stored by an older version, in which `hint` was called `mend`."""
    if isinstance(error, Mapping) and "mend" in error:
        renamed = {"hint" if name == "mend" else name: value for name, value in error.items()}
        return {**renamed, "hint": error.get("hint") or error["mend"]}
    return error


StoredError = Annotated[Mapping[str, Any], BeforeValidator(_with_hint)]
"""Why a job failed: `message`, `hint`, and facts such as `kind` or `log_tail`."""


class RemoteJob(Record):
    """A job as its provider reports it, in ftsdk's terms.

    `provider_job_id` is its current id; `earlier_ids` are those it had before the provider restarted
    it under a new one, oldest first. `raw` is the provider's own response.
    """

    provider_job_id: str
    earlier_ids: tuple[str, ...] = ()
    status: JobStatus
    raw_status: str = ""
    model: str | None = None
    tag: str | None = None
    message: str = ""
    error: StoredError | None = None
    progress: Progress | None = None
    created_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    trained_tokens: int | None = None
    result_model: str | None = None
    cost: Cost | None = None
    raw: Mapping[str, Any] = Field(default_factory=dict)


class JobSnapshot(Record):
    """Everything that the journal knows about a job at one moment.

    `started_at` is when it began to run, as the provider reports it; None if it reports none.
    `provider_job_id` is the provider's current id; `earlier_ids` are those it had before it was
    restarted there, oldest first. `account` is the account at the provider that has the job, see
    `ftsdk.types.account`; None where there is only one, or where it was not recorded. `result_model` is
    the provider's name of the trained model.
    """

    id: str
    provider: str
    account: str | None = None
    provider_job_id: str | None = None
    earlier_ids: tuple[str, ...] = ()
    status: JobStatus
    raw_status: str = ""
    model: str
    method: str = "sft"
    name: str | None = None
    profile: str | None = None
    key: str | None = None
    tag: str
    client_token: str
    fingerprint: str
    tags: Mapping[str, str] = Field(default_factory=dict)
    spec: Mapping[str, Any] = Field(default_factory=dict)
    dataset: Mapping[str, Any] = Field(default_factory=dict)
    message: str = ""
    error: StoredError | None = None
    progress: Progress | None = None
    cost: Cost = Field(default_factory=Cost)
    trained_tokens: int | None = None
    result_model: str | None = None
    created_at: dt.datetime
    submitted_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    updated_at: dt.datetime

    @property
    def first_provider_id(self) -> str | None:
        """The provider's first id for the job; its events start there."""
        return self.earlier_ids[0] if self.earlier_ids else self.provider_job_id

    @property
    def was_refused(self) -> bool:
        """True when the job failed and provably nothing was sent."""
        unsent = self.submitted_at is None and self.provider_job_id is None
        return self.status is JobStatus.FAILED and unsent

    @property
    def is_accepted(self) -> bool:
        """True when the provider has the job, or had it."""
        return self.status.is_remote and self.provider_job_id is not None
