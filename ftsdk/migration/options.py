"""How to capture, as the caller has chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from ftsdk.errors import UsageError
from ftsdk.evaluation.options import usd_of
from ftsdk.migration.arguments import CAPTURE_DEFAULTS, CaptureArguments
from ftsdk.types.capture import CaptureProgress, Origin, Rights

ORIGINS: tuple[str, ...] = get_args(Origin)

OnProgress = Callable[[CaptureProgress], None]


@dataclass(frozen=True)
class CaptureOptions:
    """How to capture.

    `repeats` is how often the model answers each case; its base answers once. `options` are chat
    options for each request; `temperature` 0 and `max_tokens` 256 unless they are given. `batch`
    is None to use batches where they are worth it, True for batches only, False for none. `budget`
    is the most that this capture may cost in US dollars. `training` names a training file to compare
    with, beside those that are found. With `recoverable` the provider is asked to keep each answer,
    so that one that was under way when the process was killed can be fetched.
    """

    repeats: int = 1
    base: bool = True
    batch: bool | None = None
    traffic: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: Decimal | None = None
    rights: Rights | None = None
    training: str | Path | None = None
    concurrency: int = 8
    recoverable: bool = False


def options_of(given: CaptureArguments) -> CaptureOptions:
    """Return the options of a capture. Raises `UsageError` for an amount or rights that are none."""
    all_of: dict[str, Any] = {
        **CAPTURE_DEFAULTS,
        **{k: v for k, v in given.items() if v is not None},
    }
    rights = all_of.get("rights")
    return CaptureOptions(
        repeats=all_of["repeats"],
        base=all_of["base"],
        batch=all_of.get("batch"),
        traffic=all_of["traffic"],
        options=dict(all_of.get("options") or {}),
        budget=usd_of(all_of.get("budget"), "capture"),
        rights=None if rights is None else rights_of(rights),
        training=all_of.get("training"),
        concurrency=all_of["concurrency"],
        recoverable=all_of["recoverable"],
    )


def rights_of(value: Rights | str) -> Rights:
    """Return rights from `own`, `internal-classifier`, `unknown`, or `cleared: REASON`."""
    if isinstance(value, Rights):
        return value
    origin, _, reason = (part.strip() for part in value.partition(":"))
    if origin not in ORIGINS or (origin == "cleared") != bool(reason):
        raise UsageError(
            f"The rights are given as {value!r}",
            where="rights",
            hint="own, internal-classifier, unknown, or 'cleared: REASON'",
        )
    return Rights.model_validate({"origin": origin, "reason": reason})
