"""Requests made from our schema, and from OpenAI's, are answered as those schemas say: never with a 5xx.

The long tier (`--long`) makes thirty times as many requests.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, Phase, given, settings

pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")
httpx = pytest.importorskip("httpx", reason="needs ftsdk[openai]; not installed: httpx")
schemathesis = pytest.importorskip("schemathesis", reason="not installed: schemathesis")

from jsonschema import Draft202012Validator  # noqa: E402  # after the skips
from schemathesis.checks import not_a_server_error  # noqa: E402  # as above
from schemathesis.generation import GenerationMode  # noqa: E402  # as above
from schemathesis.specs.openapi import checks  # noqa: E402  # as above

import ftsdk  # noqa: E402  # as above
from ftsdk.config import Config  # noqa: E402  # as above
from ftsdk.serve.api_schema import OPERATIONS, api_document  # noqa: E402  # as above
from ftsdk.serve.app import ROUTES, serve_app  # noqa: E402  # as above
from ftsdk.serve.settings import ServeSettings  # noqa: E402  # as above
from ftsdk.util.clock import ManualClock  # noqa: E402  # as above
from tests.backends.conftest import SPECS, OpenAPI  # noqa: E402  # as above

HOST = "http://127.0.0.1:8765"
HEADERS = {"authorization": "Bearer a-token-of-this-test"}
RULES = ("hyperparameters.beta", "max_tokens")
"""Fields with a rule that a schema cannot say: that depends on other fields or settings."""
JOBS = "GET /v1/fine_tuning/jobs"
CONTENT = "GET /v1/files/{file_id}/content"
"""OpenAI's schema says JSON; its client asks for bytes and gets them."""


@dataclass(frozen=True)
class Served:
    """An application with one finished job and one file."""

    app: Any
    job: str
    file: str

    def real(self, name: str) -> list[str]:
        """What exists under the name of a parameter, and something that does not."""
        kind = "file" if "file" in name else "job"
        return [getattr(self, kind), "none"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home, clock = tmp_path_factory.mktemp("schema"), ManualClock()
    config = Config(env={}, data={"provider": "fake", "model": "fake-1"})
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"say {n}"},
                {"role": "assistant", "content": "x"},
            ]
        }
        for n in range(12)
    ]
    with ftsdk.Client(home=home, env={}, clock=clock, config=config) as client:
        job = client.create_job(rows, tags={"team": "a"})
        clock.advance(3600)
        assert job.refresh().status == "succeeded"
    server = ftsdk.AsyncClient(home=home, env={}, clock=clock, config=config)
    inner = serve_app(server, ServeSettings(HEADERS["authorization"][7:], home / "serve"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # this test closes the client itself
        await inner(scope, receive, send)

    async def upload() -> str:
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=HOST, headers=HEADERS) as user:
            sent = await user.post(
                "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", lines)}
            )
        return str(sent.json()["id"])

    yield Served(app, job.id, anyio.run(upload))
    anyio.run(server.close)


def with_real_ids(document: dict[str, Any], served: Served) -> dict[str, Any]:
    """The document, whose paths are of things that exist, but for deletions."""
    for operations in document["paths"].values():
        for method, operation in operations.items():
            for one in operation.get("parameters", ()) if method != "delete" else ():
                if one["in"] == "path":
                    one["schema"] = {"enum": served.real(one["name"])}
    return document


