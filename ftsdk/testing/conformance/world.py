"""What the checks are given: a way to make the backend, rows, time, and what went over the wire."""

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
    """Rows that every provider takes, each question with an answer of its own."""
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
    """Rows of preferred and rejected answers."""
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"Say hello number {number}"}]},
            "preferred_output": [{"role": "assistant", "content": f"Hello {number}!"}],
            "non_preferred_output": [{"role": "assistant", "content": "No."}],
        }
        for number in range(count)
    ]


class Wire(Protocol):
    """What a provider's double tells, and how it is made to fail. Paths are regular expressions."""

    create: tuple[str, str]
    """Method and path of the create call."""

    def requests(self) -> Sequence[tuple[str, str]]:
        """Method and path of everything that arrived, oldest first."""
        ...

    def creates(self) -> int:
        """How many create calls arrived."""
        ...

    def jobs(self) -> int:
        """How many jobs there are."""
        ...

    def spoil(
        self, behaviour: Behaviour, method: str | None = None, path: str | None = None, **facts: Any
    ) -> None:
        """Let the next such request go wrong."""
        ...

    def behave(self) -> None:
        """No more faults."""
        ...

    def down(self) -> contextlib.AbstractContextManager[None]:
        """Refuse connections for a while."""
        ...

    def show_status(self, provider_job_id: str, word: str | None) -> None:
        """Tell the job with this raw status; None: what it really is."""
        ...

    def sent(self) -> Mapping[str, Any]:
        """The body of the newest create call."""
        ...


class LabWire:
    """A `Wire` over a double of the lab.

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

    def show_status(self, provider_job_id: str, word: str | None) -> None:
        self._status(provider_job_id, word)

    def sent(self) -> Mapping[str, Any]:
        body: dict[str, Any] = self.double.asked(*self.create)[-1].json()
        return body


@dataclass(frozen=True)
class Cancelled:
    """What asking for its model gave, and the job right after the cancel, and at its end."""

    asked_early: BaseException | None
    first: RemoteJob
    last: RemoteJob


@dataclass(repr=False)
class World:
    """One backend in one account.

    `make` builds a backend over a home folder; it is called again to play a restart. `statuses`
    are all raw words the provider is known to use, and ours for each. Where the world has a wire,
    `sent_as` says under which path (`a.b`) of the create body everything arrives that the record
    claims: hyperparameters, `seed`, `validation`, `method` where there are several, and what it
    lets one choose of an adapter. `untouched` are `provider_options` that it finds there as given.
    `step_s` is how far time moves between two looks at a running job.
    """

    make: Callable[[Path], Backend]
    home: Path
    model: str
    clock: ManualClock | SystemClock
    wire: Wire | None = None
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
    """`provider_options` or rows (`{"rows": […]}`) with which a job ends in failure."""
    fail: Callable[[str], None] | None = None
    """Lets the job with this id end in failure at the double, for a reason that it tells."""

    def __post_init__(self) -> None:
        self.backend = self.make(self.home)
        self._first: tuple[SubmitRequest, RemoteJob] | None = None
        self._finished: str | None = None
        self._cancelled: Cancelled | None = None

    def restarted(self) -> Backend:
        """A new backend object over the same home and account."""
        return self.make(self.home)

    # --- requests ---

    def spec(self, **changes: Any) -> JobSpec:
        """A job that this backend takes."""
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
        """A submission of that job, with marks of its own."""
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
        """One submitted job, shared by the checks that only look at it."""
        if self._first is None:
            request = self.request(seed=7)
            self._first = request, self.backend.submit(request)
        return self._first

    def another(self, **changes: Any) -> tuple[SubmitRequest, RemoteJob]:
        """A new job, and what was submitted."""
        request = self.request(**changes)
        return request, self.backend.submit(request)

    def fresh(self, **changes: Any) -> RemoteJob:
        """A new job."""
        return self.another(**changes)[1]

    def finished(self) -> str:
        """The id of a job that has ended well; made once."""
        if self._finished is None:
            identity = self.first()[1].provider_job_id
            job = self.until(identity, lambda one: one.status.is_final)
            assert job.status is JobStatus.SUCCEEDED, f"it ended as {job.raw_status}: {job.message}"
            self._finished = identity
        return self._finished

    def cancelled(self) -> Cancelled:
        """The story of a job that was cancelled; made once."""
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
        """Let time pass until the job is as asked. Fails after ten minutes of the world's time."""
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
        """The requests that arrive while the block runs; always empty without a wire."""
        seen: list[tuple[str, str]] = []
        before = len(self.wire.requests()) if self.wire else 0
        yield seen
        if self.wire:
            seen.extend(self.wire.requests()[before:])


def at(body: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path of a body; None where it is not."""
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
