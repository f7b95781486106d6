"""Replicate's words in ours: statuses, odd answers, logs to curves, asked → sent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.backends.base import Context
from ftsdk.backends.replicate import (
    ReplicateBackend,
    cost,
    events,
    input_schema,
    job_mapping,
    logs,
    prompts,
    request,
    trainer,
)
from ftsdk.errors import DatasetError, SpecError, Unsupported
from ftsdk.testing.lab.replicate.request_checks import TRAINING_INPUT
from ftsdk.types.model import ModelKind
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus

OUTPUT = {"version": "me/tuned:abcdef0123456789", "weights": "https://delivery.example/w.tar"}


def spec(**given_: Any) -> JobSpec:
    options = {"destination": "me/tuned", **given_.pop("options", {})}
    return JobSpec.build(
        **{"provider": "replicate", "model": "a/b", "provider_options": options, **given_}
    )


@pytest.fixture
def backend(tmp_path) -> ReplicateBackend:
    return ReplicateBackend(Context(home=tmp_path))


def sent(one: JobSpec) -> dict[str, Any]:
    asked, faults = trainer.options_of(one, {})
    assert faults == []
    return request.inputs_of(one, asked, data="https://x.example/d")


# --- statuses ---


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("starting", JobStatus.QUEUED),
        ("processing", JobStatus.RUNNING),
        ("succeeded", JobStatus.SUCCEEDED),
        ("failed", JobStatus.FAILED),
        ("canceled", JobStatus.CANCELLED),
        ("aborted", JobStatus.CANCELLED),
        ("paused_v2", JobStatus.UNKNOWN),
        ("queued", JobStatus.UNKNOWN),
        ("cancelled", JobStatus.UNKNOWN),
        ("completed", JobStatus.UNKNOWN),
        ("", JobStatus.UNKNOWN),
    ],
)
def test_each_raw_status_has_one_meaning(word: str, ours: JobStatus) -> None:
    job = job_mapping.remote_job({"id": "abc", "status": word, "output": OUTPUT})
    assert (job.status, job.raw_status) == (ours, word)


def test_succeeded_needs_something_to_show() -> None:
    def status(**facts: Any) -> JobStatus:
        return job_mapping.remote_job({"id": "a", "status": "succeeded", **facts}).status

    assert status(output=None) is JobStatus.FINALIZING
    assert status(output={"weights": OUTPUT["weights"]}) is JobStatus.SUCCEEDED
    assert status(output=OUTPUT["weights"]) is JobStatus.SUCCEEDED
    assert status(output={"version": "../x"}) is JobStatus.FINALIZING
    assert status(output=None, data_removed=True) is JobStatus.SUCCEEDED


def test_a_version_can_be_called_and_weights_alone_cannot() -> None:
    whole = job_mapping.result_handle({"output": OUTPUT, "model": "a/b"})
    alone = job_mapping.result_handle({"output": OUTPUT["weights"], "model": "a/b"})
    assert whole is not None
    assert alone is not None
    assert (whole.kind, whole.callable_now) == (ModelKind.HOSTED, True)
    assert (alone.kind, alone.callable_now) == (ModelKind.ADAPTER, False)
    assert job_mapping.result_handle({"output": None}) is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)
_FIELDS = (
    "id", "status", "model", "version", "input", "output", "logs", "error", "metrics",
    "created_at", "started_at", "completed_at", "data_removed", "urls", "source",
)  # fmt: skip


@given(data=st.dictionaries(st.sampled_from(_FIELDS), _VALUES))
@settings(max_examples=120, deadline=None)
def test_nothing_a_training_says_makes_reading_it_fail(data: dict[str, Any]) -> None:
    assert job_mapping.remote_job(data).raw.keys() == data.keys()
    events.events_of(data, "huggingface")
    events.metrics_of(logs.log_lines(data), "huggingface")
    cost.cost_of(data, Decimal("0.001"), "x", None)
    job_mapping.result_handle(data)
    job_mapping.tag_in(data)


# --- the tag ---


@pytest.mark.parametrize(
    ("inputs", "tag"),
    [
        ({"data": "https://x.example/f#ftsdk=ft0123456789ab"}, "ft0123456789ab"),
        ({"n": 3, "data": "https://x.example/f?a=b#ftsdk=ft0123456789ab"}, "ft0123456789ab"),
        ({"data": "https://x.example/f#ftsdk=ft0123456789abc"}, None),
        ({"data": "https://x.example/ft0123456789ab"}, None),
        ({"data": ["#ftsdk=ft0123456789ab"]}, None),
        (None, None),
    ],
)
def test_our_mark_is_read_from_the_echoed_input(inputs: Any, tag: str | None) -> None:
    assert job_mapping.tag_in({"input": inputs}) == tag


# --- logs ---

LOG = """\
Starting
 10%|#    | 1/10 [00:01<00:09, 1.1it/s]
{'loss': 2.5, 'grad_norm': '1.5', 'learning_rate': 2e-05, 'epoch': 0.1}
 20%|##   | 2/10 [00:02<00:08, 1.1it/s]\r 30%|###  | 3/10 [00:03<00:07, 1.1it/s]
{"loss": "1.5", "learning_rate": "1e-05", "epoch": "0.3"}
{'eval_loss': 1.75, 'eval_runtime': 1.2, 'epoch': 0.3}
{'loss': nan}
{'train_runtime': 12.0}
done"""


def test_the_log_of_transformers_becomes_a_curve() -> None:
    points = events.metrics_of(logs.log_lines({"logs": LOG}), "huggingface")
    assert [(p.step, p.train_loss, p.validation_loss, p.epoch) for p in points] == [
        (1, 2.5, None, 0.1), (3, 1.5, 1.75, 0.3),
    ]  # fmt: skip
    assert points[0].grad_norm == 1.5
    assert job_mapping.remote_job({"logs": LOG}).progress is not None


def test_a_pattern_of_ones_own_and_none_at_all() -> None:
    lines = ["step=4 loss=1.25 lr=3e-4", "noise", "step=8 loss=inf", "step=9 loss=0.5"]
    pattern = r"step=(?P<step>\d+) loss=(?P<loss>\S+)(?: lr=(?P<learning_rate>\S+))?"
    points = events.metrics_of(lines, pattern)
    assert [(p.step, p.train_loss) for p in points] == [(4, 1.25), (9, 0.5)]
    assert points[0].learning_rate == 3e-4
    assert events.metrics_of(lines, None) == []


def test_events_keep_their_numbers_while_the_log_grows() -> None:
    data = {"id": "a", "status": "processing", "created_at": "2026-11-25T00:00:00Z",
            "started_at": "2026-11-25T00:00:05Z", "logs": "one\ntwo\n"}  # fmt: skip
    before = events.events_of(data, None)
    later = {**data, "logs": "one\ntwo\nthree\n", "status": "succeeded",
             "completed_at": "2026-11-25T00:01:00Z", "output": OUTPUT}  # fmt: skip
    after = events.events_of(later, None)
    assert after[: len(before)] == before
    assert [e.message for e in after] == [
        "starting", "processing", "one", "two", "three", "succeeded",
    ]  # fmt: skip
    assert logs.log_lines({"logs": "a\u2028b\x85c\n"}) == ["a\u2028b\x85c"]


# --- cost ---


def test_seconds_at_the_price_of_the_hardware() -> None:
    price = cost.cost_of(
        {"metrics": {"predict_time": 1234.5}}, Decimal("0.000975"), "gpu-l40s", dt.date(2026, 5, 4)
    )
    assert price is not None
    assert price.low == price.high == Decimal("1.203638")
    assert price.source == "1234.5 s reported by Replicate × $0.000975 a second (gpu-l40s)"
    assert (price.basis, price.as_of) == ("billed", dt.date(2026, 5, 4))
    for nothing in (0, 0.0, -0.0):  # a bill of nothing is a bill
        free = cost.cost_of({"metrics": {"predict_time": nothing}}, Decimal(1), "gpu", None)
        assert free is not None
        assert (free.low, free.high, free.basis) == (0, 0, "billed")
        unpriced = cost.cost_of({"metrics": {"predict_time": nothing}}, None, "", None)
        assert unpriced is not None
        assert unpriced.high is None
    unknown = cost.cost_of({"metrics": {"predict_time": 5}}, None, "", None)
    assert unknown is not None
    assert (unknown.high, unknown.basis) == (None, "unknown")
    for odd in (None, {}, {"predict_time": None}, {"predict_time": "x"}, {"predict_time": True},
                {"predict_time": float("nan")}, {"predict_time": -1}):  # fmt: skip
        assert cost.cost_of({"metrics": odd}, Decimal(1), "", None) is None


# --- asked → sent ---


def test_our_names_become_the_trainers() -> None:
    inputs_sent = sent(
        spec(
            hyperparameters={"epochs": 3, "batch_size": 4, "learning_rate": 1},
            adapter={"rank": 8, "alpha": 16, "dropout": 0.1},
            seed=7,
            options={"input": {"pack_sequences": True}},
        )
    )
    assert inputs_sent == {
        "train_data": "https://x.example/d", "num_train_epochs": 3, "train_batch_size": 4,
        "learning_rate": 1.0, "lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.1, "seed": 7,
        "pack_sequences": True,
    }  # fmt: skip
    assert isinstance(inputs_sent["num_train_epochs"], int)


def test_a_trainer_of_ones_own_is_declared() -> None:
    own = {"data": "dataset", "inputs": {"epochs": "n"}, "fixed": {"mode": "sft"}, "rows": "chat"}
    inputs_sent = sent(spec(hyperparameters={"epochs": 2}, options={"trainer": own}))
    assert inputs_sent == {"dataset": "https://x.example/d", "n": 2, "mode": "sft"}


@pytest.mark.parametrize(
    ("given_", "named"),
    [
        ({"options": {"destination": 5}}, "destination"),
        ({"options": {"destination": None, "bogus": 1}}, "destination is needed"),
        ({"options": {"destination": "nope"}}, "destination"),
        ({"options": {"bogus": 1}}, "bogus"),
        ({"options": {"trainer": "nobody"}}, "trainer"),
        ({"options": {"trainer": {"data": "d", "inputs": {"epoch": "n"}}}}, "epoch"),
        ({"options": {"trainer": {"data": "d", "logs": "("}}}, "logs"),
        ({"options": {"trainer": {"data": "d", "logs": "x"}}}, "loss"),
        ({"options": {"input": {"train_data": "x"}}}, "train_data"),
        ({"options": {"input": {"hf_token": "hf_abcdefghij"}}}, "hf_token"),
        ({"options": {"data_url": "http://x"}}, "data_url"),
        ({"options": {"seconds": [5, 1]}}, "seconds"),
        ({"hyperparameters": {"max_length": 5}}, "max_length"),
        ({"hyperparameters": {"schedule": "linear"}}, "schedule"),
        ({"hyperparameters": {"beta": 0.1}, "method": "dpo"}, "dpo"),
        ({"adapter": None}, "full"),
        ({"adapter": {"quantize": "nf4"}}, "nf4"),
        ({"adapter": {"target_modules": ["q_proj"]}}, "target_modules"),
        ({"adapter": {"rank": 64}, "options": {"trainer": "plain"}}, "rank"),
        ({"seed": 4, "options": {"trainer": "plain"}}, "seed"),
        ({"model": "no-slash"}, "owner/name"),
    ],
)
def test_what_it_cannot_take_is_refused_by_name(
    backend: ReplicateBackend, given_: dict[str, Any], named: str
) -> None:
    with pytest.raises(Unsupported) as caught:
        backend.plan(spec(**given_))
    assert named in str(caught.value)
    assert caught.value.submitted == "no"


def test_a_missing_destination_is_asked_for_and_not_called_unsupported(backend) -> None:
    with pytest.raises(SpecError, match="destination is needed") as caught:
        backend.plan(spec(options={"destination": None}))
    assert "--set destination=" in caught.value.hint
    assert caught.value.submitted == "no"


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"lora_r": 8}, "lora_r is not one of"),
        ({"num_train_epochs": 99}, "at most 50"),
        ({"num_train_epochs": 1.5}, "type integer"),
        ({"num_train_epochs": True}, "type integer"),
        ({"pack_sequences": 1}, "type boolean"),
        ({"lora_dropout": -1}, "at least 0"),
    ],
)
def test_the_trainers_own_schema_is_held_to(inputs: dict[str, Any], named: str) -> None:
    version = {"openapi_schema": {"components": {"schemas": {"TrainingInput": TRAINING_INPUT}}}}
    faults = input_schema.schema_faults({"train_data": "https://x.example", **inputs}, version)
    assert len(faults) == 1
    assert named in faults[0]
    assert input_schema.schema_faults({}, version) == ["input train_data is required"]
    assert input_schema.schema_faults(inputs, {}) == []


def test_rows_are_written_as_the_trainer_reads_them() -> None:
    chat = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "q"},
                         {"role": "assistant", "content": "a"}]}  # fmt: skip
    pair = {"prompt": "be kind\n\nq", "completion": "a"}
    assert prompts.written(chat, "prompt_completion", 1, "x") == pair
    assert prompts.written(chat, "chat", 1, "x") == chat
    assert prompts.written({"text": "t"}, "text", 1, "x") == {"text": "t"}
    for row, shape in (
        ({"messages": [*chat["messages"], *chat["messages"]]}, "prompt_completion"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]},
                       {"role": "assistant", "content": "a"}]}, "prompt_completion"),
        ({"text": "t"}, "prompt_completion"), ({"text": "t"}, "chat"), (chat, "text"),
    ):  # fmt: skip
        with pytest.raises(DatasetError, match="Row 3"):
            prompts.written(row, shape, 3, "x")


@pytest.mark.parametrize("value", [{"a": 1}, ["gpu-l40s"], 8])
def test_hardware_that_is_no_name_is_refused_by_name(backend, value: Any) -> None:
    with pytest.raises(Unsupported, match=r"provider_options\.hardware"):
        backend.plan(spec(options={"hardware": value}))
