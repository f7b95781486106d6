"""Runs of dpo, orpo and kto, and of plain text: they learn, report, and resume bit for bit."""

from __future__ import annotations

import hashlib
import json
import math
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.status import event_of, metric_points
from tests.train import tiny

Train = Callable[..., int]
REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies")


def pairs(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Say some words backwards; the other answer says them forwards."""
    source, made = random.Random(seed), []
    for _ in range(count):
        words = source.choices(tiny.WORDS, k=source.randint(2, 6))
        right, wrong = " ".join(reversed(words)), " ".join(words)
        if right == wrong:
            wrong += " sun"
        made.append(
            {
                "input": {"messages": [{"role": "user", "content": " ".join(words)}]},
                "preferred_output": [{"role": "assistant", "content": right}],
                "non_preferred_output": [{"role": "assistant", "content": wrong}],
            }
        )
    return made


def labelled(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Both answers of each pair, the better one with the label true."""
    return [
        {"messages": [*pair["input"]["messages"], *pair[side]], "label": side == "preferred_output"}
        for pair in pairs((count + 1) // 2, seed=seed)
        for side in ("preferred_output", "non_preferred_output")
    ][:count]


def make(path: Path, model: Path, method: str, **changes: Any) -> RunDir:
    rows = rows_of(method)
    spec = tiny.spec(model, method=method, **changes)
    return RunDir.create(path, spec, train=rows(28), validation=rows(8, seed=1))


def rows_of(method: str) -> Callable[..., list[dict[str, Any]]]:
    return labelled if method == "kto" else pairs


def digest(run: RunDir) -> str:
    name = "adapter_model.safetensors" if run.spec.adapter else "model.safetensors"
    return hashlib.sha256((run.result_path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("dpo", {"options": {"dtype": "float32"}}),
        ("dpo", {"adapter": None, "options": {"dtype": "bf16", "loss_type": "ipo"}}),
        ("kto", {"options": {"dtype": "bf16"}}),
        ("orpo", {"options": {"dtype": "float32"}}),
    ],
    ids=["dpo, lora", "dpo, full", "kto", "orpo"],
)
def test_killed_twice_ends_in_the_same_bits(
    method: str, changes: dict[str, Any], tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    whole = make(tmp_path / "whole", tiny_model, method, **changes)
    assert train(whole.path) == 0, whole.log_tail()
    run = make(tmp_path / "run", tiny_model, method, **changes)
    for number in (1, 4):
        assert train(run.path, "kill_in_step", number) == -signal.SIGKILL
    assert train(run.path) == 0, run.log_tail()
    assert digest(run) == digest(whole)
    assert sorted(p.name for p in run.path.glob("reference-*")) == (
        [] if method == "orpo" else ["reference-train.f32", "reference-validation.f32"]
    )


def test_a_resumed_run_compares_with_the_reference_of_its_first_attempt(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    """Computed again from the weights of a checkpoint, it would be another one."""
    changes = {"options": {"dtype": "float32"}, "hyperparameters": {"learning_rate": 2e-2}}
    run = make(tmp_path / "run", tiny_model, "dpo", **changes)
    assert train(run.path, "kill_in_step", 5) == -signal.SIGKILL
    before = (run.path / "reference-train.f32").read_bytes()
    (run.path / "reference-train.f32").unlink()
    assert train(run.path) == 0, run.log_tail()
    assert (run.path / "reference-train.f32").read_bytes() == before


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_it_learns_and_reports_rewards(
    method: str, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    """The rows to validate on are those it has learned: a model this small learns them by heart."""
    spec = tiny.spec(
        tiny_model,
        method=method,
        hyperparameters={"epochs": 6, "learning_rate": 2e-2},
        options={"dtype": "float32", "checkpoint_every_steps": 100},
        adapter={"dropout": 0.0, "rank": 16, "alpha": 32},
    )
    rows = rows_of(method)(28)
    run = RunDir.create(tmp_path / "run", spec, train=rows, validation=rows)
    assert train(run.path) == 0, run.log_tail()
    points = metric_points(run.read_events())
    first, last = points[0], points[-1]
    assert last.validation_loss is not None
    assert first.validation_loss is not None
    assert last.validation_loss < first.validation_loss
    assert last.validation_accuracy is not None
    assert last.validation_accuracy >= 0.75
    assert last.train_accuracy == last.raw["rewards/accuracies"]
    for name in REWARDS:
        assert math.isfinite(last.raw[name])
        assert math.isfinite(last.raw[f"validation_{name}"])
    assert last.raw["validation_rewards/margins"] > first.raw["validation_rewards/margins"]
    lines = [event_of("job", raw).message for raw in run.read_events() if raw["kind"] == "metric"]
    assert f"reward accuracy {last.validation_accuracy:.1%}" in lines[-1]
    facts = json.loads((run.result_path / "ftsdk.json").read_bytes())
    assert facts["method"] == method
    assert facts["validation_metrics"]["rewards/accuracies"] == last.validation_accuracy
    assert facts["train_metrics"]["rewards/margins"] == last.raw["rewards/margins"]


def test_the_reference_of_a_continued_adapter_is_that_adapter(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    """As TRL has it: preferences after supervised rows are compared with the supervised model."""
    settings: dict[str, Any] = {
        "options": {"dtype": "float32"},
        "hyperparameters": {"max_steps": 4, "learning_rate": 2e-2},
    }
    first = RunDir.create(
        tmp_path / "sft", tiny.spec(tiny_model, **settings), train=tiny.rows(16), validation=None
    )
    assert train(first.path) == 0, first.log_tail()
    weights = first.result_path / "adapter_model.safetensors"
    parent = {"job_id": "ftj_sft", "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    starts = []
    for name, given in (("base", None), ("continued", weights)):
        more = {} if given is None else {"parent": parent}
        spec = tiny.spec(tiny_model, method="dpo", **settings, **more)
        run = RunDir.create(
            tmp_path / name, spec, train=pairs(8), validation=pairs(8, seed=1), parent=given
        )
        assert train(run.path) == 0, run.log_tail()
        starts.append(metric_points(run.read_events())[0])
    for start in starts:
        assert start.validation_loss == pytest.approx(math.log(2), abs=1e-4)
        assert start.raw["validation_rewards/margins"] == pytest.approx(0, abs=1e-3)
    base, continued = (start.raw["validation_logps/chosen"] for start in starts)
    assert abs(continued - base) > 1


def test_rows_of_another_kind_are_named(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    for method, rows, code in (("dpo", tiny.rows(3), "no_pair"), ("kto", tiny.rows(3), "no_label")):
        run = RunDir.create(tmp_path / method, tiny.spec(tiny_model, method=method), train=rows)
        assert train(run.path) == 1
        outcome = json.loads((run.path / "outcome.json").read_bytes())
        assert outcome["error"]["kind"] == code
        assert [fault["row"] for fault in outcome["error"]["faults"]] == [1, 2, 3]


# --- rows -----------------------------------------------------------------------------------


def encoded(model: Path, path: Path, rows: list[dict[str, Any]], **changes: Any) -> list[Any]:
    from ftsdk.backends.local.runs.files import write_rows
    from ftsdk.backends.local.training.objectives.choose import objective_of
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    path.unlink(missing_ok=True)
    write_rows(path, rows)
    objective = objective_of(tiny.spec(model, **changes))
    return objective.encode(path, ChatTokenizer.from_folder(model))


def test_only_the_answers_of_a_pair_are_trained(tiny_model: Path, tmp_path: Path) -> None:
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    turns = [
        {"role": "user", "content": "red"},
        {"role": "assistant", "content": "blue"},
        {"role": "user", "content": "cat"},
    ]
    row = {
        "input": {"messages": turns},
        "preferred_output": [{"role": "assistant", "content": "dog"}],
        "non_preferred_output": [{"role": "assistant", "content": "sun rain"}],
    }
    [pair] = encoded(tiny_model, tmp_path / "rows", [row], method="dpo")
    decode = ChatTokenizer.from_folder(tiny_model).decode

    def trained(answer: Any) -> str:
        return decode([i for i, wanted in zip(answer.ids, answer.trained, strict=True) if wanted])

    assert trained(pair.chosen) == "dog<|im_end|>"
    assert trained(pair.rejected) == "sun rain<|im_end|>"


def test_a_pair_with_one_long_answer_is_refused_or_cut(tiny_model: Path, tmp_path: Path) -> None:
    from ftsdk.backends.local.training.outcome import Failed

    row = pairs(1)[0]
    row["non_preferred_output"][0]["content"] = "rain " * 80
    limit = {"method": "dpo", "hyperparameters": {"max_length": 60}}
    with pytest.raises(Failed, match=r"row 1: .*max_length is 60"):
        encoded(tiny_model, tmp_path / "rows", [row], **limit)
    [pair] = encoded(tiny_model, tmp_path / "rows", [row], **limit, options={"truncate": True})
    assert len(pair.rejected) == 60


def test_a_labelled_row_has_the_answer_to_another_prompt(tiny_model: Path, tmp_path: Path) -> None:
    rows = labelled(4)
    found = encoded(tiny_model, tmp_path / "rows", rows, method="kto")
    assert [one.is_good for one in found] == [True, False, True, False]
    assert found[0].other is None
    assert found[1].other is None  # the row before has the same prompt
    asked = rows[2]["messages"][:-1]
    mixed = [{**rows[2], "messages": [*asked, rows[1]["messages"][-1]]}]
    [expected] = encoded(tiny_model, tmp_path / "rows", mixed, method="kto")
    assert found[2].other == expected.answer


TEXTS = [{"text": "red green " * n} for n in (1, 3, 40)]


@pytest.mark.parametrize("packing", [False, True])
def test_text_is_trained_whole_in_pieces(packing: bool, tiny_model: Path, tmp_path: Path) -> None:
    from ftsdk.dataset.tokenize.chat_template import ChatTokenizer

    tokenizer = ChatTokenizer.from_folder(tiny_model)
    documents = [[*tokenizer.encode(row["text"]), tokenizer.eos_id] for row in TEXTS]
    found = encoded(
        tiny_model, tmp_path / "rows", TEXTS,
        hyperparameters={"max_length": 24}, options={"packing": packing},
    )  # fmt: skip
    if packing:
        documents = [[i for one in documents for i in one]]
    predicted = [i for row in found for i in row.ids[1:]]
    assert predicted == [i for one in documents for i in one[1:]]
    assert all(set(row.trained) == {1} for row in found)
    lengths = [len(row) for row in found]
    assert max(lengths) == 24
    if packing:
        assert lengths[:-1] == [24] * (len(lengths) - 1)
    else:
        assert [list(found[k].ids) for k in range(2)] == documents[:2]


def test_a_model_learns_plain_text(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    text = [{"text": "red green blue one two three cat dog bird " * 12}] * 6
    spec = tiny.spec(
        tiny_model,
        hyperparameters={"max_length": 40, "epochs": 4, "learning_rate": 2e-2},
        options={"dtype": "float32", "packing": True},
    )
    run = RunDir.create(tmp_path / "run", spec, train=text)
    assert train(run.path) == 0, run.log_tail()
    losses = [event["train_loss"] for event in run.read_events() if "train_loss" in event]
    assert losses[-1] < losses[0] / 2


def test_packing_is_refused_for_chat_rows(tiny_model: Path, tmp_path: Path) -> None:
    from ftsdk.backends.local.training.outcome import Failed

    with pytest.raises(Failed, match="packing is for plain text"):
        encoded(tiny_model, tmp_path / "rows", tiny.rows(2), options={"packing": True})
