"""Check inputs against a trainer's published schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "boolean": (bool,),
}


def schema_faults(inputs: Mapping[str, Any], version: Mapping[str, Any]) -> list[str]:
    """Return what the trainer's published schema forbids; nothing when it has none."""
    schemas: Any = version
    for step in ("openapi_schema", "components", "schemas"):
        schemas = schemas.get(step) if isinstance(schemas, Mapping) else None
    schema = schemas.get("TrainingInput") if isinstance(schemas, Mapping) else None
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return []
    faults = [
        f"input {name} is not one of the trainer's ({', '.join(sorted(properties))})"
        for name in inputs
        if name not in properties
    ]
    required = schema.get("required") if isinstance(schema, Mapping) else None
    faults += [f"input {name} is required" for name in required or () if name not in inputs]
    for name, value in inputs.items():
        rule = properties.get(name)
        if isinstance(rule, Mapping):
            faults += _against(name, value, rule)
    return faults


def _against(name: str, value: Any, rule: Mapping[str, Any]) -> list[str]:
    kinds = _TYPES.get(str(rule.get("type")))
    if kinds is not None and (
        not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
    ):
        return [f"input {name}={value!r} must be of type {rule['type']}"]
    if isinstance(value, int | float):
        low, high = rule.get("minimum"), rule.get("maximum")
        if isinstance(low, int | float) and value < low:
            return [f"input {name}={value:g} must be at least {low:g}"]
        if isinstance(high, int | float) and value > high:
            return [f"input {name}={value:g} must be at most {high:g}"]
    allowed = rule.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        return [f"input {name}={value!r} must be one of {', '.join(map(str, allowed))}"]
    return []
