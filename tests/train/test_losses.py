"""The loss of a model here on given answers: as transformers computes it, and lower after training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.errors import NotFound
from tests.train import tiny

QUESTION = [{"role": "user", "content": "cat dog"}]


def row(answer: str, *before: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [*before, *QUESTION, {"role": "assistant", "content": answer}]}


@pytest.fixture(scope="module")
def result(tiny_model: Path, train: Callable[..., int], tmp_path_factory: Any) -> Path:
    """A model that has learned one answer."""
    spec = tiny.spec(
        tiny_model,
        hyperparameters={"max_steps": 40, "learning_rate": 8e-3},
        options={"dtype": "float32", "checkpoint_every_steps": 100},
        adapter={"dropout": 0.0, "rank": 16, "alpha": 32},
    )
    path = tmp_path_factory.mktemp("losses") / "run"
    run = RunDir.create(path, spec, train=[row("dog cat sun")] * 8)
    assert train(run.path) == 0, run.log_tail()
    return run.result_path


def losses_of(result: Path, *rows: dict[str, Any], tuned: bool = True) -> list[Any]:
    from ftsdk.backends.local.losses import answer_losses

    return list(answer_losses(result, rows, tuned=tuned))


def test_it_is_the_mean_cross_entropy_of_the_answers_tokens(result: Path) -> None:
    import torch

    from ftsdk.backends.local.inference import load_model
    from ftsdk.dataset.tokenize.render import render_prompt, render_row

    for tuned in (True, False):
        model = load_model(result if tuned else _base(result))
        whole = list(render_row(row("dog cat sun"), model.tokenizer).ids)
        start = len(render_prompt(QUESTION, model.tokenizer))
        trained = render_row(row("dog cat sun"), model.tokenizer).trained
        ends = max(k for k in range(len(whole)) if trained[k]) + 1
        with torch.no_grad():
            logits = model.network(input_ids=torch.tensor([whole])).logits[0].float()
        each = [
            -float(torch.log_softmax(logits[k - 1], dim=-1)[whole[k]]) for k in range(start, ends)
        ]
        [found] = losses_of(result, row("dog cat sun"), tuned=tuned)
        assert found.tokens == len(each)
        assert found.per_token == pytest.approx(sum(each) / len(each), rel=1e-4)


def _base(result: Path) -> Path:
    from ftsdk.backends.local.local_model import base_folder

    return base_folder(result)


def test_training_lowers_the_loss_of_what_was_learned(result: Path) -> None:
    [tuned] = losses_of(result, row("dog cat sun"))
    [base] = losses_of(result, row("dog cat sun"), tuned=False)
    [other] = losses_of(result, row("rain rain rain"))
    assert tuned.per_token < 0.5 < base.per_token
    assert other.per_token > tuned.per_token


def test_only_the_last_answer_counts(result: Path) -> None:
    earlier = (
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "rain sun rain"},
    )
    [alone] = losses_of(result, row("dog cat sun"))
    [after] = losses_of(result, row("dog cat sun", *earlier))
    assert after.tokens == alone.tokens
    weighted = row("dog cat sun")
    weighted["messages"][-1]["weight"] = 0
    assert losses_of(result, weighted) == [alone]


def test_rows_that_cannot_be_read_whole_have_no_loss(result: Path) -> None:
    asked = {"messages": QUESTION}
    long = row("cat " * 5000)
    found = losses_of(result, asked, row("dog cat sun"), long)
    assert found[0] is None
    assert found[1] is not None
    assert found[2] is None


def test_a_tokenizer_is_known_by_what_decides_its_tokens(result: Path, tmp_path: Path) -> None:
    from ftsdk.backends.local.losses import tokenizer_hash

    assert tokenizer_hash(result) == tokenizer_hash(result, tuned=False)
    found = json.loads((_base(result) / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(found, indent=3))
    assert tokenizer_hash(tmp_path) == tokenizer_hash(result)
    found["added_tokens"] = found["added_tokens"][:-1]
    (tmp_path / "tokenizer.json").write_text(json.dumps(found))
    assert tokenizer_hash(tmp_path) != tokenizer_hash(result)
    with pytest.raises(NotFound):
        tokenizer_hash(tmp_path / "nothing")
