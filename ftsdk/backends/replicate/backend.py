"""`ReplicateBackend`: trainings of any trainable model version.

A create is one POST, after calls that spend nothing: the trainer's version and its input schema,
the destination, the upload. A training whose create reply was lost is found by its data URL, which
ends in the job's tag (`#ftsdk=…`; a fragment never reaches the server that holds the data) and is
returned in `input`. Whether Replicate keeps fragments there was not tried on a live account.
"""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.artifacts.download import Source
from ftsdk.backends.base import Context, SubmitRequest
from ftsdk.backends.capabilities import Capabilities, FindBy, Range
from ftsdk.backends.chat_outcomes import in_one_piece
from ftsdk.backends.hosted import HostedBackend
from ftsdk.backends.hosted.live.plan import Plan as LivePlan
from ftsdk.backends.refusals import refusals
from ftsdk.backends.replicate import events, job_mapping, live
from ftsdk.backends.replicate import request as request_body
from ftsdk.backends.replicate.chat import Predictions
from ftsdk.backends.replicate.files import MAX_FILE_BYTES, Files, with_tag
from ftsdk.backends.replicate.input_schema import schema_faults
from ftsdk.backends.replicate.limits import LIMITS
from ftsdk.backends.replicate.logs import log_lines
from ftsdk.backends.replicate.prepare import MODEL, Preparation
from ftsdk.backends.replicate.saved_requests import SavedRequests
from ftsdk.backends.replicate.trainer import Options, options_of
from ftsdk.backends.replicate.transport import PACE_REFUSAL, SERVICE, Transport, known_id
from ftsdk.catalogue.hosting_cost import hosting_cost
from ftsdk.catalogue.training_cost import estimate_training, hourly_rate
from ftsdk.dataset import Dataset
from ftsdk.errors import NotFound, SpecError, UnexpectedResponse, Unsupported
from ftsdk.types.cost import Cost
from ftsdk.types.events import Event, MetricPoint
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus

_DOCS = "replicate.com/docs and the OpenAPI text of 2026-03-16"
_ULID = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_A_DAY = dt.timedelta(days=1)


def _mapped(name: str, **bounds: Any) -> Range:
    return Range(**bounds, sent_as=f"input.<{name}>", source=_DOCS)