def run(
    served: Served,
    document: dict[str, Any],
    modes: list[Any],
    count: int,
    check: Callable[[Any, Any], None],
) -> Counter[tuple[str, int]]:
    """Send `count` requests to each operation in each mode; returns how they were answered."""
    schema = schemathesis.openapi.from_dict(document)
    schema.app, seen = served.app, Counter[tuple[str, int]]()
    for found in schema.get_all_operations():
        for mode in modes:
            if (found.ok().label, mode) == ("GET /health", GenerationMode.NEGATIVE):
                continue  # nothing can be wrong about it

            @settings(
                max_examples=count, deadline=None, database=None, derandomize=True,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(found.ok().as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call(base_url=HOST, headers=HEADERS)
                seen[case.operation.label, answer.status_code] += 1
                check(case, answer)

            ask()
    return seen


def check_all(case: Any, answer: Any) -> None:
    """Every check that schemathesis has."""
    excluded = [checks.positive_data_acceptance] if by_a_rule(answer) else []
    if case.operation.label == JOBS:
        # In a query every value is a text, and what has no form is left out: nothing wrong arrives.
        excluded.append(checks.negative_data_rejection)
    validate(case, answer, excluded_checks=excluded)


def validate(case: Any, answer: Any, **chosen: Any) -> None:
    case.validate_response(answer, headers=HEADERS, transport_kwargs={"base_url": HOST}, **chosen)


def by_a_rule(answer: Any) -> bool:
    """Whether a request was refused for what no schema says; without a field, for its rows or provider."""
    return answer.status_code == 400 and answer.json()["error"]["param"] in (None, *RULES)


def test_the_schema_has_each_route_and_no_other() -> None:
    own = {(method, path.replace(":path", "")) for method, path, _ in ROUTES}
    assert set(OPERATIONS) == own
    for schema in api_document()["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_requests_made_from_our_schema(served: Served, pytestconfig: pytest.Config) -> None:
    document = with_real_ids(json.loads(json.dumps(api_document())), served)
    bodies = document["components"]["schemas"]
    bodies["ChatBody"]["properties"]["model"] = {"enum": [served.job]}
    bodies["JobBody"]["properties"]["training_file"] = {"enum": [served.file]}
    count = 100 if pytestconfig.getoption("--long") else 3
    seen = run(served, document, list(GenerationMode), count, check_all)
    done = {label for label, status in seen if status == 200}
    refused = {label for label, status in seen if 400 <= status < 500}
    every = {f"{method} {path}" for method, path in OPERATIONS}
    never = {"DELETE /v1/files/{file_id}", "POST /v1/fine_tuning/jobs/{job_id}/resume"}
    assert every - done <= never, "an operation that never succeeded"
    assert every - refused <= {"GET /health"}, "an operation that takes everything"


def test_requests_made_from_openais_schema(served: Served, pytestconfig: pytest.Config) -> None:
    path = SPECS / "openai-fine-tuning.openapi.yaml"
    if not path.is_file():
        pytest.skip("OpenAI's schema is not here; FTSDK_SPECS names its folder")
    openai = OpenAPI(path)
    document = with_real_ids(ours_of(openai.document), served)
    schemas = document["components"]["schemas"]
    schemas["CreateFineTuningJobRequest"]["properties"]["training_file"] = {"enum": [served.file]}
    replace(schemas["CreateChatCompletionRequest"], "model", {"enum": [served.job]})
    chunk = {"$ref": "#/components/schemas/CreateChatCompletionStreamResponse"}
    chunks: list[Any] = []

    def check(case: Any, answer: Any) -> None:
        kind = answer.headers.get("content-type", [""])[0]
        if not kind.startswith("text/event-stream"):
            kept = [not_a_server_error]
            if case.operation.label != CONTENT:
                kept += [checks.response_schema_conformance, checks.content_type_conformance]
            validate(case, answer, checks=kept)
            return
        # The schema is of the data of an event, for which schemathesis takes the whole event.
        *sent, end = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
        assert (end, [openai.faults(chunk, json.loads(one)) for one in sent]) == (
            "[DONE]", [[]] * len(sent),
        )  # fmt: skip
        chunks.extend(sent)

    count = 100 if pytestconfig.getoption("--long") else 3
    seen = run(served, document, [GenerationMode.POSITIVE], count, check)
    done = {label for label, status in seen if status == 200}
    assert chunks or count < 50
    assert {JOBS, "GET /v1/models", "GET /v1/files"} <= done


def ours_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The operations of OpenAI's schema that we have, under the paths that they have here."""
    plain = lambda path: re.sub(r"\{[^}]*\}", "{}", path)
    ours = {(method.lower(), plain(path)) for method, path in OPERATIONS}
    paths: dict[str, Any] = {}
    for path, operations in document["paths"].items():
        kept = {k: v for k, v in operations.items() if (k, plain(f"/v1{path}")) in ours}
        if kept:
            paths[f"/v1{path}"] = kept
    assert sum(map(len, paths.values())) >= 15
    return {
        **json.loads(json.dumps(document)),
        "paths": json.loads(json.dumps(paths)),
        "servers": [{"url": HOST}],
    }


def replace(schema: dict[str, Any], name: str, value: dict[str, Any]) -> None:
    """Let a property have another schema, wherever in an `allOf` it is."""
    for part in (schema, *schema.get("allOf", ())):
        if name in part.get("properties", {}):
            part["properties"][name] = value
