"""A new job begins with the adapter of an earlier one, and its result says so."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.local.models.resolve import resolve_model
from ftsdk.backends.local.runs.run_dir import RunDir
from tests.train import tiny
from tests.train.plain import facts_of

Train = Callable[..., int]
JOB = "ftj_01J00000000000000000000000"


@pytest.fixture(scope="module")
def home(tiny_model: Path, train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that trained an adapter."""
    home = tmp_path_factory.mktemp("continue") / "home"
    sha256 = resolve_model(str(tiny_model), home=home).sha256
    spec = tiny.spec(
        tiny_model, job_id=JOB, options={"dtype": "float32"},
        base_model={"name": str(tiny_model), "sha256": sha256},
    )  # fmt: skip
    run = RunDir.create(
        home / "runs" / JOB, spec, train=tiny.rows(24), validation=tiny.rows(6, seed=1)
    )
    assert train(run.path) == 0, run.log_tail()
    return home


@pytest.fixture
def client(home: Path) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=home, env={}) as made:
        yield made


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs are created but not started: the tests train them in a process of their own."""
    monkeypatch.setattr(RunDir, "start", lambda self: True)


def child_of(client: ftsdk.Client, **options: Any) -> RunDir:
    given = {"epochs": 1, "batch_size": 8, "validation": tiny.rows(6, seed=1), **options}
    job = client.create_job(tiny.rows(16, seed=5), again=True, **given)
    return RunDir(client.session.home / "runs" / job.id)


@pytest.mark.usefixtures("created")
@pytest.mark.parametrize("by", ["id", "handle", "option"])
def test_a_job_begins_with_the_weights_of_its_parent(
    by: str, home: Path, client: ftsdk.Client, tiny_model: Path, train: Train
) -> None:
    options: dict[str, Any] = {"provider_options": {"dtype": "float32"}}
    if by == "option":
        adapter = {"rank": 4, "alpha": 8, "dropout": 0.1}
        options = {"provider": "local", "model": str(tiny_model), "adapter": adapter}
        options["provider_options"] = {"dtype": "float32", "init_adapter": JOB}
    elif by == "handle":
        options["model"] = client.backend("local").model(JOB)
    else:
        options["model"] = JOB
    run = child_of(client, **options)
    assert run.spec.adapter is not None
    assert (run.spec.adapter.rank, run.spec.base_model.path) == (4, tiny_model)
    assert train(run.path) == 0, run.log_tail()
    parent = facts_of(home / "runs" / JOB / "result")
    first = next(e for e in run.read_events() if "validation_loss" in e)
    assert first["step"] == 0
    assert first["validation_loss"] == pytest.approx(parent["validation_loss"], rel=1e-6)
    facts = facts_of(run.result_path)
    assert facts["parent"]["job_id"] == JOB
    made = client.backend("local").model(run.spec.job_id)
    assert (made.parent_job_id, made.base_model) == (JOB, str(tiny_model))
    said = [event["message"] for event in run.read_events() if "message" in event]
    assert f"Begins with the weights of the adapter {JOB}." in said


@pytest.mark.usefixtures("created")
def test_a_killed_child_needs_its_parent_no_more(
    home: Path, client: ftsdk.Client, train: Train, tmp_path: Path
) -> None:
    runs = [
        child_of(client, model=JOB, provider_options={"checkpoint_every_steps": 1}) for _ in "ab"
    ]
    aside = tmp_path / "aside"
    shutil.move(home / "runs" / JOB, aside)
    try:
        assert train(runs[0].path) == 0, runs[0].log_tail()
        assert train(runs[1].path, "kill_in_step", 1) == -signal.SIGKILL
        assert train(runs[1].path, "kill_in_step", 2) == -signal.SIGKILL
        assert train(runs[1].path) == 0, runs[1].log_tail()
    finally:
        shutil.move(aside, home / "runs" / JOB)
    weights = [(run.result_path / "adapter_model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("created")
def test_a_changed_file_of_the_parent_fails(client: ftsdk.Client, train: Train) -> None:
    run = child_of(client, model=JOB)
    path = run.path / "parent.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert train(run.path) == 1
    outcome = json.loads((run.path / "outcome.json").read_bytes())
    assert outcome["message"] == "parent.safetensors was changed."
    assert outcome["steps"] == 0


@pytest.mark.parametrize(
    ("adapter", "fault"),
    [
        ({"rank": 8}, f"init_adapter: rank=8, and the adapter of {JOB} has 4"),
        ({"rank": 4, "alpha": 16}, f"alpha=16.0, and the adapter of {JOB} has 8.0"),
        ({"rank": 4, "alpha": 8, "use_dora": True}, "use_dora=True, and"),
        (
            {"rank": 4, "alpha": 8, "target_modules": ["q_proj"]},
            r"target_modules=\['q_proj'\], and",
        ),
        (None, "init_adapter is for a LoRA, and all weights are trained"),
    ],
)
def test_another_adapter_is_refused_by_name(adapter: Any, fault: str, client: ftsdk.Client) -> None:
    with pytest.raises(ftsdk.Unsupported, match=fault):
        client.plan(tiny.rows(8), model=JOB, adapter=adapter)


def test_another_base_or_provider_is_refused(client: ftsdk.Client, tmp_path: Path) -> None:
    other = tiny.write_model(tmp_path / "other", intermediate_size=96)
    options = {"provider_options": {"init_adapter": JOB}, "adapter": {"rank": 4, "alpha": 8}}
    with pytest.raises(ftsdk.Unsupported, match=r"was trained on .*tiny, whose weights are others"):
        client.plan(tiny.rows(8), provider="local", model=str(other), **options)
    with pytest.raises(ftsdk.UsageError, match="is a model of local, and the job is for openai"):
        client.plan(tiny.rows(8), provider="openai", model=JOB)


@pytest.mark.parametrize("asked", ["ftj_01J11111111111111111111111", "/nowhere"])
def test_what_is_no_adapter_is_refused(asked: str, client: ftsdk.Client, tiny_model: Path) -> None:
    with pytest.raises(ftsdk.Unsupported, match="is no adapter that can be continued"):
        client.plan(
            tiny.rows(8), provider="local", model=str(tiny_model),
            provider_options={"init_adapter": asked},
        )  # fmt: skip


def test_the_plan_says_what_it_continues(client: ftsdk.Client, tiny_model: Path) -> None:
    plan = client.plan(tiny.rows(8), model=JOB)
    assert plan.model == str(tiny_model)
    assert f"continues the adapter of {JOB}" in plan.notes
