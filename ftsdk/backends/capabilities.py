"""The record of what a backend can do, readable without a key or a network."""

from __future__ import annotations

import datetime as dt
import re
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
class PaceRefusal:
    """How a provider refuses a create call because calls come too fast, before it accepts the job.

    Such a refusal creates nothing, so the call is sent again later. It counts only whole and in the
    provider's own error format: a JSON object whose `text_at` (a path of names) is a text, and where
    one of the fields at `named_at` matches `pattern`. `out_of_credit` matches those after which
    waiting does not help. `source` says where this is documented, and the day it was read.
    """

    statuses: frozenset[int]
    text_at: tuple[str, ...]
    named_at: tuple[tuple[str, ...], ...]
    pattern: str
    source: str
    out_of_credit: str | None = None

    def describes(self, status: int, body: Any) -> bool:
        """Return whether a reply with this status and JSON body is such a refusal."""
        if status not in self.statuses or not isinstance(_at(body, self.text_at), str):
            return False
        return self._names(body, self.pattern) or self.is_out_of_credit(body)

    def is_out_of_credit(self, body: Any) -> bool:
        """Return whether the refusal is for missing credit, so that waiting does not help."""
        return self.out_of_credit is not None and self._names(body, self.out_of_credit)

    def _names(self, body: Any, pattern: str) -> bool:
        found = (_at(body, path) for path in self.named_at)
        return any(isinstance(text, str) and re.search(pattern, text) for text in found)


def _at(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


OPENAI_ENVELOPE = (("error", "code"), ("error", "type"))
"""Where OpenAI's error format names the kind of an error."""


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
    """Training methods: `sft`, `dpo`, `kto`, `orpo`."""
    adapters: frozenset[str]
    """Kinds of training: `lora`, `nf4` (QLoRA), `full`."""
    formats: frozenset[str]
    """Row formats: `chat`, `preference`, `text`, `tokens`."""
    formats_by_method: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The row formats of each method; empty where it is not declared. `kto` takes chat rows that have
    a label."""
    adapter_settings: frozenset[str] = frozenset()
    """The settings of a LoRA beyond rank, alpha, dropout and target modules: `use_dora`, …"""
    hyperparameters: Mapping[str, Range] = field(default_factory=dict)
    """Every hyperparameter it accepts, with its range. Any other is refused before anything is
    sent."""
    instead: Mapping[str, str] = field(default_factory=dict)
    """For a hyperparameter that is refused: what the provider offers in its place."""
    find_by: FindBy = FindBy.NONE
    resend_is_safe: bool = False
    """Whether the same create call, sent twice, makes one job."""
    pace_refusal: PaceRefusal | None = None
    """How it refuses a create call for pace before it accepts the job; None where that is not
    documented. Then such a reply leaves the job in doubt."""
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
    json_mode: bool = False
    """Whether a chat takes `response_format`, and then answers in JSON."""
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
