"""The options and hyperparameters of a local run: checked, completed, and read back from a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.local import LocalBackend
from ftsdk.backends.local.options import (
    HYPERPARAMETERS,
    LocalOptions,
    RunHyperparameters,
    RunOptions,
)
from ftsdk.backends.local.runs.crash_report import HINT_MEMORY
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.run_spec import BaseModelRef, RunAdapter, RunSpec
from ftsdk.errors import SpecError, Unsupported
from ftsdk.types.spec import Hyperparameters, JobSpec


def spec_with(**options: Any) -> JobSpec:
    return JobSpec.build(provider="local", model="a-model", provider_options=options)


@pytest.fixture
def local(tmp_path: Path) -> LocalBackend:
    return LocalBackend(Context(home=tmp_path))


@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu"},
        {"dtype": "float8"},
        {"threads": 0},
        {"threads": True},
        {"checkpoint_every_s": 0},
        {"keep_checkpoints": "two"},
        {"eval_every_steps": -1},
        {"cancel_grace_s": -1},
        {"truncate": "perhaps"},
    ],
)
def test_a_bad_value_is_refused_by_name(local: LocalBackend, options: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        local.max_length_for(spec_with(**options))
    assert next(iter(options)) in caught.value.what


def test_an_unknown_option_is_refused_with_the_known_ones(local: LocalBackend) -> None:
    with pytest.raises(Unsupported, match="checkpoint_evry") as caught:
        local.max_length_for(spec_with(checkpoint_evry=3))
    assert "checkpoint_every_steps" in caught.value.hint


def test_an_option_that_a_hint_names_exists() -> None:
    assert "the option gradient_checkpointing" in HINT_MEMORY
    assert LocalOptions(gradient_checkpointing=True).gradient_checkpointing


def test_checkpoints_by_steps_turn_the_interval_off() -> None:
    assert RunOptions(checkpoint_every_steps=50).checkpoint_interval_s is None
    assert RunOptions().checkpoint_interval_s == 120
    both = RunOptions(checkpoint_every_steps=50, checkpoint_every_s=9)
    assert both.checkpoint_interval_s == 9


def test_hyperparameters_left_open_have_the_defaults_of_the_capabilities() -> None:
    completed = RunHyperparameters.of(Hyperparameters(learning_rate=1e-3))
    assert completed == RunHyperparameters(learning_rate=1e-3)
    assert RunHyperparameters.model_validate({"epochs": None}) == RunHyperparameters()
    assert set(RunHyperparameters.model_fields) == set(HYPERPARAMETERS)
    assert set(HYPERPARAMETERS) == set(LocalBackend.capabilities.hyperparameters)
    for name, known in HYPERPARAMETERS.items():
        assert getattr(RunHyperparameters(), name) == known.default


def test_settings_keep_their_types_through_the_run_directory(tmp_path: Path) -> None:
    spec = RunSpec(
        job_id="ftj_x",
        base_model=BaseModelRef(path=tmp_path / "base", name="base"),
        adapter=RunAdapter(rank=4, target_modules=("q_proj", "v_proj"), quantize="nf4"),
        hyperparameters=RunHyperparameters(learning_rate=1e-3, max_steps=7),
        seed=3,
        options=LocalOptions(threads=2, pull=True).for_run(),
    )
    run = RunDir.create(tmp_path / "run", spec, train=[])
    written = RunDir(run.path).spec
    assert written == spec
    assert written.adapter_kind == "nf4"
    assert "pull" not in json.loads((run.path / "spec.json").read_bytes())["options"]


def test_a_run_of_a_later_version_is_read(tmp_path: Path) -> None:
    base_model = BaseModelRef(path=tmp_path, name="base")
    spec = RunSpec(job_id="ftj_x", base_model=base_model, adapter=RunAdapter())
    run = RunDir.create(tmp_path / "run", spec, train=[])
    raw = json.loads((run.path / "spec.json").read_bytes())
    for part in (raw, raw["options"], raw["hyperparameters"], raw["adapter"], raw["base_model"]):
        part["new_setting"] = 1
    (run.path / "spec.json").write_text(json.dumps(raw))
    assert RunDir(run.path).spec == spec
