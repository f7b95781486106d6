"""What the checks get: a way to construct the backend, rows, time, and the requests that arrived."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ftsdk.backends.base import Backend, SubmitRequest
from ftsdk.dataset import Dataset
from ftsdk.errors import FtsdkError
from ftsdk.testing.lab import Behaviour, Double
from ftsdk.types.job import RemoteJob
from ftsdk.types.spec import JobSpec, LoRA
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock, SystemClock
from ftsdk.util.ids import client_token, new_job_id, submission_tag

_PATIENCE_S = 600.0


def chat_rows(count: int = 16) -> list[dict[str, Any]]:
    """Return rows that every provider accepts, each question with an answer of its own."""
    return [
        {
            "messages": [
                {"role": "user", "content": f"What does ticket number {number} ask for?"},
                {"role": "assistant", "content": f"Ticket {number} asks for a refund."},
            ]
        }
        for number in range(count)
    ]


def pair_rows(count: int = 16) -> list[dict[str, Any]]:
    """Return rows of preferred and rejected answers."""
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"Say hello number {number}"}]},
            "preferred_output": [{"role": "assistant", "content": f"Hello {number}!"}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        }
        for number in range(count)
    ]


class ProviderDouble(Protocol):
    """What a provider's double recorded, and how it is made to fail. Paths are regular expressions."""

    create: tuple[str, str]
    """Method and path of the create call."""

    def requests(self) -> Sequence[tuple[str, str]]:
        """Return method and path of everything that arrived, oldest first."""
        ...

    def creates(self) -> int:
        """Return how many create calls arrived."""
        ...

    def jobs(self) -> int:
        """Return how many jobs exist."""
        ...

    def spoil(
        self, behaviour: Behaviour, method: str | None = None, path: str | None = None, **facts: Any
    ) -> None:
        """Make the next such request fail."""
        ...

    def behave(self) -> None:
        """Remove all faults."""
        ...

    def down(self) -> contextlib.AbstractContextManager[None]:
        """Refuse connections while the block runs."""
        ...

    def show_status(self, provider_job_id: str, status: str | None) -> None:
        """Report the job with this raw status; None: its real one."""
        ...

    def sent(self) -> Mapping[str, Any]:
        """Return the body of the newest create call."""
        ...


class LabDouble:
    """A `ProviderDouble` over a double of the lab.

    `status` sets the raw status of a job; `jobs` counts them.
    """

    def __init__(
        self,
        double: Double,
        *,
        create: tuple[str, str],
        status: Callable[[str, str | None], None],
        jobs: Callable[[], int],
    ) -> None:
        self.double = double
        self.create = create
        self._status = status
        self._jobs = jobs

    def requests(self) -> list[tuple[str, str]]:
        return [(one.method, one.path) for one in list(self.double.requests)]

    def creates(self) -> int:
        return self.double.count(*self.create)

    def jobs(self) -> int:
        return self._jobs()

    def spoil(
        self, behaviour: Behaviour, method: str | None = None, path: str | None = None, **facts: Any
    ) -> None:
        self.double.faults.add(behaviour, method=method, path=path, **facts)

    def behave(self) -> None:
        self.double.faults.clear()

    def down(self) -> contextlib.AbstractContextManager[None]:
        return self.double.down()

    def show_status(self, provider_job_id: str, status: str | None) -> None:
        self._status(provider_job_id, status)

    def sent(self) -> Mapping[str, Any]:
        body: dict[str, Any] = self.double.asked(*self.create)[-1].json()
        return body


@dataclass(frozen=True)
class Cancelled:
    """What asking for its model raised, and the job right after the cancel, and at its end."""

    asked_early: BaseException | None
    first: RemoteJob
    last: RemoteJob


