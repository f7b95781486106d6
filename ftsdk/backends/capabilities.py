"""The record of what a backend can do, readable without a key or a network."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class FindBy(StrEnum):
    """How a job is found again after a create call whose reply was lost."""

    TOKEN = "token"  # noqa: S105  # the provider takes an idempotency token: sending again is safe
    METADATA = "metadata"
    SUFFIX = "suffix"
    INPUT = "input"
    RUN_DIRECTORY = "run_directory"
    NONE = "none"


@dataclass(frozen=True)
class Range:
    """The values a hyperparameter accepts.

    None leaves a side open. `default` is what the provider uses when the hyperparameter is not
    given, `sent_as` the name of the field in the create call, `source` where the range is documented.
    """

    low: float | None = None
    high: float | None = None
    default: Any = None
    choices: tuple[Any, ...] | None = None
    sent_as: str | None = None
    source: str = ""

    def fault(self, value: Any) -> str | None:
        """Return what `value` would have to be ("at least 1"), or None when it is in range."""
        if self.choices is not None:
            return None if value in self.choices else f"one of {', '.join(map(str, self.choices))}"
        if self.low is not None and value < self.low:
            return f"at least {self.low:g}"
        if self.high is not None and value > self.high:
            return f"at most {self.high:g}"
        return None


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do. It is set on the class.

    Each flag that names a method (`can_pause`, `has_events`, `lists_models`, ...) is True exactly
    where the backend implements that method; elsewhere the method raises `Unsupported`.
    """

    methods: frozenset[str]
    """Training methods: `sft`, `dpo`."""
    adapters: frozenset[str]
    """Kinds of training: `lora`, `nf4` (QLoRA), `full`."""
    formats: frozenset[str]
    """Row formats: `chat`, `preference`, `text`, `tokens`."""
    hyperparameters: Mapping[str, Range] = field(default_factory=dict)
    """Every hyperparameter it accepts, with its range. Any other is refused before anything is
    sent."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """For a hyperparameter that is refused: what the provider offers in its place."""
    find_by: FindBy = FindBy.NONE
    resend_is_safe: bool = False
    """Whether the same create call, sent twice, makes one job."""
    can_cancel: bool = False
    can_pause: bool = False
    can_resume: bool = False
    resumes_ended: bool = False
    """Whether `resume` also continues a job that failed or was cancelled."""
    can_delete: bool = False
    can_deploy: bool = False
    can_download: bool = False
    can_chat: bool = False
    can_chat_many: bool = False
    can_batch: bool = False
    can_read_files: bool = False
    has_stored_chats: bool = False
    has_events: bool = False
    has_metrics: bool = False
    has_checkpoints: bool = False
    has_logs: bool = False
    lists_models: bool = False
    reports_model_ends: bool = False
    takes_seed: bool = True
    takes_validation: bool = True
    price: Literal["free", "catalogue", "quote", "unknown"] = "unknown"
    poll_s: float = 10.0
    """Seconds between two reads of a running job."""
    min_rows: int = 1
    max_rows: int | None = None
    max_file_bytes: int | None = None
    closed_to_new_accounts_on: dt.date | None = None
    no_new_jobs_from: dt.date | None = None
    key_variables: tuple[str, ...] = ()
    """Environment variables that may hold the API key, in the order in which they are read."""
    extra: str | None = None
    """The extra of ftsdk that installs the provider's SDK."""
    packages: tuple[str, ...] = ()
    """The distributions that this extra installs."""
    default_models: tuple[str, ...] = ()
    """Models to compare prices with where the catalogue lists none."""
    is_rehearsal: bool = False
    """Whether nothing is trained here, so that it is left out of comparisons."""
    note: str = ""
    unconfirmed: Mapping[str, str] = field(default_factory=dict)
    """Claims of this record that no source states firmly, or that much rests on and that were not seen
    on an account: the claim, and what is not known. `ftsdk doctor --live` looks for each in the
    provider's own answers."""
