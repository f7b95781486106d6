"""Each kind of failure is named in the outcome, and the last good checkpoint is complete."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.checkpoint import verify
from tests.train import tiny

Train = Callable[..., int]


def make(path: Path, model: Path, rows: Any = None, **changes: Any) -> RunDir:
    rows = tiny.rows(44) if rows is None else rows
    return RunDir.create(path, tiny.spec(model, **changes), train=rows)


def outcome(run: RunDir) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((run.path / "outcome.json").read_bytes())
    return written


def sound_steps(run: RunDir) -> list[int]:
    return [verify(info.path, {})["step"] for info in run.checkpoints()]


def test_a_gradient_that_is_nan_stops_the_run(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "nan_in_step", 5) == 1
    ended = outcome(run)
    assert ended["outcome"] == "failed"
    assert ended["error"]["kind"] == "non_finite_loss"
    assert "learning_rate" in ended["error"]["hint"]
    assert ended["steps"] == 4
    assert sound_steps(run) == [2, 4]
    assert not run.result_path.exists()


def test_a_full_disk_keeps_the_checkpoint_before(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "disk_full_at_checkpoint", 2) == 1
    assert outcome(run)["error"]["kind"] == "disk_full"
    assert sound_steps(run) == [2]
    assert [p.name for p in (run.path / "checkpoints").iterdir()] == ["step-00000002"]
    (run.path / "outcome.json").rename(run.path / "outcome-1.json")
    assert train(run.path) == 0
    assert outcome(run)["outcome"] == "succeeded"


def test_too_little_disk_space_stops_before_the_first_step(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "small_disk") == 1
    ended = outcome(run)
    assert ended["error"]["kind"] == "disk_full"
    assert ended["steps"] == 0
    assert "GB" in ended["message"]


def test_running_out_of_memory_is_named(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "out_of_memory_in_step", 3) == 1
    ended = outcome(run)
    assert ended["error"]["kind"] == "out_of_memory"
    assert "micro_batch_tokens" in ended["error"]["hint"]
    assert sound_steps(run) == [2]


def test_long_rows_are_all_named_and_none_is_cut(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    rows = tiny.rows(30)
    for number in (3, 17, 29):
        rows[number - 1]["messages"][0]["content"] = "red " * 200
    run = make(tmp_path / "run", tiny_model, rows=rows)
    assert train(run.path) == 1
    error = outcome(run)["error"]
    assert error["kind"] == "too_long"
    assert [fault["row"] for fault in error["faults"]] == [3, 17, 29]
    assert "max_length" in error["hint"]
    cut = make(tmp_path / "cut", tiny_model, rows=tiny.rows(8), options={"truncate": True})
    assert train(cut.path) == 0


def test_nothing_to_learn(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": "q"}]}]
    run = make(tmp_path / "run", tiny_model, rows=rows)
    assert train(run.path) == 1
    assert outcome(run)["error"]["kind"] == "nothing_to_learn"
    none = make(tmp_path / "none", tiny_model, rows=[])
    assert train(none.path) == 1
    assert outcome(none)["error"]["kind"] == "nothing_to_learn"


def test_a_cancel_ends_after_the_current_step(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "cancel_in_step", 5, str(run.path)) == 0
    ended = outcome(run)
    assert ended["outcome"] == "cancelled"
    assert ended["steps"] == 5
    assert sound_steps(run)[-1] == 5


def test_a_cancel_before_the_first_step(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    run = make(tmp_path / "run", tiny_model)
    (run.path / "cancel").write_text("{}")
    assert train(run.path) == 0
    assert outcome(run)["outcome"] == "cancelled"
    assert run.checkpoints() == []


def test_sigterm_writes_a_checkpoint_and_can_be_resumed(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "term_in_step", 5) == EXIT_INTERRUPTED
    assert not (run.path / "outcome.json").exists()
    assert sound_steps(run)[-1] == 5
    assert train(run.path) == 0
    assert outcome(run)["outcome"] == "succeeded"
    assert "Resumed from step 5." in [e.get("message") for e in run.read_events()]


def test_a_missing_base_model(train: Train, tmp_path: Path) -> None:
    run = make(tmp_path / "run", tmp_path / "nowhere")
    assert train(run.path) == 1
    ended = outcome(run)
    assert ended["outcome"] == "failed"
    assert "nowhere" in ended["message"]


def test_weights_in_a_pickle_are_refused(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    import shutil

    bad = tmp_path / "bad"
    shutil.copytree(tiny_model, bad)
    (bad / "model.safetensors").unlink()
    (bad / "pytorch_model.bin").write_bytes(b"\x80\x04not a model")
    run = make(tmp_path / "run", bad)
    assert train(run.path) == 1
    assert outcome(run)["outcome"] == "failed"
    assert "safetensors" in outcome(run)["message"]
