"""A backend for rehearsals, without key, network or GPU: a scripted timeline, failures on demand.

Its "server" is a folder of small JSON files, so its jobs survive the process like real ones. A
job's status follows from the clock, so tests move time instead of sleeping.

`provider_options`:

- `timeline`: list of `[status, seconds after submit]`, for instance
  `[["queued", 0], ["running", 1], ["failed", 3]]`; a value that is not a `JobStatus` is reported as
  an unknown raw status;
- `submit`: `"ok"`, `"refused"` (a definite refusal), `"not_sent"` (failed before sending), `"lost"`
  (the job exists, the reply is lost), `"lost_request"` (never arrived, nobody knows);
- `visible_after_s`: how long a new job stays invisible to `find` and `list`;
- `message`: the error message of a failed job.
"""

from __future__ import annotations

import builtins
import datetime as dt
import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk.backends.base import Backend, SubmitRequest
from ftsdk.backends.capabilities import Capabilities, FindBy, Range
from ftsdk.backends.chat_outcomes import chat_serially, in_one_piece, require_concurrency
from ftsdk.backends.hosted.response_checks import refuse_stream
from ftsdk.dataset import Dataset
from ftsdk.dataset.provider_limits import ALL_FEATURES, OPENAI_ROLES, Limits
from ftsdk.errors import NotFound, Rejected, Unavailable, Unsupported
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.events import Checkpoint, Event, MetricPoint, Progress
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle, ModelKind
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import parse_time
from ftsdk.util.files import atomic_write_json, make_private_folder

DEFAULT_TIMELINE = (("queued", 0.0), ("running", 0.2), ("finalizing", 0.9), ("succeeded", 1.0))
_OPTIONS = frozenset({"timeline", "submit", "visible_after_s", "message"})
_ID = re.compile(r"^fake-[0-9a-f]{16}$")
_MOST_STEPS = 10**9
_POINTS = 200
"""The most points of a curve: a long rehearsal reports every second, third, … step."""

LIMITS = Limits(
    "fake", "the fake backend", {"sft": frozenset(("chat", "text")), "dpo": frozenset(("preference",))}, "ftsdk's own",
    features=ALL_FEATURES,
    roles=OPENAI_ROLES,
)  # fmt: skip


