"""What every hosted backend stands on: keys, redaction, mapped errors, retried reads, uploads once."""

from __future__ import annotations

from ftsdk.backends.hosted.facts import HTTPFacts
from ftsdk.backends.hosted.keys import BoundKey, bind_key, checked_base_url, origin_of
from ftsdk.backends.hosted.mapping import attempt, error_for_status
from ftsdk.backends.hosted.reads import PROCESS_BUDGET, Reads, RetryBudget
from ftsdk.backends.hosted.redact import guard_logs, mask_known, refuse_secrets, remember, scrub
from ftsdk.backends.hosted.uploads import Uploads

__all__ = [
    "PROCESS_BUDGET",
    "BoundKey",
    "HTTPFacts",
    "Reads",
    "RetryBudget",
    "Uploads",
    "attempt",
    "bind_key",
    "checked_base_url",
    "error_for_status",
    "guard_logs",
    "mask_known",
    "origin_of",
    "refuse_secrets",
    "remember",
    "scrub",
]
