"""`import ftsdk` is fast and loads no heavy library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip(
    "resource", reason="measures the time of child processes; POSIX only"
)

HEAVY = (
    # the training stack, HTTP libraries, provider SDKs, data libraries, those of the command line
    "torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors", "numpy",
    "httpx", "httpx2", "requests", "aiohttp", "urllib3", "http.client", "ssl",
    "openai", "together", "replicate", "boto3", "huggingface_hub",
    "pandas", "pyarrow", "typer", "rich", "keyring", "tenacity", "multiprocessing",
)  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after running `code`."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(json.loads(printed.split("\n")[-2]))


def test_importing_loads_nothing_heavy() -> None:
    loaded = loaded_by("import ftsdk")
    assert sorted(loaded & set(HEAVY)) == []
    # Names are imported on first use, so even modules of ftsdk are not loaded yet.
    assert {name for name in loaded if name.startswith("ftsdk")} == {"ftsdk", "ftsdk._version"}


def test_a_job_from_end_to_end_loads_no_heavy_library(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{i}?"}, {"role": "assistant", "content": "ok"}]}
        for i in range(10)
    ]
    code = (
        f"import ftsdk\nclient = ftsdk.Client(home={str(tmp_path)!r}, env={{}})\n"
        f"client.create_job({rows!r}, model='any', provider='fake').refresh().metrics()\n"
        "client.list_jobs()"
    )
    heavy = {"torch", "transformers", "httpx", "requests", "openai", "together", "replicate"}
    assert sorted(loaded_by(code) & heavy) == []


def test_the_command_line_loads_no_heavy_library_to_show_its_help() -> None:
    pytest.importorskip("ftsdk.cli.app", reason="there is no command line")
    heavy = {"torch", "transformers", "httpx", "requests", "openai", "together", "replicate"}
    assert sorted(loaded_by("import ftsdk.cli.app") & heavy) == []


def seconds(code: str) -> float:
    """Return user plus system time of a fresh interpreter, which other processes do not affect."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, env=env)  # compiled modules are kept
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def least(*codes: str, rounds: int = 9) -> list[float]:
    """Return the least time of each `code`: what it takes when nothing disturbs it."""
    for code in codes:
        seconds(code)  # once for the file cache
    times: list[list[float]] = [[seconds(code) for code in codes] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def test_importing_takes_less_than_2_5_times_pydantic() -> None:
    pydantic, ours = least("import pydantic", "import ftsdk")
    print(f"import pydantic {pydantic * 1000:.0f} ms, import ftsdk {ours * 1000:.0f} ms")
    assert ours / pydantic < 2.5


def test_a_client_takes_little_more_than_a_pydantic_model() -> None:
    """Names are imported lazily, so this measures a program that uses them."""
    model = "from pydantic import BaseModel\nclass A(BaseModel):\n    a: int"
    client = "import ftsdk\nftsdk.Client(env={})\nftsdk.create_job"
    pydantic, ours = least(model, client)
    print(f"a pydantic model {pydantic * 1000:.0f} ms, a client {ours * 1000:.0f} ms")
    assert ours / pydantic < 2.5
