"""Local runs that ftsdk 0.1.0 started before its modules moved are resumed and read."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from tests.home_before import FACTS, IDS, WHOLE, restore_home

CHECKPOINT = "checkpoints/step-00000006/adapter_model.safetensors"
RESULT = "result/adapter_model.safetensors"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return restore_home(tmp_path / "before")


@pytest.fixture
def client(before: Path) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=before, env={}) as made:
        yield made


def same_bits_are_promised() -> bool:
    """Whether the processor and the library versions are those that made the fixture."""
    if processor() != FACTS["processor"]:
        return False
    made_with = {name: value for name, value in FACTS["versions"].items() if name != "ftsdk"}
    python = made_with.pop("python")
    return platform.python_version() == python and made_with == {
        name: version(name) for name in made_with
    }


def processor() -> str:
    """A digest of the processor's model and features; empty where /proc/cpuinfo is missing."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    first = path.read_text().split("\n\n")[0]
    kept = re.findall(r"^(?:model|model name|stepping|flags)\t+:.*$", first, re.MULTILINE)
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()[:16]


def tensors(path: Path) -> Any:
    """All weights of a file as one vector."""
    import torch
    from safetensors.torch import load_file

    return torch.cat([tensor.flatten() for _, tensor in sorted(load_file(path).items())])


def ends_as_if_uninterrupted(job: ftsdk.FineTuneJob, run: Path) -> None:
    """Wait for the end and compare with the old version's uninterrupted run of the same spec."""
    start = tensors(run / CHECKPOINT)
    assert job.wait(timeout=120).status == "succeeded", job.logs(tail=20)
    messages = [event.message for event in job.events()]
    assert "Resumed from step 6." in messages
    assert not [text for text in messages if "not sound" in text], messages
    steps = [point.step for point in job.metrics() if point.train_loss is not None]
    assert steps == list(range(1, 13))
    end, expected = tensors(run / RESULT), tensors(WHOLE)
    assert (end - expected).norm() < 0.02 * (expected - start).norm()
    if same_bits_are_promised():
        assert (run / RESULT).read_bytes() == WHOLE.read_bytes()


def test_an_interrupted_run_is_resumed_from_its_checkpoint(
    client: ftsdk.Client, before: Path
) -> None:
    job = client.get_job(IDS["interrupted"])
    assert job.refresh().raw_status == "interrupted"
    ends_as_if_uninterrupted(job.resume(), before / "runs" / job.id)
    assert client.get_job(job.id).status == "succeeded"


def test_a_failed_run_says_why_and_is_resumed(client: ftsdk.Client, before: Path) -> None:
    job = client.get_job(IDS["trainer killed"])
    with pytest.raises(ftsdk.JobFailed) as caught:
        job.result()
    assert "killed by signal 9 (SIGKILL)" in caught.value.what
    assert caught.value.hint == FACTS["failures"]["trainer killed"]["hint"]
    run = before / "runs" / job.id
    ends_as_if_uninterrupted(job.resume(), run)
    assert json.loads((run / "outcome-1.json").read_bytes())["outcome"] == "failed"


def test_a_failed_run_that_was_never_refreshed_says_why(client: ftsdk.Client) -> None:
    with pytest.raises(ftsdk.JobFailed) as caught:
        client.get_job(IDS["failed unseen"]).result()
    assert "The validation loss became nan at step 0" in caught.value.what
    assert caught.value.hint.startswith("lower learning_rate")


def test_a_model_from_before_answers(client: ftsdk.Client, tmp_path: Path) -> None:
    model = client.get_job(IDS["succeeded here"]).result()
    answer = model.chat("red green", max_tokens=8)
    assert answer.usage["completion_tokens"] > 0
    folder = model.download(tmp_path / "copy")
    assert (folder / "adapter_model.safetensors").is_file()
