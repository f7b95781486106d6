"""Published schemas to hold the doubles against, where they lie beside the repository."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.testing.lab import Double, Reply, Request

ROOT = Path(__file__).resolve().parents[2]
SPECS = Path(os.environ.get("FTSDK_SPECS", ROOT.parent / "shared" / "specs"))


class OpenAPI:
    """One OpenAPI 3.1 file: requests and answers are held against its operations.

    The files still say `nullable: true` (a word of 3.0), which is read as "null is allowed".
    """

    def __init__(self, path: Path) -> None:
        yaml = pytest.importorskip("yaml")
        self._validators = pytest.importorskip("jsonschema").validators
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.document = _with_nulls(yaml.load(path.read_bytes(), Loader=loader))  # safe loaders
        self.paths = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "$"), operations)
            for path, operations in sorted(
                self.document["paths"].items(), key=lambda item: item[0].count("{")
            )
        ]
        self.checked = 0

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        for pattern, operations in self.paths:
            if pattern.match(path) and method.lower() in operations:
                return operations[method.lower()]
        return None

    def faults(self, schema: dict[str, Any], value: Any) -> list[str]:
        whole = {**schema, "components": self.document["components"]}
        validator = self._validator(json.dumps(schema, sort_keys=True), whole)
        return [
            f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
            for error in validator.iter_errors(value)
        ]

    @functools.lru_cache(maxsize=200)  # noqa: B019  # one object for the whole session
    def _made(self, key: str) -> Any:
        schema = {**json.loads(key), "components": self.document["components"]}
        return self._validators.Draft202012Validator(schema)

    def _validator(self, key: str, whole: dict[str, Any]) -> Any:
        return self._made(key)

    def observer(self, prefix: str) -> Callable[[Request, Reply], None]:
        """Checks each exchange whose path begins with `prefix`."""

        def check(request: Request, reply: Reply) -> None:
            if not request.path.startswith(prefix):
                return
            operation = self.operation(request.method, request.path.removeprefix(prefix))
            if operation is None and _ELSEWHERE.match(request.path.removeprefix(prefix)):
                return
            assert operation is not None, "no such operation in the published schema"
            answer = operation["responses"].get(str(reply.status)) or {}
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            if schema is not None and "json" in reply.content_type() and reply.status < 300:
                found = self.faults(schema, json.loads(reply.payload()))
                assert not found, f"the answer: {found}"
            asked = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if asked.get("schema") and reply.status < 300:
                found = self.faults(asked["schema"], json.loads(request.body))
                assert not found, f"the request was taken and is wrong: {found}"
            self.checked += 1

        return check


_ELSEWHERE = re.compile(r"/(batches|chat/completions)(/|$)")
"""Operations that the schema of fine-tuning does not have; the SDK's types are held against them."""


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        made = {key: _with_nulls(inner) for key, inner in value.items()}
        if made.pop("nullable", False) is True:
            return {"anyOf": [made, {"type": "null"}]}
        return made
    return [_with_nulls(one) for one in value] if isinstance(value, list) else value


@functools.cache
def schema(name: str) -> OpenAPI | None:
    path = SPECS / f"{name}-fine-tuning.openapi.yaml"
    return OpenAPI(path) if path.is_file() else None


@pytest.fixture(scope="session")
def openapi() -> Callable[[str], OpenAPI]:
    """`openapi("openai")`: the schema, or a skip where the file is not there."""

    def get(name: str) -> OpenAPI:
        found = schema(name)
        if found is None:
            pytest.skip(f"no {name} schema beside the repository ({SPECS})")
        return found

    return get


@pytest.fixture(scope="session")
def held() -> Callable[[Double, str, str], None]:
    """`held(double, "openai", "/v1")`: from now on each exchange is checked, where a schema is."""

    def hold(double: Double, name: str, prefix: str) -> None:
        found = schema(name)
        if found is not None:
            double.observers.append(found.observer(prefix))

    return hold
