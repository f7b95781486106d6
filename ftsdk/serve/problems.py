"""Errors as OpenAI's API reports them, so that its clients raise what they always raise."""

from __future__ import annotations

from typing import Any

from ftsdk.backends.hosted.redact import mask_text
from ftsdk.errors import (
    AuthError,
    BackendError,
    BudgetError,
    DatasetError,
    FtsdkError,
    JobError,
    MissingExtra,
    NotFound,
    RateLimited,
    Rejected,
    StoreError,
    Unavailable,
    UnknownJob,
    UnknownModel,
    UsageError,
)

_STATUS: tuple[tuple[type[FtsdkError], int, str], ...] = (
    # The first that fits decides.
    (UnknownModel, 404, "model_not_found"),
    (UnknownJob, 404, "not_found"),
    (NotFound, 404, "not_found"),
    (DatasetError, 400, "invalid_training_file"),
    (BudgetError, 402, "budget_exceeded"),
    (MissingExtra, 501, "not_installed"),
    (UsageError, 400, "invalid_request"),
    (JobError, 409, "not_ready"),
    (RateLimited, 429, "rate_limit_exceeded"),
    (AuthError, 502, "provider_refused_key"),
    (Rejected, 400, "provider_rejected"),
    (Unavailable, 503, "provider_unavailable"),
    (BackendError, 502, "provider_error"),
    (StoreError, 507, "store_error"),
)
_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}


class Problem(Exception):
    """A request that is answered with an error. `param` names the field that is at fault."""

    def __init__(
        self, status: int, message: str, *, code: str = "invalid_request", param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:  # fmt: skip
        message = mask_text(message)
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s = retry_after_s

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = _TYPES.get(
            self.status, "invalid_request_error" if self.status < 500 else "server_error"
        )
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}


def problem_of(error: FtsdkError) -> Problem:
    """The answer to a request that ended in one of our errors; its hint is part of the message."""
    status, code = next(
        ((status, code) for kind, status, code in _STATUS if isinstance(error, kind)),
        (500, error.code),
    )
    parts = [error.what, error.where and f"({error.where})", error.hint and f"hint: {error.hint}"]
    message = " ".join(part for part in parts if part)
    if error.job_id:
        message += f" [job {error.job_id}]"
    wait = getattr(error, "retry_after", None)
    retry_after_s = int(wait) + 1 if isinstance(wait, int | float) and status == 429 else None
    return Problem(status, message, code=code, retry_after_s=retry_after_s)