class FakeBackend(Backend):
    """The rehearsal backend."""

    name = "fake"
    limits = LIMITS
    capabilities = Capabilities(
        methods=frozenset({"sft", "dpo"}),
        adapters=frozenset({"lora", "nf4", "full"}),
        formats=frozenset({"chat", "preference"}),
        hyperparameters={
            "epochs": Range(low=0, high=1000, default=3.0),
            "max_steps": Range(low=1),
            "learning_rate": Range(low=0, default=2e-4),
            "learning_rate_multiplier": Range(low=0, high=10_000),
            "batch_size": Range(low=1, high=4096, default=8),
            "gradient_accumulation_steps": Range(low=1, default=1),
            "max_length": Range(low=1, default=1024),
            "warmup_ratio": Range(low=0, high=1, default=0.0),
            "schedule": Range(choices=("constant", "linear", "cosine"), default="linear"),
            "weight_decay": Range(low=0, default=0.0),
            "max_grad_norm": Range(low=0, default=1.0),
            "beta": Range(low=0, high=10),
        },
        find_by=FindBy.METADATA,
        can_cancel=True,
        can_pause=True,
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
        is_rehearsal=True,
        poll_s=0.2,
        note="a rehearsal: nothing is trained, answers come from the training rows",
    )

    # --- the folder in place of a server ---

    @property
    def _folder(self) -> Path:
        return self.context.home / "fake"

    def _read(self, provider_job_id: str) -> dict[str, Any]:
        path = self._folder / f"{provider_job_id}.json"
        if not _ID.match(provider_job_id) or not path.is_file():
            raise NotFound(
                f"fake has no job {provider_job_id!r}",
                where=str(self._folder),
                hint="`ftsdk list` shows the jobs of this machine",
            )
        return _loaded(path)

    def _write(self, data: Mapping[str, Any]) -> None:
        make_private_folder(self._folder)
        atomic_write_json(self._folder / f"{data['id']}.json", data)

    # --- the job ---

    def plan(self, spec: JobSpec, train: Dataset | None = None) -> Plan:
        self._options(spec)
        return super().plan(spec, train)

    def _options(self, spec: JobSpec) -> dict[str, Any]:
        options = dict(spec.provider_options)
        unknown = sorted(set(options) - _OPTIONS)
        if unknown:
            raise Unsupported(
                f"fake does not know provider_options {', '.join(unknown)}",
                where="backend fake",
                hint=f"it takes {', '.join(sorted(_OPTIONS))}",
                submitted="no",
            )
        return options

    def submit(self, request: SubmitRequest) -> RemoteJob:
        options = self._options(request.spec)
        how = options.get("submit", "ok")
        if how == "refused":
            raise Rejected("fake refuses the job, as asked", where="backend fake", submitted="no")
        if how == "not_sent":
            raise Unavailable(
                "fake was not reached, as asked", where="backend fake", submitted="no"
            )
        if how != "lost_request":
            data = self._new(request, options)
            if how == "ok":
                return self._job(data)
        raise Unavailable("fake gave no answer, as asked", where="backend fake", submitted="maybe")

    def _new(self, request: SubmitRequest, options: Mapping[str, Any]) -> dict[str, Any]:
        identity = "fake-" + hashlib.sha256(request.client_token.encode()).hexdigest()[:16]
        make_private_folder(self._folder)
        request.train.write_jsonl(self._folder / f"{identity}.rows.jsonl")
        data = {
            "id": identity,
            "job_id": request.job_id,
            "tag": request.tag,
            "model": request.spec.model,
            "seed": request.spec.seed,
            "epochs": request.spec.hyperparameters.epochs or 3.0,
            "steps": _planned_steps(request.spec, request.train.rows),
            "has_validation": request.validation is not None,
            "submitted_at": self.clock.now().isoformat(),
            "timeline": [list(x) for x in options.get("timeline", DEFAULT_TIMELINE)],
            "visible_after_s": options.get("visible_after_s", 0),
            "message": options.get("message", "it was scripted to fail"),
            "stopped": None,
        }
        self._write(data)
        return data

    def _age(self, data: Mapping[str, Any]) -> float:
        return (self.clock.now() - parse_time(data["submitted_at"])).total_seconds()

    def _raw_status(self, data: Mapping[str, Any]) -> tuple[str, float]:
        """Return the timeline's current status, and the age in seconds at which it began."""
        if data["stopped"]:
            return data["stopped"]["status"], data["stopped"]["age"]
        age, status, since = self._age(data), "queued", 0.0
        for name, start in data["timeline"]:
            if age >= start:
                status, since = name, start
        return status, since

    def _fraction(self, data: Mapping[str, Any]) -> float:
        starts = dict(reversed(data["timeline"]))
        begin = starts.get("running", 0.0)
        end = starts.get("finalizing", starts.get("succeeded", starts.get("failed", begin + 1)))
        age: float = data["stopped"]["age"] if data["stopped"] else self._age(data)
        share: float = (age - begin) / max(end - begin, 1e-9)
        return min(1.0, max(0.0, share))

    def _job(self, data: Mapping[str, Any]) -> RemoteJob:
        word, since = self._raw_status(data)
        known = word in set(JobStatus)
        status = JobStatus(word) if known else JobStatus.UNKNOWN
        started = parse_time(data["submitted_at"])
        fraction = self._fraction(data)
        error = {"message": data["message"]} if status is JobStatus.FAILED else None
        return RemoteJob(
            provider_job_id=data["id"],
            status=status,
            raw_status=word,
            model=data["model"],
            tag=data["tag"],
            message=data["message"] if error else "",
            error=error,
            progress=Progress(
                fraction=fraction, step=int(fraction * data["steps"]), total_steps=data["steps"]
            ),
            created_at=started,
            finished_at=started + dt.timedelta(seconds=since) if status.is_final else None,
            result_model=f"fake:{data['id']}" if status is JobStatus.SUCCEEDED else None,
            cost=Cost(
                basis=CostBasis.BILLED,
                low=Decimal(0),
                high=Decimal(0),
                source="fake charges nothing",
            ),
            raw=dict(data),
        )

    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        return [job for job in self.list() if job.tag == request.tag]

    def get(self, provider_job_id: str) -> RemoteJob:
        return self._job(self._read(provider_job_id))

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        everything = []
        for path in self._folder.glob("fake-*.json"):
            data = _loaded(path)
            if self._age(data) >= data["visible_after_s"]:
                everything.append(data)
        everything.sort(key=lambda data: data["submitted_at"], reverse=True)
        yield from map(self._job, everything[:limit])

    def _stop(self, provider_job_id: str, status: str) -> None:
        data = self._read(provider_job_id)
        word, _ = self._raw_status(data)
        if word in ("succeeded", "failed", "cancelled"):
            return
        self._write({**data, "stopped": {"status": status, "age": self._age(data)}})

    def cancel(self, provider_job_id: str) -> None:
        self._stop(provider_job_id, "cancelled")

    def pause(self, provider_job_id: str) -> None:
        self._stop(provider_job_id, "paused")

    def resume(self, provider_job_id: str) -> RemoteJob:
        data = self._read(provider_job_id)
        data = {
            **data,
            "stopped": None,
            "submitted_at": self.clock.now().isoformat(),
            "timeline": [list(x) for x in DEFAULT_TIMELINE],
        }
        self._write(data)
        return self._job(data)

    def delete(self, provider_job_id: str) -> None:
        self._read(provider_job_id)
        for suffix in (".json", ".rows.jsonl"):
            (self._folder / f"{provider_job_id}{suffix}").unlink(missing_ok=True)

    # --- the course of a run ---

    def metrics(self, provider_job_id: str) -> builtins.list[MetricPoint]:
        data = self._read(provider_job_id)
        started, points, steps = parse_time(data["submitted_at"]), [], data["steps"]
        shown = range(math.ceil(steps / _POINTS), steps + 1, math.ceil(steps / _POINTS))
        quarters = {shown[math.ceil(len(shown) * part / 4) - 1] for part in (1, 2, 3, 4)}
        for step in (one for one in shown if one <= self._fraction(data) * steps):
            share = step / steps
            wave = math.sin(step * 2.4 + data["seed"]) * 0.05
            loss = 0.6 + 1.9 * math.exp(-3.2 * share)
            points.append(
                MetricPoint(
                    step=step,
                    epoch=share * data["epochs"],
                    train_loss=round(loss + wave, 4),
                    validation_loss=round(loss + 0.12, 4)
                    if data["has_validation"] and step in quarters
                    else None,
                    learning_rate=2e-4 * (1 - share),
                    time=started,
                )
            )
        return points

    def events(self, provider_job_id: str, *, after: int = 0) -> builtins.list[Event]:
        data = self._read(provider_job_id)
        started = parse_time(data["submitted_at"])
        age = data["stopped"]["age"] if data["stopped"] else self._age(data)
        found: list[tuple[float, str, str, dict[str, Any]]] = [
            (start, "status", name, {"status": name})
            for name, start in data["timeline"]
            if start <= age
        ]
        starts = dict(reversed(data["timeline"]))
        begin = starts.get("running", 0.0)
        end = starts.get("finalizing", starts.get("succeeded", begin + 1))
        for point in self.metrics(provider_job_id):
            at = begin + (end - begin) * point.step / data["steps"]
            text = f"step {point.step}/{data['steps']}  loss {point.train_loss:.3f}"
            found.append(
                (at, "metric", text, point.model_dump(exclude_none=True, exclude={"time"}))
            )
        if data["stopped"]:
            found.append((age, "status", data["stopped"]["status"], {}))
        found.sort(key=lambda item: item[0])
        events = [
            Event(
                id=f"{data['id']}:{seq}",
                seq=seq,
                time=started + dt.timedelta(seconds=at),
                kind=kind,
                message=text,
                data=facts,
            )
            for seq, (at, kind, text, facts) in enumerate(found, 1)
        ]
        return [event for event in events if event.seq > after]

    def checkpoints(self, provider_job_id: str) -> builtins.list[Checkpoint]:
        data = self._read(provider_job_id)
        reached, steps = self._fraction(data) * data["steps"], data["steps"]
        return [
            Checkpoint(id=f"{data['id']}-step-{step}", step=step)
            for step in sorted({math.ceil(steps / 2), steps})
            if step <= reached
        ]

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> builtins.list[str]:
        lines = [str(event) for event in self.events(provider_job_id)]
        return lines if tail is None else lines[max(0, len(lines) - tail) :]

    # --- the result ---

    def model(self, provider_job_id: str) -> ModelHandle:
        data = self._read(provider_job_id)
        word, _ = self._raw_status(data)
        if word != "succeeded":
            raise self.not_ready(word, data["job_id"])
        return ModelHandle(
            kind=ModelKind.HOSTED,
            provider=self.name,
            id=f"fake:{data['id']}",
            base_model=data["model"],
            callable_now=True,
            job_id=data["job_id"],
            running_cost=Cost(
                basis=CostBasis.BILLED,
                low=Decimal(0),
                high=Decimal(0),
                source="fake charges nothing",
            ),
        ).bound_to(self)

    @in_one_piece
    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        """Return the answer of the training row whose question shares most words with this one."""
        refuse_stream(options, "the fake backend")
        asked = _words(_last_user(messages))
        path = self._folder / f"{handle.id.removeprefix('fake:')}.rows.jsonl"
        best, score = "", -1.0
        with path.open("rb") as lines:
            for line in lines:
                row = json.loads(line).get("messages") or []
                words = _words(_last_user(row))
                shared = len(asked & words) / (len(asked | words) or 1)
                if row and shared > score:
                    best, score = str(row[-1].get("content") or ""), shared
        return _answer(best, asked)

    def chat_base(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        asked = _last_user(messages)
        return _answer(f"(an untuned model's answer to: {asked})", _words(asked))

    def chat_many(
        self,
        handle: ModelHandle,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = 8,
        on_outcome: Callable[[ChatOutcome], None] | None = None,
    ) -> Iterator[ChatOutcome]:
        require_concurrency(concurrency)
        return chat_serially(
            lambda one: self.chat(handle, one.messages, one.options), requests, on_outcome
        )

    def download(self, handle: ModelHandle, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        source = self._folder / f"{handle.id.removeprefix('fake:')}.rows.jsonl"
        shutil.copyfile(source, folder / "rows.jsonl")
        atomic_write_json(folder / "ftsdk.json", handle.model_dump(mode="json"), mode=0o644)
        return folder


def _loaded(path: Path) -> dict[str, Any]:
    """Return a job's file; jobs of earlier releases had twenty steps."""
    data: dict[str, Any] = {"steps": 20, **json.loads(path.read_bytes())}
    return data


def _planned_steps(spec: JobSpec, rows: int) -> int:
    """Return how many steps a training of these settings would take, a billion at most."""
    asked = spec.hyperparameters
    if asked.max_steps is not None:
        return min(asked.max_steps, _MOST_STEPS)
    batch = (asked.batch_size or 8) * (asked.gradient_accumulation_steps or 1)
    steps = (asked.epochs or 3.0) * -(-rows // batch)
    return max(1, math.ceil(min(steps, _MOST_STEPS)))


def _last_user(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            return str(message.get("content") or "")
    return ""


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _answer(text: str, asked: set[str]) -> ChatAnswer:
    return ChatAnswer(
        text=text,
        message={"role": "assistant", "content": text},
        usage={"prompt_tokens": len(asked), "completion_tokens": len(_words(text))},
        finish_reason="stop",
    )
