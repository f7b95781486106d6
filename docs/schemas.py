"""The JSON Schemas that ship in the wheel: of `ftsdk.toml` for editors, and of `--json` for programs.

`docs/generate.py` writes them to `ftsdk/schemas/`, and compares them with `--check`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import Plan
from ftsdk.types.spec import Hyperparameters, LoRA

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_AMOUNT = {"type": ["string", "number"], "description": 'US dollars, as text: "10.00"'}
_TABLE = {"type": "object"}


def schemas() -> dict[str, str]:
    """Return each schema as text, by the name of its file."""
    found = {
        "config.json": config_schema(),
        "job.json": job_schema(),
        "plan.json": _of("A plan, as `ftsdk plan --json` prints it", Plan),
        "error.json": error_schema(),
    }
    return {
        name: json.dumps(one, indent=2, ensure_ascii=False) + "\n" for name, one in found.items()
    }


def config_schema() -> dict[str, Any]:
    """Return the schema of `ftsdk.toml`."""
    shared = _profile_settings()
    profile = {"type": "object", "additionalProperties": False, "properties": shared}
    return {
        "$schema": _DIALECT,
        "title": "ftsdk.toml",
        "description": "Which provider and model ftsdk uses. Keys of providers are never in this file.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "profile": {
                "type": "string",
                "description": "The profile that is used when nothing else names one",
            },
            "profiles": {
                "type": "object",
                "description": "Profiles by name: each a provider, a model, and what differs there",
                "additionalProperties": profile,
            },
            **shared,
        },
    }


def _profile_settings() -> dict[str, Any]:
    """Return the settings that a profile and the top of the file have."""
    return {
        "provider": _text("The backend's name: local, openai, together, replicate, fake, …"),
        "model": _text("The base model, by the provider's name for it"),
        "method": {"enum": ["sft", "dpo"], "description": "How the model learns"},
        "max_cost": {**_AMOUNT, "description": "US dollars; a job that may cost more is refused"},
        "base_url": _text("Another address for the same kind of service"),
        "key_variable": {
            **_text("The variable of this account's key; never the key itself"),
            "pattern": "^[A-Z_][A-Z0-9_]*$",
        },
        "account": {
            **_text("A name for the account, whatever its key is"),
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_ .-]{0,29}$",
        },
        "adapter": _fields_of(LoRA, "The LoRA adapter"),
        "hyperparameters": _fields_of(Hyperparameters, "Hyperparameters of every job"),
        "provider_options": {**_TABLE, "description": "What only this provider understands"},
        "options": {**_TABLE, "description": "Options of the backend itself"},
        "tags": {
            "type": "object",
            "description": "Labels of every job",
            "additionalProperties": {"type": "string"},
        },
        "budget": _budget(),
    }


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _fields_of(model: type[LoRA | Hyperparameters], description: str) -> dict[str, Any]:
    """Return a table with the fields of a model; TOML has no null."""
    schema = model.model_json_schema()
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": fields,
    }


def _without_null(field: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in field.items() if k not in ("title", "anyOf", "default")}
    kinds = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    default = {} if field.get("default") is None else {"default": field["default"]}
    one = {**kinds[0]} if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
    return {**kept, **one, **default}


def _budget() -> dict[str, Any]:
    hours = {"type": "number", "exclusiveMinimum": 0, "maximum": 24 * 31}
    return {
        "type": "object",
        "description": "Spending limits in US dollars",
        "additionalProperties": False,
        "properties": {
            "job": {**_AMOUNT, "description": "The cap of each job"},
            "month": {
                **_AMOUNT,
                "description": "All jobs and deployments of a calendar month, UTC",
            },
            "warn_at": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "lease_hours": {**hours, "description": "How long a deployment lasts by default"},
        },
    }


def job_schema() -> dict[str, Any]:
    """Return the schema of a job, as `show`, `create` and the list of `list` have it."""
    schema = _of("A job, as `--json` prints it", JobSnapshot)
    del schema["properties"]["client_token"]
    schema["required"] = [name for name in schema.get("required", ()) if name != "client_token"]
    return schema


def _of(title: str, model: type[JobSnapshot | Plan]) -> dict[str, Any]:
    schema = model.model_json_schema(mode="serialization")
    for one in (schema, *schema.get("$defs", {}).values()):
        one.pop("additionalProperties", None)  # a release may add keys
    return {"$schema": _DIALECT, **schema, "title": title}


def error_schema() -> dict[str, Any]:
    """Return the schema of the document that a failed command prints with `--json`."""
    text_or_null = {"type": ["string", "null"]}
    fields: dict[str, Any] = {
        "code": _text("The kind of error; stable"),
        "what": _text("What happened"),
        "where": text_or_null,
        "hint": {**text_or_null, "description": "How to fix it"},
        "retryable": {"type": "boolean"},
        "submitted": {
            "enum": ["no", "maybe", "yes", None],
            "description": "Whether a job may exist at the provider",
        },
        "job_id": text_or_null,
        "tag": text_or_null,
    }
    return {
        "$schema": _DIALECT,
        "title": "A failure, as `--json` prints it",
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "object", "required": [*fields], "properties": fields},
        },
    }
