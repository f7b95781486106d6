"""A run directory as job, events and metrics: each phase, each line, each bound."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.result import copy_result, existing_result, model_of
from ftsdk.backends.local.runs.run_dir import CheckpointInfo, RunDir
from ftsdk.backends.local.runs.state import read_last_events, read_state
from ftsdk.backends.local.status import (
    checkpoint_of,
    event_of,
    metric_points,
    remote_job,
    speed_of_run,
)
from ftsdk.errors import NotFound, UsageError
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.status import JobStatus
from tests.unit.backends.local.runs.trainers import make

TIME = "2026-11-30T12:00:00+00:00"


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make(tmp_path / "runs" / "a")


def write_events(run: RunDir, *events: dict[str, Any]) -> None:
    lines = [json.dumps({"seq": n, "time": TIME, **event}) for n, event in enumerate(events)]
    (run.path / "events.jsonl").write_text("\n".join(lines) + "\n")


def ended(run: RunDir, outcome: str, **more: Any) -> None:
    (run.path / "pid.json").write_text(json.dumps({"attempt": 1, "started_at": TIME}))
    facts = {"outcome": outcome, "finished_at": TIME, **more}
    (run.path / "outcome.json").write_text(json.dumps(facts))


def test_rewards_are_metrics_of_their_step(run: RunDir) -> None:
    write_events(
        run,
        {"kind": "log"},
        {"kind": "metric", "step": 2, "train_loss": 0.5, "rewards/accuracies": 0.75},
        {"kind": "metric", "step": 2, "validation_loss": 0.6, "validation_rewards/accuracies": 0.5,
         "validation_rewards/margins": 0.1},
    )  # fmt: skip
    [point] = metric_points(run.read_events())
    assert (point.train_accuracy, point.validation_accuracy) == (0.75, 0.5)
    assert point.raw["validation_rewards/margins"] == 0.1
    assert "seq" not in point.raw
    lines = [event_of("job", raw).message for raw in run.read_events()]
    assert lines == [
        "step 2  loss 0.5000  reward accuracy 75.0%",
        "step 2  validation loss 0.6000  reward accuracy 50.0%",
    ]


# --- state ---


@pytest.mark.parametrize(
    ("events", "status", "message", "step"),
    [
        ([], "", "", None),
        ([{"kind": "status", "status": "running", "message": "go"}], "running", "go", None),
        (
            [
                {"kind": "progress", "step": 3},
                {"kind": "status", "status": "running"},
                {"kind": "progress", "step": 9},
                {"kind": "status", "status": "finalizing", "message": "last"},
            ],
            "finalizing",
            "last",
            9,
        ),
        (
            [
                {"kind": "progress", "step": 3},
                {"kind": "status", "status": "running"},
                {"kind": "log", "attempt": 2},
            ],
            "starting",
            "",
            3,  # of the attempt before
        ),
        ([{"kind": "log", "message": "x"}, {"kind": "metric", "step": 1}], "", "", None),
    ],
)
def test_the_last_events_of_a_run(
    run: RunDir, events: list[dict[str, Any]], status: str, message: str, step: int | None
) -> None:
    write_events(run, *events)
    last = read_last_events(run.path)
    assert (last.status, last.message, last.progress.get("step")) == (status, message, step)


def test_a_cut_line_is_skipped(run: RunDir) -> None:
    write_events(run, {"kind": "status", "status": "running"})
    with (run.path / "events.jsonl").open("a") as log:
        log.write('{"kind": "status", "status": "fina')
    assert read_last_events(run.path).status == "running"


def test_a_run_without_a_process(run: RunDir) -> None:
    state = read_state(run.path)
    assert (state.phase, state.alive, state.attempt, state.is_final) == (
        "not_started",
        False,
        0,
        False,
    )
    (run.path / "pid.json").write_text(json.dumps({"attempt": 3, "supervisor_pid": 7}))
    (run.path / "cancel").touch()
    state = read_state(run.path)
    assert (state.phase, state.attempt, state.supervisor_pid) == ("interrupted", 3, 7)
    assert not state.cancelling  # nothing runs that could be cancelled


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("succeeded", JobStatus.SUCCEEDED),
        ("failed", JobStatus.FAILED),
        ("cancelled", JobStatus.CANCELLED),
    ],
)
def test_an_outcome_is_the_state(run: RunDir, outcome: str, status: JobStatus) -> None:
    write_events(run, {"kind": "status", "status": "running", "message": "earlier"})
    ended(
        run,
        outcome,
        message="m",
        trained_tokens=7,
        error={"kind": "k"},
        exit_code=3,
        log_tail=["l"],
    )
    state = read_state(run.path)
    assert (state.phase, state.message, state.is_final) == (outcome, "m", True)
    job = remote_job(run)
    assert (job.status, job.raw_status, job.message) == (status, outcome, "m")
    assert (job.trained_tokens, job.finished_at) == (7, dt.datetime.fromisoformat(TIME))
    assert (job.result_model is not None) == (status is JobStatus.SUCCEEDED)
    assert job.cost is not None
    assert (job.cost.low, job.cost.high, job.cost.basis) == (0, 0, "billed")
    failed = {"message": "m", "log_tail": ["l"], "exit_code": 3, "signal": None, "kind": "k"}
    assert job.error == (failed if status is JobStatus.FAILED else None)


def test_an_interrupted_run_says_how_it_continues(run: RunDir, monkeypatch) -> None:
    (run.path / "pid.json").write_text(json.dumps({"attempt": 1}))
    assert remote_job(run).message.endswith("resume continues it from the beginning")
    infos = [CheckpointInfo(step, run.path, 1, "") for step in (4, 8)]
    monkeypatch.setattr(RunDir, "checkpoints", lambda _: infos)
    job = remote_job(run)
    assert job.message.endswith("resume continues it from step 8")
    assert (job.status, job.raw_status, job.finished_at) == (JobStatus.PAUSED, "interrupted", None)


def test_progress_is_the_last_one(run: RunDir) -> None:
    assert remote_job(run).progress is None
    write_events(run, {"kind": "progress", "step": 5, "total_steps": 10, "made_up": 1})
    progress = remote_job(run).progress
    assert progress is not None
    assert (progress.step, progress.total_steps) == (5, 10)


# --- events and metrics ---


@pytest.mark.parametrize(
    ("raw", "kind", "line"),
    [
        ({"kind": "status", "status": "running"}, "status", "running"),
        ({"kind": "status"}, "status", ""),
        ({"kind": "log", "message": "hello", "step": 1}, "log", "hello"),
        ({"kind": "made_up", "message": "hello"}, "log", "hello"),
        ({"kind": "metric", "step": 3, "train_loss": 1.23456}, "metric", "step 3  loss 1.2346"),
        ({"kind": "metric", "step": 3}, "metric", "step 3  loss nan"),
        (
            {"kind": "metric", "step": 3, "validation_loss": 0.0},
            "metric",
            "step 3  validation loss 0.0000",
        ),
        (
            {"kind": "progress", "step": 3, "total_steps": 9, "tokens_per_s": 1234.4, "eta_s": 61.4},
            "progress",
            "step 3/9  1,234 tok/s  0:01:01 left",
        ),
        ({"kind": "progress", "step": 3, "total_steps": 9}, "progress", "step 3/9  0 tok/s  0:00:00 left"),
        ({"kind": "checkpoint", "step": 3}, "checkpoint", "checkpoint at step 3"),
    ],
)  # fmt: skip
def test_each_event_is_one_line(raw: dict[str, Any], kind: str, line: str) -> None:
    event = event_of("ftj_1", {"seq": 4, "time": TIME, **raw})
    assert (event.id, event.seq, event.kind, event.message) == ("ftj_1:4", 4, kind, line)
    assert event.time == dt.datetime.fromisoformat(TIME)
    assert event.data == {k: v for k, v in raw.items() if k != "kind"}


def test_a_step_that_was_trained_again_replaces_the_earlier_one() -> None:
    points = metric_points(
        [
            {"kind": "metric", "step": 2, "train_loss": 9.0, "seq": 1},
            {"kind": "progress", "step": 7},
            {"kind": "metric", "step": 1, "train_loss": 5.0},
            {"kind": "metric", "step": 2, "train_loss": 4.0},
            {"kind": "metric", "step": 2, "validation_loss": 3.0},
        ]
    )
    assert [(p.step, p.train_loss, p.validation_loss) for p in points] == [
        (1, 5.0, None),
        (2, 4.0, 3.0),
    ]


def test_a_checkpoint_on_disk(tmp_path: Path) -> None:
    found = checkpoint_of("ftj_1", CheckpointInfo(8, tmp_path, 5, TIME))
    assert (found.id, found.step, found.path) == ("ftj_1/step-8", 8, tmp_path)
    assert (found.raw, found.created_at) == ({"size_bytes": 5}, dt.datetime.fromisoformat(TIME))
    assert checkpoint_of("ftj_1", CheckpointInfo(8, tmp_path, 5, "")).created_at is None


@pytest.mark.parametrize(
    ("outcome", "facts", "speed"),
    [
        ("succeeded", {"train_s": 2, "trained_tokens": 10}, 5.0),
        ("succeeded", {"train_s": 0.5, "trained_tokens": 1}, 2.0),
        ("failed", {"train_s": 2, "trained_tokens": 10}, None),
        ("cancelled", {"train_s": 2, "trained_tokens": 10}, None),
        ("succeeded", {"train_s": 0, "trained_tokens": 10}, None),
        ("succeeded", {"train_s": 2, "trained_tokens": 0}, None),
        ("succeeded", {"train_s": -1, "trained_tokens": 10}, None),
        ("succeeded", {}, None),
    ],
)
def test_the_speed_of_a_run(
    run: RunDir, outcome: str, facts: dict[str, Any], speed: float | None
) -> None:
    ended(run, outcome, **facts)
    model, kind = run.spec.base_model.name, run.spec.adapter_kind
    assert speed_of_run(run.path, model) == (None if speed is None else (kind, speed))
    assert speed_of_run(run.path, "another") is None


def test_a_damaged_run_has_no_speed(run: RunDir, tmp_path: Path) -> None:
    ended(run, "succeeded", train_s=2, trained_tokens=10)
    model = run.spec.base_model.name
    assert speed_of_run(tmp_path / "nothing", model) is None
    (run.path / "outcome.json").unlink()
    assert speed_of_run(run.path, model) is None
    (run.path / "spec.json").write_text("{")
    assert speed_of_run(run.path, model) is None


# --- results ---


def _base_only(base: Path, is_here: bool):
    return lambda path: is_here if path == base else os.path.isdir(path)  # noqa: PTH112


@pytest.mark.parametrize("adapter", [None, {"kind": "lora"}])
@pytest.mark.parametrize("base_is_here", [True, False])
def test_the_result_of_a_run(
    run: RunDir, tmp_path: Path, monkeypatch, adapter: Any, base_is_here: bool
) -> None:
    base = run.spec.base_model
    monkeypatch.setattr(Path, "is_dir", _base_only(base.path, base_is_here))
    run.result_path.mkdir(parents=True)
    facts = {"adapter": adapter, "chat_template_sha256": "ab"}
    (run.result_path / "ftsdk.json").write_text(json.dumps(facts))
    for name, size in (("a.safetensors", 5), ("b.safetensors", 7), ("config.json", 99)):
        (run.result_path / name).write_bytes(b"x" * size)
    handle = model_of(run, "ftj_1", "local")
    assert handle.kind is (ModelKind.MERGED if adapter is None else ModelKind.ADAPTER)
    assert handle.callable_now == (adapter is None or base_is_here)
    assert (handle.id, handle.size_bytes, handle.path) == ("local:ftj_1", 12, run.result_path)
    assert (handle.base_model, handle.chat_template_sha256) == (base.name, "ab")
    assert handle.raw["base_path"] == str(base.path)


def test_a_result_is_copied_into_a_new_or_empty_folder_only(tmp_path: Path) -> None:
    result = tmp_path / "result"
    result.mkdir()
    (result / "weights").write_text("w")
    empty, new = tmp_path / "empty", tmp_path / "new"
    empty.mkdir()
    for folder in (empty, new):
        assert copy_result(result, folder) == folder
        assert (folder / "weights").read_text() == "w"
        with pytest.raises(UsageError, match="not empty") as caught:
            copy_result(result, folder)
        assert caught.value.where == str(folder)
    a_file = tmp_path / "file"
    a_file.touch()
    with pytest.raises(UsageError, match="not empty"):
        copy_result(result, a_file)


def test_a_result_that_is_gone(tmp_path: Path) -> None:
    handle = ModelHandle(
        kind="adapter", provider="local", id="local:x", base_model="m", path=tmp_path
    )
    assert existing_result(handle) == tmp_path
    for path in (None, tmp_path / "gone"):
        with pytest.raises(NotFound, match="folder is gone") as caught:
            existing_result(handle.model_copy(update={"path": path}))
        assert caught.value.where == str(path)
