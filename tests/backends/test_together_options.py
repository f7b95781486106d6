"""The names of Together's SDK in `provider_options`: mapped, passed or refused before anything is sent."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.errors import Unsupported
from ftsdk.spending.ledger import ledger
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("together", reason="needs the extra `together`")

from together.lib.resources import fine_tuning as sdk
from together.resources.fine_tuning import FineTuningResource

from ftsdk.backends.together import events, request, sdk_names
from ftsdk.testing.lab.together.double import TogetherDouble
from ftsdk.testing.lab.together.request_checks import LIMITS
from tests.backends.hosted_worlds import HOSTED, ROWS
from tests.backends.test_together import PAIRS

MODEL = "Qwen/Qwen3.5-9B"
OTHER = "Qwen/Qwen3.5-0.8B"
CREATE, UPLOAD = r"/v1/fine-tunes$", r"/v1/files"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def double(clock: ManualClock) -> Iterator[TogetherDouble]:
    with TogetherDouble(clock=clock) as one:
        yield one
        assert one.violations == []


@pytest.fixture
def client(double: TogetherDouble, clock: ManualClock, home: Path) -> Iterator[ftsdk.Client]:
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as one:
        yield one


def create(client: ftsdk.Client, **given: Any) -> ftsdk.FineTuneJob:
    return HOSTED["together"].new(client, **{"model": MODEL, **given})


def spec(**given: Any) -> JobSpec:
    return JobSpec.build(**{"provider": "together", "model": MODEL, **given})


def body(**given: Any) -> dict[str, Any]:
    return request.body_of(spec(**given), training_file="f", validation_file=None, suffix="s")


# --- the table ---


def test_every_parameter_of_the_installed_sdk_has_one_place_in_the_table() -> None:
    parameters = set(inspect.signature(FineTuningResource.create).parameters) - {"self"}
    in_method = {"training_method"}  # a table of ours, with the method itself from method=
    groups = (
        set(sdk_names.OURS), set(sdk_names.OF_CLIENT), set(sdk_names.SECRETS),
        set(sdk_names.PASSED), set(sdk_names.MOVED), in_method,
    )  # fmt: skip
    for name in parameters:
        assert sum(name in group for group in groups) == 1, name
    of_body = {"wandb_key", "lr_scheduler", "training_type", "num_cycles"}
    assert set().union(*groups) - parameters == of_body


def of_sdk(**given: Any) -> dict[str, Any]:
    """Return the body that the SDK makes of its own parameters."""
    limits = LIMITS[MODEL] | {"supports_vision": "train_vision" in given}
    made, *_ = sdk.create_finetune_request(
        model_limits=sdk.FinetuneModelLimits.model_validate(limits),
        training_file="f", model=MODEL, lora=True, **given,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(made.model_dump_json(exclude_none=True))
    return found


@pytest.mark.parametrize(
    ("name", "value", "method"),
    [
        ("train_on_inputs", True, "sft"),
        ("train_on_inputs", False, "sft"),
        ("dpo_normalize_logratios_by_length", True, "dpo"),
        ("rpo_alpha", 0.5, "dpo"),
        ("simpo_gamma", 0.25, "dpo"),
        ("train_vision", True, "sft"),
        ("min_lr_ratio", 0.1, "sft"),
        ("scheduler_num_cycles", 1.5, "sft"),
    ],
)
def test_a_moved_name_is_sent_where_the_sdk_sends_it(name: str, value: Any, method: str) -> None:
    theirs = of_sdk(**{name: value}, training_method=method)
    ours = body(method=method, provider_options={name: value})
    field = sdk_names.MOVED[name].path[0]
    assert name not in ours
    wanted = {k: v for k, v in theirs[field].items() if v is not False or value is False}
    assert {k: ours[field].get(k) for k in wanted} == wanted
    assert set(ours[field]) <= set(theirs[field])


def test_the_name_in_the_body_is_taken_too_and_the_linear_schedule_has_a_ratio() -> None:
    cycles = body(provider_options={"num_cycles": 2})["lr_scheduler"]
    assert cycles == {
        "lr_scheduler_type": "cosine",
        "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 2},
    }
    linear = body(hyperparameters={"schedule": "linear"}, provider_options={"min_lr_ratio": 0.3})
    assert linear["lr_scheduler"]["lr_scheduler_args"] == {"min_lr_ratio": 0.3}


@pytest.mark.parametrize(
    "name", sorted({*sdk_names.OURS, *sdk_names.OF_CLIENT, *sdk_names.SECRETS})
)
def test_a_name_of_ours_is_refused_before_anything_is_sent(
    name: str, client: ftsdk.Client, double: TogetherDouble
) -> None:
    with pytest.raises(Unsupported, match=f"provider_options.{name} is ") as caught:
        create(client, provider_options={name: "x"})
    assert caught.value.submitted == "no"
    assert double.count("POST", ".") == 0
    assert client.list_jobs() == []


@pytest.mark.parametrize(
    ("options", "more", "fault"),
    [
        ({"rpo_alpha": 1}, {}, "rpo_alpha is for method 'dpo'"),
        ({"train_on_inputs": True}, {"method": "dpo"}, "train_on_inputs is for method 'sft'"),
        ({"rpo_alpha": -0.1}, {"method": "dpo"}, "rpo_alpha=-0.1 must be at least 0"),
        ({"rpo_alpha": 0}, {"method": "dpo"}, None),
        ({"simpo_gamma": "x"}, {"method": "dpo"}, "simpo_gamma must be a number"),
        ({"min_lr_ratio": 0}, {}, None),
        ({"min_lr_ratio": 1}, {}, None),
        ({"min_lr_ratio": 1.01}, {}, "min_lr_ratio=1.01 must be at most 1"),
        ({"min_lr_ratio": -0.01}, {}, "min_lr_ratio=-0.01 must be at least 0"),
        ({"num_cycles": 0}, {}, "num_cycles=0 must be more than 0"),
        ({"num_cycles": 0.01}, {}, None),
        ({"num_cycles": 1}, {"hyperparameters": {"schedule": "linear"}}, "for the schedule 'cosine'"),
        ({"min_lr_ratio": 1}, {"hyperparameters": {"schedule": "constant"}}, "schedule 'constant'"),
        ({"num_cycles": 1, "scheduler_num_cycles": 1}, {}, "both num_cycles and scheduler_num_cycles"),
        (
            {"train_on_inputs": True, "training_method": {"train_on_inputs": False}},
            {},
            "train_on_inputs is given in training_method, too",
        ),
        ({"a_new_field": 1}, {}, None),
    ],
)  # fmt: skip
def test_each_bound_of_a_moved_name(
    options: dict[str, Any], more: dict[str, Any], fault: str | None
) -> None:
    found = request.faults_of(spec(provider_options=options, **more))
    assert (found == []) == (fault is None)
    assert fault is None or any(fault in one for one in found)


# --- early stopping and images, before the upload ---


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"early_stopping_enabled": True}, "needs validation rows"),
        ({"n_evals": 3}, "n_evals=3 needs validation rows"),
        ({"train_vision": True}, "train_vision: the model has no vision encoder"),
    ],
)
def test_what_the_job_does_not_have_is_refused_before_the_upload(
    options: dict[str, Any], fault: str, client: ftsdk.Client, double: TogetherDouble
) -> None:
    with pytest.raises(Unsupported, match=fault) as caught:
        create(client, provider_options=options)
    assert caught.value.submitted == "no"
    assert double.count("POST", ".") == 0


@pytest.mark.parametrize(
    ("options", "evaluations"),
    [
        ({}, 4),
        ({"early_stopping_patience": 3, "early_stopping_warmup_evals": 0}, 4),
        ({"early_stopping_patience": 7}, 9),
        ({"n_evals": 12}, 12),
    ],
)
def test_early_stopping_gets_the_evaluations_that_it_needs(
    options: dict[str, Any], evaluations: int, client: ftsdk.Client, double: TogetherDouble
) -> None:
    create(client, validation=0.3, provider_options={"early_stopping_enabled": True, **options})
    sent = json.loads(double.asked("POST", CREATE)[-1].body)
    assert sent["n_evals"] == evaluations
    sdk.validate_early_stopping(
        True, options.get("early_stopping_patience"), None,
        options.get("early_stopping_warmup_evals"), sent["n_evals"], sent["validation_file"],
    )  # fmt: skip


def test_too_few_evaluations_for_early_stopping_are_refused(
    client: ftsdk.Client, double: TogetherDouble
) -> None:
    with pytest.raises(Unsupported, match="n_evals=3 must be at least 4 for early stopping"):
        create(
            client, validation=0.3, provider_options={"early_stopping_enabled": True, "n_evals": 3}
        )
    assert double.count("POST", ".") == 0


def test_a_job_with_moved_names_is_accepted(client: ftsdk.Client, double: TogetherDouble) -> None:
    create(
        client, rows=PAIRS, method="dpo",
        provider_options={"rpo_alpha": 0.1, "min_lr_ratio": 0.2, "num_cycles": 1},
    )  # fmt: skip
    sent = json.loads(double.asked("POST", CREATE)[-1].body)
    assert sent["training_method"]["rpo_alpha"] == 0.1
    assert sent["lr_scheduler"]["lr_scheduler_args"] == {"min_lr_ratio": 0.2, "num_cycles": 1}


# --- going on from a checkpoint ---


@pytest.fixture
def first(client: ftsdk.Client, clock: ManualClock) -> ftsdk.FineTuneJob:
    job = create(client, hyperparameters={"epochs": 2})
    clock.advance(60)
    return job.refresh()


def sources(job: ftsdk.FineTuneJob) -> list[str]:
    backend: Any = job.session.backend_for(job.snapshot)
    [row] = [row for row in backend._jobs.rows() if row["id"] == job.provider_job_id]
    return [
        str(job.provider_job_id), f"{job.provider_job_id}:1", job.checkpoints()[0].id,
        row["model_output_name"],
    ]  # fmt: skip


def test_a_checkpoint_of_another_model_is_refused_before_the_upload(
    client: ftsdk.Client, double: TogetherDouble, first: ftsdk.FineTuneJob
) -> None:
    posts = double.count("POST", ".")
    for source in sources(first):
        with pytest.raises(Unsupported, match=f"is of {MODEL}, and model= names {OTHER}") as caught:
            create(client, model=OTHER, rows=ROWS[:9], provider_options={"from_checkpoint": source})
        assert caught.value.submitted == "no"
    assert double.count("POST", ".") == posts


def test_a_checkpoint_of_the_same_model_is_sent_without_the_model(
    client: ftsdk.Client, double: TogetherDouble, first: ftsdk.FineTuneJob
) -> None:
    for number, source in enumerate(sources(first)):
        create(client, seed=number + 1, provider_options={"from_checkpoint": source})
        sent = json.loads(double.asked("POST", CREATE)[-1].body)
        assert ("model" in sent, sent["from_checkpoint"]) == (False, source)


def test_a_checkpoint_of_an_unknown_job_is_refused(
    client: ftsdk.Client, double: TogetherDouble
) -> None:
    with pytest.raises(Unsupported, match="cannot be found at Together"):
        create(client, provider_options={"from_checkpoint": "ft-00000000-0000"})
    assert double.count("POST", ".") == 0


def test_the_plan_says_that_the_model_is_compared(client: ftsdk.Client) -> None:
    plan = client.plan(
        ROWS, provider="together", model=MODEL, provider_options={"from_checkpoint": "ft-1"}
    )
    assert any("checkpoint is compared with model=" in note for note in plan.notes)


# --- what a cancelled job cost ---


def test_a_job_that_was_cancelled_in_the_queue_cost_nothing(
    client: ftsdk.Client, clock: ManualClock
) -> None:
    job = create(client)
    assert job.cost.usd == 4
    job.cancel()
    clock.advance(60)
    assert job.refresh().status is JobStatus.CANCELLED
    assert (job.cost.basis, job.cost.usd) == ("billed", 0)
    assert "before training started" in job.cost.source
    [line] = ledger(client.session)
    assert (line.counted, line.why) == (Decimal(0), "billed")


def test_a_job_that_was_cancelled_while_it_trained_keeps_its_quote_and_says_so(
    client: ftsdk.Client, double: TogetherDouble, clock: ManualClock
) -> None:
    job = create(client)
    while job.refresh().status is not JobStatus.RUNNING:
        clock.advance(0.5)
    double.faults.add("set", method="GET", field="total_price", value=0, times=None)
    job.cancel()
    clock.advance(60)
    assert job.refresh().status is JobStatus.CANCELLED
    assert (job.cost.basis, job.cost.usd) == ("quoted", 4)
    [line] = ledger(client.session)
    assert (line.counted, line.why) == (Decimal(4), "quoted; no bill is known")


@pytest.mark.parametrize(
    ("types", "is_so"),
    [
        (["job_pending", "cancel_requested"], True),
        (["JOB_PENDING", "JOB_START", "MODEL_DOWNLOADING", "CANCEL_REQUESTED"], True),
        (["job_pending", "training_start", "cancel_requested"], False),
        (["job_pending", "epoch_complete"], False),
        (["job_pending", "job_restarted"], False),
        (["job_pending", "something_new"], False),
        (["cancel_requested"], False),
        ([], False),
    ],
)
def test_which_events_show_that_training_did_not_start(types: list[str], is_so: bool) -> None:
    rows = [{"type": one} for one in types]
    assert events.never_trained(rows) is is_so
