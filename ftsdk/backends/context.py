"""What a backend is constructed with, and what it gets to create a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.resident import ResidentLimits
from ftsdk.config import Environment
from ftsdk.types.spec import JobSpec
from ftsdk.util.clock import Clock, SystemClock

if TYPE_CHECKING:
    from ftsdk.dataset import Dataset


@dataclass(frozen=True)
class Context:
    """What a backend is constructed with.

    `options` is the provider's table of the configuration, `env` the environment (keys are read
    from it at each call), `base_url` the configured address, if any. `key_variable` is the variable to
    read the key from instead of the usual ones, `account` a name that the configuration gives to the
    account, whatever its key is. Where `accounts` is not empty, calls may only be made
    for one of these accounts: see `Backend.require_account`. With `resident` a backend that answers on
    this machine keeps its models loaded in processes of their own, for many chats at once.
    """

    home: Path
    clock: Clock = field(default_factory=SystemClock)
    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None
    key_variable: str | None = None
    account: str | None = None
    accounts: frozenset[str] = frozenset()
    resident: ResidentLimits | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "env", Environment(self.env))


@dataclass(frozen=True)
class SubmitRequest:
    """One job to create.

    `tag` goes into the create call, so that `find` can recognise the job; `client_token` is for
    providers that take an idempotency token.
    """

    job_id: str
    tag: str
    client_token: str
    spec: JobSpec
    train: Dataset
    validation: Dataset | None = None
