"""A run that was killed and resumed ends in the same bits as one that was not."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny

Train = Callable[..., int]
ROWS = 44
"""Six steps an epoch, the last of them smaller; twelve in all, a checkpoint every second."""


def make(path: Path, model: Path, **changes: Any) -> RunDir:
    return RunDir.create(
        path, tiny.spec(model, **changes), train=tiny.rows(ROWS), validation=tiny.rows(6, seed=1)
    )


def digest(run: RunDir) -> str:
    name = "adapter_model.safetensors" if run.spec.adapter else "model.safetensors"
    return hashlib.sha256((run.result_path / name).read_bytes()).hexdigest()


def outcome(run: RunDir) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((run.path / "outcome.json").read_bytes())
    return written


SETTINGS: dict[str, dict[str, Any]] = {
    "lora, float32": {"options": {"dtype": "float32"}},
    "lora, bf16": {"options": {"dtype": "bf16"}},
    "full, float32": {"adapter": None, "options": {"dtype": "float32"}},
    "full, bf16": {"adapter": None, "options": {"dtype": "bf16"}},
}


@pytest.fixture(scope="module")
def whole(tiny_model: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The digest of an uninterrupted run of a setting; each is run once."""
    known: dict[str, str] = {}

    def of(setting: str) -> str:
        if setting not in known:
            path = tmp_path_factory.mktemp("whole") / "run"
            run = make(path, tiny_model, **SETTINGS[setting])
            assert train(run.path) == 0, run.log_tail()
            known[setting] = digest(run)
        return known[setting]

    return of


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    "plants",
    [
        [("kill_in_step", 4), ("kill_in_step", 5)],
        [("kill_in_step", 1), ("kill_in_step", 12)],
        [("kill_before_rename", 1), ("kill_before_rename", 3)],
        [("kill_in_optimizer_file", 2), ("kill_in_step", 7)],
    ],
    ids=["mid-epoch", "first and last step", "before the rename", "between two files"],
)
def test_killed_twice_ends_in_the_same_bits(
    setting: str,
    plants: list[tuple[str, int]],
    whole: Any,
    tiny_model: Path,
    train: Train,
    tmp_path: Path,
) -> None:
    run = make(tmp_path / "run", tiny_model, **SETTINGS[setting])
    for plant in plants:
        assert train(run.path, *plant) == -signal.SIGKILL
        assert not (run.path / "outcome.json").exists()
    assert train(run.path) == 0, run.log_tail()
    assert outcome(run)["steps"] == 12
    assert digest(run) == whole(setting)


def test_a_planted_bug_is_caught(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    """With a random stream that a resume does not restore, the bits differ."""
    plain = make(tmp_path / "plain", tiny_model)
    assert train(plain.path, "carried_random_state") == 0
    run = make(tmp_path / "run", tiny_model)
    (tmp_path / "run" / "trainer.log").touch()
    assert train(run.path, "kill_in_step", 4) == -signal.SIGKILL
    assert train(run.path, "carried_random_state") == 0
    assert digest(run) != digest(plain)


def test_a_resume_reports_its_step(tiny_model: Path, train: Train, tmp_path: Path) -> None:
    run = make(tmp_path / "run", tiny_model)
    assert train(run.path, "kill_in_step", 6) == -signal.SIGKILL
    assert train(run.path) == 0
    messages = [event.get("message", "") for event in run.read_events()]
    assert "Resumed from step 4." in messages
    numbers = [event["seq"] for event in run.read_events()]
    assert numbers == list(range(1, len(numbers) + 1))


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], None]] = {
    **{
        f"{what} {name}": (lambda folder, name=name, act=act: act(folder / name))
        for name in (
            "adapter_model.safetensors",
            "adapter_config.json",
            "optimizer.safetensors",
            "state.json",
            "manifest.json",
        )
        for what, act in (
            ("no", Path.unlink),
            ("one bit of", flip_bit),
            ("half of", lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2])),
        )
    },
    "an empty newest folder": lambda folder: (shutil.rmtree(folder), folder.mkdir()),  # type: ignore[dict-item, return-value]
    "two checkpoints swapped": lambda folder: (  # type: ignore[dict-item]
        folder.rename(folder.parent / "x"),
        (folder.parent / "step-00000004").rename(folder),
        (folder.parent / "x").rename(folder.parent / "step-00000004"),
    ),
}


@pytest.fixture(scope="module")
def killed(tiny_model: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run killed in step 8, with checkpoints of steps 4 and 6."""
    run = make(tmp_path_factory.mktemp("killed") / "run", tiny_model, **SETTINGS["lora, float32"])
    assert train(run.path, "kill_in_step", 8) == -signal.SIGKILL
    assert [c.step for c in run.checkpoints()] == [4, 6]
    return run.path


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_skipped_by_name(
    damage: str, killed: Path, whole: Any, train: Train, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path / "run")
    run = RunDir(tmp_path / "run")
    DAMAGE[damage](run.path / "checkpoints" / "step-00000006")
    assert train(run.path) == 0, run.log_tail()
    warnings = [e["message"] for e in run.read_events() if e["kind"] == "warning"]
    assert any("step-00000006" in message for message in warnings), warnings
    assert digest(run) == whole("lora, float32")


def test_a_checkpoint_of_another_run_is_skipped(
    killed: Path, tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    run = make(tmp_path / "run", tiny_model, seed=8)
    shutil.copytree(
        killed / "checkpoints" / "step-00000006", run.path / "checkpoints" / "step-00000006"
    )
    assert train(run.path) == 0
    warnings = [e["message"] for e in run.read_events() if e["kind"] == "warning"]
    assert any("another run" in message for message in warnings)
    assert outcome(run)["steps"] == 12
