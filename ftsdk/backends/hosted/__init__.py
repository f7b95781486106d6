"""What hosted backends share: keys, redaction, mapped errors, retried reads, uploads."""

from __future__ import annotations

from ftsdk.backends.hosted.account import account_of_key
from ftsdk.backends.hosted.api_keys import BoundKey, bind_key, checked_base_url, origin_of
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.error_facts import HTTPFacts
from ftsdk.backends.hosted.errors import attempt, error_for_status
from ftsdk.backends.hosted.key_trust import Address, Service
from ftsdk.backends.hosted.polling import poll
from ftsdk.backends.hosted.redact import (
    guard_logs,
    mask_known,
    mask_text,
    refuse_secrets,
    remember,
    scrub,
)
from ftsdk.backends.hosted.response_checks import (
    checked_id,
    json_object,
    nothing_sent,
    refuse_stream,
    spend_limit_error,
    unexpected_response,
)
from ftsdk.backends.hosted.retries import PROCESS_BUDGET, Retries, RetryBudget
from ftsdk.backends.hosted.transport import HostedTransport
from ftsdk.backends.hosted.uploads import Uploads, rows_file, temporary_folder

__all__ = [
    "PROCESS_BUDGET",
    "Address",
    "BoundKey",
    "HTTPFacts",
    "HostedBackend",
    "HostedTransport",
    "Retries",
    "RetryBudget",
    "Service",
    "Uploads",
    "account_of_key",
    "attempt",
    "bind_key",
    "checked_base_url",
    "checked_id",
    "error_for_status",
    "guard_logs",
    "json_object",
    "mask_known",
    "mask_text",
    "nothing_sent",
    "origin_of",
    "poll",
    "refuse_secrets",
    "refuse_stream",
    "remember",
    "rows_file",
    "scrub",
    "spend_limit_error",
    "temporary_folder",
    "unexpected_response",
]
