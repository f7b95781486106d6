"""`FineTuneJob`: one job, wherever it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend
from ftsdk.deployments.deploy import deploy, undeploy
from ftsdk.deployments.wait import until_callable
from ftsdk.errors import (
    BackendError,
    JobCancelled,
    JobFailed,
    NotFound,
    NotReady,
    Unsupported,
)
from ftsdk.jobs import actions
from ftsdk.jobs.follow import LOCAL_TROUBLE, decision_error, follow
from ftsdk.jobs.html import MetricList, job_card
from ftsdk.jobs.live import view_for
from ftsdk.jobs.spending_guard import SpendingGuard, over_cap
from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Session
from ftsdk.types.cost import Cost
from ftsdk.types.events import Checkpoint, Event, MetricPoint, Progress
from ftsdk.types.export import Export, ExportTarget
from ftsdk.types.job import JobSnapshot
from ftsdk.types.model import ModelHandle
from ftsdk.types.portability import Portability
from ftsdk.types.pushed import Pushed
from ftsdk.types.status import JobStatus
from ftsdk.util.arguments import COUNT, FLAG, FUNCTION, MAPPING, NUMBER, PATH, TEXT, checked

_log = logging.getLogger("ftsdk")


class FineTuneJob:
    """A handle on one job. `refresh` and the actions replace its snapshot.

    Reading costs nothing: only `resume` and `deploy` can cost money.
    """

    def __init__(self, session: Session, snapshot: JobSnapshot, *, step: int | None = None) -> None:
        self.session = session
        self._step = step  # of the checkpoint whose model is the result
        self._snapshot = snapshot
        self._warned_about_cap = False
        self._points: list[MetricPoint] = []

    # --- from the snapshot, without a request ---

    @property
    def snapshot(self) -> JobSnapshot:
        """Everything known about the job, as one frozen record."""
        return self._snapshot

    @property
    def id(self) -> str:
        """The job's id in ftsdk, for instance `ftj_01KB…`."""
        return self._snapshot.id

    @property
    def name(self) -> str | None:
        """The name given at creation."""
        return self._snapshot.name

    @property
    def provider(self) -> str:
        """The backend's name."""
        return self._snapshot.provider

    @property
    def provider_job_id(self) -> str | None:
        """The provider's id; None until it accepted the job."""
        return self._snapshot.provider_job_id

    @property
    def model(self) -> str:
        """The base model, as requested."""
        return self._snapshot.model

    @property
    def status(self) -> JobStatus:
        """The status at the last refresh."""
        return self._snapshot.status

    @property
    def raw_status(self) -> str:
        """The provider's own status."""
        return self._snapshot.raw_status

    @property
    def progress(self) -> Progress | None:
        """The progress of training at the last refresh."""
        return self._snapshot.progress

    @property
    def cost(self) -> Cost:
        """The cost as far as it is known, with its basis."""
        return self._snapshot.cost

    @property
    def tags(self) -> Mapping[str, str]:
        """The tags given at creation."""
        return self._snapshot.tags

    @property
    def is_final(self) -> bool:
        """True when the job has ended."""
        return self.status.is_final

    @property
    def needs_decision(self) -> bool:
        """True when the create call got no answer, and a search at the provider did not find the job.

        `Client.resolve` decides it. `Client.reconcile` looks again, which is always safe.
        """
        if self.status is not JobStatus.IN_DOUBT:
            return False
        return submitter_for(self.session).is_past_horizon(self._snapshot)

    # --- requests that only read ---

    def refresh(self) -> FineTuneJob:
        """Read the job from the provider, journal the result, and return this handle.

        An hourly-billed job that is running above its cap is logged once as a warning; `wait`,
        `ftsdk watch` and the next command cancel it. Raises a `BackendError` when the provider cannot
        be reached; the snapshot is then unchanged.
        """
        self._snapshot = actions.refresh(self.session, self._snapshot)
        self._warn_about_cap()
        return self

    def _warn_about_cap(self) -> None:
        warning = None if self._warned_about_cap else over_cap(self.session, self._snapshot)
        if warning is not None:
            _log.warning(warning)
            self._warned_about_cap = True

    @checked(timeout=NUMBER, on_event=FUNCTION, progress=FLAG)
    def wait(
        self,
        timeout: float | None = None,
        on_event: Callable[[Event], object] | None = None,
        *,
        progress: bool | None = None,
    ) -> FineTuneJob:
        """Wait until the job ends and return this handle; `timeout` in seconds.

        In a notebook it shows a live card, at an interactive prompt a bar; with `progress=True` a
        script on a terminal shows the bar too, and `progress=False` shows nothing. Into a pipe
        nothing is written.

        Raises `WaitTimeout` (the job continues), `NeedsDecision` when the job is paused or needs a
        decision, and a `BackendError` when the provider cannot be reached for five minutes, or does not
        know the job for two. A failed job does not raise here; `result()` does.
        """
        for event in self._waited(timeout, on_event is not None, progress):
            if on_event is not None:
                on_event(event)
        return self

    def _waited(
        self, timeout: float | None, events: bool, progress: bool | None
    ) -> Iterator[Event]:
        """Yield the events of `wait`, and show the job after each poll."""
        view = view_for(progress)
        if view is None:
            yield from self.stream(timeout=timeout, events=events)
            return
        try:
            yield from self._stream(
                timeout, events, lambda: view.show(self._snapshot, self._curve())
            )
        finally:
            view.close()

    def _curve(self) -> list[MetricPoint]:
        """Return the metrics for a live view; the last ones where they cannot be read now."""
        able = self.session.backend_for(self._snapshot).capabilities
        if able.has_metrics and self.provider_job_id is not None:
            try:
                self.metrics()
            except (BackendError, *LOCAL_TROUBLE) as error:
                _log.debug("no metrics now: %s", error.what)
        return self._points

    @checked(timeout=NUMBER)
    def stream(self, *, timeout: float | None = None, events: bool = True) -> Iterator[Event]:
        """Yield the job's events from its start until it ends. Raises like `wait`."""
        yield from self._stream(timeout, events, lambda: None)

    def _stream(
        self, timeout: float | None, events: bool, on_poll: Callable[[], None]
    ) -> Iterator[Event]:
        def store(snapshot: JobSnapshot) -> None:
            self._snapshot = snapshot
            on_poll()

        yield from follow(
            self.session,
            self._snapshot,
            timeout=timeout,
            events=events,
            on_snapshot=store,
            between_polls=SpendingGuard(self.session, [self.id]).events,
        )
        if not self.is_final:
            raise decision_error(self._snapshot)

    @checked(after=COUNT)
    def events(self, *, after: int = 0) -> list[Event]:
        """Return the events so far, oldest first. Raises `Unsupported` if the backend has none."""
        backend, identity = self._at_provider()
        first = self._snapshot.first_provider_id or identity
        return [] if first is None else backend.events(first, after=after)

    def metrics(self) -> list[MetricPoint]:
        """Return the metrics so far. Raises `Unsupported` if the backend has none."""
        backend, identity = self._at_provider()
        self._points = [] if identity is None else backend.metrics(identity)
        return MetricList(self._points)

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints, oldest first; `checkpoint.model()` is the model at one of them.

        Raises `Unsupported` if the backend has none.
        """
        backend, identity = self._at_provider()
        found = [] if identity is None else backend.checkpoints(identity)
        return [
            one.opened_by(FineTuneJob(self.session, self._snapshot, step=one.step).result)
            for one in found
        ]

    @checked(tail=COUNT)
    def logs(self, *, tail: int | None = None) -> list[str]:
        """Return the log lines, or the last `tail`. Raises `Unsupported` if the backend has none."""
        backend, identity = self._at_provider()
        first = self._snapshot.first_provider_id or identity
        return [] if first is None else backend.logs(first, tail=tail)

    def _at_provider(self) -> tuple[Backend, str | None]:
        """Return the backend and the job's id there; a job without one is refreshed once."""
        if self.provider_job_id is None:
            self.refresh()
        return self.session.backend_for(self._snapshot), self.provider_job_id

    # --- actions ---

    def cancel(self) -> FineTuneJob:
        """Request cancellation and return this handle. `status` becomes `cancelled` once it has stopped.

        A job that was never sent is cancelled at once; an ended job is unchanged. Raises
        `NeedsDecision` for a job in doubt that is not found now; it is cancelled once it is found.
        """
        self._snapshot = actions.cancel(self.session, self._snapshot)
        return self

    def pause(self) -> FineTuneJob:
        """Request a pause and return this handle; `resume` continues the job.

        An ended job is unchanged. Raises `Unsupported` if the backend cannot pause.
        """
        self._snapshot = actions.pause(self.session, self._snapshot)
        return self

    def delete(self) -> FineTuneJob:
        """Delete the job's result at its provider, permanently. The job stays in the journal.

        Raises `UsageError` for a job that has not ended, `Unsupported` if the backend cannot delete.
        """
        self._snapshot = actions.delete(self.session, self._snapshot)
        return self

    def resume(self) -> FineTuneJob:
        """Resume a paused, interrupted, failed or cancelled job, and return this handle.

        Raises `Unsupported` if the backend cannot, and `BudgetError` if the budget forbids it.
        """
        self._snapshot = actions.resume(self.session, self._snapshot)
        return self

    # --- the result ---

    def result(self) -> ModelHandle:
        """Return the model that this job produced.

        Raises `JobFailed`, `JobCancelled`, or `NotReady` while the job has not ended.
        """
        if self._step is not None:
            return self._checkpoint_model(self._step)
        if not self.is_final:
            self.refresh()
        snapshot = self._snapshot
        if snapshot.status is JobStatus.FAILED:
            raise self._failed()
        if snapshot.status is JobStatus.CANCELLED:
            can_resume = self.session.backend_for(snapshot).capabilities.resumes_ended
            raise JobCancelled(
                "The job was cancelled, so there is no result",
                where=f"provider {snapshot.provider}",
                hint=f"ftsdk resume {self.id}, or create it again"
                if can_resume
                else "create it again",
                job_id=self.id,
            )
        if snapshot.status is not JobStatus.SUCCEEDED or snapshot.provider_job_id is None:
            raise NotReady(
                f"The job has no result yet: it is {snapshot.status.replace('_', ' ')}",
                where=f"provider {snapshot.provider}",
                hint=f"ftsdk watch {self.id}, or job.wait()",
                job_id=self.id,
            )
        backend = self.session.backend_for(snapshot)
        model = backend.model(snapshot.provider_job_id)
        return self._counted(model, backend)

    def _checkpoint_model(self, step: int) -> ModelHandle:
        """Return the model at a checkpoint. Raises `NotFound` where there is none at this step."""
        backend, identity = self._at_provider()
        known = [] if identity is None else backend.checkpoints(identity)
        found = next((one for one in known if one.step == step), None)
        if identity is None or found is None:
            raise NotFound(
                f"The job has no checkpoint at step {step}",
                where=f"provider {self.provider}",
                hint=f"it has {', '.join(str(one.step) for one in known) or 'none'}",
                job_id=self.id,
            )
        return self._counted(backend.checkpoint_model(identity, found), backend)

    @checked(hours=NUMBER, options=MAPPING)
    def deploy(
        self, *, hours: float | None = None, options: Mapping[str, Any] | None = None
    ) -> ModelHandle:
        """Deploy the model for `hours` (by default `lease_hours` of the budget, else 2).

        Returns the model's new handle. The deployment is billed by the hour until it is ended: by
        `undeploy`, or by the first command or watcher that runs after the lease is over. `options`
        are passed to the provider. Deploying again extends the lease. Raises `BudgetError`,
        `Unsupported`, `NotReady`, or a `BackendError`.
        """
        if self._step is not None:
            raise Unsupported("A checkpoint cannot be deployed", hint=f"ftsdk deploy {self.id}")
        model, _ = deploy(self.session, self.id, hours=hours, options=options)
        backend = self.session.backend_for(self._snapshot)
        return self._counted(model, backend)

    @checked(timeout=NUMBER)
    def callable_result(self, timeout: float | None = None) -> ModelHandle:
        """Wait until the model can be called, and return it; `timeout` in seconds.

        Raises `WaitTimeout` (the deployment continues, and so does its cost), `NotReady` when no
        deployment is starting, and what `result` raises.
        """
        return until_callable(self.result, self.session.clock, timeout)

    def _counted(self, model: ModelHandle, backend: Backend) -> ModelHandle:
        """Return the handle bound to this job, whose chats count in the budget."""
        from ftsdk.spending.counted_chats import with_counted_chats

        return with_counted_chats(self.session, model, backend).made_by(self)

    @checked(
        target=TEXT,
        folder=PATH,
        dtype=TEXT,
        base=PATH,
        base_id=TEXT,
        onto_trained_base=FLAG,
        probes=COUNT,
        on_step=FUNCTION,
    )
    def export(
        self,
        target: ExportTarget,
        folder: str | Path,
        *,
        dtype: str | None = None,
        base: str | Path | None = None,
        base_id: str | None = None,
        onto_trained_base: bool = False,
        probes: int = 16,
        on_step: Callable[[str], None] | None = None,
    ) -> Export:
        """Write the model into `folder` in another form, load it again and compare its answers.

        `target` is `adapter`, `merged`, `gguf`, `gguf-adapter` or `ollama`; `dtype` how the weights are
        stored (float16, or f16 for GGUF, by default). `base` is the base model's folder or name, where
        it is not the one that was trained on here; `base_id` its id on the hub. A QLoRA is merged onto
        the published 16-bit base, or with `onto_trained_base` onto the 4-bit one that was trained on.
        `probes` questions are compared with the trained model in float32; 0 compares nothing.

        Raises `UsageError` for arguments that do not go together and for an export that answers
        otherwise, `Unsupported` for a form that the model cannot have, `MissingExtra` without
        `ftsdk[local]`, and what `result` raises.
        """
        from ftsdk.exporting.export import ExportOptions
        from ftsdk.jobs.exporting import export_model

        return export_model(
            self.session,
            self.result(),
            target,
            Path(folder),
            ExportOptions(dtype, onto_trained_base, probes),
            snapshot=self._snapshot,
            base=None if base is None else str(base),
            base_id=base_id,
            on_step=on_step or (lambda _: None),
        )

    @checked(
        repo=TEXT, form=TEXT, public=FLAG, dtype=TEXT, base=PATH, base_id=TEXT,
        onto_trained_base=FLAG, probes=COUNT, on_step=FUNCTION,
    )  # fmt: skip
    def push(
        self,
        repo: str,
        *,
        form: ExportTarget = "adapter",
        public: bool = False,
        dtype: str | None = None,
        base: str | Path | None = None,
        base_id: str | None = None,
        onto_trained_base: bool = False,
        probes: int = 16,
        on_step: Callable[[str], None] | None = None,
    ) -> Pushed:
        """Export the model and push it to `repo` (`owner/name`) of the model hub, with its card.

        The repository is private unless `public`; an existing public one is refused unless `public`. The
        key is the hub's own: `HF_TOKEN`, or what `hf auth login` stored. Only the export's files are sent,
        in one commit, and compared afterwards. `form` and the other arguments are those of `export`.

        Raises what `export` raises, `UsageError` for a repository with other weights in it, and
        `AuthError`, `RateLimited`, `Unavailable` or `Rejected` from the hub.
        """
        from ftsdk.exporting.export import ExportOptions
        from ftsdk.jobs.exporting import push_model

        return push_model(
            self.session,
            self.result(),
            repo,
            form,
            ExportOptions(dtype, onto_trained_base, probes),
            snapshot=self._snapshot,
            public=public,
            base=None if base is None else str(base),
            base_id=base_id,
            on_step=on_step or (lambda _: None),
        )

    @checked(base_id=TEXT)
    def check_portability(self, *, base_id: str | None = None) -> tuple[Portability, ...]:
        """Where the model can be used: a verdict for each program or provider, and form of the weights.

        Raises `Unsupported` where the weights are not here, and what `result` raises.
        """
        from ftsdk.jobs.portability import portability_of

        return portability_of(self.result(), base_id=base_id)

    def undeploy(self) -> FineTuneJob:
        """End the deployment of the model, and with it its cost; returns this handle."""
        undeploy(self.session, self.id)
        return self

    def _failed(self) -> JobFailed:
        snapshot = self._snapshot
        error = dict(snapshot.error or {})
        message = snapshot.message or error.get("message") or "the provider gave no reason"
        return JobFailed(
            f"The job failed: {message}",
            where=f"provider {snapshot.provider}"
            + (f", its job {snapshot.provider_job_id}" if snapshot.provider_job_id else ""),
            hint=str(error.get("hint") or f"ftsdk logs {self.id} shows the end of its log"),
            job_id=self.id,
            log_tail=tuple(error.get("log_tail", ())),
        )

    # --- display ---

    def __repr__(self) -> str:
        return f"<FineTuneJob {self.id} {self.status} on {self.provider}>"

    def _repr_html_(self) -> str:
        """Return a card for notebooks, with the loss curve of the last `metrics()`. Asks nobody."""
        return job_card(self._snapshot, self._points)
