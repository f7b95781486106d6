"""Fine-tuning on this machine: each job is a run directory with a trainer process of its own.

The application and the trainer meet only in the run directory, so a run outlives whoever started
it, and whoever looks is told the truth: the lock says whether it lives, the outcome how it ended.
"""

from __future__ import annotations

import builtins
import datetime as dt
import importlib.util
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.backends.base import (
    Backend,
    Capabilities,
    FindBy,
    Range,
    SubmitRequest,
    adapter_kind,
)
from ftsdk.backends.local.models import ResolvedModel, is_pulled, resolve_model
from ftsdk.backends.local.rundir import RunDir, RunState
from ftsdk.clock import parse_time
from ftsdk.dataset import Dataset
from ftsdk.errors import NotFound, StoreError, Unsupported, UsageError
from ftsdk.ids import JOB_ID, submission_tag
from ftsdk.records import (
    ChatAnswer,
    Checkpoint,
    Cost,
    Event,
    JobStatus,
    MetricPoint,
    ModelHandle,
    ModelKind,
    Plan,
    PlannedField,
    Progress,
    RemoteJob,
)
from ftsdk.spec import JobSpec

__all__ = ["LocalBackend"]

_STATUS = {
    "not_started": JobStatus.QUEUED,
    "starting": JobStatus.QUEUED,
    "validating": JobStatus.VALIDATING,
    "running": JobStatus.RUNNING,
    "finalizing": JobStatus.FINALIZING,
    "succeeded": JobStatus.SUCCEEDED,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
    "interrupted": JobStatus.PAUSED,
}
OPTION_DEFAULTS: Mapping[str, Any] = {
    "device": "auto",
    "dtype": "auto",
    "threads": None,
    "checkpoint_every_steps": None,
    "checkpoint_every_s": 120,
    "keep_checkpoints": 2,
    "eval_every_steps": None,
    "cancel_grace_s": 30,
    "truncate": False,
    "concurrent": False,
}
"""What `provider_options` may hold here, and what it is when it does not. Seconds, steps, names."""
_PULL = "pull"
_RUNS_LOOKED_AT = 200
_KINDS = frozenset({"status", "progress", "metric", "checkpoint", "log", "warning", "error"})
_FREE = Cost(basis="billed", low=Decimal(0), high=Decimal(0), source="your own machine")


