"""Fine-tuning on this machine: each job is a run directory with a trainer process of its own.

The application and the trainer communicate through the run directory only, so a run outlives the
application: its lock shows whether it is alive, its outcome how it ended.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ftsdk.artifacts.portability import ModelFacts, adapter_warning
from ftsdk.backends.answer_losses import AnswerLoss
from ftsdk.backends.base import Backend, Context, SubmitRequest
from ftsdk.backends.capabilities import Capabilities, FindBy
from ftsdk.backends.chat_outcomes import require_concurrency
from ftsdk.backends.local import inference, losses
from ftsdk.backends.local.device_options import device_faults, planned_device, sharding_faults
from ftsdk.backends.local.fault import Fault
from ftsdk.backends.local.job_base import JobBase
from ftsdk.backends.local.limits import LIMITS
from ftsdk.backends.local.memory import asked_of, with_memory
from ftsdk.backends.local.method_options import method_faults, method_fields
from ftsdk.backends.local.models.chat_templates import template_text
from ftsdk.backends.local.models.resolve import (
    ResolvedModel,
    is_pulled,
    local_folder,
    pull_size,
)
from ftsdk.backends.local.models.row_paths import position_limit, training_notes
from ftsdk.backends.local.options import HYPERPARAMETERS, LocalOptions, RunHyperparameters
from ftsdk.backends.local.reports import missing_packages
from ftsdk.backends.local.result import (
    checkpoint_of_run,
    copy_result,
    existing_result,
    model_of,
)
from ftsdk.backends.local.runs.ranks import process_notes
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.run_spec import BaseModelRef, RunAdapter, RunSpec
from ftsdk.backends.local.serving.pool import WorkerPool
from ftsdk.backends.local.status import (
    checkpoint_of,
    event_of,
    metric_points,
    remote_job,
    speed_of_run,
)
from ftsdk.backends.refusals import adapter_kind, generic_hint, refusals, refuse
from ftsdk.dataset import Dataset
from ftsdk.dataset.findings.token_summary import RowLengths
from ftsdk.errors import NotFound, StoreError, Unsupported, UsageError
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.types.plan import Plan, PlannedField
from ftsdk.types.spec import LORA_VARIANTS, JobSpec, spec_error
from ftsdk.util.ids import JOB_ID

_RUNS_READ = 200

_TRAINS_HERE = sys.platform != "win32"
"""Whether a run can have a process group of its own."""


class LocalBackend(Backend):
    """Trains on this machine.

    `provider_options` are the fields of `LocalOptions`; with `pull=True` creating a job fetches a
    base model that is not here yet.
    """

    name = "local"
    limits = LIMITS
    capabilities = Capabilities(
        methods=frozenset({"sft", "dpo", "kto", "orpo"}),
        adapters=frozenset({"lora", "nf4", "full"}),
        formats=frozenset({"chat", "preference", "text"}),
        formats_by_method=LIMITS.shapes,
        adapter_settings=frozenset(LORA_VARIANTS),
        hyperparameters=HYPERPARAMETERS,
        find_by=FindBy.RUN_DIRECTORY,
        resend_is_safe=True,  # the run directory is the job's own: starting it twice is one run
        can_cancel=True,
        can_resume=True,
        resumes_ended=True,
        can_delete=True,
        can_download=True,
        can_chat=True,
        can_chat_many=True,
        has_events=True,
        has_metrics=True,
        has_checkpoints=True,
        has_logs=True,
        price="free",
        poll_s=0.5,
        extra="local",
        packages=(
            "torch",
            "transformers",
            "peft",
            "accelerate",
            "safetensors",
            "bitsandbytes",
            "gguf",
        ),
        default_models=("smollm2-135m",),
        note="this machine: CPU or CUDA; any causal model in safetensors",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._workers: WorkerPool | None = None
        if context.resident is not None:
            self._workers = WorkerPool(context.resident, context.clock)

    def close(self) -> None:
        """End the processes of models that were kept loaded."""
        if self._workers is not None:
            self._workers.close()

    # --- before a job ---

    def check(self, spec: JobSpec) -> None:
        """Check the job, and its base model.

        The base model is examined without loading its weights; one that `pull` would fetch by its
        config alone. Raises one `Unsupported` that lists every reason against the job.
        """
        own = [
            Fault(what, generic_hint(self.name))
            for what in refusals(self.name, self.capabilities, spec)
        ]
        own.extend(
            Fault(what, "leave it out, or choose its method")
            for what in method_faults(spec.method, spec.hyperparameters.beta, self._options(spec))
        )
        options = self._options(spec)
        own.extend(device_faults(options, planned_device(options)))
        own.extend(sharding_faults(options, spec.adapter))
        if not _TRAINS_HERE:
            own.append(Fault("training on Windows itself", "use WSL, or a hosted provider"))
        faults = [*own, *self._base(spec).faults()]
        hints = dict.fromkeys(hint for _, hint in faults)
        refuse(
            [what for what, _ in faults],
            where=f"backend local, model {spec.model}, before anything was started",
            hint="; ".join(hints),
        )

    def _base(self, spec: JobSpec) -> JobBase:
        """What the job starts from. Raises what `_options` raises."""
        return JobBase(spec, self._options(spec), self.context.home)

    def complete(self, spec: JobSpec) -> JobSpec:
        """The spec with the text of its chat template, where it names a file or a known one."""
        text = self._options(spec).chat_template
        if text is None:
            return spec
        given = {**spec.provider_options, "chat_template": text}
        return spec.model_copy(update={"provider_options": given})

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        plan = super().plan(spec, train)
        options = self._options(spec)
        given = options.model_dump(exclude_defaults=True, exclude={"pull"})
        fields = (
            *method_fields(plan.fields, spec.method),
            *(_planned(name, value) for name, value in given.items()),
        )
        lacks = tuple(missing_packages(options.report_to))
        update: dict[str, Any] = {"fields": fields, "warnings": (*plan.warnings, *lacks)}
        if options.pull and not is_pulled(spec.model, home=self.context.home):
            update["notes"] = (self._pull_note(spec),)
            return plan.model_copy(update=update)
        base = self._base(spec)
        model, found = base.resolve(), base.trainability()
        update["notes"] = (
            *self._base_model_notes(model),
            *base.notes(model.path, found.adapted),
            *process_notes(options, os.environ),
            *self._portability_notes(spec),
        )
        update["warnings"] += tuple(base.warnings(model.path))
        if found.unknown is not None:
            warning = f"whether {spec.model} can be trained is not known: {found.unknown}"
            update["warnings"] += (warning,)
        return plan.model_copy(update=update)

    def with_memory(self, plan: Plan, spec: JobSpec, lengths: RowLengths | None) -> Plan:
        folder = local_folder(spec.model, self.context.home)
        if folder is None:  # it is not here yet
            return plan
        options, tokens = self._options(spec), self._base(spec).token_ids(folder)
        longest = self.max_length_for(spec) or RunHyperparameters().max_length
        asked = asked_of(plan, spec, options, lengths, longest, tokens)
        return with_memory(plan, spec, options, folder, asked, self.context.home)

    def _pull_note(self, spec: JobSpec) -> str:
        size = pull_size(spec.model, home=self.context.home)
        much = "its size is not known" if size is None else f"about {size / 1e6:,.0f} MB"
        return f"base model {spec.model} is not here yet; create would pull it first: {much}"

    def _base_model_notes(self, model: ResolvedModel) -> builtins.list[str]:
        """The base model's name, licence and revision."""
        notes = [f"base model {model.name}" + (f" ({model.license})" if model.license else "")]
        if model.revision:
            notes.append(f"revision {model.revision}")
        return [*notes, *training_notes(model.path)]

    def _portability_notes(self, spec: JobSpec) -> Iterator[str]:
        """Yield which programs will not take the adapter, where its settings decide that."""
        if spec.adapter is not None:
            tokens = self._options(spec).add_tokens
            warning = adapter_warning(ModelFacts.of_lora(spec.adapter, added_tokens=tokens))
            if warning is not None:
                yield warning

    def _options(self, spec: JobSpec) -> LocalOptions:
        """The options of a job. Raises `Unsupported` for unknown ones, `SpecError` for a bad value."""
        unknown = sorted(set(spec.provider_options) - set(LocalOptions.model_fields))
        if unknown:
            raise Unsupported(
                f"local does not know provider_options {', '.join(unknown)}",
                where="backend local, before anything was started",
                hint=f"it takes {', '.join(LocalOptions.model_fields)}",
                submitted="no",
            )
        try:
            options = LocalOptions.model_validate(dict(spec.provider_options))
        except ValidationError as error:
            raise spec_error(error, where="provider_options of local") from None
        if options.chat_template is None:
            return options
        return options.model_copy(update={"chat_template": template_text(options.chat_template)})

    def fetch_base_model(self, spec: JobSpec) -> None:
        """Pull the base model where `pull=True` allows it and it is not here."""
        if self._options(spec).pull:
            self._base(spec).resolve()

    def tokenizer_for(self, spec: JobSpec) -> Path | None:
        """The base model's folder; None when it is not here or has no fast tokenizer."""
        if importlib.util.find_spec("tokenizers") is None:
            return None
        base = self._base(spec)
        if not base.is_here:
            return None
        folder = base.resolve().path
        return base.tokenizer(folder) if (folder / "tokenizer.json").is_file() else None

    def max_length_for(self, spec: JobSpec) -> int | None:
        """`max_length` in tokens, or the model's number of positions where that is less."""
        self._options(spec)  # refuses what it does not know
        asked = super().max_length_for(spec)
        folder = local_folder(spec.model, self.context.home)
        positions = None if folder is None else position_limit(folder)
        return min((n for n in (asked, positions) if n is not None), default=None)

    def needs_validation(self, spec: JobSpec) -> str | None:
        """The options that compare evaluations."""
        options = self._options(spec)
        if not options.needs_validation:
            return None
        return "early_stopping_patience" if options.early_stopping_patience else "keep_best"

    def truncates(self, spec: JobSpec) -> bool:
        """The option `truncate`."""
        return self._options(spec).truncate

    def speed_of(self, spec: JobSpec) -> float | None:
        """Tokens per second of the newest run here that succeeded on this base model.

        A run with the same kind of adapter is preferred. None when there is no such run.
        """
        kind = adapter_kind(spec)
        other: float | None = None
        for path in sorted(self._runs.glob("ftj_*"), reverse=True)[:_RUNS_READ]:
            found = speed_of_run(path, spec.model)
            if found is not None and found[0] == kind:
                return found[1]
            if found is not None and other is None:
                other = found[1]
        return other

    # --- the job ---

    @property
    def _runs(self) -> Path:
        return self.context.home / "runs"

    def _open(self, provider_job_id: str) -> RunDir:
        if not JOB_ID.match(provider_job_id):
            raise NotFound(
                f"local has no run {provider_job_id!r}",
                where=str(self._runs),
                hint="`ftsdk list --provider local` shows the runs",
            )
        return RunDir(self._runs / provider_job_id)

    def submit(self, request: SubmitRequest) -> RemoteJob:
        """Write the run directory and start its trainer; the same job twice is one run."""
        path = self._runs / request.job_id
        try:
            if (path / "spec.json").is_file():
                run = RunDir(path)
            else:
                parent = self._base(request.spec).parent()
                run = RunDir.create(
                    path,
                    self._run_spec(request),
                    train=request.train,
                    validation=request.validation,
                    parent=None if parent is None else parent.weights,
                )
            run.start()
        except OSError as error:
            raise StoreError(
                f"The run directory cannot be written: {error.strerror or error}",
                where=str(path),
                hint="free some space, or set FTSDK_HOME to another disk",
                submitted="no",
                retryable=True,
            ) from error
        return remote_job(run)

    def _run_spec(self, request: SubmitRequest) -> RunSpec:
        base = self._base(request.spec)
        spec, model = request.spec, base.resolve()
        self.check(spec)
        adapter = spec.adapter
        return RunSpec(
            job_id=request.job_id,
            base_model=BaseModelRef(
                path=model.path,
                name=model.name,
                revision=model.revision,
                sha256=model.sha256,
                published_as=model.published_as,
                commit=model.commit,
            ),
            adapter=None if adapter is None else RunAdapter.model_validate(adapter.model_dump()),
            parent=base.parent_ref(),
            method=spec.method,
            hyperparameters=RunHyperparameters.of(spec.hyperparameters, spec.method),
            seed=spec.seed,
            options=self._options(spec).for_run(),
        )

    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        """The run directory of this job, once its trainer was started."""
        path = self._runs / request.job_id
        if not (path / "spec.json").is_file():
            return []
        run = RunDir(path)
        return [] if run.read_state().phase == "not_started" else [remote_job(run)]

    def get(self, provider_job_id: str) -> RemoteJob:
        return remote_job(self._open(provider_job_id))

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        names = sorted((p.name for p in self._runs.glob("ftj_*")), reverse=True)
        for name in [n for n in names if JOB_ID.match(n)][:limit]:
            if (self._runs / name / "spec.json").is_file():
                yield remote_job(RunDir(self._runs / name))

    def cancel(self, provider_job_id: str) -> None:
        self._open(provider_job_id).request_cancel()

    def resume(self, provider_job_id: str) -> RemoteJob:
        run = self._open(provider_job_id)
        if not run.resume() and run.read_state().phase == "succeeded":
            raise UsageError(
                "The run has succeeded; there is nothing to resume",
                where=f"run {provider_job_id}",
                hint=f"ftsdk chat {provider_job_id}",
            )
        return remote_job(run)

    def delete(self, provider_job_id: str) -> None:
        """Remove the whole run directory, its result and checkpoints included."""
        run = self._open(provider_job_id)
        if run.read_state().alive:
            raise UsageError(
                "The run is still training",
                where=f"run {provider_job_id}",
                hint=f"ftsdk cancel {provider_job_id} first",
            )
        aside = run.path.with_name(f".{run.path.name}.{secrets.token_hex(4)}.tmp")
        run.path.rename(aside)
        shutil.rmtree(aside)

    # --- the records of a run ---

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        run = self._open(provider_job_id)
        return [event_of(provider_job_id, raw) for raw in run.read_events(after)]

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        """By step; a step that a resumed run trained again replaces the earlier one."""
        return metric_points(self._open(provider_job_id).read_events(0))

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        run = self._open(provider_job_id)
        return [checkpoint_of(provider_job_id, info) for info in run.checkpoints()]

    def checkpoint_model(self, provider_job_id: str, checkpoint: Checkpoint) -> ModelHandle:
        """Return the model of a kept checkpoint, once the run has its result."""
        run = self._finished(provider_job_id)
        return checkpoint_of_run(run, provider_job_id, self.name, checkpoint.step).bound_to(self)

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        return self._open(provider_job_id).log_tail(10_000 if tail is None else tail)

    # --- the result ---

    def model(self, provider_job_id: str) -> ModelHandle:
        run = self._finished(provider_job_id)
        return model_of(run, provider_job_id, self.name).bound_to(self)

    def _finished(self, provider_job_id: str) -> RunDir:
        """A run that has its result. Raises `NotReady`."""
        run = self._open(provider_job_id)
        phase = run.read_state().phase
        if phase != "succeeded":
            raise self.not_ready(phase, provider_job_id)
        return run

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Answer on this machine; the model is loaded at the first call and kept."""
        return self._chat(handle, messages, options, tuned=True)

    def _chat(
        self,
        handle: ModelHandle,
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
        *,
        tuned: bool,
    ) -> ChatAnswer:
        folder = existing_result(handle)
        if self._workers is None or options.get("device") is not None:
            return inference.chat(folder, messages, options, tuned=tuned)
        inference.check_options(options)
        return self._workers.chat(folder, messages, options, tuned=tuned)

    def chat_many(
        self,
        handle: ModelHandle,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = 8,
        on_outcome: Callable[[ChatOutcome], None] | None = None,
    ) -> Iterator[ChatOutcome]:
        """Answer in batches of up to `concurrency`, where that changes no answer."""
        require_concurrency(concurrency)
        return inference.chat_many(
            existing_result(handle), requests, at_once=concurrency, on_outcome=on_outcome
        )

    def chat_base(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        return self._chat(handle, messages, options, tuned=False)

    def tokenizer_of(self, handle: ModelHandle, *, base: bool = False) -> str:
        """Return a hash of what decides the tokens of a text."""
        return losses.tokenizer_hash(existing_result(handle), tuned=not base)

    def answer_losses(
        self, handle: ModelHandle, rows: Iterable[dict[str, Any]], *, base: bool = False
    ) -> Iterator[AnswerLoss | None]:
        """Yield the loss of each row's last answer, in nats per token."""
        return losses.answer_losses(existing_result(handle), rows, tuned=not base)

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        return copy_result(existing_result(handle), folder)


def _planned(name: str, value: Any) -> PlannedField:
    """An option as the plan shows it; of a template its size and digest."""
    if name == "chat_template":
        digest = hashlib.sha256(value.encode()).hexdigest()
        value = f"{len(value):,} characters, SHA-256 {digest[:12]}…"
    return PlannedField(name=f"options.{name}", asked=value, sent=value)