@dataclass(repr=False)
class World:
    """One backend in one account.

    `make` constructs a backend over a home folder; it is called again to simulate a restart.
    `statuses` are all raw statuses the provider is known to use, and ours for each. Where the world
    has a double, `sent_as` gives the path (`a.b`) in the create body of everything the backend
    declares: hyperparameters, `seed`, `validation`, `method` where there are several, and the
    settings of an adapter that can be chosen. `untouched` are `provider_options` that are sent
    unchanged. `step_s` is how far time moves between two reads of a running job, in seconds.
    """

    make: Callable[[Path], Backend]
    home: Path
    model: str
    clock: ManualClock | SystemClock
    double: ProviderDouble | None = None
    rows: Sequence[Mapping[str, Any]] = field(default_factory=chat_rows)
    pairs: Sequence[Mapping[str, Any]] = field(default_factory=pair_rows)
    statuses: Mapping[str, JobStatus] = field(default_factory=dict)
    sent_as: Mapping[str, str] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    provider_options: Mapping[str, Any] = field(default_factory=dict)
    untouched: Mapping[str, Any] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    unknown_id: str = "fake-0000000000000000"
    step_s: float = 1.0
    is_registered: bool = True
    fails_with: Mapping[str, Any] | None = None
    """`provider_options` or rows (`{"rows": […]}`) with which a job fails."""
    fail: Callable[[str], None] | None = None
    """Makes the job with this id fail at the double, for a reason that it reports."""

    def __post_init__(self) -> None:
        self.backend = self.make(self.home)
        self._first: tuple[SubmitRequest, RemoteJob] | None = None
        self._finished: str | None = None
        self._cancelled: Cancelled | None = None

    def restarted(self) -> Backend:
        """Return a new backend object over the same home and account."""
        return self.make(self.home)

    # --- requests ---

    def spec(self, **changes: Any) -> JobSpec:
        """Return a job that this backend accepts."""
        given: dict[str, Any] = {
            "provider": self.backend.name,
            "model": self.model,
            "adapter": self._adapter(),
            "hyperparameters": dict(self.hyperparameters),
            "provider_options": dict(self.provider_options),
            **changes,
        }
        return JobSpec.build(**given)

    def _adapter(self) -> LoRA | None:
        kinds = self.backend.capabilities.adapters
        if "lora" in kinds:
            return LoRA()
        return LoRA(quantize="nf4") if "nf4" in kinds else None

    def request(
        self, *, validation: bool = False, rows: Any = None, **changes: Any
    ) -> SubmitRequest:
        """Return a submission of that job, with its own tag."""
        spec = self.spec(**changes)
        usual = self.pairs if spec.method == "dpo" else self.rows
        train = Dataset.load([dict(row) for row in (usual if rows is None else rows)])
        job_id = new_job_id(self.clock.now())
        return SubmitRequest(
            job_id=job_id,
            tag=submission_tag(job_id),
            client_token=client_token(),
            spec=spec,
            train=train,
            validation=Dataset.load([dict(row) for row in list(usual)[:4]]) if validation else None,
        )

    def first(self) -> tuple[SubmitRequest, RemoteJob]:
        """Return one submitted job, shared by the checks that only read it."""
        if self._first is None:
            request = self.request(seed=7)
            self._first = request, self.backend.submit(request)
        return self._first

    def another(self, **changes: Any) -> tuple[SubmitRequest, RemoteJob]:
        """Return what was submitted, and the new job."""
        request = self.request(**changes)
        return request, self.backend.submit(request)

    def fresh(self, **changes: Any) -> RemoteJob:
        """Return a new job."""
        return self.another(**changes)[1]

    def finished(self) -> str:
        """Return the id of a job that has succeeded; made once."""
        if self._finished is None:
            identity = self.first()[1].provider_job_id
            job = self.until(identity, lambda one: one.status.is_final)
            assert job.status is JobStatus.SUCCEEDED, f"it ended as {job.raw_status}: {job.message}"
            self._finished = identity
        return self._finished

    def cancelled(self) -> Cancelled:
        """Return the story of a job that was cancelled; made once."""
        if self._cancelled is None:
            job = self.fresh()
            early: BaseException | None = None
            try:
                self.backend.model(job.provider_job_id)
            except FtsdkError as error:
                early = error
            self.backend.cancel(job.provider_job_id)
            first = self.backend.get(job.provider_job_id)
            last = self.until(job.provider_job_id, lambda one: one.status.is_final)
            self._cancelled = Cancelled(early, first, last)
        return self._cancelled

    # --- time ---

    def until(self, provider_job_id: str, reached: Callable[[RemoteJob], bool]) -> RemoteJob:
        """Let time pass until the job is as wanted. Fails after ten minutes of the world's time."""
        begun = self.clock.monotonic()
        while True:
            job = self.backend.get(provider_job_id)
            if reached(job):
                return job
            assert self.clock.monotonic() - begun < _PATIENCE_S, f"it stays {job.raw_status}"
            self.clock.sleep(self.step_s)

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        if isinstance(self.clock, ManualClock):
            self.clock.advance(seconds)
        else:
            time.sleep(seconds)

    @contextlib.contextmanager
    def watched(self) -> Iterator[list[tuple[str, str]]]:
        """Yield the requests that arrive while the block runs; always empty without a double."""
        seen: list[tuple[str, str]] = []
        before = len(self.double.requests()) if self.double else 0
        yield seen
        if self.double:
            seen.extend(self.double.requests()[before:])


def at(body: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path of a body; None where it is missing."""
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
