"""Together's words in ours: every status, odd answers, both cases of events, asked → sent."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.backends.base import Context
from ftsdk.backends.together import TogetherBackend, cost, events, job_mapping, request
from ftsdk.errors import Unsupported
from ftsdk.testing.lab.together.request_checks import LIMITS
from ftsdk.types.model import ModelKind
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus

NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
RESULT = {"model_output_name": "me/x", "model_object_id": "ml_1"}


def spec(**given_: Any) -> JobSpec:
    return JobSpec.build(**{"provider": "together", "model": "Qwen/Qwen3.5-9B", **given_})


def sent(**given_: Any) -> dict[str, Any]:
    return request.body_of(
        spec(**given_), training_file="file-1", validation_file=None, suffix="ft0123456789ab"
    )


@pytest.fixture
def backend(tmp_path) -> TogetherBackend:
    return TogetherBackend(Context(home=tmp_path))


# --- statuses ---


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("pending", JobStatus.QUEUED),
        ("queued", JobStatus.QUEUED),
        ("running", JobStatus.RUNNING),
        ("compressing", JobStatus.FINALIZING),
        ("uploading", JobStatus.FINALIZING),
        ("completed", JobStatus.SUCCEEDED),
        ("cancel_requested", JobStatus.CANCELLING),
        ("cancelled", JobStatus.CANCELLED),
        ("error", JobStatus.FAILED),
        ("user_error", JobStatus.FAILED),
        ("paused_v2", JobStatus.UNKNOWN),
        ("evaluating", JobStatus.UNKNOWN),
        ("COMPLETED_WITH_WARNINGS", JobStatus.UNKNOWN),
        ("succeeded", JobStatus.UNKNOWN),
        ("", JobStatus.UNKNOWN),
    ],
)
def test_each_raw_status_has_one_meaning(word: str, ours: JobStatus) -> None:
    job = job_mapping.remote_job({"id": "ft-1", "status": word, **RESULT})
    assert job.status is ours
    assert job.raw_status == word
    assert job.status.is_final == (word in {"completed", "cancelled", "error", "user_error"})


@pytest.mark.parametrize("odd", [None, 3, True, [], {"a": 1}, 1e400])
def test_a_status_that_is_no_word_is_unknown(odd: Any) -> None:
    assert job_mapping.remote_job({"id": "ft-1", "status": odd}).status is JobStatus.UNKNOWN


def test_completed_without_a_result_is_not_yet_succeeded() -> None:
    job = job_mapping.remote_job({"id": "ft-1", "status": "completed", "model_output_name": ""})
    assert job.status is JobStatus.FINALIZING
    assert job.raw_status == "completed"
    assert job.result_model is None


def test_the_registry_id_is_preferred_and_may_be_missing() -> None:
    with_id = job_mapping.remote_job({"id": "ft-1", "status": "completed", **RESULT})
    without = job_mapping.remote_job(
        {"id": "ft-1", "status": "completed", "model_output_name": "a/b"}
    )
    assert with_id.result_model == "ml_1"
    assert without.result_model == "a/b"
    handle = job_mapping.result_handle(
        {**RESULT, "model": "m", "training_type": {"type": "Lora", "lora_r": 8}}
    )
    assert (handle.kind, handle.callable_now) == (ModelKind.NEEDS_DEPLOYMENT, False)
    assert handle.adapter is not None
    assert handle.adapter["rank"] == 8


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
_FIELDS = (
    "id", "status", "model", "suffix", "created_at", "updated_at", "progress", "token_count",
    "total_price", "total_steps", "steps_completed", "epochs_completed", "n_epochs",
    "model_output_name", "early_stopped", "early_stopping_best_step", "training_type", "type",
    "message", "level", "hash", "timestamp", "train/global_step", "train/loss", "eval/loss",
    "step", "object_id",
)  # fmt: skip


@given(data=st.dictionaries(st.sampled_from(_FIELDS), _VALUES))
@settings(max_examples=120, deadline=None)
def test_nothing_a_job_says_makes_reading_it_fail(data: dict[str, Any]) -> None:
    assert job_mapping.remote_job(data).raw.keys() == data.keys()
    events.events_of([data, data], "ft-1")
    events.metrics_of([data])
    events.checkpoints_of([data], "ft-1")
    events.failure_message([data])
    cost.quoted_cost(data, NOW.date())
    if job_mapping.has_result(data):
        job_mapping.result_handle(data)


# --- events, metrics, checkpoints ---


@pytest.mark.parametrize("capitals", [False, True])
def test_events_read_alike_in_either_case(capitals: bool) -> None:
    def event(second: int, kind: str, level: str = "info", text: str = "") -> dict[str, Any]:
        return {
            "object": "fine-tune-event",
            "created_at": f"2026-11-25T00:00:0{second}Z",
            "type": kind.upper() if capitals else kind,
            "level": level.capitalize() if capitals else level,
            "message": text or kind,
        }

    rows = [
        event(3, "checkpoint_save"),
        event(0, "job_pending"),
        event(1, "training_start"),
        event(2, "epoch_complete"),
        event(4, "brand_new_thing"),
        event(5, "brand_new_thing", "warning"),
        event(6, "job_error", "error", "out of memory"),
        event(1, "training_start"),
    ]
    result = events.events_of(rows, "ft-1")
    assert [e.kind for e in result] == [
        "status", "status", "progress", "checkpoint", "log", "warning", "error",
    ]  # fmt: skip
    assert [e.seq for e in result] == list(range(1, 8))
    assert len({e.id for e in result}) == 7
    assert events.failure_message(rows) == "out of memory"


def test_a_restart_names_its_successor_or_not() -> None:
    rows = [{"type": "JOB_RESTARTED", "message": "ft-old-000001 restarted as ft-new-000002"}]
    assert events.was_restarted(rows)
    assert events.successor_in(rows, "ft-old-000001") == "ft-new-000002"
    assert events.successor_in([{"type": "job_restarted", "message": "again"}], "ft-1") is None
    assert not events.was_restarted([{"type": "refund"}])


def test_training_and_evaluation_rows_become_one_point() -> None:
    points = events.metrics_of(
        [
            {"timestamp": 1.7e18, "train/global_step": 2, "train/loss": 1.5, "train/epoch": 1},
            {"timestamp": 1.7e18, "train/global_step": 1, "train/loss": 2.5},
            {"train/global_step": 2, "eval/loss": 1.7, "eval/rewards/margins": 0.3},
            {"train/global_step": 3, "train/loss": float("nan")},
        ]
    )
    assert [(p.step, p.train_loss, p.validation_loss) for p in points] == [
        (1, 2.5, None), (2, 1.5, 1.7), (3, None, None),
    ]  # fmt: skip
    assert points[1].raw["eval/rewards/margins"] == 0.3
    assert points[0].time is not None
    assert points[0].time.year == 2023


# --- asked → sent ---


def test_every_hyperparameter_arrives_under_its_wire_name() -> None:
    result = sent(
        hyperparameters={
            "epochs": 3, "learning_rate": 1, "batch_size": 8, "gradient_accumulation_steps": 2,
            "max_length": 4096, "warmup_ratio": 0.1, "schedule": "linear", "weight_decay": 1,
            "max_grad_norm": 2, "beta": 0.2,
        },
        method="dpo",
        adapter={"rank": 8, "alpha": 16, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"]},
        seed=7,
    )  # fmt: skip
    assert result["n_epochs"] == 3
    assert isinstance(result["n_epochs"], int)
    assert result["learning_rate"] == 1.0
    assert isinstance(result["learning_rate"], float)
    assert (result["batch_size"], result["gradient_accumulation_steps"]) == (8, 2)
    assert result["max_seq_length"] == 4096
    assert result["warmup_ratio"] == 0.1
    assert result["lr_scheduler"] == {
        "lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 0.0},
    }  # fmt: skip
    assert (result["weight_decay"], result["max_grad_norm"]) == (1.0, 2.0)
    assert result["training_method"] == {"method": "dpo", "dpo_beta": 0.2}
    assert result["training_type"] == {
        "type": "Lora", "lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.1,
        "lora_trainable_modules": "q_proj,v_proj",
    }  # fmt: skip
    assert result["random_seed"] == 7


def test_whole_numbers_given_as_whole_numbers_are_sent() -> None:
    """`lora_alpha=16` and `learning_rate=1` once got lost in another tool's type check."""
    result = sent(hyperparameters={"learning_rate": 1, "weight_decay": 0}, adapter={"alpha": 16})
    assert result["learning_rate"] == 1.0
    assert result["training_type"]["lora_alpha"] == 16


