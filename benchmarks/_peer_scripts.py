"""The program of each peer: upload the rows, create the job, watch it, print the verdict.

    python benchmarks/_peer_scripts.py WAY DATA

Each is written as its documentation shows. It prints one line of JSON: `verdict` is `succeeded`,
`failed`, `cancelled` or `asks` (a person must decide), `id` the provider's id. An error of the
package's own class is printed and ends the program with 1; any other exception is a traceback.
Pauses are `SPEED` times shorter than asked for, so that every package keeps its own rhythm.
`benchmarks/peers.py` starts this.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SPEED = float(os.environ.get("SPEED", "20"))
BEGAN = float(os.environ.get("BEGAN", "0"))  # the real time at which the clock of the trial started
TIMEOUT_S = 5.0  # of one request, for every package
EPOCH = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
OPENAI_MODEL = "gpt-4.1-mini-2025-04-14"
TOGETHER_MODEL = "Qwen/Qwen3.5-9B"
_sleep = time.sleep


class FastClock:
    """A clock on which `SPEED` seconds pass in each real one, the same in every process of a trial."""

    def __init__(self, began: float = BEGAN) -> None:
        self.began = began

    def now(self) -> dt.datetime:
        """Return the time of the trial."""
        return EPOCH + dt.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Return the seconds since the trial began."""
        return (time.time() - self.began) * SPEED

    def sleep(self, seconds: float) -> None:
        """Sleep for the share of `seconds` that passes in real time."""
        _sleep(max(0.0, seconds) / SPEED)


def verdict(word: str, job_id: str | None) -> None:
    """Print how the job ended."""
    print(json.dumps({"verdict": word, "id": job_id}), flush=True)


# --- the packages of the providers, and those that sit on top of them -------------------------


