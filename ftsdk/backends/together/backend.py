"""`TogetherBackend`: managed fine-tuning at Together AI.

A create is one POST. Before it come only calls that spend nothing: the model's limits, the upload
(the same bytes are stored once), Together's own check of the rows, and its quote. A job whose
create reply was lost is found by its tag in the suffix. A job that the platform restarted under a
new id is followed there, whichever of its ids is asked for.
"""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.artifacts.download import Source
from ftsdk.backends.base import Context, SubmitRequest
from ftsdk.backends.capabilities import Capabilities, FindBy
from ftsdk.backends.chat_outcomes import in_one_piece
from ftsdk.backends.hosted import HostedBackend
from ftsdk.backends.hosted.live.plan import Plan as LivePlan
from ftsdk.backends.refusals import adapter_kind, refusals
from ftsdk.backends.together import events, job_mapping, limits, live
from ftsdk.backends.together import request as request_body
from ftsdk.backends.together.chat import ServedModels
from ftsdk.backends.together.cost import billed, never_trained_cost, quoted_cost
from ftsdk.backends.together.endpoints import Endpoints
from ftsdk.backends.together.files import Files
from ftsdk.backends.together.job_reads import Jobs, age_of
from ftsdk.backends.together.transport import PACE_REFUSAL, SERVICE, Transport, known_id
from ftsdk.catalogue.hosting_cost import hosting_cost
from ftsdk.catalogue.training_cost import estimate_training, token_range
from ftsdk.dataset import Dataset
from ftsdk.dataset.provider_limits import Limits
from ftsdk.errors import (
    NotFound,
    Rejected,
    UnknownModel,
    Unsupported,
)
from ftsdk.types.cost import Cost
from ftsdk.types.events import Checkpoint, Event, MetricPoint
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.names import nearest

_MAX_FILE_BYTES = int(50.1 * 2**30)
_BYTES_PER_TOKEN = 4


