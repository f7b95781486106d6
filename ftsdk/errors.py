"""Every error that ftsdk raises, as one tree.

```
FtsdkError
├─ UsageError      ConfigError · UnknownBackend · UnknownModel · UnknownJob · Unsupported · SpecError · MissingExtra
├─ DatasetError    carries the whole report
├─ BackendError    AuthError · RateLimited · NotFound · Rejected · Unavailable · UnexpectedResponse · ProviderClosed
├─ JobError        JobFailed · JobCancelled · NotReady · NeedsDecision · WaitTimeout
├─ BudgetError     over the limit, or the price is unknown
└─ StoreError      JournalLocked · JournalTooNew · JournalDamaged
```

Each error knows *what* happened, *where*, how to *hint* it, whether asking again may help
(`retryable`), and, where a submission was under way, whether the provider may have got it
(`submitted`) and our own `job_id`. `str(error)` is three plain lines; the first makes sense alone.

To add one: derive from the branch that says who can mend it, give `code` a stable word, and let
every argument be keyword-only with a default, so that it pickles.
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
]

Submitted = Literal["no", "maybe", "yes"]
"""Whether a paid request may have reached the provider."""


class FtsdkError(Exception):
    """The root. `what` is one sentence, `where` the place, `hint` the next thing to do.

    What a submit raises also names our job (`job_id`), the mark it carries at the provider (`tag`)
    and whether it may have been sent (`submitted`).
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
            told = {
                "no": "nothing was submitted",
                "maybe": "it may have been submitted",
                "yes": "it was submitted",
            }[self.submitted]
            where = f"{where}; {told}" if where else told
        if where:
            lines.append(f"  where  {where}")
        if self.hint:
            lines.append(f"  hint   {self.hint}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The error as the command line prints it with `--json`."""
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
    if "mend" in state:  # pickled when the hint was called so
        state = {"hint" if name == "mend" else name: value for name, value in state.items()}
    return cls(what, **state)


# --- what the caller can mend in their own code or configuration -----------------------------


class UsageError(FtsdkError, ValueError):
    """The call itself is wrong; nothing was sent."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A setting is missing or wrong; `where` lists every place that was looked at, in order."""

    code = "config"


class UnknownBackend(UsageError):
    """No backend has this name."""

    code = "unknown_backend"


class UnknownModel(UsageError):
    """No model has this name here."""

    code = "unknown_model"


class UnknownJob(UsageError, LookupError):
    """No job, or more than one, has this id in the journal."""

    code = "unknown_job"


class Unsupported(UsageError):
    """This backend cannot take what was asked; refused by name before anything is sent."""

    code = "unsupported"


class SpecError(UsageError):
    """A field of the job is out of range or contradicts another; `faults` lists all of them."""

    code = "spec"


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed; `hint` is the exact command."""

    code = "missing_extra"


# --- data ------------------------------------------------------------------------------------


class DatasetError(FtsdkError, ValueError):
    """The dataset has faults; `report` holds every one of them."""

    code = "dataset"
    exit_code = 3
    report: Any = None


# --- the provider's side ---------------------------------------------------------------------


class BackendError(FtsdkError):
    """The provider, or the way to it, did not do what was asked."""

    code = "backend"
    exit_code = 4
    status_code: int | None = None
    request_id: str | None = None
    retry_after_s: float | None = None


class AuthError(BackendError):
    """The key is missing, wrong, or lacks the right."""

    code = "auth"


class RateLimited(BackendError):
    """Too many requests for now; `retry_after_s` when the provider said it."""

    code = "rate_limited"
    retryable = True


class NotFound(BackendError, LookupError):
    """The provider does not know this id."""

    code = "not_found"


class Rejected(BackendError):
    """The provider understood and refused."""

    code = "rejected"


class Unavailable(BackendError):
    """No usable answer: connection, timeout, or a fault on the provider's side."""

    code = "unavailable"
    retryable = True


class UnexpectedResponse(BackendError):
    """An answer that does not have the documented shape."""

    code = "unexpected_response"


class ProviderClosed(BackendError):
    """The provider takes no new jobs (any more, or from this account)."""

    code = "provider_closed"


# --- one job ---------------------------------------------------------------------------------


class JobError(FtsdkError):
    """About one job; `job_id` is ours."""

    code = "job"
    exit_code = 5


class JobFailed(JobError):
    """The job ended in failure; `log_tail` holds its last lines where there is a log."""

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
    """The job cannot go on by itself; `hint` names the commands that decide."""

    code = "needs_decision"
    exit_code = 7


class WaitTimeout(JobError, TimeoutError):
    """The wait ended before the job did; the job goes on."""

    code = "wait_timeout"
    retryable = True


# --- money -----------------------------------------------------------------------------------


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
    """Another process held the journal for longer than the busy timeout."""

    code = "journal_locked"
    retryable = True


class JournalTooNew(StoreError):
    """The journal was written by a newer ftsdk."""

    code = "journal_too_new"


class JournalDamaged(StoreError):
    """The journal file is not a sound database."""

    code = "journal_damaged"
