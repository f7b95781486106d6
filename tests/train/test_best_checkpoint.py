"""The best evaluation decides the result, and when a run stops, also after a kill."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.local.options import LocalOptions, RunOptions
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.checkpoint import TrainState
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.selection import Selection
from tests.train import tiny
from tests.train.plain import facts_of, plain_loss

Train = Callable[..., int]
OPTIONS = {
    "dtype": "float32",
    "eval_every_steps": 1,
    "checkpoint_every_steps": 100,
    "early_stopping_patience": 2,
}


def make(path: Path, model: Path, **options: Any) -> RunDir:
    """A run that overfits: its learning rate is so high that the loss soon rises."""
    spec = tiny.spec(
        model,
        hyperparameters={"learning_rate": 0.08, "schedule": "constant", "max_steps": 14},
        options={**OPTIONS, **options},
    )
    return RunDir.create(path, spec, train=tiny.rows(12), validation=tiny.rows(6, seed=1))


def losses(run: RunDir) -> dict[int, float]:
    """Validation losses by step, without that of the untrained model."""
    events = run.read_events()
    return {e["step"]: e["validation_loss"] for e in events if "validation_loss" in e and e["step"]}


def weights_of(run: RunDir) -> bytes:
    return (run.result_path / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tiny_model: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run = make(tmp_path_factory.mktemp("best") / "run", tiny_model)
    assert train(run.path) == 0, run.log_tail()
    return run


def test_the_result_has_the_weights_of_the_best_evaluation(whole: RunDir) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    found = losses(whole)
    best = min(found, key=lambda step: found[step])
    assert max(found) == best + 2 < 14  # two evaluations that were no better
    facts = facts_of(whole.result_path)
    assert facts["best"] == {"step": best, "metric": "validation_loss", "value": found[best]}
    assert (facts["result_step"], facts["stopped_early"]) == (best, True)
    assert facts["validation_loss"] == found[best]
    outcome = whole.read_state().outcome
    assert outcome is not None
    assert outcome["best"] == facts["best"]
    assert f"the weights of step {best}" in outcome["message"]
    base = AutoModelForCausalLM.from_pretrained(whole.spec.base_model.path, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, whole.result_path)
    rows = whole.path / "validation.jsonl"
    assert plain_loss(loaded, whole.result_path, rows) == pytest.approx(found[best], rel=1e-4)
    said = [e["message"] for e in whole.read_events() if "best" in e]
    assert said[-1] == f"Best so far: validation_loss {found[best]:.6g} at step {best}."


@pytest.mark.parametrize("step", ["best", "after"])
def test_a_killed_run_selects_the_same_weights(
    step: str, whole: RunDir, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    best = facts_of(whole.result_path)["best"]["step"]
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "kill_in_step", best if step == "best" else best + 2) == -signal.SIGKILL
    assert train(run.path) == 0, run.log_tail()
    assert weights_of(run) == weights_of(whole)
    assert losses(run) == losses(whole)
    again = facts_of(run.result_path)
    assert again["best"] == facts_of(whole.result_path)["best"]


def test_a_stop_during_an_evaluation_does_not_lose_it(
    whole: RunDir, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    best = facts_of(whole.result_path)["best"]["step"]
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "term_in_evaluation", best) == 75
    assert [c.step for c in run.checkpoints()][-1] == best
    assert train(run.path) == 0, run.log_tail()
    assert weights_of(run) == weights_of(whole)


def test_the_best_checkpoint_is_kept_beside_the_last_ones(
    whole: RunDir, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    best = facts_of(whole.result_path)["best"]["step"]
    run = make(tmp_path / "run", tiny_model, early_stopping_patience=8, checkpoint_every_steps=1)
    assert train(run.path) == 0, run.log_tail()
    found = losses(run)
    last = max(found)
    assert last > best + 3
    best = min(found, key=lambda step: found[step])
    assert [c.step for c in run.checkpoints()] == [best, last - 1, last]


def test_without_its_best_checkpoint_a_run_begins_before_it(
    whole: RunDir, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    best = facts_of(whole.result_path)["best"]["step"]
    run = make(tmp_path / "run", tiny_model, checkpoint_every_steps=1)
    assert train(run.path, "kill_in_step", best + 2) == -signal.SIGKILL
    (run.path / "checkpoints" / f"step-{best:08d}" / "adapter_model.safetensors").unlink()
    assert train(run.path) == 0, run.log_tail()
    said = [e["message"] for e in run.read_events() if e["kind"] == "warning"]
    assert any(f"step-{best:08d}, the best before it, is not sound" in line for line in said), said
    assert weights_of(run) == weights_of(whole)


# --- the comparison itself -----------------------------------------------------------------------


def selected(path: Path, values: list[float], **options: Any) -> tuple[TrainState, Selection, int]:
    """The state after evaluations with these values, and how many of them were made."""
    state = TrainState(validation_loss=9.0)
    name = options.pop("name", "reward_accuracy")
    selection = Selection(RunOptions(**options), state, EventWriter(path / "events.jsonl"))
    for step, value in enumerate(values, 1):
        state.step, state.validation_metrics = step, {name: value}
        selection.compare()
        if selection.ends:
            break
    return state, selection, state.step


def test_a_metric_of_the_objective_decides_by_its_highest_value(tmp_path: Path) -> None:
    values = [0.5, 0.7, 0.6, 0.71]
    options = {"keep_best": True, "best_metric": "reward_accuracy"}
    state, selection, _ = selected(tmp_path, values, **options)
    assert (state.best_step, state.best_value) == (4, 0.71)
    assert selection.facts()["best"]["metric"] == "validation_reward_accuracy"
    state, _, _ = selected(tmp_path, values, best_is="lowest", **options)
    assert state.best_step == 1
    state, _, _ = selected(tmp_path, values, name="kl_loss", keep_best=True, best_metric="kl_loss")
    assert state.best_step == 1


def test_a_gain_below_the_delta_does_not_end_the_waiting(tmp_path: Path) -> None:
    options = {"best_metric": "reward_accuracy", "early_stopping_patience": 2}
    values = [0.5, 0.51, 0.52, 0.9]
    state, _, made = selected(tmp_path, values, early_stopping_min_delta=0.05, **options)
    assert (made, state.best_step, state.waits) == (3, 3, 2)
    state, _, made = selected(tmp_path, values, **options)
    assert (made, state.best_step, state.waits) == (4, 4, 0)


def test_a_metric_that_is_not_reported_fails_before_the_first_step(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, best_metric="reward_accuracy")
    assert train(run.path) == 1
    outcome = run.read_state().outcome
    assert outcome is not None
    assert outcome["steps"] == 0
    assert outcome["message"] == (
        "No metric of the evaluation is called 'reward_accuracy'; there are validation_loss."
    )


def test_a_metric_that_is_not_a_number_fails(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="became nan at step 2"):
        selected(tmp_path, [0.5, float("nan")], keep_best=True, best_metric="reward_accuracy")


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"keep_best": True}, {"early_stopping_patience": 3}])
def test_without_validation_rows_it_is_refused_by_name(
    option: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    with ftsdk.Client(home=tmp_path / "home", env={}) as client:
        given = {"provider": "local", "model": str(tiny_model), "provider_options": option}
        with pytest.raises(ftsdk.Unsupported, match=f"{next(iter(option))} needs validation rows"):
            client.plan(tiny.rows(20), **given)
        plan = client.plan(tiny.rows(20), validation=0.2, **given)
    assert f"options.{next(iter(option))}" in [field.name for field in plan.fields]


def test_a_run_without_validation_rows_fails_before_the_first_step(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    spec = tiny.spec(tiny_model, options=OPTIONS)
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(8))
    assert train(run.path) == 1
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    assert "no best checkpoint and no early stopping" in outcome["message"]
    shutil.rmtree(run.path)


def test_an_option_without_an_effect_is_refused() -> None:
    with pytest.raises(ValueError, match="early_stopping_min_delta needs early_stopping_patience"):
        LocalOptions(early_stopping_min_delta=0.1)
    with pytest.raises(ValueError, match="best_is, best_metric needs keep_best"):
        LocalOptions(best_metric="x", best_is="lowest")
