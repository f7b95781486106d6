"""Together's bounds, sums and texts, by function and by each side of each bound."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("together", reason="needs the extra `together`")

from ftsdk.backends.together import cost, events, job_mapping, request
from ftsdk.backends.together.chat import ServedModels
from ftsdk.backends.together.endpoints import Endpoints, _hardware, _require_replicas
from ftsdk.backends.together.job_reads import _MAX_RESTARTS, Jobs
from ftsdk.catalogue.load import shipped
from ftsdk.errors import Unsupported, UsageError
from ftsdk.types.cost import Cost
from ftsdk.types.model import ModelHandle
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus

TODAY = dt.date(2026, 11, 30)
BASE = "Qwen/Qwen3.5-9B"
TAG = "ft0123456789ab"


# --- jobs that the platform restarts ---


def chain_of(count: int) -> tuple[Jobs, list[str]]:
    jobs = Jobs(SimpleNamespace())
    names = [f"job-{n}" for n in range(count + 1)]
    jobs._successors = dict(itertools.pairwise(names))
    return jobs, names


@pytest.mark.parametrize("restarts", [0, 1, 2, _MAX_RESTARTS - 1, _MAX_RESTARTS])
def test_a_job_is_known_by_all_its_ids(restarts: int) -> None:
    jobs, names = chain_of(restarts)
    assert jobs.known_chain("job-0") == names
    assert jobs.known_chain(names[-1]) == names[-1:]


def test_jobs_that_name_each_other_end() -> None:
    jobs, _ = chain_of(0)
    jobs._successors = {"a": "b", "b": "a"}
    assert len(jobs.known_chain("a")) == _MAX_RESTARTS + 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], ""),
        ([{"level": "error", "message": "one"}, {"level": "info", "message": "two"}], "one"),
        (
            [{"level": "ERROR", "message": "one"}, {"level": "legacy_error", "message": "two"}],
            "two",
        ),
        ([{"level": None, "message": "one"}, {"message": "two"}], ""),
        ([{"level": "error", "message": ""}, {"level": "error"}, None, 5], ""),
        (
            [
                {"level": "error", "message": "late", "created_at": "2026-11-30T12:00:00Z"},
                {"level": "error", "message": "early", "created_at": "2026-11-29T12:00:00Z"},
            ],
            "late",
        ),
        (
            [
                {"type": "job_error", "message": "the failure"},
                {"level": "error", "message": "after it", "created_at": "2026-11-29T12:00:00Z"},
            ],
            "the failure",
        ),
        ([{"level": "error", "message": "x" * 5000}], "x" * (events._MESSAGE - 1) + "…"),
    ],
)
def test_why_a_job_failed(rows: list[Any], message: str) -> None:
    assert events.failure_message(rows) == message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, None),
        ({"total_steps": 10, "steps_completed": 5}, (0.5, 5, 10, None)),
        ({"total_steps": 10, "steps_completed": 0}, (0.0, 0, 10, None)),
        ({"total_steps": 10, "steps_completed": 11}, (1.0, 11, 10, None)),
        ({"total_steps": 0, "steps_completed": 0}, None),
        ({"epochs_completed": 1, "n_epochs": 4}, (0.25, None, None, None)),
        ({"epochs_completed": 0, "n_epochs": 4}, (0.0, None, None, None)),
        ({"epochs_completed": 5, "n_epochs": 4}, (1.0, None, None, None)),
        (
            {"progress": {"estimate_available": True, "seconds_remaining": 9}, "status": "running"},
            (None, None, None, 9),
        ),
        (
            {"progress": {"estimate_available": True, "seconds_remaining": 9}, "status": "queued"},
            (None, None, None, None),
        ),
        ({"progress": {"estimate_available": False, "seconds_remaining": 9}}, None),
        (
            {
                "progress": {"estimate_available": True, "seconds_remaining": 0},
                "status": "running",
                "total_steps": 4,
                "steps_completed": 4,
            },
            (1.0, 4, 4, 0),
        ),
    ],
)
def test_progress(data: dict[str, Any], expected: Any) -> None:
    found = job_mapping.progress_of(data)
    got = None if found is None else (found.fraction, found.step, found.total_steps, found.eta_s)
    assert got == expected


# --- money ---


@pytest.mark.parametrize(
    ("more", "usd"),
    [
        ({}, "48"),
        ({"total_price": 0}, None),
        ({"token_count": 0}, None),
        ({"model": None}, None),
        ({"model": "nobody/knows"}, None),
        ({"total_price": 48 * 10**9}, "48"),  # billionths
        ({"total_price": 5000}, "50"),  # cents
        ({"total_price": 500}, None),  # fits no unit
    ],
)
def test_a_bill_is_read_where_one_unit_fits(more: dict[str, Any], usd: str | None) -> None:
    data = {"total_price": 48, "token_count": 10**8, "model": BASE, **more}
    found = cost.billed(data, shipped(), TODAY)
    assert (None if found is None else found.high) == (None if usd is None else Decimal(usd))
    if found is not None:
        assert (found.low, found.basis, found.as_of) == (found.high, "billed", TODAY)


def test_the_bill_of_full_training_is_read_at_its_own_price() -> None:
    data = {
        "total_price": 135,
        "token_count": 10**8,
        "model": BASE,
        "training_type": {"type": "Full"},
    }
    full = cost.billed(data, shipped(), TODAY)
    assert full is not None
    assert "$135.00" in full.assumptions[0]


@pytest.mark.parametrize(
    ("estimate", "usd"),
    [
        ({"estimated_total_price": 4.5}, "4.5"),
        ({"estimated_total_price": 0}, "0"),
        ({"estimated_total_price": 4.5, "estimation_available": True}, "4.5"),
        ({"estimated_total_price": 4.5, "estimation_available": False}, None),
        ({}, None),
    ],
)
def test_a_quote(estimate: dict[str, Any], usd: str | None) -> None:
    found = cost.quoted_cost(estimate, TODAY)
    assert found.high == (None if usd is None else Decimal(usd))
    assert found.low == found.high
    if usd is None:
        assert found.source == "Together gave no estimate: no reason"


def test_a_job_that_never_trained_cost_nothing() -> None:
    found = cost.never_trained_cost(TODAY)
    assert (found.low, found.high, found.basis, found.as_of) == (0, 0, "billed", TODAY)


def test_a_quote_says_how_many_tokens_it_is_for() -> None:
    tokens = {"estimated_total_price": 4, "estimated_train_token_count": 7}
    assert "7 training tokens, all epochs" in cost.quoted_cost(tokens, TODAY).assumptions
    why = {"unavailable_reason": "too new"}
    assert cost.quoted_cost(why, TODAY).source == "Together gave no estimate: too new"


# --- the request ---


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        (None, TAG),
        ("", TAG),
        ("!!", TAG),
        ("My Job", f"my-job-{TAG}"),
        ("x" * 25, "x" * 25 + f"-{TAG}"),
        ("x" * 26, "x" * 25 + f"-{TAG}"),
        ("x" * 24 + "-y", "x" * 24 + f"-{TAG}"),
    ],
)
def test_the_suffix_has_40_characters_at_most(name: str | None, suffix: str) -> None:
    assert request.suffix_of(name, TAG) == suffix
    assert len(suffix) <= 40


def faults(**options: Any) -> list[str]:
    spec = JobSpec.build(provider="together", model=BASE, provider_options=options)
    return [one for one in request.faults_of(spec) if "provider_options" in one]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"from_checkpoint": "ft-1"}, None),
        ({"from_checkpoint": ""}, "from_checkpoint must be a job id or an output name"),
        ({"from_checkpoint": "  "}, "from_checkpoint must be a job id or an output name"),
        ({"from_checkpoint": 5}, "from_checkpoint must be a job id or an output name"),
        ({"training_method": 5}, "training_method must be a table"),
        ({"training_method": {"method": "x"}}, "must not set method or dpo_beta"),
        ({"training_method": {"dpo_beta": 1}}, "must not set method or dpo_beta"),
    ],
)
def test_each_fault_of_the_options(options: dict[str, Any], fault: str | None) -> None:
    found = faults(**options)
    assert (found == []) == (fault is None)
    assert fault is None or any(fault in one for one in found)


# --- endpoints ---


class _Project:
    """The answers of one project, by the start of the path."""

    def __init__(self, **answers: Any) -> None:
        self.answers, self.asked = answers, list[str]()

    def get(self, path: str, *_: Any, **__: Any) -> Any:
        self.asked.append(path)
        return self.answers["whoami"]


@pytest.mark.parametrize(("least", "most"), [(1, 1), (1, 2), (2, 2)])
def test_replicas_within_their_bounds(least: int, most: int) -> None:
    _require_replicas(least, most)


@pytest.mark.parametrize(
    ("least", "most"), [(0, 1), (2, 1), (True, 1), (1, 1.5), ("1", 1), (-1, 1)]
)
def test_replicas_outside_their_bounds(least: Any, most: Any) -> None:
    with pytest.raises(UsageError, match="at least 1 and at most max_replicas"):
        _require_replicas(least, most)


def test_the_project_that_was_given_is_not_asked_for() -> None:
    project = _Project(whoami={"project": {"id": "proj_theirs"}})
    assert Endpoints(project, "proj_mine")._project() == "proj_mine"
    assert project.asked == []
    assert Endpoints(project, None)._project() == "proj_theirs"
    for wrong in ({}, {"project": None}, {"project": {"id": 5}}):
        with pytest.raises(UsageError, match="does not say which Together project"):
            Endpoints(_Project(whoami=wrong), None)._project()


GPU = {"selectors": [{"key": "accelerator_type", "value": "h100"}, {"key": "accelerator_count", "value": 2}]}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "hardware"),
    [
        (GPU, "2xh100"),
        ({}, ""),
        ({"selectors": None}, ""),
        ({"selectors": [None, *GPU["selectors"][:1]]}, ""),
    ],
)
def test_the_hardware_of_a_config(config: dict[str, Any], hardware: str) -> None:
    assert _hardware(config) == hardware


def configs(*rows: dict[str, Any]) -> Endpoints:
    made = Endpoints(SimpleNamespace(), "proj_1")
    made._pages = lambda *_: iter(rows)
    made._prices = lambda: {"2xh100": Decimal("5.5")}
    return made


def test_one_config_is_taken_and_several_are_asked_about() -> None:
    one, two = {"id": "c1", **GPU}, {"id": "c2", "projectId": "proj_2"}
    assert configs(one)._config("proj_1", "m", None) == (
        "projects/proj_1/configs/c1",
        Decimal("5.5"),
    )
    assert configs(one, two)._config("proj_1", "m", "c2") == ("projects/proj_2/configs/c2", None)
    with pytest.raises(UsageError, match="Several configs fit") as caught:
        configs(one, two)._config("proj_1", "m", None)
    assert "c1 (2xh100, $5.50/h), c2 ()" in caught.value.hint
    with pytest.raises(UsageError, match="'c3' does not fit") as caught:
        configs(one, two)._config("proj_1", "m", "c3")
    assert caught.value.hint == "one of c1, c2"
    with pytest.raises(Unsupported, match="no config with which this model could be served"):
        configs()._config("proj_1", "m", None)


@pytest.mark.parametrize(
    ("options", "price", "ours", "expected"),
    [
        ({}, "3", "5", "3"),
        ({}, None, "5", "5"),
        ({"max_replicas": 3}, None, "5", "15"),
        ({"min_replicas": 3}, None, "5", "5"),
        ({}, None, None, None),
        ({"max_replicas": 3}, None, None, None),
    ],
)
def test_the_most_that_serving_costs(
    options: dict[str, Any], price: str | None, ours: str | None, expected: str | None
) -> None:
    def usd(value: str | None) -> Decimal | None:
        return None if value is None else Decimal(value)

    serving = ServedModels.__new__(ServedModels)
    serving._endpoints = SimpleNamespace(usd_per_hour=lambda *_, **__: usd(price))
    handle = ModelHandle(
        kind="needs_deployment", provider="together", id="me/x", base_model=BASE,
        running_cost=Cost(hosting_usd_per_hour=usd(ours)), raw={"model_object_id": "ml_1"},
    )  # fmt: skip
    assert serving.usd_per_hour(handle, **options) == usd(expected)
    there = {"endpoint": {"deployment": "d1"}, "model_object_id": "ml_1"}
    assert serving.usd_per_hour(handle.model_copy(update={"raw": there}), **options) == usd(ours)


def test_a_completed_job_is_read_to_its_end() -> None:
    assert job_mapping.remote_job({"id": "ft-1", "status": "user_error"}).status is JobStatus.FAILED
