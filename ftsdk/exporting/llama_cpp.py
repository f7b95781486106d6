"""Ask a llama.cpp runtime, in a process of its own.

    python -m ftsdk.exporting.llama_cpp REQUEST.json ANSWER.json

The runtime is C++ that aborts its process on some errors and opens an HTTP port; so it is kept apart
from the application, listens on loopback with a key of one use, and reads files that we wrote alone.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.environment import available_threads, trainer_environment
from ftsdk.backends.local.runs.launch import keep_package_importable
from ftsdk.errors import UsageError

_TIMEOUT_S = 3600.0
_START_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class LlamaCppAnswers:
    """Greedy answers as token ids, and the token ids of texts."""

    answers: Sequence[Sequence[int]]
    texts: Sequence[Sequence[int]]


def is_installed() -> bool:
    """True where the runtime is installed: the package xllamacpp, llama.cpp's server as a module."""
    return find_spec("xllamacpp") is not None


def ask(
    model: Path,
    *,
    adapter: Path | None = None,
    prompts: Sequence[Sequence[int]],
    texts: Sequence[str] = (),
    max_tokens: int,
) -> LlamaCppAnswers:
    """The runtime's greedy answers to prompts of token ids, and how it tokenizes the texts.

    Raises `UsageError` when it cannot load the file.
    """
    request = {
        "model": str(model.resolve()),
        "adapter": None if adapter is None else str(adapter.resolve()),
        "prompts": [list(prompt) for prompt in prompts],
        "texts": list(texts),
        "max_tokens": max_tokens,
    }
    with tempfile.TemporaryDirectory(prefix="ftsdk-llama-cpp-") as scratch:
        asked, answered = Path(scratch) / "request.json", Path(scratch) / "answer.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(asked), str(answered)],
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=_environment(),
        )
        if done.returncode or not answered.is_file():
            raise UsageError(
                f"llama.cpp cannot load the file (exit status {done.returncode}): "
                f"{_last_line(done.stderr)}",
                where=str(model),
                hint="export again; if it stays so, please report it with the model's name",
            )
        found = json.loads(answered.read_bytes())
    return LlamaCppAnswers(found["answers"], found["texts"])


def _environment() -> dict[str, str]:
    """The environment of the process: without keys, and with this package."""
    clean = trainer_environment(os.environ, available_threads())
    keep_package_importable(clean)
    return clean


def _last_line(text: bytes) -> str:
    lines = [line for line in text.decode(errors="replace").split("\n") if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


# --- the process ------------------------------------------------------------------------------


class _Server:
    """One model in llama.cpp's own server, on a free port of loopback."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        import xllamacpp

        key = secrets.token_urlsafe(24)
        longest = max((len(prompt) for prompt in request["prompts"]), default=1)
        asked = xllamacpp.CommonParams()
        asked.model.path = request["model"]
        asked.n_ctx = longest + request["max_tokens"] + 64
        asked.n_parallel, asked.n_gpu_layers, asked.verbosity = 1, 0, 0
        threads = available_threads()
        asked.cpuparams.n_threads = asked.cpuparams_batch.n_threads = threads
        asked.cpuparams.poll = asked.cpuparams_batch.poll = (
            0  # waiting threads leave the processor to others
        )
        asked.warmup = asked.ui = False
        asked.api_keys = [key]
        asked.cors_origins = "localhost"
        if request["adapter"] is not None:
            info = xllamacpp.CommonAdapterLoraInfo()
            info.path, info.scale = request["adapter"], 1.0
            asked.lora_adapters = [info]
        self._server = xllamacpp.Server(asked)
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}

    def post(self, route: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310  # the address is the server's own, on loopback
            self._server.listening_address + route, json.dumps(body).encode(), self._headers
        )
        with urllib.request.urlopen(request, timeout=_START_TIMEOUT_S) as response:  # noqa: S310  # as above
            return json.load(response)

    def answer(self, prompt: Sequence[int], max_tokens: int) -> list[int]:
        found = self.post(
            "/completion",
            {
                "prompt": list(prompt), "n_predict": max_tokens, "temperature": 0,
                "return_tokens": True, "cache_prompt": False,
            },
        )  # fmt: skip
        return list(found["tokens"])

    def tokenize(self, text: str) -> list[int]:
        return list(self.post("/tokenize", {"content": text, "add_special": False})["tokens"])


def main(arguments: Sequence[str]) -> None:
    """Answer the request in the first file by writing the second. Raises what the runtime raises."""
    request = json.loads(Path(arguments[0]).read_bytes())
    server = _Server(request)
    answers = [server.answer(prompt, request["max_tokens"]) for prompt in request["prompts"]]
    texts = [server.tokenize(text) for text in request["texts"]]
    Path(arguments[1]).write_text(json.dumps({"answers": answers, "texts": texts}))
    os._exit(0)  # the server's threads would be joined, and it has nothing left to do


if __name__ == "__main__":
    main(sys.argv[1:])
