"""Batches of the OpenAI double: validated, run over time, expired or cancelled with what was done.

Settings: `batch_validation_s` (how long validation takes), `batch_s` (how long the requests take),
`batch_expires_s` (an unfinished batch ends then), `batch_refuses` (models that cannot be used in a
batch), `batch_token_limit` (how many tokens may be enqueued), `batch_errors` (requests that fail:
custom id to code).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftsdk.testing.lab import fake_training
from ftsdk.testing.lab.base import route
from ftsdk.testing.lab.messages import Refusal, Reply, Request
from ftsdk.testing.lab.openai.files import page_of
from ftsdk.testing.lab.openai.request_checks import check_metadata, refuse
from ftsdk.testing.lab.openai.stored_chats import OpenAIStoredChats
from ftsdk.testing.lab.timeline import Stage, Timeline
from ftsdk.util.clock import Clock

ENDPOINT = "/v1/chat/completions"
MOST_REQUESTS = 50_000
FINAL = ("completed", "failed", "expired", "cancelled")
_FINALIZING_S = 0.5
_CANCELLING_S = 1.0
_MOST_SHOWN = 10
_FAILURES: Mapping[str, tuple[int, str, str]] = {
    "rate_limit_exceeded": (429, "rate_limit_error", "Rate limit reached for this model."),
    "content_filter": (
        400,
        "invalid_request_error",
        "The response was filtered due to the prompt triggering the content management policy.",
    ),
    "server_error": (500, "server_error", "The server had an error processing your request."),
    "context_length_exceeded": (
        400,
        "invalid_request_error",
        "This model's maximum context length is exceeded by the messages.",
    ),
}
"""Errors of one request: status, type and message by code."""


@dataclass
class FakeBatch:
    """One batch. `lines` are its requests, `outcomes` a line for each that was run."""

    id: str
    request: dict[str, Any]
    timeline: Timeline
    lines: list[dict[str, Any]]
    tokens: int
    works_s: float
    errors: list[dict[str, Any]] = field(default_factory=list)
    answered: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str | None] | None = None
    forced: str | None = None
    """A raw status that is shown instead of the real one."""
    visible_after_lists: int = 0

    @property
    def run(self) -> int:
        """How many requests were run."""
        return len(self.answered) + len(self.failed)

    def status(self, now: Any) -> str:
        """Return the raw status."""
        return self.timeline.status(now)

    def due(self, now: Any) -> int:
        """Return how many requests have been run by now."""
        begin = self._at("in_progress")
        if begin is None:
            return 0
        ends = (self._at(name) for name in ("finalizing", "expired", "cancelling"))
        until = min([self.timeline.age_s(now), *(at for at in ends if at is not None)])
        share = (until - begin) / max(self.works_s, 1e-9)
        return int(len(self.lines) * min(1.0, max(0.0, share)) + 1e-9)

    def shown_errors(self, now: Any) -> dict[str, Any] | None:
        """Return why the batch failed; None for one that did not."""
        if (self.forced or self.status(now)) != "failed":
            return None
        return {"object": "list", "data": self.errors[:_MOST_SHOWN]}

    def _at(self, status: str) -> float | None:
        return next((one.at_s for one in self.timeline.stages if one.status == status), None)

    def stamps(self, now: Any) -> dict[str, int | None]:
        """Return when each status that was reached began, as the batch object shows it."""
        names = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling",
                 "cancelled")  # fmt: skip
        reached = {stage.status for stage in self.timeline.reached(now)}
        starts = {name: self.timeline.start_of(name) for name in names if name in reached}
        return {
            f"{name}_at": int(at.timestamp()) if (at := starts.get(name)) else None
            for name in names
        }


class OpenAIBatches(OpenAIStoredChats):
    """`/batches`."""

    has_batches = True

    def __init__(self, *, clock: Clock | None = None, port: int = 0) -> None:
        super().__init__(clock=clock, port=port)
        self.batches: dict[str, FakeBatch] = {}
        self.batch_validation_s = 1.0
        self.batch_s = 5.0
        self.batch_expires_s = 86_400.0
        self.batch_refuses: list[str] = []
        self.batch_token_limit: int | None = None
        self.batch_errors: dict[str, str] = {}

    @route("POST", "/batches")
    def create_batch(self, request: Request) -> Any:
        """Create a batch. Faults in its file are reported later, as by the original."""
        if not self.has_batches:
            return self.not_found(request)
        body = self._checked_batch(request.json())
        content = bytes(self._file(body["input_file_id"])["content"])
        lines, errors = _read_lines(content)
        errors = errors or list(self._faults_of(lines))
        tokens = sum(fake_training.count_tokens(json.dumps(one).encode()) for one in lines)
        batch = FakeBatch(
            id=self.new_id("batch_", 32),
            request=body,
            timeline=Timeline(self.now(), (), training="in_progress", trained="finalizing"),
            lines=lines,
            tokens=tokens,
            works_s=self.batch_s,
            errors=errors or list(self._over_limit(lines, tokens)),
            visible_after_lists=getattr(self, "lists_before_visible", 0),
        )
        batch.timeline.stages = self._stages(batch)
        self.batches[batch.id] = batch
        return self._batch_object(batch)

    def _checked_batch(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise refuse(400, "We could not parse the JSON body of your request.")
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(body.get(name), str):
                raise refuse(
                    400, f"Missing required parameter: '{name}'.",
                    code="missing_required_parameter", param=name,
                )  # fmt: skip
        if body["endpoint"] != ENDPOINT or body["completion_window"] != "24h":
            raise refuse(400, f"The lab has batches of {ENDPOINT} in 24h.", code="invalid_value")
        check_metadata(body.get("metadata"))
        file = self.files.get(body["input_file_id"])
        if file is None or file["purpose"] != "batch":
            raise refuse(
                400, f"Invalid file id: {body['input_file_id']}", code="invalid_value",
                param="input_file_id",
            )  # fmt: skip
        return body

    def _faults_of(self, lines: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield why the batch fails: a model that is not known, or not taken in batches."""
        known, models = self._models(), {str(one["body"].get("model")) for one in lines}
        for number, one in enumerate(lines, 1):
            model = str(one["body"].get("model"))
            if model in self.batch_refuses or model not in known:
                yield _fault(
                    "model_not_found",
                    f"The provided model '{model}' is not supported by the Batch API.",
                    number,
                    "body.model",
                )
        if len(models) > 1:
            yield _fault(
                "mismatched_model", "All requests of a batch must have the same model.", None, None
            )

    def _over_limit(self, lines: list[dict[str, Any]], tokens: int) -> Iterator[dict[str, Any]]:
        now, limit = self.now(), self.batch_token_limit
        enqueued = sum(one.tokens for one in self.batches.values() if one.status(now) not in FINAL)
        if limit is not None and enqueued + tokens > limit:
            model = lines[0]["body"].get("model")
            yield _fault(
                "token_limit_exceeded",
                f"Enqueued token limit reached for {model} in organization org-lab. Limit: {limit:,} "
                "enqueued tokens. Please try again once some in_progress batches have been completed.",
                None,
                None,
            )

    def _stages(self, batch: FakeBatch) -> tuple[Stage, ...]:
        begin = self.batch_validation_s
        validating, end = Stage("validating", 0.0), begin + self.batch_s
        if batch.errors:
            return validating, Stage("failed", begin)
        if end > self.batch_expires_s:
            return validating, Stage("in_progress", begin), Stage("expired", self.batch_expires_s)
        return (
            validating,
            Stage("in_progress", begin),
            Stage("finalizing", end),
            Stage("completed", end + _FINALIZING_S),
        )

    # --- running ---

    def run_batches(self) -> None:
        """Run the requests that are due by now, in all batches."""
        for batch in self.batches.values():
            self._run(batch)

    def _run(self, batch: FakeBatch) -> None:
        now = self.now()
        for one in batch.lines[batch.run : batch.due(now)]:
            response = self._response(one)
            answered = response["status_code"] == 200
            (batch.answered if answered else batch.failed).append(
                self._line(one["custom_id"], response)
            )
        if batch.status(now) in FINAL and batch.files is None:
            expired = batch.lines[batch.run :] if batch.status(now) == "expired" else []
            unrun = [self._unrun(one["custom_id"]) for one in expired]
            batch.files = {
                "output_file_id": self._written(batch, "output", batch.answered),
                "error_file_id": self._written(batch, "error", [*batch.failed, *unrun]),
            }

    def _response(self, one: dict[str, Any]) -> dict[str, Any]:
        request_id = self.new_id("req_")
        code = self.batch_errors.get(one["custom_id"])
        try:
            if code is not None:
                status, kind, message = _FAILURES.get(code, (400, "invalid_request_error", code))
                raise refuse(status, message, code=code, kind=kind)
            reply = Reply(200, self._batch_completion(one["body"]))
        except Refusal as refusal:
            reply = refusal.reply
        return {"status_code": reply.status, "request_id": request_id, "body": reply.body}

    def _batch_completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answer one request of a batch."""
        with self.meter.batch():
            return self._completion(body)

    def _line(self, custom_id: str, response: dict[str, Any] | None, error: Any = None) -> Any:
        return {
            "id": self.new_id("batch_req_"),
            "custom_id": custom_id,
            "response": response,
            "error": error,
        }

    def _unrun(self, custom_id: str) -> Any:
        message = "This request could not be executed before the completion window expired."
        return self._line(custom_id, None, {"code": "batch_expired", "message": message})

    def _written(self, batch: FakeBatch, kind: str, lines: list[dict[str, Any]]) -> str | None:
        if not lines:
            return None
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        name = f"{batch.id}_{kind}.jsonl"
        return str(self._store(name, content.encode(), "batch_output")["id"])

    # --- reading ---

    def list_files(self, request: Request) -> Any:
        """Return a page of files, with those of batches that have ended by now."""
        self.run_batches()
        return super().list_files(request)

    def _batch(self, batch_id: str) -> FakeBatch:
        if batch_id not in self.batches:
            raise refuse(404, f"No batch found with id '{batch_id}'.", param="batch_id")
        return self.batches[batch_id]

    def _batch_object(self, batch: FakeBatch) -> dict[str, Any]:
        self._run(batch)
        now, created = self.now(), int(batch.timeline.started.timestamp())
        begun = batch.status(now) not in ("validating", "failed")
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.request["endpoint"],
            "errors": batch.shown_errors(now),
            "input_file_id": batch.request["input_file_id"],
            "completion_window": "24h",
            "status": batch.forced or batch.status(now),
            **(batch.files or {"output_file_id": None, "error_file_id": None}),
            "created_at": created,
            "expires_at": created + int(self.batch_expires_s),
            **batch.stamps(now),
            "request_counts": {
                "total": len(batch.lines) if begun else 0,
                "completed": len(batch.answered),
                "failed": len(batch.failed),
            },
            "metadata": batch.request.get("metadata"),
            "model": batch.lines[0]["body"].get("model") if batch.lines else None,
        }

    @route("GET", "/batches")
    def list_batches(self, request: Request) -> Any:
        """Return a page of batches, newest first."""
        if not self.has_batches:
            return self.not_found(request)
        found = []
        for batch in reversed(self.batches.values()):
            if batch.visible_after_lists > 0:
                batch.visible_after_lists -= 1
            else:
                found.append(self._batch_object(batch))
        page, more = page_of(found, request, 20, self.page_size)
        ends = {
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
        return {"object": "list", "data": page, "has_more": more, **ends}

    @route("GET", "/batches/{batch_id}")
    def get_batch(self, request: Request, batch_id: str) -> Any:
        """Return one batch."""
        return self._batch_object(self._batch(batch_id))

    @route("POST", "/batches/{batch_id}/cancel")
    def cancel_batch(self, request: Request, batch_id: str) -> Any:
        """Cancel a batch: what was run is kept and billed."""
        batch, now = self._batch(batch_id), self.now()
        if batch.status(now) in (*FINAL, "cancelling", "finalizing"):
            raise refuse(409, f"Cannot cancel a batch with status '{batch.status(now)}'.")
        self._run(batch)
        age = batch.timeline.age_s(now)
        batch.timeline.stages = (
            *batch.timeline.reached(now),
            Stage("cancelling", age),
            Stage("cancelled", age + _CANCELLING_S),
        )
        return self._batch_object(batch)


def _read_lines(content: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the requests of a file, and what is wrong with it."""
    lines, errors, seen = [], [], set[str]()
    for number, row in fake_training.rows_of(content):
        if not isinstance(row, dict) or not isinstance(row.get("body"), dict):
            errors.append(
                _fault(
                    "invalid_json_line", "This line is not parseable as valid JSON.", number, None
                )
            )
        elif not isinstance(row.get("custom_id"), str) or row["custom_id"] in seen:
            errors.append(
                _fault("duplicate_custom_id", "The custom_id is not unique.", number, "custom_id")
            )
        elif (row.get("method"), row.get("url")) != ("POST", ENDPOINT):
            errors.append(
                _fault("url_mismatch", "The URL does not match the batch endpoint.", number, "url")
            )
        else:
            seen.add(row["custom_id"])
            lines.append(row)
    if len(lines) > MOST_REQUESTS:
        errors.append(_fault("too_many_tasks", "The file has too many requests.", None, None))
    if not lines and not errors:
        errors.append(_fault("empty_file", "The file has no requests.", None, None))
    return lines, errors


def _fault(code: str, message: str, line: int | None, param: str | None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": param}