def test_full_training_and_constant_rate() -> None:
    result = sent(adapter=None, hyperparameters={"schedule": "constant"})
    assert result["training_type"] == {"type": "Full"}
    assert result["lr_scheduler"]["lr_scheduler_args"] == {"min_lr_ratio": 1.0}


def test_validation_rows_are_looked_at() -> None:
    result = request.body_of(
        spec(hyperparameters={"epochs": 4}),
        training_file="a", validation_file="b", suffix="s",
    )  # fmt: skip
    assert (result["validation_file"], result["n_evals"]) == ("b", 4)


def test_continuing_from_a_checkpoint_leaves_the_model_out() -> None:
    result = sent(provider_options={"from_checkpoint": "ft-abc:20"})
    assert "model" not in result
    assert result["from_checkpoint"] == "ft-abc:20"
    assert "model" not in request.estimate_body(result)


def test_provider_options_go_through_untouched() -> None:
    odd = {
        "wandb_project_name": "x",
        "early_stopping_enabled": True,
        "some_new_field": [1, {"a": None}],
    }
    result = sent(provider_options={**odd, "training_method": {"train_on_inputs": False}})
    assert {k: result[k] for k in odd} == odd
    assert result["training_method"] == {"method": "sft", "train_on_inputs": False}


def test_secrets_join_at_the_last_moment_and_only_where_needed() -> None:
    env = {"WANDB_API_KEY": "wkey", "HF_TOKEN": "hkey"}
    assert "wandb_key" not in request.with_secrets(sent(), env)
    result = request.with_secrets(sent(provider_options={"wandb_project_name": "x"}), env)
    assert result["wandb_key"] == "wkey"
    assert "hf_api_token" not in result


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({"hyperparameters": {"epochs": 1.5}}, "epochs"),
        ({"hyperparameters": {"epochs": 0.5}}, "epochs"),
        ({"hyperparameters": {"max_steps": 10}}, "max_steps"),
        ({"hyperparameters": {"learning_rate_multiplier": 2}}, "learning_rate_multiplier"),
        ({"hyperparameters": {"beta": 0.1}}, "beta"),
        ({"adapter": {"quantize": "nf4"}}, "nf4"),
        ({"adapter": {"alpha": 8.5}}, "alpha"),
        ({"provider_options": {"n_epochs": 2}}, "n_epochs"),
        ({"provider_options": {"suffix": "x"}}, "suffix"),
        ({"provider_options": {"wandb_key": "abc"}}, "WANDB_API_KEY"),
        ({"provider_options": {"hf_api_token": "abc"}}, "HF_TOKEN"),
        ({"provider_options": {"training_method": {"method": "dpo"}}}, "training_method"),
        ({"provider_options": {"from_checkpoint": 3}}, "from_checkpoint"),
    ],
)
def test_what_it_cannot_take_is_refused_by_name(
    backend: TogetherBackend, given_: dict[str, Any], named: str
) -> None:
    with pytest.raises(Unsupported) as caught:
        backend.plan(spec(**given_))
    assert named in str(caught.value)
    assert caught.value.submitted == "no"


