"""Answers while training: greedy, in the events, and without an effect on the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.local_model import LocalModel
from ftsdk.backends.local.options import LocalOptions
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.status import event_of
from tests.train import tiny

Train = Callable[..., int]
PROMPTS = ["red green cat", "dog"]


def make(path: Path, model: Path, **options: Any) -> RunDir:
    spec = tiny.spec(
        model,
        hyperparameters={"max_steps": 6, "learning_rate": 2e-2},
        options={"dtype": "float32", **options},
    )
    return RunDir.create(path, spec, train=tiny.rows(32))


def samples(run: RunDir) -> list[dict[str, Any]]:
    return [event for event in run.read_events() if "sample" in event]


def test_answers_change_no_bit_and_are_those_of_the_result(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    """With dropout in the adapter, whose random state an answer must not move."""
    runs = [
        make(tmp_path / "silent", tiny_model),
        make(
            tmp_path / "asked", tiny_model,
            sample_prompts=PROMPTS, sample_every_steps=2, sample_tokens=10,
        ),
    ]  # fmt: skip
    for run in runs:
        assert train(run.path) == 0, run.log_tail()
    weights = [(run.result_path / "adapter_model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    assert samples(runs[0]) == []
    found = samples(runs[1])
    assert [event["step"] for event in found] == [0, 0, 2, 2, 4, 4, 6, 6]
    model = LocalModel.load(runs[1].result_path, device="cpu")
    model.network.float()
    for event, prompt in zip(found[-2:], PROMPTS, strict=True):
        answer = model.chat([{"role": "user", "content": prompt}], max_tokens=10)
        assert event["sample"]["prompt"] == prompt
        assert event["sample"]["answer"] == answer.text
        assert event["sample"]["tokens"] == answer.completion_tokens
        assert event["sample"]["cut"] == (answer.finish_reason == "length")
        shown = event_of("ftj_x", event)
        assert shown.message == f"step 6  {prompt!r} → {answer.text!r}"
    assert found[0]["sample"]["answer"] != found[-2]["sample"]["answer"]


def test_by_default_they_come_with_each_epoch(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, sample_prompts="dog", sample_tokens=2)
    assert train(run.path) == 0, run.log_tail()
    assert [event["step"] for event in samples(run)] == [0, 4, 6]


@pytest.mark.parametrize(
    ("template", "prompt", "fault"),
    [
        ("", "red " * 400, "tokens, and the model takes 512"),
        (
            "{{ raise_exception('not this') if messages[0]['content'] == 'no' }}",
            "no",
            "refuses it: not this",
        ),
    ],
)
def test_a_prompt_that_cannot_be_asked_fails_before_the_first_step(
    template: str, prompt: str, fault: str, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    own = {"chat_template": template + tiny.CHATML} if template else {}
    run = make(tmp_path / "run", tiny_model, sample_prompts=[prompt], **own)
    assert train(run.path) == 1
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    assert outcome["steps"] == 0
    assert outcome["message"].startswith(f"sample_prompts: '{prompt[:2]}")
    assert fault in outcome["message"]


def test_its_settings_need_prompts() -> None:
    with pytest.raises(ValueError, match="sample_every_steps, sample_tokens needs sample_prompts"):
        LocalOptions(sample_every_steps=3, sample_tokens=4)
