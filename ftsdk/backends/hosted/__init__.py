"""What every hosted backend stands on: keys, redaction, mapped errors, retried reads, uploads once."""

from __future__ import annotations

from ftsdk.backends.hosted.api_keys import BoundKey, bind_key, checked_base_url, origin_of
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.error_facts import HTTPFacts
from ftsdk.backends.hosted.errors import attempt, error_for_status
from ftsdk.backends.hosted.key_trust import Place, Service
from ftsdk.backends.hosted.polling import looks
from ftsdk.backends.hosted.redact import guard_logs, mask_known, refuse_secrets, remember, scrub
from ftsdk.backends.hosted.response_checks import (
    checked_id,
    json_object,
    nothing_sent,
    spend_limit,
    unexpected,
)
from ftsdk.backends.hosted.retries import PROCESS_BUDGET, Reads, RetryBudget
from ftsdk.backends.hosted.transport import HostedWire
from ftsdk.backends.hosted.uploads import Uploads, aside, rows_file

__all__ = [
    "PROCESS_BUDGET",
    "BoundKey",
    "HTTPFacts",
    "HostedBackend",
    "HostedWire",
    "Place",
    "Reads",
    "RetryBudget",
    "Service",
    "Uploads",
    "aside",
    "attempt",
    "bind_key",
    "checked_base_url",
    "checked_id",
    "error_for_status",
    "guard_logs",
    "json_object",
    "looks",
    "mask_known",
    "nothing_sent",
    "origin_of",
    "refuse_secrets",
    "remember",
    "rows_file",
    "scrub",
    "spend_limit",
    "unexpected",
]