def test_all_refusals_come_at_once(backend: TogetherBackend) -> None:
    with pytest.raises(Unsupported) as caught:
        backend.plan(
            spec(
                hyperparameters={"max_steps": 1, "epochs": 1.5, "beta": 1},
                provider_options={"suffix": "x", "hf_api_token": "t"},
            )
        )
    assert len(caught.value.faults) == 5


def test_the_plan_shows_asked_and_sent(backend: TogetherBackend) -> None:
    plan = backend.plan(spec(hyperparameters={"epochs": 3}, name="Support Bot", seed=5))
    result = {f.name: f for f in plan.fields}
    assert (result["epochs"].asked, result["epochs"].sent, result["epochs"].sent_as) == (
        3,
        3,
        "n_epochs",
    )
    assert (result["learning_rate"].sent, result["learning_rate"].note) == (1e-5, "default")
    assert result["seed"].sent_as == "random_seed"
    assert result["adapter"].sent["lora_r"] == 16
    assert any("1e-5 is low for LoRA" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "ft0123456789ab"),
        ("Support Bot", "support-bot-ft0123456789ab"),
        ("...", "ft0123456789ab"),
        ("é" * 60, "ft0123456789ab"),
        ("a" * 200, "a" * 25 + "-ft0123456789ab"),
        ("a" * 24 + "-b", "a" * 24 + "-ft0123456789ab"),
    ],
)
def test_the_suffix_keeps_the_mark_and_the_limit(name: str | None, expected: str) -> None:
    suffix = request.suffix_of(name, "ft0123456789ab")
    assert suffix == expected
    assert len(suffix) <= request.SUFFIX_LIMIT
    assert job_mapping.tag_of({"suffix": suffix}) == "ft0123456789ab"
    assert (
        job_mapping.tag_of({"model_output_name": f"me/Qwen-{suffix}-0a1b2c3d"}) == "ft0123456789ab"
    )


