"""A job's specification: validation, one error for all faults, and the fingerprint."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.types.spec import Hyperparameters, JobSpec, LoRA


def make(**fields: Any) -> JobSpec:
    return JobSpec.build(**{"provider": "fake", "model": "m", **fields})


def test_all_faults_are_reported_at_once_by_name() -> None:
    with pytest.raises(SpecError) as caught:
        make(
            model="",
            seed=-1,
            hyperparameters={"epochs": -1, "batch_size": 0, "learning_rate": float("nan")},
            adapter={"rank": 0, "quantize": "int3"},
        )
    text = str(caught.value)
    for field in ("model", "seed", "epochs", "batch_size", "learning_rate", "rank", "quantize"):
        assert field in text
    assert len(caught.value.faults) == 7
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("field", ["epochs", "learning_rate", "batch_size", "max_steps"])
def test_a_boolean_is_not_a_number(field: str) -> None:
    with pytest.raises(SpecError, match="not true or false"):
        make(hyperparameters={field: True})


def test_whole_numbers_are_accepted_where_fractions_are() -> None:
    given = Hyperparameters(learning_rate=1, epochs=3).given()
    assert given == {"learning_rate": 1.0, "epochs": 3.0}


def test_two_learning_rates_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="exclude each other"):
        make(hyperparameters={"learning_rate": 1e-4, "learning_rate_multiplier": 2})


def test_an_unknown_field_is_refused_not_dropped() -> None:
    with pytest.raises(SpecError, match="learning_rat"):
        make(hyperparameters={"learning_rat": 1e-4})


def test_alpha_follows_the_rank_unless_given() -> None:
    assert LoRA(rank=8).alpha == 16
    assert LoRA(rank=8, alpha=5).alpha == 5


def test_the_fingerprint_depends_only_on_what_is_trained() -> None:
    base = make().fingerprint("a", None)
    assert make(tags={"team": "cx"}, max_cost="5.00").fingerprint("a", None) == base
    for other in (
        make(seed=1).fingerprint("a", None),
        make(model="n").fingerprint("a", None),
        make(adapter=None).fingerprint("a", None),
        make(hyperparameters={"epochs": 2}).fingerprint("a", None),
        make().fingerprint("b", None),
        make().fingerprint("a", "c"),
    ):
        assert other != base


def test_a_job_without_newer_settings_keeps_its_fingerprint() -> None:
    spec = make(hyperparameters={"warmup_ratio": 0.1, "schedule": "linear"})
    assert spec.fingerprint("a", None).startswith("edf17dc65d3d7593")
    steps = make(hyperparameters={"warmup_steps": 3, "schedule": "linear"})
    assert steps.fingerprint("a", None) != make(hyperparameters={"schedule": "linear"}).fingerprint(
        "a", None
    )


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"warmup_steps": 3, "warmup_ratio": 0.1}, "warmup_ratio and warmup_steps exclude"),
        ({"min_lr_ratio": 0.1}, "min_lr_ratio is for schedule='cosine_with_min_lr' or"),
        ({"schedule_cycles": 2, "schedule": "cosine"}, "'cosine_with_restarts', not 'cosine'"),
        ({"decay_ratio": 0.2, "schedule": "linear"}, "for schedule='warmup_stable_decay'"),
        ({"schedule": "polynomial"}, "schedule"),
    ],
)
def test_a_setting_of_another_schedule_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(SpecError, match=fault):
        make(hyperparameters=given)


def test_a_spec_round_trips_through_json_and_pickle() -> None:
    spec = make(
        max_cost="5.10", adapter={"target_modules": ["q_proj"]}, provider_options={"x": [1]}
    )
    assert JobSpec.build(**spec.model_dump(mode="json")) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert spec.max_cost == Decimal("5.10")


LOOP: dict = {}
LOOP["again"] = LOOP


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", object(), b"\xff", LOOP],
    ids=["nan", "inf", "half a character", "object", "bytes", "loop"],
)
def test_options_that_json_cannot_represent_are_refused(value) -> None:
    with pytest.raises(SpecError, match="provider_options: cannot be written as JSON"):
        make(provider_options={"a": [value]})


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(SpecError) as caught:
        make(model="m" * 600 + "sk-secret")
    assert "sk-secret" not in str(caught.value)
