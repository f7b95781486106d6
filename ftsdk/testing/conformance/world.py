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
from ftsdk.types.spec import PAIR_METHODS, JobSpec, LoRA
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock, SystemClock
from ftsdk.util.ids import client_token, new_job_id, submission_tag

_PATIENCE_S = 600.0
_READS_AFTER = 4


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


def numbered_rows(rows: Sequence[Mapping[str, Any]], count: int, mark: str) -> list[dict[str, Any]]:
    """Return `count` rows like `rows`; every text in row 7 ends in `mark-7.`, so that it can be found."""
    return [_marked(dict(rows[at % len(rows)]), f"{mark}-{at}.") for at in range(count)]


def _marked(value: Any, mark: str, key: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _marked(inner, mark, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_marked(inner, mark, key) for inner in value]
    is_text = isinstance(value, str) and key in ("content", "text", "prompt", "completion")
    return f"{value} {mark}" if is_text else value


class ProviderDouble(Protocol):
    """What a provider's double recorded, and how it is made to fail. Paths are regular expressions."""

    create: tuple[str, str]
    """Method and path of the create call."""
    id_field: str
    """The name, or the path (`job.id`), of a job's id in the replies to create and get."""
    status_field: str
    """The name, or the path, of a job's status there."""

    def requests(self) -> Sequence[tuple[str, str]]:
        """Return method and path of everything that arrived, oldest first."""
        ...

    def bodies(self) -> Sequence[bytes]:
        """Return the bodies of `requests()`, in the same order."""
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

    def page(self, size: int | None) -> None:
        """Put at most `size` items on one page of a list; None: as many as usual.

        Does nothing where the provider has no pages.
        """
        ...

    def show_status(self, provider_job_id: str, status: str | None) -> None:
        """Report the job with this raw status; None: its real one."""
        ...

    def sent(self) -> Mapping[str, Any]:
        """Return the body of the newest create call."""
        ...


class LabDouble:
    """A `ProviderDouble` over a double of the lab.

    `status` sets the raw status of a job; `jobs` counts them. `id_field` and `status_field` are
    the provider's names of these fields. Pages are made with the double's `page_size`.
    """

    def __init__(
        self,
        double: Double,
        *,
        create: tuple[str, str],
        status: Callable[[str, str | None], None],
        jobs: Callable[[], int],
        id_field: str = "id",
        status_field: str = "status",
    ) -> None:
        self.double = double
        self.create = create
        self.id_field = id_field
        self.status_field = status_field
        self._status = status
        self._jobs = jobs
        self._page_size = double.page_size

    def requests(self) -> list[tuple[str, str]]:
        return [(one.method, one.path) for one in list(self.double.requests)]

    def bodies(self) -> list[bytes]:
        return [one.body for one in list(self.double.requests)]

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

    def page(self, size: int | None) -> None:
        self.double.page_size = self._page_size if size is None else size

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
    later: Sequence[RemoteJob]
    """Reads after the first one that said the job had ended."""


@dataclass(repr=False)
class World:
    """One backend in one account.

    `make` constructs a backend over a home folder; it is called again to simulate a restart.
    `statuses` are all raw statuses the provider is known to use, and ours for each: written from the
    provider's documentation, not taken from the backend, which is compared with them. Where the world
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
    long_job: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the job (`provider_options`, `hyperparameters`, `rows`) with which it leaves several
    checkpoints and events, where the usual one leaves one."""
    counts: Mapping[str, Callable[[str], int]] = field(default_factory=dict)
    """How many `events`, `metrics`, `checkpoints` and `logs` a job really has, by its id. Where the
    provider has no pages, nothing else shows that some were left out."""
    base_model: str | None = None
    """The base model that a result names; None: `model`."""
    other_model: str | None = None
    """A second base model, so that a name written into the backend is noticed."""
    impatient: Callable[[Path], Backend] | None = None
    """Constructs a backend that waits at most about a second for a reply. Without it the check that
    a silent provider blocks nothing takes as long as the backend's own timeout."""

    batch_create: tuple[str, str] | None = None
    """Method and path of the call that creates a batch of chats, where the backend has batches."""

    def __post_init__(self) -> None:
        self.backend = self.make(self.home)
        self._first: tuple[SubmitRequest, RemoteJob] | None = None
        self._finished: str | None = None
        self._long: str | None = None
        self._cancelled: Cancelled | None = None
        self._crowd: list[tuple[SubmitRequest, RemoteJob]] = []

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
        self, *, validation: Any = False, rows: Any = None, **changes: Any
    ) -> SubmitRequest:
        """Return a submission of that job, with its own tag. `validation` is True, or rows."""
        spec = self.spec(**changes)
        usual = self.pairs if spec.method in PAIR_METHODS else self.rows
        train = Dataset.load([dict(row) for row in (usual if rows is None else rows)])
        checked = list(usual)[:4] if validation is True else validation
        job_id = new_job_id(self.clock.now())
        return SubmitRequest(
            job_id=job_id,
            tag=submission_tag(job_id),
            client_token=client_token(),
            spec=spec,
            train=train,
            validation=Dataset.load([dict(row) for row in checked]) if checked else None,
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

    def long_run(self) -> str:
        """Return the id of a job that has succeeded and left several of everything; made once."""
        if not self.long_job:
            return self.finished()
        if self._long is None:
            self._long = self.fresh(**dict(self.long_job)).provider_job_id
            self.until(self._long, lambda one: one.status.is_final)
        return self._long

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
            self._cancelled = Cancelled(early, first, last, self.read_on(job.provider_job_id))
        return self._cancelled

    def crowd(self, count: int = 23) -> Sequence[tuple[SubmitRequest, RemoteJob]]:
        """Return at least that many submitted jobs, oldest first; made once."""
        while len(self._crowd) < count:
            self._crowd.append(self.another())
            self.pass_s(0.01)  # a time of its own for each
        return self._crowd

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

    def read_on(self, provider_job_id: str) -> list[RemoteJob]:
        """Return what a few more reads say, with time between them."""
        reads = []
        for _ in range(_READS_AFTER):
            self.clock.sleep(self.step_s)
            reads.append(self.backend.get(provider_job_id))
        return reads

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        if isinstance(self.clock, ManualClock):
            self.clock.advance(seconds)
        else:
            time.sleep(seconds)

    @contextlib.contextmanager
    def watched_bodies(self) -> Iterator[list[tuple[str, str, bytes]]]:
        """Yield method, path and body of the requests that arrive while the block runs."""
        seen: list[tuple[str, str, bytes]] = []
        before = len(self.double.requests()) if self.double else 0
        yield seen
        if self.double:
            arrived = zip(self.double.requests(), self.double.bodies(), strict=True)
            seen.extend((*asked, body) for asked, body in list(arrived)[before:])

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
