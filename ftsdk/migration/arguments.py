"""What callers may give to a capture: the options by name, with defaults and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ftsdk.util.arguments import COUNT, FLAG, FUNCTION, MAPPING, PATH, TEXT, Check

if TYPE_CHECKING:
    from ftsdk.types.capture import CapturePlan, CaptureProgress, Rights


class CaptureArguments(TypedDict, total=False):
    """The options of `capture`."""

    provider: str | None
    """Whose model it is; `ft:…` is OpenAI's."""
    into: str | Path | None
    """The folder of the bundle, made or continued; by default in `FTSDK_HOME`."""
    repeats: int | None
    """How often the model answers each row; its base answers once."""
    base: bool | None
    """Ask the base model as well. True by default."""
    batch: bool | None
    """None uses batches where the provider has them for this model; True nothing else; False none."""
    traffic: bool | None
    """Fetch the chats that the account stored. True by default."""
    options: Mapping[str, Any] | None
    """Chat options of each request: `temperature` 0 and `max_tokens` 256 by default; None leaves one out."""
    budget: Decimal | str | float | None
    """The most that the capture may cost, in US dollars."""
    rights: Rights | str | None
    """Where the answers in the training file came from: `own`, `internal-classifier`,
    `cleared: REASON` or `unknown`."""
    training: str | Path | None
    """A training file to compare the rows with, beside those of the model's job."""
    concurrency: int | None
    """The most requests at once; fewer where the provider's rate limits say so. 8 by default."""
    recoverable: bool | None
    """Ask the provider to keep each answer, so that none is lost when this process is killed."""
    on_plan: Callable[[CapturePlan], None] | None
    """Called before anything is asked; it may raise."""
    on_progress: Callable[[CaptureProgress], None] | None


CAPTURE_DEFAULTS: Mapping[str, Any] = {
    "repeats": 1,
    "base": True,
    "traffic": True,
    "concurrency": 8,
    "recoverable": False,
}
CAPTURE_CHECKS: Mapping[str, Check] = {
    "provider": TEXT,
    "into": PATH,
    "repeats": COUNT,
    "base": FLAG,
    "batch": FLAG,
    "traffic": FLAG,
    "options": MAPPING,
    "training": PATH,
    "concurrency": COUNT,
    "recoverable": FLAG,
    "on_plan": FUNCTION,
    "on_progress": FUNCTION,
}