class TogetherBackend(HostedBackend[Transport, tuple[dict[str, Any], Cost]]):
    """Fine-tuning at Together AI."""

    name = "together"
    capabilities = Capabilities(
        methods=frozenset({"sft", "dpo"}),
        adapters=frozenset({"lora", "full"}),
        formats=frozenset({"chat", "preference", "text", "tokens"}),
        hyperparameters=request_body.HYPERPARAMETERS,
        find_by=FindBy.SUFFIX,
        pace_refusal=PACE_REFUSAL,
        can_cancel=True,
        can_delete=True,
        can_deploy=True,
        can_download=True,
        can_chat=True,
        can_chat_many=True,
        json_mode=True,
        has_events=True,
        has_metrics=True,
        has_checkpoints=True,
        has_logs=True,
        price="quote",
        poll_s=10.0,
        max_file_bytes=_MAX_FILE_BYTES,
        key_variables=SERVICE.keys,
        extra="together",
        packages=("together",),
        note="results are called through a dedicated endpoint, billed by the minute: ftsdk deploy",
        unconfirmed={
            "find_by": "a list of jobs shows the suffix that was sent, or an output name with it",
            "price": "the unit of a job's `total_price`, which is not documented",
        },
    )

    secrets_hint = "leave it out; WANDB_API_KEY and HF_TOKEN are read when the job is sent"

    def __init__(self, context: Context) -> None:
        super().__init__(context, Transport(context))
        self._jobs = Jobs(self.transport)
        self._files = Files(self.transport, context.clock, context.home)
        endpoints = Endpoints(self.transport, self.transport.project_id())
        self._models = ServedModels(endpoints, context.clock)

    # --- before ---

    @classmethod
    def limits_for(cls, model: str | None = None) -> Limits:
        return limits.for_model(model)

    def check(self, spec: JobSpec) -> None:
        self._refuse(
            [*refusals(self.name, self.capabilities, spec), *request_body.faults_of(spec)], spec
        )
        self._refuse_secrets(spec)

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        plan = super().plan(spec, train)
        notes = ["Together's own quote is requested after the upload and before the job"]
        if "from_checkpoint" in spec.provider_options:
            notes.append(
                "the model of the checkpoint is compared with model= before anything is uploaded"
            )
        warnings = []
        if spec.hyperparameters.learning_rate is None and spec.adapter is not None:
            warnings.append(
                "learning_rate is not given: Together's default of 1e-5 is low for LoRA "
                "(its own command line uses 1e-3)"
            )
        return plan.model_copy(
            update={
                "fields": (*plan.fields, *request_body.planned(spec)),
                "notes": (*plan.notes, *notes),
                "warnings": (*plan.warnings, *warnings),
            }
        )

    def check_model(self, spec: JobSpec) -> None:
        self._limits(spec)

    def estimate(self, spec: JobSpec, train: Dataset | None = None) -> Cost:
        """Return a range from the catalogue; the quote comes after the upload."""
        if train is None:
            return Cost()
        if train.format == "tokenized":
            tokens = token_range(sum(len(row["input_ids"]) for row in train), "exact")
        else:
            size = sum(_text_bytes(row) for row in train)
            tokens = token_range(size // _BYTES_PER_TOKEN, "estimated")
        return estimate_training(
            "together",
            spec.model,
            method=spec.method,
            adapter_kind=adapter_kind(spec),
            tokens=tokens,
            epochs=spec.hyperparameters.epochs or 1,
            rows=train.rows,
            packed=spec.provider_options.get("packing", True) is not False,
            max_length=spec.hyperparameters.max_length,
            today=self.clock.now().date(),
            catalogue=self.catalogue,
        )

    def live_plan(self) -> LivePlan:
        return live.plan()

    # --- the job ---

    def _prepared(self, request: SubmitRequest) -> tuple[dict[str, Any], Cost]:
        """Return the body, checked by the model's limits, with its rows uploaded; and the quote."""
        spec = request.spec
        self.check(spec)
        self._check_checkpoint(spec)
        allowed = self._limits(spec)

        def body(train: str, validation: str | None) -> dict[str, Any]:
            return request_body.body_of(
                spec,
                training_file=train,
                validation_file=validation,
                suffix=request_body.suffix_of(spec.name, request.tag),
            )

        preview = body("", "" if request.validation is not None else None)
        self._refuse(request_body.faults_by_limits(preview, allowed), spec)
        train = self._files.ready(request.train, model=spec.model, method=spec.method)
        validation = None
        if request.validation is not None:
            validation = self._files.ready(request.validation, model=spec.model, method=spec.method)
        final = body(train, validation)
        return final, self._quoted(final)

    def quote(self, request: SubmitRequest) -> Cost | None:
        return self._ready_for(request)[1]

    def _created(self, request: SubmitRequest, ready: tuple[dict[str, Any], Cost]) -> RemoteJob:
        body, _ = ready
        data = self.transport.send("POST", "/v1/fine-tunes", body, creates=True, joins=True)
        return job_mapping.remote_job(data)

    def _check_checkpoint(self, spec: JobSpec) -> None:
        """Refuse a checkpoint of another model than `model`, which Together would not compare."""
        source = spec.provider_options.get("from_checkpoint")
        if source is None:
            return
        base = self._jobs.base_model_of(str(source))
        if base is not None and base.casefold() == spec.model.casefold():
            return
        if base is None:
            what = f"The model of the checkpoint {source} cannot be found at Together"
            hint = "give the id of the job that made it (ft-…), and the account's own key"
        else:
            what = f"The checkpoint {source} is of {base}, and model= names {spec.model}"
            hint = f"training goes on from the checkpoint's model: model={base!r}"
        raise Unsupported(what, where="provider_options.from_checkpoint", hint=hint, submitted="no")

    def _limits(self, spec: JobSpec) -> Mapping[str, Any]:
        """Return the model's own limits; for a job continued from another, those of its model.

        Raises `UnknownModel` when Together does not tune it.
        """
        source = spec.provider_options.get("from_checkpoint")
        name = spec.model if source is None else str(source).partition(":")[0]
        try:
            return self.transport.get("/v1/fine-tunes/models/limits", {"model_name": name})
        except NotFound as error:
            tuned = self._tuned()
            near = difflib.get_close_matches(name, tuned, n=5, cutoff=0.3) or tuned[:5]
            raise UnknownModel(
                f"Together does not tune {name!r}{nearest(name, tuned)}",
                where=f"Together, GET /v1/fine-tunes/models/limits; it tunes {len(tuned)} models",
                hint=f"names are whole, for instance {', '.join(near) or 'Qwen/Qwen3.5-9B'}",
                submitted="no",
            ) from error

    def _tuned(self) -> builtins.list[str]:
        """Return the names of the models that Together tunes."""
        names = self.transport.get("/v1/fine-tunes/models/supported").get("models")
        return [one for one in names if isinstance(one, str)] if isinstance(names, list) else []

    def _quoted(self, body: Mapping[str, Any]) -> Cost:
        """Return Together's quote. Raises `Rejected` when it is over the account's limit."""
        reply = self.transport.ask(
            "/v1/fine-tunes/estimate-price", request_body.estimate_body(body)
        )
        quote = quoted_cost(reply, self.clock.now().date())
        if reply.get("allowed_to_proceed") is False:
            raise Rejected(
                f"Together would not let the job proceed: it would cost {quote}, over the "
                f"account's limit of ${reply.get('user_limit')}",
                where="Together, POST /v1/fine-tunes/estimate-price",
                hint="add credits or raise the limit at Together, then try again",
            )
        return quote

    def find(self, request: SubmitRequest) -> builtins.list[RemoteJob]:
        tagged = [
            row
            for row in self._jobs.rows()
            if any(
                request.tag in str(row.get(name) or "").lower()
                for name in ("suffix", "model_output_name")
            )
        ]
        jobs = sorted(map(job_mapping.remote_job, tagged), key=age_of)
        if len(jobs) < 2:
            return jobs
        # A restart keeps the tag: the two are one job.
        alive = [self.get(one.provider_job_id) for one in jobs]
        return [*{one.provider_job_id: one for one in reversed(alive)}.values()][::-1]

    def get(self, provider_job_id: str) -> RemoteJob:
        """Return the job now; a restarted one under its new id, with its earlier ids."""
        current, data, job = self._jobs.followed(known_id(provider_job_id))
        job = self._billed(job, data, provider_job_id)
        if current == provider_job_id:
            return job
        before = self._jobs.known_chain(provider_job_id)[:-1]
        note = f"restarted by Together; it was {provider_job_id} before"
        return job.model_copy(
            update={
                "earlier_ids": tuple(before),
                "message": f"{note}: {job.message}" if job.message else note,
            }
        )

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        jobs = sorted(map(job_mapping.remote_job, self._jobs.rows()), key=age_of, reverse=True)
        yield from jobs[:limit]

    def get_many(self, provider_job_ids: Sequence[str]) -> Iterable[RemoteJob]:
        """Read one list; jobs it does not show completely are read singly."""
        if len(provider_job_ids) < 2:
            yield from (self.get(one) for one in provider_job_ids)
            return
        listed = {str(row["id"]): row for row in self._jobs.rows()}
        unread: dict[str, RemoteJob | None] = {}
        for identity in provider_job_ids:
            row = listed.get(identity)
            job = None if row is None else self._billed(job_mapping.remote_job(row), row)
            if job is None or not _is_complete(job):
                unread[identity] = job
            else:
                yield job
        yield from self._read_in_turn(unread)

    def _billed(
        self, job: RemoteJob, data: Mapping[str, Any], asked_for: str | None = None
    ) -> RemoteJob:
        """Return the job with its bill, where it has ended and was not free.

        A cancelled job cost nothing where its events show that training had not started.
        """
        if job.status not in (JobStatus.SUCCEEDED, JobStatus.CANCELLED):
            return job
        today = self.clock.now().date()
        bill = billed(data, self.last_catalogue, today)
        if bill is None and job.status is JobStatus.CANCELLED:
            chain = self._jobs.known_chain(asked_for or job.provider_job_id)
            rows = [row for identity in chain for row in self._jobs.event_rows(identity)]
            bill = never_trained_cost(today) if events.never_trained(rows) else None
        return job.model_copy(update={"cost": bill})

    def cancel(self, provider_job_id: str) -> None:
        current, _, job = self._jobs.followed(known_id(provider_job_id))
        if not job.status.is_final:
            self.transport.send("POST", f"/v1/fine-tunes/{current}/cancel")

    def delete(self, provider_job_id: str) -> None:
        """Delete the job's weights and checkpoints at Together, permanently."""
        current, _, _ = self._jobs.followed(known_id(provider_job_id))
        self.transport.send("DELETE", f"/v1/fine-tunes/{current}")

    # --- the course of a run ---

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        found: builtins.list[Event] = []
        for identity in self._jobs.chain(provider_job_id):
            rows = self._jobs.event_rows(identity)
            found += events.events_of(rows, identity, first_seq=len(found) + 1)
        return [event for event in found if event.seq > after]

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        current = self._jobs.chain(provider_job_id)[-1]
        rows = self.transport.get(f"/v1/fine-tunes/{current}/metrics").get("metrics")
        return events.metrics_of(rows if isinstance(rows, list) else [])

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        current = self._jobs.chain(provider_job_id)[-1]
        rows = self.transport.get(f"/v1/fine-tunes/{current}/checkpoints").get("data")
        return events.checkpoints_of(rows if isinstance(rows, list) else [], current)

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        lines = [str(event) for event in self.events(provider_job_id)]
        return self._tail(lines, tail)

    # --- the result ---

    def model(self, provider_job_id: str) -> ModelHandle:
        current, data, job = self._jobs.followed(known_id(provider_job_id))
        if job.status is not JobStatus.SUCCEEDED:
            raise self.not_ready(job.status)
        endpoints = hosting_cost(
            "together", str(data.get("model") or ""), self.last_catalogue
        ).cost()
        handle = job_mapping.result_handle(data, hosting=endpoints)
        handle = handle.model_copy(update={"raw": {**data, "ft_id": current}})
        return self._models.current(handle).bound_to(self)

    def deploy(self, handle: ModelHandle, **options: Any) -> ModelHandle:
        """Start a dedicated endpoint for the model, or find the existing one.

        It bills by the minute and replica until `undeploy`, or until `inactive_timeout` minutes
        pass without a call. The returned handle is callable once the endpoint is ready. Options:
        `config`, `min_replicas`, `max_replicas`, `inactive_timeout` (see `Endpoints.start`).
        """
        return self._models.deploy(handle, **options).bound_to(self)

    def deployment_usd_per_hour(self, handle: ModelHandle, **options: Any) -> Decimal | None:
        """Return the most that `deploy` with these options costs per hour, in US dollars."""
        return self._models.usd_per_hour(handle, **options)

    def undeploy(self, handle: ModelHandle) -> ModelHandle:
        """Remove the model's endpoint; billing ends with it."""
        return self._models.undeploy(handle).bound_to(self)

    @in_one_piece
    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        return self._models.chat(handle, messages, options)

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        """Download the adapter of a LoRA job, or the whole model of a full one, as safetensors."""
        return self._weights(
            handle, folder, "adapter" if handle.adapter is not None else "model_output_path"
        )

    def download_merged(self, handle: ModelHandle, folder: Path) -> Path:
        """Download the whole model with its adapter merged by Together, as safetensors."""
        return self._weights(
            handle, folder, "merged" if handle.adapter is not None else "model_output_path"
        )

    def _weights(self, handle: ModelHandle, folder: Path, kind: str) -> Path:
        identity = known_id(str(handle.raw.get("ft_id") or handle.raw.get("id") or "?"))
        key = self.transport.key()
        url = f"{self.transport.base_url}/v1/finetune/download?ft_id={identity}&checkpoint={kind}"
        headers = {
            "Authorization": f"Bearer {key.reveal(url)}",
            "Accept": "application/octet-stream",
        }
        source = Source(url, headers, allow_loopback=self.transport.is_loopback)
        return self._download(handle, source, folder, kind=kind)


def _is_complete(job: RemoteJob) -> bool:
    """Whether a row of the list has everything about a job.

    One that failed or was cancelled may continue under another id, which only its events name.
    """
    if job.status is JobStatus.SUCCEEDED:
        return job.trained_tokens is not None
    return not job.status.is_final and job.raw_status != "completed"


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return sum(map(_text_bytes, value.values()))
    return sum(map(_text_bytes, value)) if isinstance(value, list) else 0
