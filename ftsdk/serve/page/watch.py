"""What the open pages know of their providers: each is asked at its own pace, once for all pages.

Jobs that have not ended are read by list calls, as `ftsdk list` reads them; curves, events and checkpoints
only for jobs that a page shows. A provider that does not answer keeps its rows as they were, dated, and is
asked again after a pause that doubles.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ftsdk.backends.base import Backend
from ftsdk.errors import FtsdkError
from ftsdk.jobs.actions import refresh_many
from ftsdk.jobs.search import find_jobs
from ftsdk.session import Session
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ModelHandle
from ftsdk.types.status import JobStatus

OPEN = frozenset(one for one in JobStatus if not one.is_final)
"""The statuses of jobs that have not ended."""
_MOST_OPEN = 500
_MOST_KEPT = 200
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 12.0, 300.0
_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_log = logging.getLogger("ftsdk")


@dataclass(frozen=True)
class Silence:
    """A provider that did not answer: its error, since when, and when it is asked again."""

    error: FtsdkError
    since: dt.datetime
    again_at: dt.datetime
    pause_s: float


@dataclass(frozen=True)
class Course:
    """The course of one job, as last read; `error` says why it could not be read now."""

    points: Sequence[MetricPoint] = ()
    events: Sequence[Event] = ()
    checkpoints: Sequence[Checkpoint] = ()
    handle: ModelHandle | None = None
    asked_at: dt.datetime | None = None
    is_whole: bool = False
    error: FtsdkError | None = None


class Watch:
    """Asks the providers for all pages of a server; a slow one keeps no page waiting.

    Requests run in threads of their own, one at a time for each provider, which end with the process.
    """

    def __init__(self, session: Session) -> None:
        self._session, self._lock = session, threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._due: dict[str, dt.datetime] = {}
        self._courses: OrderedDict[str, Course] = OrderedDict()
        self._latest: dict[str, JobSnapshot] = {}
        self.silent: dict[str, Silence] = {}
        self.asked_at: dt.datetime | None = None

    def ask(self, provider: str | None = None, *, wait_s: float = 0.0) -> None:
        """Refresh the jobs that have not ended, at providers that are due; `provider` at once.

        Waits at most `wait_s` for the answers.
        """
        if provider is not None:
            self._due.pop(provider, None)
        found = find_jobs(self._session.journal, status=OPEN, limit=_MOST_OPEN)
        started = []
        for name in sorted({job.provider for job in found}):
            if self._due.get(name, _LONG_AGO) <= self._now():
                mine = [job for job in found if job.provider == name]
                started.append(self._start(f"ask {name}", partial(self._ask, name, mine)))
        for thread in started:
            thread.join(wait_s)
        if not found:
            self.asked_at = self._now()

    def _now(self) -> dt.datetime:
        return self._session.clock.now()

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Run `work` in a thread, unless the one of this name still runs."""
        with self._lock:
            running = self._threads.get(name)
            if running is None or not running.is_alive():
                running = threading.Thread(target=_logged, args=(work,), name=name, daemon=True)
                self._threads[name] = running
                running.start()
            return running

    def _ask(self, provider: str, jobs: Sequence[JobSnapshot]) -> None:
        errors: dict[str, FtsdkError] = {}
        try:
            found = refresh_many(self._session, jobs, errors)
        except FtsdkError as error:
            before = self.silent.get(provider)
            pause = min(_LONGEST_PAUSE_S, 2 * before.pause_s) if before else _FIRST_PAUSE_S
            again = self._now() + dt.timedelta(seconds=pause)
            since = before.since if before else self._now()
            self.silent[provider] = Silence(error, since, again, pause)
            self._due[provider] = again
            return
        self.silent.pop(provider, None)
        with self._lock:
            before_ids = {job.id for job in jobs}
            kept = {key: one for key, one in self._latest.items() if key not in before_ids}
            self._latest = {**kept, **{one.id: one for one in found if not one.status.is_final}}
        able = self._session.capabilities_of(provider)
        pause = max(1.0, 10.0 if able is None else able.poll_s)
        self.asked_at = self._now()
        self._due[provider] = self.asked_at + dt.timedelta(seconds=pause)

    def current(self, job: JobSnapshot) -> JobSnapshot:
        """Return a job of the journal with its progress as last read, which the journal does not keep."""
        latest = self._latest.get(job.id)
        if latest is None or latest.status is not job.status:
            return job
        fresh = {name: getattr(latest, name) for name in ("progress", "message", "trained_tokens")}
        return job.model_copy(update=fresh)

    # --- the course of one job ---

    def known_course(self, job_id: str) -> Course:
        """Return what was read before, without asking anybody."""
        return self._courses.get(job_id, Course())

    def course(self, job: JobSnapshot, *, wait_s: float) -> Course:
        """Return the job's curve, events, checkpoints and model, read at its pace.

        Waits at most `wait_s` for the provider; what was read before comes meanwhile.
        """
        self._start(f"read {job.id}", partial(self._read, job, whole=True)).join(wait_s)
        return self.known_course(job.id)

    def fill(self, jobs: Sequence[JobSnapshot]) -> None:
        """Start to read the curves of the jobs of a list.

        A hosted provider is asked only about jobs that run, since each curve is a request.
        """
        for provider in sorted({job.provider for job in jobs}):
            able = self._session.capabilities_of(provider)
            if able is not None and able.has_metrics:
                mine = [
                    job
                    for job in jobs
                    if job.provider == provider
                    and (able.price == "free" or job.status is JobStatus.RUNNING)
                ]
                self._start(f"fill {provider}", partial(self._fill, mine))

    def _fill(self, jobs: Sequence[JobSnapshot]) -> None:
        for job in jobs:
            self._read(job, whole=False)

    def _read(self, job: JobSnapshot, *, whole: bool) -> None:
        known = self.known_course(job.id)
        backend = self._backend(job)
        if isinstance(backend, FtsdkError):
            found = replace(known, error=backend)
        elif job.provider_job_id is None or self._is_fresh(job, known, backend, whole=whole):
            return
        else:
            found = self._course(job, job.provider_job_id, backend, known, whole=whole)
        with self._lock:
            self._courses[job.id] = found
            self._courses.move_to_end(job.id)
            while len(self._courses) > _MOST_KEPT:
                self._courses.popitem(last=False)

    def _backend(self, job: JobSnapshot) -> Backend | FtsdkError:
        try:
            return self._session.backend_for(job)
        except FtsdkError as error:
            return error

    def _is_fresh(self, job: JobSnapshot, known: Course, backend: Backend, *, whole: bool) -> bool:
        if known.asked_at is None or (whole and not known.is_whole):
            return False
        age = (self._now() - known.asked_at).total_seconds()
        if known.error is None and job.status.is_final:
            ended = job.finished_at or job.updated_at
            return known.asked_at > ended
        return age < max(1.0, backend.capabilities.poll_s)

    def _course(
        self, job: JobSnapshot, identity: str, backend: Backend, known: Course, *, whole: bool
    ) -> Course:
        able = backend.capabilities
        first = job.first_provider_id or identity
        found = replace(known, asked_at=self._now(), is_whole=whole or known.is_whole, error=None)
        try:
            if able.has_metrics:
                found = replace(found, points=tuple(backend.metrics(identity)))
            if whole and able.has_events:
                found = replace(found, events=tuple(backend.events(first)))
            if whole and able.has_checkpoints:
                found = replace(found, checkpoints=tuple(backend.checkpoints(identity)))
            if whole and job.status is JobStatus.SUCCEEDED:
                found = replace(found, handle=backend.model(identity))
        except FtsdkError as error:
            return replace(found, error=error)
        return found


def _logged(work: Callable[[], None]) -> None:
    """Run a thread's work; an error that is a fault of ours goes to the log."""
    try:
        work()
    except Exception:
        _log.exception("a provider was not asked for the page")
        raise
