"""Fine-tuning jobs of OpenAI and of the services that speak its API."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from ftsdk.backends.base import Context, SubmitRequest
from ftsdk.backends.capabilities import FindBy
from ftsdk.backends.hosted import HostedBackend
from ftsdk.backends.hosted.live.plan import Plan as LivePlan
from ftsdk.backends.openai import limits, live, metrics
from ftsdk.backends.openai.account_models import AccountModels
from ftsdk.backends.openai.batches import Batches
from ftsdk.backends.openai.chat import ask, chat_with
from ftsdk.backends.openai.cost import billed, estimate, notes
from ftsdk.backends.openai.errors import closed_error
from ftsdk.backends.openai.events import RunEvents
from ftsdk.backends.openai.files import Files
from ftsdk.backends.openai.job_mapping import TAG_KEY, files_of, remote_job, result_of
from ftsdk.backends.openai.profiles import (
    AZURE,
    CRUSOE,
    GENERIC,
    NEBIUS,
    OPENAI,
    PROFILES,
    Profile,
)
from ftsdk.backends.openai.request import create_body, faults_of, plan_fields
from ftsdk.backends.openai.stored_chats import StoredChats
from ftsdk.backends.openai.transport import Transport
from ftsdk.backends.refusals import refusals
from ftsdk.catalogue.retirement import closed_reason, ends_on
from ftsdk.dataset import Dataset
from ftsdk.dataset.provider_limits import Limits
from ftsdk.errors import (
    ConfigError,
    NotFound,
    ProviderClosed,
    Rejected,
    UnknownModel,
)
from ftsdk.types.chat import Batch, ChatOutcome, ChatRequest, StoredChat
from ftsdk.types.cost import Cost
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.types.job import FileRole, RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle, ModelKind
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.names import nearest

_JOBS = "/fine_tuning/jobs"
_FEW = 2


class OpenAIBackend(HostedBackend[Transport, dict[str, Any]]):
    """The backend of OpenAI. `profile` describes how the service of a subclass differs."""

    name = "openai"
    profile: ClassVar[Profile] = OPENAI
    capabilities = OPENAI.capabilities
    secrets_hint = "leave it out; keys of integrations are set on the provider's own pages"
    refusal_hint = "leave them out, or choose another provider"

    def __init__(self, context: Context) -> None:
        chosen = self.profile
        named = context.options.get("profile")
        if named is not None:
            if named not in PROFILES:
                raise ConfigError(
                    f"No profile of an OpenAI-shaped service is called {named!r}",
                    where="options.profile of the configuration",
                    hint=f"one of {', '.join(PROFILES)}",
                )
            chosen = PROFILES[named]
        super().__init__(context, Transport(context, chosen))
        self._named = named is not None
        self.service = chosen if named is not None else self.transport.profile
        self.transport.profile = self.service
        self.sets_adapter = not self.service.own_hyperparameters
        if self.service.capabilities is not type(self).capabilities:
            # A base URL may name another service than the class does.
            self.capabilities = self.service.capabilities  # type: ignore[misc]  # this object's own
        self.files = Files(self.transport, context)
        self.run_events = RunEvents(self.transport)
        self._models = AccountModels(self.transport)
        self._batches = Batches(self.transport, context, self.files)
        self._stored = StoredChats(self.transport)

    # --- before ---

    @classmethod
    def limits_for(cls, model: str | None = None) -> Limits:
        return limits.for_model(cls.profile.limits, model)

    @property
    def dated_as(self) -> str | None:
        # A gateway whose `options.profile` names the service behind it has that service's end dates.
        if self._named and self.service is not GENERIC:
            return self.service.name
        return super().dated_as

    def check(self, spec: JobSpec) -> None:
        self._check_open(spec)
        self._refuse(
            [*refusals(self.name, self.capabilities, spec), *faults_of(self.service, spec)], spec
        )
        self._refuse_secrets(spec)

    def check_model(self, spec: JobSpec) -> None:
        # Azure and others name models by deployments, or have no such list.
        if self.service is OPENAI and not self._models.has(spec.model):
            known = self._models.names()
            near = nearest(spec.model, known, most=3)
            raise UnknownModel(
                f"The account has no model {spec.model!r}{near}",
                where=f"{self.service.title}, GET /models/ID, before anything was sent",
                hint="give the whole name with its date, such as gpt-4.1-mini-2025-04-14",
                submitted="no",
            )

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        planned = super().plan(spec, train)
        remarks, warned = notes(
            self.service, self.dated_as, spec, self.clock.now().date(), self.catalogue
        )
        return planned.model_copy(
            update={
                "fields": (*planned.fields, *plan_fields(self.service, spec)),
                "notes": (*planned.notes, *remarks),
                "warnings": (*planned.warnings, *warned),
            }
        )

    def estimate(self, spec: JobSpec, train: Dataset | None = None) -> Cost:
        return estimate(self.service, spec, train, self.clock.now().date(), self.catalogue)

    def _check_open(self, spec: JobSpec) -> None:
        """Raise `ProviderClosed` where the service takes no new jobs (for this model)."""
        if self.dated_as is None:
            return
        today = self.clock.now().date()
        why = closed_reason(self.dated_as, spec.model, today, catalogue=self.catalogue)
        if why is not None:
            raise ProviderClosed(
                f"No new job can be made: {why}",
                where=f"{self.service.title}, before anything was sent",
                hint="choose another provider: `ftsdk estimate --compare` shows what it would cost",
                submitted="no",
            )

    def live_plan(self) -> LivePlan:
        return live.plan_of(self.service)

    # --- the job ---

    def _prepared(self, request: SubmitRequest) -> dict[str, Any]:
        """Upload the rows, if needed, and return the body of the create call."""
        self.check(request.spec)
        train = self.files.ready(request.train)
        check = None if request.validation is None else self.files.ready(request.validation)
        return create_body(self.service, request.spec, request.tag, train, check)

    def _created(self, request: SubmitRequest, ready: dict[str, Any]) -> RemoteJob:
        body = dict(ready)
        action = f"POST {_JOBS}"
        reply = self.transport.create(
            action,
            lambda client: client.fine_tuning.jobs.with_raw_response.create(
                model=body.pop("model"),
                training_file=body.pop("training_file"),
                extra_body=body,
            ),
            closed_error(self.service.title, action),
        )
        return remote_job(reply, self.service, action=action)

    def _is_ours(self, job: RemoteJob, request: SubmitRequest) -> bool:
        if job.tag is None and self.service.capabilities.find_by is FindBy.SUFFIX:
            suffix = job.raw.get("suffix") or job.raw.get("user_provided_suffix")
            return not isinstance(suffix, str) or request.tag in suffix
        return super()._is_ours(job, request)

    def find(self, request: SubmitRequest) -> builtins.list[RemoteJob]:
        filtered = self.service.capabilities.find_by is FindBy.METADATA
        wanted = {TAG_KEY: request.tag} if filtered else None
        found = []
        for raw in self._raw_jobs(wanted):
            metadata = raw.get("metadata")
            suffix = raw.get("suffix") or raw.get("user_provided_suffix") or result_of(raw) or ""
            has_tag = isinstance(metadata, Mapping) and metadata.get(TAG_KEY) == request.tag
            if has_tag or (not filtered and request.tag in str(suffix)):
                found.append(self._job(raw, f"GET {_JOBS}"))
        return found[::-1]

    def _raw_jobs(self, metadata: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        def ask(client: Any, query: Mapping[str, Any]) -> Any:
            filters = {} if metadata is None else {"metadata": dict(metadata)}
            return client.fine_tuning.jobs.with_raw_response.list(**query, **filters)

        for page in self.transport.pages(f"GET {_JOBS}", ask):
            yield from page

    def get(self, provider_job_id: str) -> RemoteJob:
        raw = self._raw(provider_job_id)
        return self._job(raw, f"GET {_JOBS}/ID", asked_for=provider_job_id)

    def _raw(self, provider_job_id: str) -> dict[str, Any]:
        self._checked_id(provider_job_id)
        return self.transport.read(
            f"GET {_JOBS}/ID",
            lambda client: client.fine_tuning.jobs.with_raw_response.retrieve(provider_job_id),
        )

    def _checked_id(self, provider_job_id: str) -> str:
        """Return the id, safe for a path. Raises `NotFound` for another service's id."""
        if self.service.id_ok(provider_job_id):
            return provider_job_id
        raise NotFound(
            f"{self.service.title} has no job with such an id",
            where=f"job id {provider_job_id[:40]!r}",
            hint="`ftsdk list` shows the jobs of this machine",
        )

    def _job(
        self, raw: Mapping[str, Any], action: str, *, asked_for: str | None = None
    ) -> RemoteJob:
        job = remote_job(raw, self.service, action=action, asked_for=asked_for)
        if not job.status.is_final:
            return job
        tokens = job.trained_tokens  # billed also for a job that was cancelled
        in_events = self.service.billed_in_events and job.status is not JobStatus.FAILED
        if tokens is None and in_events and asked_for is not None:
            tokens = metrics.billed_tokens(
                str(one.get("message")) for one in self.run_events.raw_events(asked_for)
            )
        return job.model_copy(
            update={
                "trained_tokens": tokens,
                "cost": billed(raw, tokens, self.service.name, self.last_catalogue),
            }
        )

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        for number, raw in enumerate(self._raw_jobs()):
            if limit is not None and number >= limit:
                return
            yield self._job(raw, f"GET {_JOBS}")

    def get_many(self, provider_job_ids: Sequence[str]) -> Iterable[RemoteJob]:
        """Read a few jobs one by one; many by pages of the list, then the older ones singly."""
        missing: dict[str, None] = dict.fromkeys(provider_job_ids)
        if len(missing) > _FEW:
            pages = 2 + len(missing) // 50
            for number, raw in enumerate(self._raw_jobs()):
                if raw["id"] in missing:
                    del missing[raw["id"]]
                    yield self._job(raw, f"GET {_JOBS}")
                if not missing or number >= pages * 100:
                    break
        yield from self._read_in_turn(missing)

    def cancel(self, provider_job_id: str) -> None:
        self._act(provider_job_id, "cancel", JobStatus.CANCELLING)

    def pause(self, provider_job_id: str) -> None:
        self._act(provider_job_id, "pause", JobStatus.PAUSED)

    def _act(self, provider_job_id: str, action: str, reached: JobStatus) -> dict[str, Any]:
        self._checked_id(provider_job_id)
        if action != "cancel" and not self.capabilities.can_pause:
            raise self.cannot(f"{action} a job")
        try:
            return self.transport.call_once(
                f"POST {_JOBS}/ID/{action}",
                lambda client: getattr(client.fine_tuning.jobs.with_raw_response, action)(
                    provider_job_id
                ),
            )
        except Rejected:
            # It may have ended, or have been stopped, in the meantime: then nothing is wrong.
            raw = self._raw(provider_job_id)
            status = self._job(raw, f"GET {_JOBS}/ID").status
            if status is reached or (status.is_final and action != "resume"):
                return raw
            raise

    def resume(self, provider_job_id: str) -> RemoteJob:
        raw = self._act(provider_job_id, "resume", JobStatus.RUNNING)
        return self._job(raw, f"POST {_JOBS}/ID/resume")

    def delete(self, provider_job_id: str) -> None:
        if not self.capabilities.can_delete:
            raise self.cannot("delete a result")
        job = self.get(provider_job_id)
        model = job.result_model
        if model is None:
            raise Rejected(
                f"The job left no model to delete: it is {job.raw_status or job.status}",
                where=f"{self.service.title}, job {provider_job_id}",
                hint="nothing; a job itself cannot be deleted there, and costs nothing more",
            )
        self.transport.call_once(
            "DELETE /models/ID", lambda client: client.models.with_raw_response.delete(model)
        )

    # --- the course of a run ---

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        return self.run_events.events(self._checked_id(provider_job_id), after=after)

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        lines = [str(one) for one in self.events(provider_job_id)]
        return self._tail(lines, tail)

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        return self.run_events.checkpoints(self._checked_id(provider_job_id))

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        """Return the curve from events and checkpoints, and once the job is done from its result
        file.
        """
        return self.run_events.metrics(provider_job_id, self._raw(provider_job_id))

    # --- the result ---

    def model(self, provider_job_id: str) -> ModelHandle:
        job = self.get(provider_job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise self.not_ready(job.raw_status or job.status)
        identity, kind = job.result_model, ModelKind(self.service.result)
        if identity is None:
            kept = self.checkpoints(provider_job_id)
            if not kept:
                raise self.not_ready("finished, but its result is not there yet")
            identity = kept[-1].model_id or kept[-1].id
        base = job.model or "unknown"
        there, ends = self._models.facts(identity) if kind is ModelKind.HOSTED else (False, None)
        return ModelHandle(
            kind=kind,
            provider=self.name,
            id=identity,
            base_model=base,
            callable_now=there,
            retires_on=ends or self._ends_on(base),
            raw={"job": provider_job_id, "finished_at": str(job.finished_at or "")},
        ).bound_to(self)

    def checkpoint_model(self, provider_job_id: str, checkpoint: Checkpoint) -> ModelHandle:
        """Return the model that the service keeps of a checkpoint."""
        if checkpoint.model_id is None or ModelKind(self.service.result) is not ModelKind.HOSTED:
            return super().checkpoint_model(provider_job_id, checkpoint)
        job = self.get(provider_job_id)
        base = job.model or "unknown"
        there, ends = self._models.facts(checkpoint.model_id)
        return ModelHandle(
            kind=ModelKind.HOSTED,
            provider=self.name,
            id=checkpoint.model_id,
            base_model=base,
            callable_now=there,
            retires_on=ends or self._ends_on(base),
            raw={"job": provider_job_id, "step": checkpoint.step},
        ).bound_to(self)

    def model_ends(self) -> dict[str, dt.date]:
        """Return the shutdown day of each model, as the service reports it now."""
        return self._models.ends()

    def account_models(self) -> dict[str, str | None]:
        """Return the account's own fine-tunes, each with its base model."""
        return self._models.own()

    def read_file(self, file_id: str) -> Iterator[bytes]:
        return self.files.content(file_id)

    def job_files(self, job: RemoteJob) -> dict[str, FileRole]:
        return files_of(job.raw)

    def _ends_on(self, base: str) -> Any:
        if self.dated_as is None:
            return None
        return ends_on(self.dated_as, base, catalogue=self.last_catalogue)

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        if handle.kind is ModelKind.HOSTED and not self.capabilities.can_chat:
            raise self.cannot("chat with a result")
        usual = {k: v for k, v in self.context.options.items() if k == "deployment"}
        return chat_with(self.transport, self.clock, handle, messages, {**usual, **options})

    def chat_base(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        return ask(self.transport, handle.base_model, messages, options)

    # --- batches and stored chats ---

    def batch(self, handle: ModelHandle, requests: Iterable[ChatRequest], *, tag: str) -> Batch:
        self._require_batches()
        if handle.kind is not ModelKind.HOSTED:
            raise self.cannot(f"run a batch on {handle.id}, which is not called by its name")
        return self._batches.submit(handle.id, requests, tag)

    def find_batches(self, tag: str) -> builtins.list[Batch]:
        self._require_batches()
        return self._batches.find(tag)

    def get_batch(self, batch_id: str) -> Batch:
        self._require_batches()
        return self._batches.get(batch_id)

    def batch_outcomes(self, batch_id: str) -> Iterator[ChatOutcome]:
        self._require_batches()
        return self._batches.outcomes(batch_id)

    def cancel_batch(self, batch_id: str) -> None:
        self._require_batches()
        self._batches.cancel(batch_id)

    def _require_batches(self) -> None:
        if not self.capabilities.can_batch:
            raise self.cannot("run a batch")

    def stored_chats(
        self,
        *,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[StoredChat]:
        if not self.capabilities.has_stored_chats:
            raise self.cannot("read stored chats")
        return self._stored.all(model, metadata, limit)


class AzureBackend(OpenAIBackend):
    """Azure OpenAI, Microsoft Foundry."""

    name = "azure"
    profile = AZURE
    capabilities = AZURE.capabilities


class NebiusBackend(OpenAIBackend):
    """Nebius Token Factory."""

    name = "nebius"
    profile = NEBIUS
    capabilities = NEBIUS.capabilities


class CrusoeBackend(OpenAIBackend):
    """Crusoe Intelligence Foundry."""

    name = "crusoe"
    profile = CRUSOE
    capabilities = CRUSOE.capabilities
