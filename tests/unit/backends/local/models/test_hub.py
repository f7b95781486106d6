"""Base models from a hub, with a double on loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local import trainability
from ftsdk.backends.local.models import pull
from ftsdk.backends.local.models.model_folder import manifest_fault
from ftsdk.backends.local.models.resolve import is_pulled, pull_model, resolve_model
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.errors import (
    AuthError,
    Unavailable,
    UnknownModel,
    Unsupported,
)
from tests.unit.backends.local.models.model_files import (
    BUILT_IN,
    make_model,
    safetensors,
)

COMMIT = "c0ffee" + "0" * 34


class HubDouble:
    """Answers like a model hub: a listing with sizes, then files by commit."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.status, self.error_code = 200, ""
        self.taken: list[str] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                double.answer(self, body=True)

            def do_HEAD(self) -> None:
                double.answer(self, body=False)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = request.path.split("?")[0]
        data, kind, etag = b"{}", "application/json", '"0"'
        if self.status == 200 and path.startswith("/api/models/"):
            siblings = [{"rfilename": n, "size": len(d)} for n, d in self.files.items()]
            listing = {"_id": "1", "id": "org/tiny", "sha": COMMIT, "siblings": siblings}
            data = json.dumps(listing | {"cardData": {"license": "mit"}}).encode()
        elif self.status == 200:
            name = path.split("/resolve/", 1)[1].split("/", 1)[1]
            data, kind = self.files[name], "application/octet-stream"
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            if body:
                self.taken.append(name)
        request.send_response(self.status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(data)))
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", etag)
        if self.error_code:
            request.send_header("X-Error-Code", self.error_code)
        request.end_headers()
        if body:
            request.wfile.write(data)


@pytest.fixture
def tiny_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A hub that has one small model, with pickles and code beside it."""
    constants = pytest.importorskip("huggingface_hub.constants")
    made = make_model(tmp_path / "published")
    files = {path.name: path.read_bytes() for path in made.iterdir()}
    files |= {"pytorch_model.bin": b"pickle", "modeling_tiny.py": b"raise", "README.md": b"x"}
    files |= {"onnx/model.safetensors": b"x", "consolidated.safetensors": b"x"}
    double = HubDouble(files)
    monkeypatch.setenv("HF_ENDPOINT", double.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield double
    double.server.shutdown()
    double.server.server_close()


def test_a_hub_model_is_downloaded_without_pickles_or_code(
    tiny_hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_pulled("org/tiny", home=home)
    with pytest.raises(Unavailable, match="not on this machine yet") as caught:
        resolve_model("org/tiny", home=home)
    assert caught.value.hint == "run `ftsdk models pull org/tiny`"
    assert tiny_hub.taken == []
    found = resolve_model("org/tiny", home=home, allow_pull=True)
    assert (found.source, found.revision, found.license) == ("hub-cache", COMMIT, "mit")
    assert found.sha256 == hashlib.sha256(safetensors()).hexdigest()
    wanted = {"chat_template.jinja", "config.json", "model.safetensors"}
    wanted |= {"tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in found.path.iterdir()} == wanted
    assert set(tiny_hub.taken) <= wanted
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve_model("org/tiny", home=home) == found
    assert is_pulled("org/tiny", home=home)


def test_an_incomplete_hub_model_is_fetched_again(tiny_hub: HubDouble, home: Path) -> None:
    folder = resolve_model("org/tiny", home=home, allow_pull=True).path
    (folder / "config.json").unlink()
    assert not is_pulled("org/tiny", home=home)
    assert resolve_model("org/tiny", home=home, allow_pull=True).path == folder
    assert is_pulled("org/tiny", home=home)


def test_a_built_in_comes_from_the_hub_where_there_is_one(
    tiny_hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "_run", lambda *_: pytest.fail("pip was asked"))
    found = pull_model(BUILT_IN, home=home)
    assert (found.source, found.revision) == ("built-in", COMMIT)
    assert manifest_fault(found.path, digests=True) is None
    assert not (found.path / ".cache").exists()
    assert "pytorch_model.bin" not in tiny_hub.taken


def test_a_hub_model_with_pickles_only_is_refused_before_download(
    tiny_hub: HubDouble, home: Path
) -> None:
    tiny_hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with pytest.raises(Unsupported, match=r"only pickle weights \(pytorch_model.bin\)"):
        pull_model("org/tiny", home=home)
    assert tiny_hub.taken == []


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "RepoNotFound", UnknownModel),
        (404, "RevisionNotFound", UnknownModel),
        (403, "GatedRepo", AuthError),
        (400, "", Unavailable),
    ],
)
def test_errors_of_the_hub_are_raised_as_ours(
    status: int, code: str, error: type[Exception], tiny_hub: HubDouble, home: Path
) -> None:
    tiny_hub.status, tiny_hub.error_code = status, code
    with pytest.raises(error) as caught:
        pull_model("org/tiny", home=home)
    assert "org/tiny" in str(caught.value)


def test_offline_is_named_with_a_hint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="switched off") as caught:
        resolve_model("org/tiny", home=home, allow_pull=True)
    assert "HF_HUB_OFFLINE" in caught.value.where
    assert "local model folder" in caught.value.hint
    assert not caught.value.retryable


def test_a_model_that_cannot_be_trained_is_refused_by_its_config_alone(
    tiny_hub: HubDouble, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a plan nor a create downloads weights that could not be used."""

    def examine(asked: Mapping[str, Any]) -> dict[str, Any]:
        assert asked["files"] == []
        assert asked["headers"] is False
        return {"faults": [["transformers does not know it", "choose another"]], "adapted": None}

    settings = {"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}
    tiny_hub.files["config.json"] = json.dumps(settings).encode()
    monkeypatch.setattr(trainability, "_STACK", ())
    monkeypatch.setattr(trainability, "examine", examine)
    options = {"provider": "local", "model": "org/tiny", "provider_options": {"pull": True}}
    client = Client(home=home, config=Config(data=options), env={})
    rows = [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]
    for method in (client.plan, client.create_job):
        with pytest.raises(Unsupported) as caught:
            method(rows)
        assert "quantized already (gptq)" in caught.value.what
        assert "transformers does not know it" in caught.value.what
    assert tiny_hub.taken == ["config.json"]
    assert not is_pulled("org/tiny", home=home)
    assert client.list_jobs() == []


def test_a_hub_that_cannot_be_asked_refuses_nothing(
    tiny_hub: HubDouble, home: Path, rows: Callable[[int], list[dict[str, Any]]]
) -> None:
    tiny_hub.status = 503
    options = {"provider": "local", "model": "org/tiny", "provider_options": {"pull": True}}
    plan = Client(home=home, config=Config(data=options), env={}).plan(rows(2))
    assert any("is not here yet" in note for note in plan.notes)