@pytest.mark.parametrize(
    ("model", "given_", "named"),
    [
        ("Qwen/Qwen3-8B", {"adapter": None}, "full fine-tuning"),
        ("deepseek-ai/DeepSeek-V3.1", {"adapter": {"rank": 32}}, "rank=32 must be at most 16"),
        ("Qwen/Qwen3-8B", {"hyperparameters": {"epochs": 21}}, "epochs=21 must be at most 20"),
        ("Qwen/Qwen3-8B", {"hyperparameters": {"learning_rate": 0.5}}, "learning_rate"),
        ("Qwen/Qwen3-8B", {"hyperparameters": {"batch_size": 4}}, "batch_size=4 must be at least 8"),
        ("Qwen/Qwen3-8B", {"hyperparameters": {"batch_size": 100}, "method": "dpo"}, "at most 64"),
        ("Qwen/Qwen3-8B", {"hyperparameters": {"max_length": 70_000}}, "max_length"),
        ("Qwen/Qwen3-8B", {"hyperparameters": {"max_length": 128}}, "max_length"),
        ("Qwen/Qwen3-8B", {"adapter": {"target_modules": ["w_up"]}}, "w_up"),
        ("Qwen/Qwen3-8B", {"provider_options": {"n_checkpoints": 11}}, "n_checkpoints"),
    ],
)  # fmt: skip
def test_the_models_own_limits_are_named(model: str, given_: dict[str, Any], named: str) -> None:
    faults = request.faults_by_limits(sent(model=model, **given_), LIMITS[model])
    assert len(faults) == 1
    assert named in faults[0]


def test_limits_that_say_nothing_refuse_nothing() -> None:
    assert request.faults_by_limits(sent(hyperparameters={"epochs": 500}), {}) == []


@pytest.mark.parametrize("value", ["x", None, [], {"a": 1}])
def test_an_option_that_is_no_number_goes_through_for_together_to_judge(value: Any) -> None:
    made = sent(provider_options={"n_evals": value, "n_checkpoints": value})
    assert made["n_evals"] == value
    assert request.faults_by_limits(made, next(iter(LIMITS.values()))) == []
