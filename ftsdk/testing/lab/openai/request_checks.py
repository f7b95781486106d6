"""Checks of a create call as OpenAI makes them: unknown and missing fields are refused.

Field names, types and ranges are those of its published schema (read 2026-08-21).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.testing.lab.messages import Refusal
from ftsdk.testing.lab.openai.services import Service

TUNABLE = {
    "gpt-4.1-2025-04-14": ("supervised", "dpo"),
    "gpt-4.1-mini-2025-04-14": ("supervised", "dpo"),
    "gpt-4o-2024-08-06": ("supervised",),
    "gpt-4o-mini-2024-07-18": ("supervised",),
}
"""Base models that existing customers may tune, with the methods (guides, 2026)."""

UNTUNED = frozenset({"gpt-6-luna"})
"""Models that answer and cannot be tuned: what OpenAI names as the replacement."""

_COMMON = {
    "batch_size": (int, 1, 256),
    "learning_rate_multiplier": (float, 0, None),
    "n_epochs": (int, 1, 50),
}
_HYPERPARAMETERS: Mapping[str, Mapping[str, tuple[type, float, float | None]]] = {
    "supervised": _COMMON,
    "dpo": {**_COMMON, "beta": (float, 0, 2)},
    "reinforcement": _COMMON,
}
_FIELDS = frozenset(
    {
        "model", "training_file", "validation_file", "hyperparameters", "suffix", "integrations",
        "seed", "method", "metadata",
    }
)  # fmt: skip


def refuse(
    status: int, message: str, *, code: str | None = None, param: str | None = None,
    kind: str = "invalid_request_error", headers: Mapping[str, str] | None = None,
) -> Refusal:  # fmt: skip
    """Return a refusal in OpenAI's error format."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return Refusal(status, {"error": error}, headers)


def check_create(body: Any, service: Service) -> dict[str, Any]:
    """Return the body of a create call. Raises `Refusal` with its first fault."""
    if not isinstance(body, dict):
        raise refuse(400, "We could not parse the JSON body of your request.")
    for name in ("training_file", "model"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise refuse(
                400, f"Missing required parameter: '{name}'.",
                code="missing_required_parameter", param=name,
            )  # fmt: skip
    known = _FIELDS | service.own_fields
    unknown = sorted(set(body) - (known if service.takes_method else known - {"method"}))
    if unknown:
        raise refuse(
            400, f"Unknown parameter: '{unknown[0]}'.", code="unknown_parameter", param=unknown[0]
        )
    _check_suffix(body.get("suffix"), service)
    _check_seed(body.get("seed"))
    check_metadata(body.get("metadata"))
    _check_method(body.get("method"))
    _check_hyperparameters(
        body.get("hyperparameters"), "supervised", "hyperparameters", service.own_hyperparameters
    )
    _check_integrations(body.get("integrations"))
    return body


def _bad(name: str, reason: str) -> Refusal:
    return refuse(400, f"Invalid '{name}': {reason}", code="invalid_value", param=name)


def _check_suffix(suffix: Any, service: Service) -> None:
    if suffix is None:
        return
    if not isinstance(suffix, str) or not 1 <= len(suffix) <= 64:
        raise _bad("suffix", "expected a string of 1 to 64 characters.")
    if "." in suffix and not service.takes_dots:
        raise _bad("suffix", "dots are not allowed.")


def _check_seed(seed: Any) -> None:
    if seed is not None and (not _is(int, seed) or not 0 <= seed <= 2147483647):
        raise _bad("seed", "expected an integer between 0 and 2147483647.")


def check_metadata(metadata: Any) -> None:
    """Raise `Refusal` for metadata with too many pairs, or too long ones."""
    if metadata is None:
        return
    if not isinstance(metadata, dict) or len(metadata) > 16:
        raise _bad("metadata", "expected an object of at most 16 pairs.")
    for key, value in metadata.items():
        if len(key) > 64 or not isinstance(value, str) or len(value) > 512:
            raise _bad(
                f"metadata.{key[:64]}", "keys have at most 64, values at most 512 characters."
            )


def _check_method(method: Any) -> None:
    if method is None:
        return
    if not isinstance(method, dict) or method.get("type") not in _HYPERPARAMETERS:
        raise _bad("method.type", "expected one of 'supervised', 'dpo', 'reinforcement'.")
    kind = method["type"]
    extra = sorted(set(method) - {"type", kind})
    if extra:
        raise refuse(
            400, f"Unknown parameter: 'method.{extra[0]}'.",
            code="unknown_parameter", param=f"method.{extra[0]}",
        )  # fmt: skip
    inner = method.get(kind) or {}
    _check_hyperparameters(inner.get("hyperparameters"), kind, f"method.{kind}.hyperparameters")


def _check_hyperparameters(
    given: Any, kind: str, path: str, own: Mapping[str, type] | None = None
) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise _bad(path, "expected an object.")
    known = _HYPERPARAMETERS[kind]
    for name, value in given.items():
        if own and name in own:
            right = isinstance(value, bool) if own[name] is bool else _is(own[name], value)
            if not right:
                raise _bad(f"{path}.{name}", f"expected a value of type {own[name].__name__}.")
            continue
        if name not in known:
            raise refuse(
                400, f"Unknown parameter: '{path}.{name}'.",
                code="unknown_parameter", param=f"{path}.{name}",
            )  # fmt: skip
        if value == "auto":
            continue
        kind_of, low, high = known[name]
        fits = _is(kind_of, value) and (value >= low if kind_of is int else value > low)
        if not fits or (high is not None and value > high):
            raise _bad(f"{path}.{name}", f"{value!r} is out of range.")


def _check_integrations(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, list) or len(given) > 5:
        raise _bad("integrations", "expected an array of at most 5.")
    for number, one in enumerate(given):
        wandb = one.get("wandb") if isinstance(one, dict) else None
        if not isinstance(wandb, dict) or one.get("type") != "wandb" or not wandb.get("project"):
            raise _bad(f"integrations[{number}]", "expected type 'wandb' with a project.")


def _is(kind: type, value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) if kind is int else isinstance(value, int | float)
