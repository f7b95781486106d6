"""The objects of OpenAI's API as JSON schemas: what `documents` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_ANY: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """A reference to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(kind: str | None = None, **fields: Schema) -> Schema:
    """An object that has all of these fields; `kind` is its `object`."""
    named: dict[str, Schema] = {} if kind is None else {"object": {"const": kind}}
    return {"type": "object", "properties": {**named, **fields}, "required": [*named, *fields]}


def _list_of(name: str) -> Schema:
    """One page of a list."""
    return _object(
        "list",
        data={"type": "array", "items": ref(name)},
        first_id=_TEXT,
        last_id=_TEXT,
        has_more={"type": "boolean"},
    )


_STATUSES = ["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
_AUTO = {"anyOf": [{"const": "auto"}, {"type": "number", "exclusiveMinimum": 0}]}
_HYPERPARAMETERS = _object(n_epochs=_AUTO, batch_size=_AUTO, learning_rate_multiplier=_AUTO)

OBJECTS: Mapping[str, Schema] = {
    "Error": _object(
        error=_object(message=_TEXT, type=_TEXT, param=_TEXT_OR_NULL, code=_TEXT_OR_NULL)
    ),
    "Deleted": _object(id=_TEXT, object=_TEXT, deleted={"const": True}),
    "File": _object(
        "file",
        id={"type": "string", "pattern": "^file-"},
        bytes=_COUNT,
        created_at=_COUNT,
        filename=_TEXT,
        purpose=_TEXT,
        status={"enum": ["uploaded", "processed", "error"]},
    ),
    "FileList": _list_of("File"),
    "Job": _object(
        "fine_tuning.job",
        id={"type": "string", "pattern": "^ftj_"},
        created_at=_COUNT,
        finished_at=_COUNT_OR_NULL,
        estimated_finish=_COUNT_OR_NULL,
        model=_TEXT,
        fine_tuned_model=_TEXT_OR_NULL,
        organization_id=_TEXT,
        status={"enum": _STATUSES},
        error={
            "anyOf": [_object(code=_TEXT, message=_TEXT, param=_TEXT_OR_NULL), {"type": "null"}]
        },
        hyperparameters=_HYPERPARAMETERS,
        method=_object(type=_TEXT),
        training_file=_TEXT,
        validation_file=_TEXT_OR_NULL,
        result_files={"type": "array", "items": _TEXT},
        trained_tokens=_COUNT_OR_NULL,
        seed=_COUNT,
        integrations={"type": "array"},
        metadata={"type": "object", "additionalProperties": _TEXT},
    ),
    "JobList": _list_of("Job"),
    "Event": _object(
        "fine_tuning.job.event",
        id=_TEXT,
        created_at=_COUNT,
        level={"enum": ["info", "warn", "error"]},
        message=_TEXT,
        type={"enum": ["message", "metrics"]},
        data=_ANY,
    ),
    "EventList": _list_of("Event"),
    "Checkpoint": _object(
        "fine_tuning.job.checkpoint",
        id=_TEXT,
        created_at=_COUNT,
        fine_tuned_model_checkpoint=_TEXT,
        fine_tuning_job_id=_TEXT,
        step_number=_COUNT,
        metrics={"type": "object", "additionalProperties": {"type": "number"}},
    ),
    "CheckpointList": _list_of("Checkpoint"),
    "Model": _object("model", id=_TEXT, created=_COUNT, owned_by=_TEXT),
    "ModelList": _object("list", data={"type": "array", "items": ref("Model")}),
    "Completion": _object(
        "chat.completion",
        id=_TEXT,
        created=_COUNT,
        model=_TEXT,
        choices={
            "type": "array",
            "minItems": 1,
            "items": _object(
                index=_COUNT,
                message=_object(role={"const": "assistant"}, content=_TEXT_OR_NULL),
                finish_reason=_TEXT,
            ),
        },
        usage=_object(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT),
    ),
}
"""By name. Further fields may come; these are always there."""
