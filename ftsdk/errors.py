"""All errors that ftsdk raises.

```
FtsdkError
├─ UsageError      ConfigError · WrongAccount · UnknownBackend · UnknownModel · UnknownJob · Unsupported · SpecError · MissingExtra
├─ DatasetError    carries the whole report
├─ BackendError    AuthError · RateLimited · NotFound · Rejected · Unavailable · UnexpectedResponse · ProviderClosed
├─ JobError        JobFailed · JobCancelled · NotReady · NeedsDecision · WaitTimeout
├─ BudgetError     over the limit, or the price is unknown
└─ StoreError      JournalLocked · JournalTooNew · JournalDamaged
```

Each error has `what` happened, `where`, and a `hint` on how to fix it. `retryable` says whether trying
again may help. Errors of a submission also have the `job_id` and whether the provider may have
received it (`submitted`). `str(error)` has three lines; the first makes sense alone.

To add an error, derive it from the branch that fits, and give it a stable `code`. All arguments but
`what` must be keyword-only with a default, so that it can be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

__all__ = [
    "AuthError",
    "BackendError",
    "BudgetError",
    "ConfigError",
    "DatasetError",
    "FtsdkError",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "JournalDamaged",
    "JournalLocked",
    "JournalTooNew",
    "MissingExtra",
    "NeedsDecision",
    "NotFound",
    "NotReady",
    "ProviderClosed",
    "RateLimited",
    "Rejected",
    "SpecError",
    "StoreError",
    "Submitted",
    "Unavailable",
    "UnexpectedResponse",
    "UnknownBackend",
    "UnknownJob",
    "UnknownModel",
    "Unsupported",
    "UsageError",
    "WaitTimeout",
    "WrongAccount",
]

Submitted = Literal["no", "maybe", "yes"]
"""Whether a paid request may have reached the provider."""


class FtsdkError(Exception):
    """The base class. `what` is one sentence, `where` the place, `hint` what to do next.

    Errors of a submission also have the job's id (`job_id`), its tag at the provider (`tag`) and
    whether it may have been sent (`submitted`).
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    retryable: bool = False

    def __init__(
        self,
        what: str = "",
        *,
        where: str = "",
        hint: str = "",
        retryable: bool | None = None,
        submitted: Submitted | None = None,
        job_id: str | None = None,
        tag: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        if retryable is not None:
            self.retryable = retryable
        self.submitted = submitted
        self.job_id = job_id
        self.tag = tag
        for name, value in facts.items():
            setattr(self, name, value)
        self._facts = dict(facts)

    def __str__(self) -> str:
        lines = [self.what]
        where = self.where
        if self.job_id and self.job_id not in where:
            where = f"{where}, job {self.job_id}" if where else f"job {self.job_id}"
        if self.submitted:
            sent = {
                "no": "nothing was submitted",
                "maybe": "it may have been submitted",
                "yes": "it was submitted",
            }[self.submitted]
            where = f"{where}; {sent}" if where else sent
        if where:
            lines.append(f"  where  {where}")
        if self.hint:
            lines.append(f"  hint   {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the error as the command line prints it with `--json`."""
        return {
            "code": self.code,
            "what": self.what,
            "where": self.where,
            "hint": self.hint,
            "retryable": self.retryable,
            "submitted": self.submitted,
            "job_id": self.job_id,
            "tag": self.tag,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        state: Mapping[str, Any] = {
            "where": self.where,
            "hint": self.hint,
            "retryable": self.retryable,
            "submitted": self.submitted,
            "job_id": self.job_id,
            "tag": self.tag,
            **self._facts,
        }
        return (_rebuild, (type(self), self.what, state))


def _rebuild(cls: type[FtsdkError], what: str, state: Mapping[str, Any]) -> FtsdkError:
    if "mend" in state:  # pickled by an older version
        state = {"hint" if name == "mend" else name: value for name, value in state.items()}
    return cls(what, **state)


# --- the caller can fix these in code or configuration ---------------------------------------


class UsageError(FtsdkError, ValueError):
    """The call itself is wrong; nothing was sent."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A setting is missing or invalid; `where` lists the places that were searched, in order."""

    code = "config"


class WrongAccount(UsageError):
    """The key in use is of another account than the job's; nothing was sent."""

    code = "wrong_account"


class UnknownBackend(UsageError):
    """No backend has this name."""

    code = "unknown_backend"


class UnknownModel(UsageError):
    """No model has this name at the provider."""

    code = "unknown_model"


class UnknownJob(UsageError, LookupError):
    """No job in the journal has this id, or several match it."""

    code = "unknown_job"


class Unsupported(UsageError):
    """The backend does not support what was requested; nothing was sent."""

    code = "unsupported"


class SpecError(UsageError):
    """A field of the job is out of range or conflicts with another; `faults` lists all problems."""

    code = "spec"


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed; `hint` is the exact command."""

    code = "missing_extra"


# --- data ------------------------------------------------------------------------------------


class DatasetError(FtsdkError, ValueError):
    """The dataset has faults; `report` lists all of them."""

    code = "dataset"
    exit_code = 3
    report: Any = None


# --- the provider's side ---------------------------------------------------------------------


class BackendError(FtsdkError):
    """A request to the provider failed."""

    code = "backend"
    exit_code = 4
    status_code: int | None = None
    request_id: str | None = None
    retry_after_s: float | None = None


class AuthError(BackendError):
    """The API key is missing, invalid, or lacks permission."""

    code = "auth"


class RateLimited(BackendError):
    """Too many requests; `retry_after_s` is set if the provider gives it."""

    code = "rate_limited"
    retryable = True


class NotFound(BackendError, LookupError):
    """The provider has nothing with this id."""

    code = "not_found"


class Rejected(BackendError):
    """The provider refused the request."""

    code = "rejected"


class Unavailable(BackendError):
    """No usable response: a connection error, a timeout, or a server error.

    `reached` is False where the request provably did not arrive, so that nothing is billed for it.
    """

    code = "unavailable"
    retryable = True
    reached: bool = True


class UnexpectedResponse(BackendError):
    """The response does not have the documented form."""

    code = "unexpected_response"


class ProviderClosed(BackendError):
    """The provider takes no new jobs, or none from this account."""

    code = "provider_closed"


# --- one job ---------------------------------------------------------------------------------


class JobError(FtsdkError):
    """An error of one job; `job_id` is its id in ftsdk."""

    code = "job"
    exit_code = 5


class JobFailed(JobError):
    """The job failed; `log_tail` has the last lines of its log, if there is one."""

    code = "job_failed"
    log_tail: tuple[str, ...] = ()


class JobCancelled(JobError):
    """The job was cancelled, so there is no result."""

    code = "job_cancelled"


class NotReady(JobError):
    """The job has no result yet."""

    code = "not_ready"
    retryable = True


class NeedsDecision(JobError):
    """The job cannot continue by itself; `hint` has the commands that decide."""

    code = "needs_decision"
    exit_code = 7


class WaitTimeout(JobError, TimeoutError):
    """The timeout ended before the job did; the job continues."""

    code = "wait_timeout"
    retryable = True


# --- spending -----------------------------------------------------------------------------------


class BudgetError(FtsdkError):
    """The job may cost more than allowed, or its price is unknown while a limit is set."""

    code = "budget"
    exit_code = 6


# --- the journal -----------------------------------------------------------------------------


class StoreError(FtsdkError):
    """The journal on this machine cannot be used."""

    code = "store"
    exit_code = 2


class JournalLocked(StoreError):
    """Another process locked the journal for longer than the busy timeout."""

    code = "journal_locked"
    retryable = True


class JournalTooNew(StoreError):
    """The journal was written by a newer ftsdk."""

    code = "journal_too_new"


class JournalDamaged(StoreError):
    """The journal file is damaged."""

    code = "journal_damaged"
