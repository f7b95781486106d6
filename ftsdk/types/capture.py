"""What was captured of a model, and the right to use it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field

from ftsdk.errors import Submitted, UsageError
from ftsdk.types.cost import Cost
from ftsdk.types.record import Record

__all__ = ["Capture", "CapturePlan", "CaptureProgress", "OverlapRow", "Rights"]

Origin = Literal["own", "internal-classifier", "cleared", "unknown"]


class Rights(Record):
    """Where the answers in the training file came from, as the user says.

    `own`: written by people, or by a model whose terms allow it. `internal-classifier`: made by the
    provider's models, for a classifier that is not distributed. `cleared`: somebody has cleared it, and
    `reason` says how. `unknown`: nobody has said.
    """

    origin: Origin = "unknown"
    reason: str = ""

    @property
    def allow_training_on_answers(self) -> bool:
        """Whether captured answers may be trained on."""
        return self.origin in ("internal-classifier", "cleared")

    def require_training(self, where: object, *, submitted: Submitted | None = None) -> None:
        """Raise `UsageError` where the answers captured at `where` may not be trained on."""
        if not self.allow_training_on_answers:
            raise UsageError(
                "Training on captured answers needs a cleared right",
                where=f"{where}: the rights of this capture are {self.origin}",
                hint="the provider's terms may forbid it; if it is cleared: "
                "ftsdk capture MODEL --rights 'cleared: REASON'",
                submitted=submitted,
            )


class OverlapRow(Record):
    """A row that is not asked, since it is in the training file; lines start at 1."""

    line: int
    training_file: str
    training_line: int
    likeness: str


class CapturePlan(Record):
    """What a capture would do, before anything is asked.

    `to_ask` counts requests, `stored` answers that are there already and cost nothing, `traffic` chats
    that the account had stored. `cost` is for what is still to be asked; `via` is `batch` or `chat`.
    `checked_against` names the training files that the rows were compared with.
    """

    provider: str
    model: str
    base_model: str | None = None
    rows: int
    repeats: int
    refused: tuple[OverlapRow, ...] = ()
    checked_against: tuple[str, ...] = ()
    traffic: int = 0
    stored: int = 0
    to_ask: int = 0
    via: Literal["batch", "chat"] = "chat"
    cost: Cost = Field(default_factory=Cost)
    ends_on: dt.date | None = None
    notes: tuple[str, ...] = ()


class CaptureProgress(Record):
    """How far a capture is: answers there and wanted, what was spent, and what is going on."""

    done: int
    total: int
    spent_usd: Decimal
    text: str = ""


class Capture(Record):
    """The answers of a model in the sealed bundle `folder`, for evaluation.

    `counts` has for `tuned` and `base` the number of answers of each kind (`answered`, `cut_off`,
    `refused`, `error`). `agreement` is how often the model gave the same answer when it was asked the
    same question again, from 0 to 1. `findings` counts rows with secrets and personal data, by code.
    """

    folder: Path
    provider: str
    base_url: str | None = None
    model: str
    base_model: str | None = None
    sealed_at: dt.datetime
    rows: int
    repeats: int
    decoding: Mapping[str, object] = Field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = Field(default_factory=dict)
    answered_by: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    traffic: int = 0
    agreement: float | None = None
    spent_usd: Decimal | None = None
    refused: tuple[OverlapRow, ...] = ()
    checked_against: tuple[str, ...] = ()
    findings: Mapping[str, int] = Field(default_factory=dict)
    rights: Rights = Field(default_factory=Rights)
    errors: Mapping[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every request has its answer."""
        return not self.errors