def with_openai(data: Path) -> None:
    """OpenAI's own package."""
    import openai

    client = openai.OpenAI(timeout=TIMEOUT_S)
    try:
        with data.open("rb") as rows:
            file = client.files.create(file=rows, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(training_file=file.id, model=OPENAI_MODEL)
        while job.status not in {"succeeded", "failed", "cancelled"}:
            time.sleep(30)
            job = client.fine_tuning.jobs.retrieve(job.id)
    except openai.OpenAIError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    verdict(job.status, job.id)


def with_together(data: Path) -> None:
    """Together's own package."""
    import together

    client = together.Together(timeout=TIMEOUT_S)
    ends = {"completed": "succeeded", "error": "failed", "cancelled": "cancelled"}
    try:
        file = client.files.upload(data, purpose="fine-tune", check=True)
        job: Any = client.fine_tuning.create(
            training_file=file.id, model=TOGETHER_MODEL, n_epochs=1, lora=True
        )
        while job.status not in ends:
            time.sleep(30)
            job = client.fine_tuning.retrieve(job.id)
    except together.TogetherError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    verdict(ends[job.status], job.id)


def with_replicate(data: Path) -> None:
    """Replicate's own package."""
    import replicate
    from replicate.exceptions import ReplicateException

    address = os.environ["REPLICATE_BASE_URL"]
    client = replicate.Client(
        api_token=os.environ["REPLICATE_API_TOKEN"], base_url=address, timeout=TIMEOUT_S
    )
    ends = {"succeeded": "succeeded", "failed": "failed", "canceled": "cancelled"}
    try:
        file = client.files.create(data)
        version = client.models.get("lab/llama-trainer").latest_version
        assert version is not None
        training = client.trainings.create(
            model="lab/llama-trainer",
            version=version.id,
            destination="lab/tuned",
            input={"train_data": file.urls["get"]},
        )
        while training.status not in ends:
            time.sleep(30)
            training.reload()
    except ReplicateException as error:
        sys.exit(f"{type(error).__name__}: {error}")
    verdict(ends[training.status], training.id)


def with_litellm(data: Path) -> None:
    """LiteLLM, at OpenAI."""
    import litellm

    to: dict[str, Any] = {
        "custom_llm_provider": "openai",
        "api_base": os.environ["OPENAI_BASE_URL"],
        "timeout": TIMEOUT_S,
    }
    try:
        file = litellm.create_file(file=(data.name, data.read_bytes()), purpose="fine-tune", **to)
        job: Any = litellm.create_fine_tuning_job(model=OPENAI_MODEL, training_file=file.id, **to)
        while job.status not in {"succeeded", "failed", "cancelled"}:
            time.sleep(30)
            job = litellm.retrieve_fine_tuning_job(fine_tuning_job_id=job.id, **to)
    except tuple(litellm.LITELLM_EXCEPTION_TYPES) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    verdict(job.status, job.id)


def with_dspy(data: Path) -> None:
    """DSPy, at OpenAI. It returns an error as the result, so the result is looked at."""
    import dspy
    import openai
    from dspy.clients.openai import OpenAIProvider
    from dspy.clients.utils_finetune import TrainDataFormat

    openai.timeout = TIMEOUT_S
    rows = [json.loads(line) for line in data.read_text().split("\n") if line]
    lm = dspy.LM(f"openai/{OPENAI_MODEL}", provider=OpenAIProvider())
    job = lm.finetune(train_data=rows, train_data_format=TrainDataFormat.CHAT)
    result = job.result()
    if isinstance(result, openai.OpenAIError):
        sys.exit(f"{type(result).__name__}: {result}")
    if isinstance(result, BaseException):
        raise result
    verdict("succeeded", job.provider_job_id)


# --- ftsdk ------------------------------------------------------------------------------------

OURS = {
    "openai": {"provider": "openai", "model": OPENAI_MODEL},
    "together": {"provider": "together", "model": TOGETHER_MODEL},
    "replicate": {
        "provider": "replicate",
        "model": "lab/llama-trainer",
        "provider_options": {"destination": "lab/tuned"},
    },
}


def by_ftsdk(data: Path, provider: str, key: str | None) -> None:
    """`create_job` and `wait`, with or without a key."""
    import ftsdk

    wanted: dict[str, Any] = dict(OURS[provider])
    if key is not None:
        wanted["key"] = key
    with ftsdk.Client(clock=FastClock()) as client:
        try:
            job = client.create_job(data, **wanted)
            job.wait()
        except ftsdk.NeedsDecision:
            verdict("asks", None)
        except ftsdk.FtsdkError as error:
            sys.exit(f"{type(error).__name__}: {error}")
        else:
            verdict(str(job.status), job.provider_job_id)


def by_command(data: Path, provider: str) -> None:
    """`ftsdk create`, which watches the job; `ftsdk list` says how it ended."""
    import ftsdk.session

    vars(ftsdk.session)["SystemClock"] = FastClock
    from ftsdk.cli import main

    wanted = OURS[provider]
    sys.argv = ["ftsdk", "create", str(data), "--provider", wanted["provider"], "--yes", "--json"]
    sys.argv += ["--model", wanted["model"]]
    for name, value in wanted.get("provider_options", {}).items():
        sys.argv += ["--set", f"{name}={value}"]
    main()


WAYS: dict[str, Callable[[Path], None]] = {
    "openai": with_openai,
    "together": with_together,
    "replicate": with_replicate,
    "litellm": with_litellm,
    "dspy": with_dspy,
    **{
        f"ftsdk {how}, {provider}": call
        for provider in OURS
        for how, call in {
            "with a key": lambda data, p=provider: by_ftsdk(data, p, "the-one-job"),
            "without a key": lambda data, p=provider: by_ftsdk(data, p, None),
            "command line": lambda data, p=provider: by_command(data, p),
        }.items()
    },
}

if __name__ == "__main__":
    time.sleep = FastClock().sleep  # the pauses of every package, ours included
    WAYS[sys.argv[1]](Path(sys.argv[2]))
