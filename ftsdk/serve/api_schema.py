"""The server's API as an OpenAPI document, from its operations and the models of its bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ftsdk._version import __version__
from ftsdk.serve.api_objects import OBJECTS, Schema, ref
from ftsdk.serve.requests import ChatBody, JobBody

_JSON = "application/json"
_BYTES: Schema = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@dataclass(frozen=True)
class Operation:
    """One method of one path: what it takes and what it answers.

    `answer` is the name of an object, or the content types of an answer that is none.
    """

    summary: str
    answer: str | Schema
    body: type[BaseModel] | None = None
    form: Schema | None = None
    query: tuple[Schema, ...] = ()
    headers: tuple[Schema, ...] = ()
    errors: tuple[int, ...] = field(default=(400, 404))
    is_open: bool = False


def _query(name: str, **schema: Any) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _pages(most: int = 100) -> tuple[Schema, ...]:
    return _query("limit", type="integer", minimum=1, maximum=most), _query("after", type="string")


_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_METADATA: Schema = {
    **_query("metadata", type="object", additionalProperties=_TEXT, propertyNames=_NAME),
    "style": "deepObject",
    "explode": True,
}
_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The job's key: the same key and request make one job.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
_USER: Schema = {
    "name": "x-ftsdk-user",
    "in": "header",
    "required": False,
    "description": "Whom the answer is for: one user always asks the same model of an alias.",
    "schema": {"type": "string"},
}
_FORM: Schema = {
    "type": "object",
    "properties": {
        "purpose": {"const": "fine-tune"},
        "file": {"type": "string", "format": "binary"},
    },
    "required": ["purpose", "file"],
}
_JOB_ERRORS = (400, 404, 409)
_JOB = "/v1/fine_tuning/jobs/{job_id}"

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("GET", "/health"): Operation(
        "Whether the server runs",
        {"text/plain": {"schema": {"const": "ok"}}},
        errors=(),
        is_open=True,
    ),
    ("GET", "/openapi.json"): Operation("This document", {_JSON: {"schema": {}}}, errors=()),
    ("POST", "/v1/files"): Operation("Upload rows", "File", form=_FORM, errors=(400,)),
    ("GET", "/v1/files"): Operation(
        "List files, newest first",
        "FileList",
        query=(
            *_pages(10_000),
            _query("order", enum=["asc", "desc"]),
            _query("purpose", type="string"),
        ),
    ),
    ("GET", "/v1/files/{file_id}"): Operation("One file", "File"),
    ("DELETE", "/v1/files/{file_id}"): Operation("Delete a file", "Deleted"),
    ("GET", "/v1/files/{file_id}/content"): Operation("The rows of a file", _BYTES),
    ("POST", "/v1/fine_tuning/jobs"): Operation(
        "Create a job", "Job", body=JobBody, headers=(_KEY,), errors=(400, 402, 404, 409)
    ),
    ("GET", "/v1/fine_tuning/jobs"): Operation(
        "List jobs, newest first", "JobList", query=(*_pages(), _METADATA)
    ),
    ("GET", _JOB): Operation("One job, as its provider reports it", "Job"),
    ("POST", f"{_JOB}/cancel"): Operation("Cancel a job", "Job", errors=_JOB_ERRORS),
    ("POST", f"{_JOB}/pause"): Operation("Pause a job", "Job", errors=_JOB_ERRORS),
    ("POST", f"{_JOB}/resume"): Operation("Resume a job", "Job", errors=_JOB_ERRORS),
    ("GET", f"{_JOB}/events"): Operation(
        "The events of a job, newest first", "EventList", query=_pages()
    ),
    ("GET", f"{_JOB}/checkpoints"): Operation(
        "The checkpoints of a job, newest first", "CheckpointList", query=_pages()
    ),
    ("GET", "/v1/models"): Operation("The models of jobs, and the aliases", "ModelList", errors=()),
    ("GET", "/v1/models/{model}"): Operation("One model", "Model"),
    ("POST", "/v1/chat/completions"): Operation(
        "Ask a model; streamed as server-sent events where asked",
        {
            _JSON: {"schema": ref("Completion")},
            "text/event-stream": {},  # chunks, each in one event
        },
        body=ChatBody,
        headers=(_USER,),
        errors=(400, 404, 409, 429),
    ),
}
"""By method and path: all of the server but its pages."""
_ALWAYS = {401: "Another API key than the server's token", 413: "A body that is too long"}
_MEANING = {
    400: "A request that makes no sense here; `param` names the field",
    402: "Over the budget",
    404: "There is no such thing",
    409: "Not possible in this state",
    429: "Too many at once; `Retry-After` says when to come back",
}
_PROVIDER = "The provider of the job refused, failed or could not be reached"


class SchemaRoutes:
    """The route of the document."""

    async def show(self, _: Request) -> Response:
        """`GET /openapi.json`."""
        return JSONResponse(api_document())


def api_document() -> dict[str, Any]:
    """The OpenAPI document."""
    schemas: dict[str, Any] = dict(OBJECTS)
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _documented(path, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ftsdk serve",
            "version": __version__,
            "description": "OpenAI's API over the jobs and models of every backend.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _documented(path: str, operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    """An operation as the document has it; the schemas of its body are added to `schemas`."""
    inside = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    found: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [
            *(
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string", "minLength": 1},
                }
                for name in inside
            ),
            *operation.query,
            *operation.headers,
        ],
        "responses": _answers(operation),
    }
    if operation.is_open:
        found["security"] = []
    if operation.body is not None:
        found["requestBody"] = _content(_JSON, _model(operation.body, schemas))
    if operation.form is not None:
        found["requestBody"] = _content("multipart/form-data", operation.form)
    return found


def _content(kind: str, schema: Schema) -> dict[str, Any]:
    return {"required": True, "content": {kind: {"schema": schema}}}


def _model(body: type[BaseModel], schemas: dict[str, Any]) -> Schema:
    found = body.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= found.pop("$defs", {})
    schemas[body.__name__] = found
    return ref(body.__name__)


def _answers(operation: Operation) -> dict[str, Any]:
    given = operation.answer
    content = {_JSON: {"schema": ref(given)}} if isinstance(given, str) else given
    found: dict[str, Any] = {"200": {"description": "Done", "content": content}}
    always = {} if operation.is_open else _ALWAYS
    wrong = {_JSON: {"schema": ref("Error")}}
    for status, text in sorted(
        {**always, **{one: _MEANING[one] for one in operation.errors}}.items()
    ):
        found[str(status)] = {"description": text, "content": wrong}
    if not operation.is_open:
        found["5XX"] = {"description": _PROVIDER, "content": wrong}
    return found