class ReplicateBackend(HostedBackend[Transport, tuple[str, dict[str, Any], Cost]]):
    """Trainings at Replicate."""

    name = "replicate"
    limits = LIMITS
    capabilities = Capabilities(
        methods=frozenset({"sft"}),
        adapters=frozenset({"lora", "full"}),
        formats=frozenset({"chat", "text"}),
        hyperparameters={
            "epochs": _mapped("epochs", low=0),
            "max_steps": _mapped("max_steps", low=1),
            "learning_rate": _mapped("learning_rate", low=0),
            "batch_size": _mapped("batch_size", low=1),
            "gradient_accumulation_steps": _mapped("gradient_accumulation_steps", low=1),
            "max_length": _mapped("max_length", low=1),
            "warmup_ratio": _mapped("warmup_ratio", low=0, high=1),
            "schedule": _mapped("schedule", choices=("constant", "linear", "cosine")),
            "weight_decay": _mapped("weight_decay", low=0),
            "max_grad_norm": _mapped("max_grad_norm", low=0),
        },
        find_by=FindBy.INPUT,
        pace_refusal=PACE_REFUSAL,
        can_cancel=True,
        can_download=True,
        can_chat=True,
        can_chat_many=True,
        has_events=True,
        has_metrics=True,
        has_logs=True,
        price="catalogue",
        poll_s=10.0,
        max_file_bytes=MAX_FILE_BYTES,
        key_variables=SERVICE.keys,
        extra="replicate",
        packages=("replicate",),
        note="the model is a trainer, owner/name:version; provider_options.trainer names its "
        "inputs, provider_options.destination where the result goes",
        unconfirmed={"find_by": "the data URL in a training's input keeps its fragment"},
    )

    secrets_hint = "leave it out: Replicate would also show it in the training's input"
    refusal_hint = (
        "provider_options are given with --set NAME=VALUE; leave out what the trainer does not take, "
        "or declare it in provider_options.trainer"
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context, Transport(context))
        self._preparation = Preparation(self.transport)
        self._files = Files(self.transport, context.home)
        self._predictions = Predictions(self.transport, context.clock)
        self._saved = SavedRequests(context.home, context.options)

    # --- before ---

    def _options_of(self, spec: JobSpec) -> tuple[Options, list[str]]:
        return options_of(spec, self.context.options)

    def check(self, spec: JobSpec) -> None:
        self._refuse_secrets(spec)
        asked, faults = self._options_of(spec)
        if MODEL.match(spec.model) is None:
            faults.insert(0, f"model {spec.model!r} is not owner/name or owner/name:version")
        faults = [
            *refusals(self.name, self.capabilities, spec),
            *faults,
            *request_body.faults_of(spec, asked),
        ]
        if asked.destination is not None:
            self._refuse(faults, spec)
            return
        needed = "provider_options.destination is needed: owner/name of the model to make"
        self._refuse([*faults, needed] if faults else (), spec)
        raise SpecError(
            needed,
            where=f"backend {self.name}, {spec.model}, before anything was sent",
            hint="--set destination=me/tuned (in Python provider_options={'destination': …})",
            submitted="no",
        )

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        plan = super().plan(spec, train)
        asked, _ = self._options_of(spec)
        fields = [
            one.model_copy(update={"sent_as": f"input.{asked.trainer.inputs[one.name]}"})
            for one in plan.fields
            if one.name in asked.trainer.inputs
        ]
        return plan.model_copy(
            update={
                "fields": (*fields, *request_body.planned(spec, asked)),
                "notes": (
                    *plan.notes,
                    "a training is billed by the seconds it runs on the trainer's hardware",
                ),
            }
        )

    def estimate(self, spec: JobSpec, train: Dataset | None = None) -> Cost:
        """Return seconds (`provider_options.seconds`) times the hardware's price, where both are
        known.
        """
        asked, _ = self._options_of(spec)
        return estimate_training(
            "replicate",
            spec.model.partition(":")[0],
            seconds=asked.seconds,
            hardware=asked.hardware,
            today=self.clock.now().date(),
            catalogue=self.catalogue,
        )

    def training_usd_per_hour(self, spec: JobSpec) -> Decimal | None:
        """Return the price of an hour on the trainer's hardware, in US dollars."""
        asked, _ = self._options_of(spec)
        model = spec.model.partition(":")[0]
        rate = hourly_rate("replicate", model, hardware=asked.hardware, catalogue=self.catalogue)
        return None if rate is None else rate.high

    def live_plan(self) -> LivePlan:
        return live.plan()

    # --- the job ---

    def _created(
        self, request: SubmitRequest, ready: tuple[str, dict[str, Any], Cost]
    ) -> RemoteJob:
        path, body, guess = ready
        reply = self.transport.post(path, body, creates=True)
        return job_mapping.remote_job(reply, cost=guess if guess.high is not None else None)

    def _prepared(self, request: SubmitRequest) -> tuple[str, dict[str, Any], Cost]:
        """Return path and body of the create call, all checks made, and what it may cost."""
        spec = request.spec
        self.check(spec)
        asked, _ = self._options_of(spec)
        if request.validation is not None and "validation" not in asked.trainer.inputs:
            self._refuse(["validation rows are not an input of this trainer"], spec)
        owner, name, version = self._preparation.version(spec)
        place = f"/v1/models/{owner}/{name}/versions/{version}"
        schema = self.transport.get(place)
        preview = request_body.inputs_of(
            spec,
            asked,
            data="https://x.example",
            validation=None if request.validation is None else "https://x.example",
        )
        self._refuse(schema_faults(preview, schema), spec)
        self._preparation.destination(asked)
        data = asked.data_url or self._files.upload(
            request.train, asked.trainer, request.tag, "train"
        )
        validation = None
        if request.validation is not None:
            validation = self._files.upload(
                request.validation, asked.trainer, request.tag, "validation"
            )
        inputs = request_body.inputs_of(
            spec, asked, data=with_tag(data, request.tag), validation=validation
        )
        body = {"destination": asked.destination, "input": inputs, **asked.extra}
        self._saved.keep(request.tag, asked)
        return f"{place}/trainings", body, self.estimate(spec)

    def find(self, request: SubmitRequest) -> builtins.list[RemoteJob]:
        since = _time_of(request.job_id)
        found = []
        for row in self.transport.pages("/v1/trainings"):
            job = job_mapping.remote_job(row)
            if job_mapping.tag_in(row) == request.tag and job.provider_job_id:
                found.append(job)
            if since is not None and job.created_at is not None and job.created_at < since - _A_DAY:
                break  # newest first: everything beyond is older than the job
        unique = {job.provider_job_id: job for job in found}
        return sorted(unique.values(), key=_age)

    def _data(self, provider_job_id: str) -> dict[str, Any]:
        data = self.transport.get(f"/v1/trainings/{known_id(provider_job_id)}")
        if data.get("id") != provider_job_id:
            raise UnexpectedResponse(
                "Replicate sent another training than was asked for",
                where=f"Replicate, GET /v1/trainings/{provider_job_id}",
                hint="try again; if it stays so, check the base URL",
            )
        return data

    def _job(self, data: Mapping[str, Any]) -> RemoteJob:
        return job_mapping.remote_job(data, cost=self._saved.cost(data, self.last_catalogue))

    def get(self, provider_job_id: str) -> RemoteJob:
        return self._job(self._data(provider_job_id))

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        seen: set[str] = set()
        for row in self.transport.pages("/v1/trainings"):
            if limit is not None and len(seen) >= limit:
                return
            identity = row.get("id")
            if isinstance(identity, str) and identity not in seen:
                seen.add(identity)
                yield self._job(row)

    def get_many(self, provider_job_ids: Sequence[str]) -> Iterable[RemoteJob]:
        """Read lists while they contain several of the jobs per page; the rest singly."""
        wanted, listed = set(provider_job_ids), dict[str, RemoteJob]()
        if len(wanted) > 2:
            for number, job in enumerate(self.list(), 1):
                if job.provider_job_id in wanted:
                    listed[job.provider_job_id] = job
                if len(listed) == len(wanted) or number > 100 + 50 * len(listed):
                    break
        unread: dict[str, RemoteJob | None] = {}
        for identity in provider_job_ids:
            found = listed.get(identity)
            if found is None or not job_mapping.is_complete(found):
                unread[identity] = found
            else:
                yield found
        yield from self._read_in_turn(unread)

    def cancel(self, provider_job_id: str) -> None:
        if not self.get(provider_job_id).status.is_final:
            self.transport.post(f"/v1/trainings/{known_id(provider_job_id)}/cancel")

    # --- the course of a run ---

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        data = self._data(provider_job_id)
        record, _ = self._saved.of(data)
        return [one for one in events.events_of(data, record.logs) if one.seq > after]

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        """Return the curve, where the trainer's record describes its log; else nothing."""
        data = self._data(provider_job_id)
        record, _ = self._saved.of(data)
        return events.metrics_of(log_lines(data), record.logs)

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        lines = log_lines(self._data(provider_job_id))
        return self._tail(lines, tail)

    # --- the result ---

    def model(self, provider_job_id: str) -> ModelHandle:
        data = self._data(provider_job_id)
        job = job_mapping.remote_job(data)
        if job.status is not JobStatus.SUCCEEDED:
            raise self.not_ready(job.status)
        serving = hosting_cost(
            "replicate", str(data.get("model") or ""), self.last_catalogue
        ).cost()
        handle = job_mapping.result_handle(data, hosting=serving)
        if handle is None:
            raise NotFound(
                "The training succeeded, and Replicate has removed its result",
                where=f"Replicate, training {provider_job_id}",
                hint="look at the versions of the destination model",
            )
        record, _ = self._saved.of(data)
        facts = {
            "prompt": record.prompt,
            "system_prompt": record.system_prompt,
            "rows": record.rows,
        }
        return handle.model_copy(update={"raw": {**data, "trainer": facts}}).bound_to(self)

    @in_one_piece
    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        version = job_mapping.version_of(handle.raw)
        if version is None:
            error = self.not_ready("weights alone", handle.job_id)
            error.what = "The training produced weights but no version, so Replicate cannot run it"
            error.hint = (
                f"ftsdk download {handle.job_id or 'JOB'} FOLDER, and serve the weights elsewhere"
            )
            raise error
        return self._predictions.chat(version, handle.raw.get("trainer") or {}, messages, options)

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        """Download the weights as the trainer packed them (tar, tar.gz, tar.zst, zip), unpacked."""
        url = job_mapping.weights_of(handle.raw)
        if url is None:
            raise Unsupported(
                "The trainer returned no address of weights",
                where=f"model {handle.id}",
                hint="run the version at Replicate",
            )
        return self._download(
            handle, Source(url, allow_loopback=self.transport.is_loopback), folder
        )


def _time_of(job_id: str) -> dt.datetime | None:
    """Return when a job was journaled: ten characters of its ULID count milliseconds."""
    text = job_id.removeprefix("ftj_")[:10].upper()
    if len(text) != 10 or not set(text) <= set(_ULID):
        return None
    milliseconds = 0
    for letter in text:
        milliseconds = milliseconds * 32 + _ULID.index(letter)
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _age(job: RemoteJob) -> tuple[float, str]:
    return (job.created_at.timestamp() if job.created_at else 0.0, job.provider_job_id)