class LocalBackend(Backend):
    """See the module's docstring.

    `provider_options`: those of `OPTION_DEFAULTS`, and `pull=True` to fetch a base model that is
    not here yet.
    """

    name = "local"
    capabilities = Capabilities(
        methods=frozenset({"sft"}),
        adapters=frozenset({"lora", "nf4", "full"}),
        formats=frozenset({"chat"}),
        hyperparameters={
            "epochs": Range(low=0.001, high=10_000, default=3.0),
            "max_steps": Range(low=1),
            "learning_rate": Range(low=1e-9, high=10.0, default=2e-4),
            "batch_size": Range(low=1, high=65_536, default=8),
            "gradient_accumulation_steps": Range(low=1, high=65_536, default=1),
            "max_length": Range(low=2, high=1_048_576, default=1024),
            "warmup_ratio": Range(low=0, high=1, default=0.03),
            "schedule": Range(choices=("constant", "linear", "cosine"), default="cosine"),
            "weight_decay": Range(low=0, high=10, default=0.0),
            "max_grad_norm": Range(low=0, default=1.0),
        },
        find_by=FindBy.RUN_DIRECTORY,
        resend_is_safe=True,  # the run directory is the job's own: starting it twice is one run
        can_cancel=True,
        can_resume=True,
        can_delete=True,
        can_download=True,
        can_chat=True,
        has_events=True,
        has_metrics=True,
        has_checkpoints=True,
        has_logs=True,
        price="free",
        poll_s=0.5,
        extra="local",
        note="this machine: CPU or CUDA; any causal model in safetensors",
    )

    # --- before ---

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        plan = super().plan(spec, train)
        options = self._options(spec)
        model = self._resolve(spec)
        fields = [
            *plan.fields,
            *(
                PlannedField(name=f"options.{name}", asked=value, sent=value)
                for name, value in options.items()
                if value != OPTION_DEFAULTS[name]
            ),
        ]
        notes = [f"base model {model.name}" + (f" ({model.license})" if model.license else "")]
        if model.revision:
            notes.append(f"revision {model.revision}")
        return plan.model_copy(update={"fields": tuple(fields), "notes": tuple(notes)})

    def _options(self, spec: JobSpec) -> dict[str, Any]:
        given = dict(spec.provider_options)
        given.pop(_PULL, None)
        unknown = sorted(set(given) - set(OPTION_DEFAULTS))
        if unknown:
            raise Unsupported(
                f"local does not know provider_options {', '.join(unknown)}",
                where="backend local, before anything was started",
                mend=f"it takes {', '.join([*OPTION_DEFAULTS, _PULL])}",
                submitted="no",
            )
        return {**OPTION_DEFAULTS, **given}

    def _resolve(self, spec: JobSpec) -> ResolvedModel:
        return resolve_model(
            spec.model,
            home=self.context.home,
            allow_pull=bool(spec.provider_options.get(_PULL, False)),
        )

    def tokenizer_for(self, spec: JobSpec) -> Path | None:
        """The base model's folder; None when it is not here, or has no fast tokenizer.

        With `pull=True` the model is fetched now, as `plan` would.
        """
        pull = bool(spec.provider_options.get(_PULL, False))
        if importlib.util.find_spec("tokenizers") is None:
            return None
        if not pull and not is_pulled(spec.model, home=self.context.home):
            return None
        folder = self._resolve(spec).path
        return folder if (folder / "tokenizer.json").is_file() else None

    def max_length_for(self, spec: JobSpec) -> int | None:
        """As the base says; None when the option `truncate` lets longer rows be cut."""
        return None if self._options(spec)["truncate"] else super().max_length_for(spec)

    def speed_of(self, spec: JobSpec) -> float | None:
        """Of the newest run here that succeeded on this base model, with a like adapter if any."""
        kind = adapter_kind(spec)
        other: float | None = None
        for path in sorted(self._runs.glob("ftj_*"), reverse=True)[:_RUNS_LOOKED_AT]:
            found = _speed(path, spec.model)
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
                mend="`ftsdk list --provider local` shows the runs",
            )
        return RunDir(self._runs / provider_job_id)

    def submit(self, request: SubmitRequest) -> RemoteJob:
        """Write the run directory, whole, and start its trainer; the same job twice is one run."""
        path = self._runs / request.job_id
        try:
            if (path / "spec.json").is_file():
                run = RunDir(path)
            else:
                run = RunDir.create(
                    path,
                    self._run_spec(request),
                    train=request.train,
                    validation=request.validation,
                )
            run.start()
        except OSError as error:
            raise StoreError(
                f"The run directory cannot be written: {error.strerror or error}",
                where=str(path),
                mend="free some space, or set FTSDK_HOME to another disk",
                submitted="no",
                retryable=True,
            ) from error
        return self._tell(run)

    def _run_spec(self, request: SubmitRequest) -> dict[str, Any]:
        spec, model = request.spec, self._resolve(request.spec)
        sent = {field.name: field.sent for field in super().plan(spec).fields}
        adapter = spec.adapter
        return {
            "job_id": request.job_id,
            "base_model": {
                "path": str(model.path),
                "name": model.name,
                "revision": model.revision,
                "sha256": model.sha256,
            },
            "method": spec.method,
            "adapter": None
            if adapter is None
            else {
                "kind": "lora",
                "rank": adapter.rank,
                "alpha": adapter.alpha,
                "dropout": adapter.dropout,
                "target_modules": adapter.target_modules
                if isinstance(adapter.target_modules, str)
                else list(adapter.target_modules),
                "quantize": adapter.quantize,
            },
            "hyperparameters": {"max_steps": None, **sent},
            "seed": spec.seed,
            "options": self._options(spec),
        }

    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        """The run directory of this very job, once its trainer was started."""
        path = self._runs / request.job_id
        if not (path / "spec.json").is_file():
            return []
        run = RunDir(path)
        return [] if run.read_state().phase == "not_started" else [self._tell(run)]

    def get(self, provider_job_id: str) -> RemoteJob:
        return self._tell(self._open(provider_job_id))

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        names = sorted((p.name for p in self._runs.glob("ftj_*")), reverse=True)
        for name in [n for n in names if JOB_ID.match(n)][:limit]:
            if (self._runs / name / "spec.json").is_file():
                yield self._tell(RunDir(self._runs / name))

    def _tell(self, run: RunDir) -> RemoteJob:
        state, spec = run.read_state(), run.spec
        status = _STATUS[state.phase]
        if state.cancelling and not status.is_final:
            status = JobStatus.CANCELLING
        outcome = dict(state.outcome or {})
        error = None
        if status is JobStatus.FAILED:
            error = {
                "message": state.message,
                "log_tail": list(outcome.get("log_tail", ())),
                **{k: outcome.get(k) for k in ("exit_code", "signal")},
                **dict(state.error or {}),
            }
        ended = outcome.get("finished_at")
        return RemoteJob(
            provider_job_id=spec["job_id"],
            status=status,
            raw_status=state.phase,
            model=spec["base_model"]["name"],
            tag=submission_tag(spec["job_id"]),
            message=_message(run, state),
            error=error,
            progress=_progress(state),
            created_at=parse_time(spec["created_at"]),
            finished_at=parse_time(ended) if ended else None,
            trained_tokens=outcome.get("trained_tokens"),
            result_model=str(run.result_path) if status is JobStatus.SUCCEEDED else None,
            cost=_FREE,
            raw={"run": str(run.path), "attempt": state.attempt, "outcome": outcome},
        )

    def cancel(self, provider_job_id: str) -> None:
        self._open(provider_job_id).request_cancel()

    def resume(self, provider_job_id: str) -> RemoteJob:
        run = self._open(provider_job_id)
        if not run.resume() and run.read_state().phase == "succeeded":
            raise UsageError(
                "The run has succeeded; there is nothing to resume",
                where=f"run {provider_job_id}",
                mend=f"ftsdk chat {provider_job_id}",
            )
        return self._tell(run)

    def delete(self, provider_job_id: str) -> None:
        """Remove the whole run directory, its result and checkpoints included."""
        run = self._open(provider_job_id)
        if run.read_state().alive:
            raise UsageError(
                "The run is still at work",
                where=f"run {provider_job_id}",
                mend=f"ftsdk cancel {provider_job_id} first",
            )
        aside = run.path.with_name(f".{run.path.name}.{secrets.token_hex(4)}.tmp")
        run.path.rename(aside)
        shutil.rmtree(aside)

    # --- what a run tells ---

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        return [
            Event(
                id=f"{provider_job_id}:{raw['seq']}",
                seq=raw["seq"],
                time=parse_time(raw["time"]),
                kind=raw["kind"] if raw["kind"] in _KINDS else "log",
                message=_line(raw),
                data={k: v for k, v in raw.items() if k not in ("seq", "time", "kind")},
            )
            for raw in self._open(provider_job_id).read_events(after)
        ]

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        """By step; what a resumed run trained again replaces what it had told before."""
        merged: dict[int, dict[str, Any]] = {}
        for raw in self._open(provider_job_id).read_events(0):
            if raw["kind"] == "metric":
                merged.setdefault(int(raw["step"]), {}).update(raw)
        known = set(MetricPoint.model_fields) - {"raw"}
        return [
            MetricPoint(**{k: v for k, v in raw.items() if k in known})
            for _, raw in sorted(merged.items())
        ]

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        return [
            Checkpoint(
                id=f"{provider_job_id}/step-{info.step}",
                step=info.step,
                path=info.path,
                created_at=parse_time(info.time) if info.time else None,
                raw={"size_bytes": info.size_bytes},
            )
            for info in self._open(provider_job_id).checkpoints()
        ]

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        return self._open(provider_job_id).log_tail(10_000 if tail is None else tail)

    # --- the result ---

    def model(self, provider_job_id: str) -> ModelHandle:
        run = self._open(provider_job_id)
        state = run.read_state()
        if state.phase != "succeeded":
            raise self.not_ready(state.phase, provider_job_id)
        facts = _facts(run.result_path)
        base = run.spec["base_model"]
        adapter = facts.get("adapter")
        weights = sum(p.stat().st_size for p in run.result_path.glob("*.safetensors"))
        return ModelHandle(
            kind=ModelKind.MERGED if adapter is None else ModelKind.ADAPTER,
            provider=self.name,
            id=f"local:{provider_job_id}",
            base_model=base["name"],
            base_revision=base.get("revision"),
            chat_template_sha256=facts.get("chat_template_sha256"),
            adapter=adapter,
            path=run.result_path,
            size_bytes=weights,
            callable_now=adapter is None or Path(base["path"]).is_dir(),
            running_cost=_FREE,
            job_id=run.spec["job_id"],
            raw={**facts, "base_path": base["path"]},
        ).bound_to(self)

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Answer on this machine; the model is loaded at the first call and kept."""
        return self._generate(handle, messages, options, tuned=True)

    def chat_base(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        return self._generate(handle, messages, options, tuned=False)

    def _generate(
        self,
        handle: ModelHandle,
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
        *,
        tuned: bool,
    ) -> ChatAnswer:
        from ftsdk.backends.local.infer import chat

        return chat(_existing(handle), messages, options, tuned=tuned)

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        source = _existing(handle)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                "The folder is not empty, and nothing is overwritten",
                where=str(folder),
                mend="give a new or empty folder",
            )
        try:
            shutil.copytree(source, folder, dirs_exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The result cannot be copied: {error}",
                where=str(folder),
                mend="check the space and the permissions there; the result itself is intact",
            ) from error
        return folder


def _speed(path: Path, model: str) -> tuple[str, float] | None:
    """`(adapter kind, tokens a second)` of a run that succeeded on `model`; None for any other."""
    try:
        spec = json.loads((path / "spec.json").read_bytes())
        outcome = json.loads((path / "outcome.json").read_bytes())
    except (OSError, ValueError):  # no run, one that goes on, or one that is damaged
        return None
    seconds, tokens = outcome.get("train_s") or 0, outcome.get("trained_tokens") or 0
    if outcome.get("outcome") != "succeeded" or spec["base_model"]["name"] != model:
        return None
    if seconds <= 0 or tokens <= 0:
        return None
    adapter = spec.get("adapter")
    kind = "full" if adapter is None else adapter.get("quantize") or "lora"
    return kind, tokens / seconds


def _existing(handle: ModelHandle) -> Path:
    if handle.path is None or not handle.path.is_dir():
        raise NotFound(
            "The result's folder is gone",
            where=str(handle.path),
            mend="the run was deleted or moved; train it again",
        )
    return handle.path


def _facts(result: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((result / "ftsdk.json").read_bytes())
    return facts


def _message(run: RunDir, state: RunState) -> str:
    if state.phase != "interrupted":
        return state.message
    kept = run.checkpoints()
    last = f"from step {kept[-1].step}" if kept else "from the beginning"
    return (
        "its trainer is gone without a word (the machine was restarted, or all its processes were "
        f"killed); resume continues it {last}"
    )


def _progress(state: RunState) -> Progress | None:
    known = {k: v for k, v in state.progress.items() if k in Progress.model_fields}
    return Progress(**known) if known else None


def _line(raw: Mapping[str, Any]) -> str:
    """One event as one plain line."""
    if raw.get("message"):
        return str(raw["message"])
    kind, step = raw["kind"], raw.get("step")
    if kind == "metric":
        if raw.get("validation_loss") is not None:
            return f"step {step}  validation loss {raw['validation_loss']:.4f}"
        return f"step {step}  loss {raw.get('train_loss', float('nan')):.4f}"
    if kind == "progress":
        left = dt.timedelta(seconds=round(raw.get("eta_s") or 0))
        speed = raw.get("tokens_per_s") or 0
        return f"step {step}/{raw.get('total_steps')}  {speed:,.0f} tok/s  {left} left"
    if kind == "checkpoint":
        return f"checkpoint at step {step}"
    return str(raw.get("status", ""))
