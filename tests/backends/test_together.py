"""Together over real sockets: the official SDK talks to the double, faults included."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.deployments.deploy import deploy, price_of
from ftsdk.errors import (
    BudgetError,
    DatasetError,
    NotFound,
    NotReady,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    UnknownModel,
    Unsupported,
    UsageError,
)
from ftsdk.jobs.follow import poll_once
from ftsdk.jobs.submit import submitter_for
from ftsdk.session import Horizon
from ftsdk.testing.lab.messages import Reply, Request
from ftsdk.types.cost import Cost
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("together", reason="needs the extra `together`")

from ftsdk.backends.together import TogetherBackend
from ftsdk.backends.together import transport as together_transport
from ftsdk.testing.lab.together.double import TogetherDouble
from tests.backends.hosted_worlds import HOSTED, ROWS

SPECS = Path(__file__).resolve().parents[2].parent / "shared" / "specs"
MODEL = "Qwen/Qwen3.5-9B"
PAIRS = [
    {
        "input": {"messages": [{"role": "user", "content": f"hello {i}"}]},
        "preferred_output": [{"role": "assistant", "content": "good day"}],
        "non_preferred_output": [{"role": "assistant", "content": "what"}],
    }
    for i in range(12)
]
CREATE = r"/v1/fine-tunes$"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def double(clock):
    with TogetherDouble(clock=clock) as one:
        yield one
        assert one.violations == []


@pytest.fixture
def client(double, clock, home):
    horizon = Horizon(while_creating_s=5)
    with ftsdk.Client(home=home, env=double.variables(), clock=clock, horizon=horizon) as one:
        yield one


@pytest.fixture
def backend(client) -> TogetherBackend:
    return client.backend("together")


def create(client, rows: Any = None, **given: Any) -> ftsdk.FineTuneJob:
    return HOSTED["together"].new(client, rows=ROWS if rows is None else rows, **given)


def done(client, clock, **given: Any) -> ftsdk.FineTuneJob:
    job = create(client, **given)
    clock.advance(60)
    return job.refresh()


# --- the whole way ---


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        (ROWS, {"validation": 0.2, "hyperparameters": {"epochs": 3}}),
        (PAIRS, {"method": "dpo", "hyperparameters": {"beta": 0.2}}),
        (ROWS, {"adapter": None, "name": "whole"}),
    ],
    ids=["lora", "dpo", "full"],
)
def test_from_rows_to_an_answer(client, double, clock, backend, tmp_path, rows, given) -> None:
    job = create(client, rows, max_cost="5", **given)
    assert str(job.cost.usd) == "4.0"
    assert job.cost.basis == "quoted"
    seen = [event.kind for event in job.stream()]
    assert job.status is JobStatus.SUCCEEDED
    assert job.raw_status == "completed"
    assert {"status", "checkpoint"} <= set(seen)
    assert job.snapshot.trained_tokens
    assert job.snapshot.finished_at is not None
    losses = [point.train_loss for point in job.metrics()]
    assert losses[0] > losses[-1]
    assert job.checkpoints()
    model = job.result()
    assert not model.callable_now
    with pytest.raises(NotReady, match="no endpoint"):
        model.chat("where is parcel 7?")
    assert double.count("POST", "/v2/") == 0
    served = backend.deploy(model)
    assert not served.callable_now
    assert str(served.running_cost.hosting_usd_per_hour) == "5.49"
    with pytest.raises(NotReady, match="provisioning"):
        served.chat("where is parcel 7?")
    clock.advance(5)
    again = job.result()
    assert again.callable_now
    said = again.chat("where is parcel 7? hello").text
    assert said == "good day" or said.startswith("[shipping/")
    assert backend.deploy(again).raw["endpoint"]["id"] == served.raw["endpoint"]["id"]
    assert not backend.undeploy(again).callable_now
    assert double.endpoints == {}
    folder = again.download(tmp_path / "weights")
    names = {path.name for path in folder.iterdir()}
    whole = given.get("adapter", "lora") is None
    assert ("model.safetensors" if whole else "adapter_model.safetensors") in names
    assert double.count("POST", CREATE) == 1


def test_the_same_bytes_are_uploaded_once(client, double) -> None:
    create(client)
    create(client, hyperparameters={"epochs": 2})
    assert double.count("PUT", "/storage/") == 1
    assert double.count("POST", "/v1/files$") == 2
    assert double.count("POST", CREATE) == 2


def test_large_files_go_by_parts(client, double, monkeypatch) -> None:
    from together.lib.resources import files

    monkeypatch.setattr(files, "MULTIPART_THRESHOLD_GB", 0.0)
    monkeypatch.setattr(files, "MIN_PART_SIZE_MB", 1)
    monkeypatch.setattr(files, "TARGET_PART_SIZE_MB", 1)
    long = [
        {"messages": [*row["messages"][:1], {"role": "assistant", "content": f"{n} " * 40_000}]}
        for n, row in enumerate(ROWS)
    ]
    assert create(client, long).status is JobStatus.QUEUED
    assert double.count("PUT", "/storage/") > 1
    double.files.clear()
    double.faults.add("status", method="PUT", status=403, times=None)
    with pytest.raises(Unavailable, match="a part of the file") as caught:
        create(client, long, hyperparameters={"epochs": 2})
    assert caught.value.submitted == "no"
    assert double.count("POST", "multipart/abort") >= 1


def test_what_is_sent_is_what_was_planned(client, double) -> None:
    given = {"hyperparameters": {"epochs": 2, "batch_size": 16}, "name": "Bot", "seed": 9}
    plan = client.plan(ROWS, provider="together", model=MODEL, **given)
    job = create(client, **given)
    body = json.loads(double.asked("POST", CREATE)[0].body)
    for field in plan.fields:
        if field.sent_as in ("suffix", "lr_scheduler") or "." in (field.sent_as or ""):
            continue
        assert body[field.sent_as] == field.sent, field.name
    assert body["suffix"] == f"bot-{job.snapshot.tag}"


# --- the published schema and the SDK's own types ---


def _schemas() -> Any:
    if not SPECS.is_dir():
        pytest.skip("the published schemas are not beside this checkout")
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((SPECS / "together-fine-tuning.openapi.yaml").read_text())


def _typed() -> dict[tuple[str, str], Any]:
    from together import types as t
    from together.lib.types.fine_tuning import FinetuneResponse as Lib
    from together.types import endpoints as e

    return {
        ("GET", "/v1/files/{}"): t.FileResponse,
        ("POST", "/v1/files/{}/preprocess"): t.FileResponse,
        ("GET", "/v1/files"): t.FileList,
        ("POST", "/v1/fine-tunes"): Lib,
        ("GET", "/v1/fine-tunes"): t.FineTuningListResponse,
        ("GET", "/v1/fine-tunes/{}"): t.FinetuneResponse,
        ("POST", "/v1/fine-tunes/{}/cancel"): t.FineTuningCancelResponse,
        ("DELETE", "/v1/fine-tunes/{}"): t.FineTuningDeleteResponse,
        ("GET", "/v1/fine-tunes/{}/events"): t.FineTuningListEventsResponse,
        ("GET", "/v1/fine-tunes/{}/metrics"): t.FineTuningListMetricsResponse,
        ("GET", "/v1/fine-tunes/{}/checkpoints"): t.FineTuningListCheckpointsResponse,
        ("GET", "/v1/fine-tunes/models/limits"): t.FinetuneModelLimits,
        ("POST", "/v1/fine-tunes/estimate-price"): t.FineTuningEstimatePriceResponse,
        ("POST", "/v2/projects/{}/endpoints"): t.Endpoint,
        ("PATCH", "/v2/projects/{}/endpoints/{}"): t.Endpoint,
        ("POST", "/v2/projects/{}/endpoints/{}/deployments"): t.EndpointDeployment,
        ("GET", "/v2/public/inference-instance-types"): e.HardwareListResponse,
        ("GET", "/v3/whoami"): t.WhoamiResponse,
    }


def _template(path: str, known: set[str]) -> str | None:
    if path in known:
        return path
    parts = path.split("/")
    for one in known:
        pattern = one.split("/")
        if len(pattern) == len(parts) and all(
            p.startswith("{") or p == q for p, q in zip(pattern, parts, strict=True)
        ):
            return one
    return None


def _drive(client, clock, double) -> None:
    """Every call the backend knows, once."""
    job = done(client, clock, validation=0.2, name="drive")
    backend = client.backend("together")
    job.events(), job.metrics(), job.checkpoints()
    list(backend.list())
    model = backend.deploy(job.result())
    clock.advance(5)
    job.result().chat("where is parcel 3?")
    backend.undeploy(model)
    second = create(client, hyperparameters={"epochs": 2})
    second.cancel()
    clock.advance(5)
    assert second.refresh().status is JobStatus.CANCELLED
    backend.delete(str(second.provider_job_id))
    client_ = backend.transport.client()
    client_.files.list()
    assert double.count() > 30


def test_the_double_speaks_the_sdks_types(client, clock, double) -> None:
    from pydantic import TypeAdapter

    types = _typed()
    known = {path for _, path in types}
    seen = set()

    def check(request: Request, reply: Reply) -> None:
        template = _template(request.path, known)
        model = types.get((request.method, template or ""))
        if model is None or reply.status != 200:
            return
        seen.add((request.method, template))
        TypeAdapter(model).validate_python(reply.body)

    def observer(request: Request, reply: Reply) -> None:
        try:
            check(request, reply)
        except ValueError as error:
            raise AssertionError(str(error)) from error

    double.observers.append(observer)
    _drive(client, clock, double)
    assert double.violations == []
    assert seen == set(types)


def _nullable(value: Any) -> Any:
    """Mend two things: `nullable` is the way of 3.0, and the alternatives of a `oneOf` overlap
    (what fits a cosine schedule's arguments also fits a linear one's)."""
    if isinstance(value, dict):
        found = {
            "anyOf" if k == "oneOf" else k: _nullable(v)
            for k, v in value.items()
            if k != "nullable"
        }
        return {"anyOf": [found, {"type": "null"}]} if value.get("nullable") is True else found
    return [_nullable(v) for v in value] if isinstance(value, list) else value


def test_the_double_and_our_requests_fit_the_published_schema(client, clock, double) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    spec = _nullable(_schemas())
    known = set(spec["paths"])
    checked: dict[str, int] = {"request": 0, "reply": 0}

    def valid(schema: Any, value: Any, what: str) -> None:
        whole = {**schema, "components": spec["components"]}
        faults = list(jsonschema.Draft202012Validator(whole).iter_errors(value))
        checked[what] += 1
        assert not faults, f"{what}: {[f.message[:200] for f in faults[:3]]}"

    def observer(request: Request, reply: Reply) -> None:
        template = _template(request.path.removeprefix("/v1"), known)
        operation = spec["paths"].get(template or "", {}).get(request.method.lower())
        if operation is None or not request.path.startswith("/v1"):
            return
        answers = operation["responses"].get(str(reply.status), {}).get("content", {})
        if "application/json" in answers:
            valid(answers["application/json"]["schema"], reply.body, "reply")
        body = operation.get("requestBody", {}) if request.method == "POST" else {}
        asked = body.get("content", {}).get("application/json")
        if asked is not None:
            valid(asked["schema"], request.json(), "request")

    double.observers.append(observer)
    _drive(client, clock, double)
    assert double.violations == []
    assert checked["reply"] > 20
    assert checked["request"] >= 4


# --- refused before anything is spent ---


def test_unknown_models_and_limits_are_refused_before_the_upload(client, double) -> None:
    with pytest.raises(UnknownModel, match="does not tune"):
        create(client, model="nobody/nothing")
    with pytest.raises(Unsupported, match="rank=128"):
        create(client, adapter={"rank": 128})
    with pytest.raises(Unsupported, match="epochs=30"):
        create(client, hyperparameters={"epochs": 30})
    assert double.count("POST") == 0


def test_togethers_own_report_becomes_ours(client, double) -> None:
    rows = [*ROWS, {"messages": [{"role": "user", "content": "<|im_end|>"},
                                 {"role": "assistant", "content": "x"}]}]  # fmt: skip
    with pytest.raises(DatasetError) as caught:
        create(client, rows)
    assert caught.value.submitted == "no"
    (fault,) = caught.value.report.faults
    assert fault.line == 21
    assert "special token" in fault.message
    assert double.count("POST", CREATE) == 0


def test_a_slow_check_is_waited_for_and_not_for_ever(client, double, clock) -> None:
    double.processing_s = 300
    assert create(client).status is JobStatus.QUEUED
    double.processing_s = 1e9
    with pytest.raises(Unavailable, match="for an hour"):
        create(client, rows=ROWS[:15])


def test_keys_of_other_services_join_the_create_call_alone(client, double, monkeypatch) -> None:
    joined = []
    monkeypatch.setattr(
        together_transport, "with_secrets", lambda body, env: joined.append(body) or body
    )
    create(client)
    assert double.count("POST", "estimate-price") == 1
    assert double.count("POST", CREATE) == 1
    assert len(joined) == 1
    assert "training_file" in joined[0]
    assert "suffix" in joined[0]


def test_a_quote_prepares_once_and_submit_uses_what_was_prepared(client, double, backend) -> None:
    request = submitter_for(client.session).request(create(client).snapshot)
    before, jobs = double.count("POST", "estimate-price"), double.count("POST", CREATE)
    assert backend.quote(request).usd == 4  # without `prepare`
    assert backend.quote(request).usd == 4
    backend.submit(request)
    assert double.count("POST", "estimate-price") == before + 1
    assert double.count("POST", CREATE) == jobs + 1
    backend.prepare(request)
    assert double.count("POST", "estimate-price") == before + 2


def test_the_quote_is_held_against_the_limit(client, double) -> None:
    backend = client.backend("together")
    quoted = backend.estimate
    low = Cost(basis="estimated", low=Decimal(1), high=Decimal(1), source="a test")
    backend.estimate = lambda *_: low  # type: ignore[method-assign]
    with pytest.raises(BudgetError, match=r"quotes \$4.00, over the limit of \$3.99"):
        create(client, max_cost="3.99")
    backend.estimate = quoted  # type: ignore[method-assign]
    double.faults.add(
        "status", path="estimate-price", status=200,
        body={"estimation_available": False, "unavailable_reason": "multimodal_dataset"},
    )  # fmt: skip
    with pytest.raises(BudgetError, match="multimodal_dataset"):
        create(client, max_cost="50")
    double.user_limit_usd = 1
    with pytest.raises(Rejected, match=r"limit of \$1"):
        create(client)
    assert double.count("POST", CREATE) == 0


# --- exactly once ---


def test_two_jobs_with_our_mark_are_one_adopted_and_one_told(client, double) -> None:
    double.faults.add("twice", method="POST", path=CREATE)
    double.faults.add("close", method="POST", path=CREATE)
    job = create(client)
    assert len(double.jobs) >= 1
    assert double.count("POST", CREATE) == 1
    assert job.provider_job_id in double.jobs


# --- what jobs do ---


@pytest.mark.parametrize("word", ["error", "user_error"])
def test_a_failure_says_why(client, double, word: str) -> None:
    job = create(client)
    double.fail(str(job.provider_job_id), "the learning rate made it diverge", status=word)
    with pytest.raises(ftsdk.JobFailed, match="made it diverge"):
        job.result()
    assert job.raw_status == word


@pytest.mark.parametrize("named", [True, False])
def test_a_job_that_was_restarted_under_a_new_id_is_followed(
    client, double, clock, home, named: bool
) -> None:
    job = create(client)
    old = str(job.provider_job_id)
    clock.advance(3)
    new = double.restart(old, named=named)
    assert job.refresh().status in (JobStatus.QUEUED, JobStatus.RUNNING)
    assert (job.provider_job_id, job.snapshot.earlier_ids) == (new, (old,))
    assert old in job.snapshot.message
    clock.advance(60)
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as fresh:
        again = fresh.get_job(job.id).refresh()
        assert again.status is JobStatus.SUCCEEDED
        kinds = [event.data["type"] for event in again.events()]
        assert "job_restarted" in kinds
        assert kinds.count("job_complete") == 1
        assert [event.seq for event in again.events()] == list(range(1, len(kinds) + 1))
        assert again.result().raw["ft_id"] == new
        assert len(again.metrics()) > 0
        assert again.checkpoints()[-1].id.startswith(new)
        assert any("restarted" in line for line in again.logs())
        double.requests.clear()
        again.delete()
        assert [one.path for one in double.asked("DELETE")] == [f"/v1/fine-tunes/{new}"]


def test_a_restart_while_watching_tells_every_event_once(client, double, clock) -> None:
    job = create(client)
    old, seen = str(job.provider_job_id), []
    for event in job.stream():
        seen.append(event)
        if len(double.jobs) == 1 and event.data.get("type") == "job_pending":
            double.restart(old)
    assert job.status is JobStatus.SUCCEEDED
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert len({event.id for event in seen}) == len(seen)
    types = [event.data["type"] for event in seen]
    assert types.count("job_restarted") == 1
    assert types[-1] == "job_complete"


def test_a_restarted_job_is_cancelled_where_it_lives_and_known_by_all_its_ids(
    client, double, clock
) -> None:
    job = create(client)
    first = str(job.provider_job_id)
    second = double.restart(first)
    job.refresh()
    third = double.restart(second)
    assert job.cancel().status is JobStatus.CANCELLING
    assert [one.path for one in double.asked("POST", "/cancel$")] == [
        f"/v1/fine-tunes/{third}/cancel"
    ]
    assert job.snapshot.earlier_ids == (first, second)
    for identity in (first, second, third):
        assert client.adopt_job("together", identity).id == job.id
    clock.advance(60)
    assert job.refresh().status is JobStatus.CANCELLED
    assert job.provider_job_id == third
    assert len(client.list_jobs()) == 1


def test_a_lost_job_that_was_restarted_is_one_job(client, double) -> None:
    double.faults.add("close", method="POST", path=CREATE, acted=True)
    double.faults.add("status", method="GET", path=r"/v1/fine-tunes$", status=503, times=60)
    with pytest.raises(Unavailable) as caught:
        create(client)
    (old,) = double.jobs
    new = double.restart(old)
    double.faults.clear()
    (job,) = client.reconcile(str(caught.value.job_id))
    assert job.provider_job_id == new
    assert "left unchanged" not in job.snapshot.message


def test_the_bill_is_read_in_the_unit_that_fits(client, double, clock) -> None:
    job = done(client, clock)
    assert (job.cost.basis, job.cost.usd) == ("billed", 4)
    assert "thousandths of a dollar" in job.cost.assumptions[0]


@pytest.mark.parametrize("price", [None, 0, -1, "4000", 17, 3.5e300, True])
def test_a_price_that_fits_no_unit_leaves_the_quote(client, double, clock, price) -> None:
    job = create(client)
    double.faults.add("set", method="GET", field="total_price", value=price, times=None)
    clock.advance(60)
    assert job.refresh().status is JobStatus.SUCCEEDED
    assert (job.cost.basis, job.cost.usd) == ("quoted", 4)


def test_training_goes_on_from_a_checkpoint(client, double, clock) -> None:
    first = done(client, clock, hyperparameters={"epochs": 2})
    start = first.checkpoints()[0].id
    job = create(client, provider_options={"from_checkpoint": start})
    body = json.loads(double.asked("POST", CREATE)[-1].body)
    assert body["from_checkpoint"] == start
    assert "model" not in body
    clock.advance(60)
    assert job.refresh().status is JobStatus.SUCCEEDED


def test_many_jobs_with_a_restarted_one_among_them(client, double) -> None:
    jobs = [create(client, hyperparameters={"epochs": n}) for n in range(1, 4)]
    new = double.restart(str(jobs[1].provider_job_id))
    now = poll_once(client.session, [job.snapshot for job in jobs])
    assert [one.id for one in now] == [job.id for job in jobs]
    assert now[1].provider_job_id == new
    before = double.count()
    poll_once(client.session, now)
    assert double.count() - before == 1


def test_cancel_is_cancelling_until_it_is_cancelled(client, double, clock) -> None:
    job = create(client)
    clock.advance(3)
    assert job.cancel().status is JobStatus.CANCELLING
    clock.advance(5)
    assert job.refresh().status is JobStatus.CANCELLED
    job.cancel()
    assert double.count("POST", "/cancel$") == 1


def test_many_jobs_are_asked_for_with_one_list_call(client, double, backend) -> None:
    ids = [str(create(client, hyperparameters={"epochs": n}).provider_job_id) for n in range(1, 6)]
    double.requests.clear()
    assert [job.provider_job_id for job in backend.get_many(ids)] == ids
    assert double.count() == 1


def test_a_model_that_missed_the_registry_is_downloaded_not_deployed(
    client, double, clock, backend, tmp_path
) -> None:
    job = create(client)
    double.jobs[str(job.provider_job_id)].unregistered = True
    clock.advance(60)
    model = job.result()
    assert model.id.startswith("lab/")
    with pytest.raises(Unsupported, match="registry"):
        backend.deploy(model)
    assert model.download(tmp_path / "w").is_dir()


def test_several_configs_need_a_choice(client, double, clock, backend) -> None:
    double.configs = 2
    model = done(client, clock).result()
    with pytest.raises(UsageError, match=r"cr_1 .*\$5\.49/h.*cr_2"):
        backend.deploy(model)
    assert double.endpoints == {}
    assert backend.deploy(model, config="cr_2").running_cost.hosting_usd_per_hour == Decimal("8.99")
    with pytest.raises(UsageError, match="timeout"):
        backend.deploy(model, inactive_timeout=0)


def test_the_price_of_a_deployment_goes_by_its_config_and_its_replicas(
    client, double, clock, backend
) -> None:
    double.configs = 2
    job = done(client, clock)
    with pytest.raises(UsageError, match=r"cr_1 .*\$5\.49/h.*cr_2"):
        price_of(client.session, job.id)
    assert price_of(client.session, job.id, {"config": "cr_1"}) == Decimal("5.49")
    both = {"config": "cr_2", "max_replicas": 3}
    assert price_of(client.session, job.id, both) == Decimal("26.97")
    for wrong in (0, "many", True):
        with pytest.raises(UsageError, match="min_replicas"):
            price_of(client.session, job.id, {"config": "cr_1", "max_replicas": wrong})
    assert double.endpoints == {}
    _, lease = deploy(client.session, job.id, options=both)
    assert lease.usd_per_hour == Decimal("26.97")


def test_adopting_and_odd_ids(client, double, backend) -> None:
    job = create(client)
    other = ftsdk.Client(home=client.home.parent / "other", env=double.variables())
    with other:
        adopted = other.adopt_job("together", str(job.provider_job_id))
        assert adopted.model == MODEL
        assert adopted.snapshot.tag == job.snapshot.tag
    before = double.count()
    for odd in ("../files", "a/b", "", "x" * 300, "a?b", "é"):
        with pytest.raises(NotFound):
            backend.get(odd)
    assert double.count() == before
    with pytest.raises(NotFound):
        backend.get("ft-unknown")


# --- weights ---


def weights(client, clock, tmp_path) -> Path:
    return done(client, clock).result().download(tmp_path / "weights")


def test_a_download_that_breaks_is_taken_up_again(client, double, clock, tmp_path) -> None:
    double.faults.add("cut", path="finetune/download")
    double.faults.add("close", path="finetune/download")
    assert (weights(client, clock, tmp_path) / "adapter_model.safetensors").is_file()
    asked = double.asked("GET", "finetune/download")
    assert len(asked) == 3
    assert asked[-1].headers["range"].startswith("bytes=")


def test_a_download_that_was_given_up_goes_on_at_the_next_call(
    client, double, clock, tmp_path
) -> None:
    double.faults.add("cut", path="finetune/download")
    double.faults.add("close", path="finetune/download", times=4)
    with pytest.raises(Unavailable, match="interrupted 5 times") as caught:
        weights(client, clock, tmp_path)
    assert "goes on there" in str(caught.value.hint)
    before = len(double.asked("GET", "finetune/download"))
    assert (weights(client, clock, tmp_path) / "adapter_model.safetensors").is_file()
    (asked,) = double.asked("GET", "finetune/download")[before:]
    assert asked.headers["range"] != "bytes=0-"
    assert asked.headers["range"].startswith("bytes=")


def test_together_merges_an_adapter_when_asked(client, double, clock, tmp_path) -> None:
    model = done(client, clock).result()
    assert (model.download(tmp_path / "adapter") / "adapter_config.json").is_file()
    merged = model.download(tmp_path / "merged", merged=True)
    assert (merged / "model.safetensors").is_file()
    assert not (merged / "adapter_config.json").exists()


def test_a_download_from_storage_goes_without_the_key(client, double, clock, tmp_path) -> None:
    double.download_redirects = True
    assert weights(client, clock, tmp_path).is_dir()
    assert double.count("GET", "/storage/get/") == 1


@pytest.mark.parametrize("behaviour", ["html", "empty"])
def test_what_is_no_archive_leaves_no_folder(
    client, double, clock, tmp_path, behaviour: Any
) -> None:
    double.faults.add(behaviour, path="finetune/download", times=None)
    with pytest.raises(UnexpectedResponse):
        weights(client, clock, tmp_path)
    assert not (tmp_path / "weights").exists()
    left = [path.suffix for path in (client.home / "downloads").iterdir()]
    assert left == [".lock"]
