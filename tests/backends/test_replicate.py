"""Replicate over real sockets, faults included; the official SDK reads the same double."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

import ftsdk
from ftsdk.errors import (
    BudgetError,
    NotFound,
    NotReady,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    UnknownModel,
    Unsupported,
)
from ftsdk.session import Horizon
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("httpx", reason="needs the extra `replicate`")

from ftsdk.backends.replicate import ReplicateBackend
from ftsdk.testing.lab.replicate.double import TRAINER, VERSION, ReplicateDouble
from tests.backends.hosted_worlds import HOSTED, ROWS

CREATE = r"/trainings$"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def double(clock):
    with ReplicateDouble(clock=clock) as one:
        yield one
        assert one.violations == []


@pytest.fixture
def client(double, clock, home):
    horizon = Horizon(while_creating_s=5)
    with ftsdk.Client(home=home, env=double.variables(), clock=clock, horizon=horizon) as one:
        yield one


@pytest.fixture
def backend(client) -> ReplicateBackend:
    return client.backend("replicate")


def create(client, rows: Any = None, **given: Any) -> ftsdk.FineTuneJob:
    hosted = HOSTED["replicate"]
    options = {**hosted.job["provider_options"], **given.pop("options", {})}
    rows = ROWS if rows is None else rows
    return hosted.new(client, rows=rows, **{"provider_options": options, **given})


def done(client, clock, **given: Any) -> ftsdk.FineTuneJob:
    job = create(client, **given)
    clock.advance(60)
    return job.refresh()


# --- the whole way ---


def test_from_rows_to_an_answer(client, double, tmp_path) -> None:
    job = create(
        client,
        validation=0.2,
        hyperparameters={"epochs": 3, "batch_size": 4, "learning_rate": 2e-4},
        seed=3,
    )
    body = json.loads(double.asked("POST", CREATE)[0].body)
    assert body["destination"] == "lab/tuned"
    assert body["input"]["num_train_epochs"] == 3
    assert body["input"]["train_data"].endswith(f"#ftsdk={job.snapshot.tag}")
    assert body["input"]["validation_data"]
    seen = [event.kind for event in job.stream()]
    assert seen.count("metric") == 12
    assert job.status is JobStatus.SUCCEEDED
    assert str(job.cost.usd) == "0.003900"
    assert job.snapshot.started_at is not None
    assert "4 s reported by Replicate" in job.cost.source
    points = job.metrics()
    assert len(points) == 12
    assert points[0].train_loss > points[-1].train_loss
    assert job.logs(tail=1)[0].startswith("{'loss'")
    model = job.result()
    assert model.callable_now
    assert model.id.startswith("lab/tuned:")
    assert model.chat("where is parcel 5?").text.startswith("[shipping/")
    asked = json.loads(double.asked("POST", "predictions$")[0].body)["input"]
    assert asked == {"prompt": "where is parcel 5?", "max_new_tokens": 256, "temperature": 0.01}
    folder = model.download(tmp_path / "weights")
    assert (folder / "adapter_model.safetensors").is_file()
    assert double.count("POST", CREATE) == 1


def test_the_sdk_sees_the_same_training(client, double, clock, tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own, of pydantic's old face
        replicate = pytest.importorskip("replicate", reason="needs the extra `replicate`")
        job = create(client)
        sdk = replicate.Client(api_token=min(double.keys), base_url=double.base_url)
        seen = sdk.trainings.get(job.provider_job_id)
        assert (seen.status, seen.model) == ("starting", TRAINER)
        assert [one.id for one in sdk.trainings.list().results] == [job.provider_job_id]
        assert sdk.models.get(TRAINER).latest_version.id == VERSION
        assert sdk.hardware.list()[0].sku == "cpu"
        (tmp_path / "d.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
        file = sdk.files.create(tmp_path / "d.jsonl")
        made = sdk.trainings.create(
            model=TRAINER, version=VERSION, destination="lab/tuned",
            input={"train_data": file.urls["get"]},
        )  # fmt: skip
        clock.advance(60)
        made.reload()
        assert made.status == "succeeded"
        prediction = sdk.predictions.create(
            version=made.output["version"].rpartition(":")[2], input={"prompt": "a"}
        )
        clock.advance(1)
        prediction.reload()
        assert "".join(prediction.output) == "b"
        assert sdk.webhooks.default.secret().key.startswith("whsec_")
        sdk._client.close()


# --- refused before anything is spent ---


@pytest.mark.parametrize(
    ("given", "error", "named"),
    [
        ({"model": "nobody/nothing"}, UnknownModel, "nobody/nothing"),
        ({"model": "lab/tuned"}, UnknownModel, "no version"),
        ({"hyperparameters": {"epochs": 99}}, Unsupported, "at most 50"),
        ({"options": {"input": {"bogus": 1}}}, Unsupported, "bogus"),
        ({"options": {"destination": "lab/absent"}}, Unsupported, "lab/absent"),
        (
            {"options": {"trainer": {"data": "train_data"}}, "validation": 0.2},
            Unsupported,
            "validation",
        ),
    ],
)
def test_nothing_is_uploaded_for_what_cannot_be(
    client, double, given: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named) as caught:
        create(client, **given)
    assert caught.value.submitted == "no"
    assert double.count("POST") == 0


def test_a_destination_is_made_only_when_asked(client, double) -> None:
    create(client, options={"destination": "lab/new", "create_destination": True})
    made = json.loads(double.asked("POST", "/v1/models$")[0].body)
    assert made == {
        "owner": "lab", "name": "new", "visibility": "private", "hardware": "gpu-l40s",
    }  # fmt: skip


def test_rows_that_have_no_such_form_are_named(client, double) -> None:
    long = {"messages": [*ROWS[0]["messages"], *ROWS[1]["messages"]]}
    with pytest.raises(ftsdk.DatasetError, match="Row 21"):
        create(client, [*ROWS, long])
    assert double.count("POST") == 0
    assert list((client.home / "uploads").iterdir()) == []


def test_a_large_file_wants_an_address_of_its_own(client, double, monkeypatch) -> None:
    monkeypatch.setattr("ftsdk.backends.replicate.files.MAX_FILE_BYTES", 100)
    with pytest.raises(Unsupported, match="data_url"):
        create(client)
    job = create(client, options={"data_url": "https://data.example/rows.jsonl?v=1"})
    body = json.loads(double.asked("POST", CREATE)[0].body)
    assert body["input"]["train_data"] == (
        f"https://data.example/rows.jsonl?v=1#ftsdk={job.snapshot.tag}"
    )
    assert double.count("POST", "/v1/files$") == 0


def test_a_limit_without_a_known_time_fails_closed(client, double) -> None:
    with pytest.raises(BudgetError):
        create(client, max_cost="5")
    with pytest.raises(BudgetError):
        create(client, max_cost="0.10", options={"seconds": [60, 600]})
    assert create(client, max_cost="5", options={"seconds": [60, 600]}).cost.usd is not None


def test_no_credit_is_no_training(client, double) -> None:
    double.credit = False
    with pytest.raises(Rejected, match="credit"):
        create(client)
    assert client.list_jobs()[0].status is JobStatus.FAILED


# --- exactly once ---


def test_the_mark_is_found_on_a_later_page_and_the_scan_ends(client, double, clock) -> None:
    for number in range(4):
        create(client, hyperparameters={"epochs": number + 1})
    clock.advance(3 * 86400)
    double.page_size = 2
    double.faults.add("close", method="POST", path=CREATE, acted=True)
    job = create(client, hyperparameters={"epochs": 9})
    assert job.provider_job_id in double.trainings
    assert double.count("GET", "/v1/trainings$") == 1


def test_a_foreign_next_page_gets_no_key_and_a_loop_ends(client, double, backend) -> None:
    create(client)
    create(client, hyperparameters={"epochs": 2})
    with ReplicateDouble() as other:
        url = f"{other.origin}/v1/trainings?cursor=0"
        double.faults.add("set", path="/v1/trainings$", field="next", value=url, times=None)
        assert len(list(backend.list())) == 2
        assert other.count() == 0


# --- what trainings do ---


def test_a_failure_says_why_with_its_last_lines(client, double, clock) -> None:
    rows = [*ROWS[:5], {"messages": [{"role": "user", "content": "x"},
                                     {"role": "assistant", "content": "explode"}]}]  # fmt: skip
    job = done(client, clock, rows=rows)
    with pytest.raises(ftsdk.JobFailed, match="line 6: the trainer does not like it") as caught:
        job.result()
    assert any("Traceback" in line for line in caught.value.log_tail)


@pytest.mark.parametrize(("after", "word"), [(0.5, "aborted"), (3, "canceled")])
def test_cancelled_before_and_after_the_start(client, double, clock, after, word) -> None:
    job = create(client)
    clock.advance(after)
    assert job.cancel().status is JobStatus.CANCELLED
    assert job.raw_status == word
    job.cancel()
    assert double.count("POST", "/cancel$") == 1
    with pytest.raises(ftsdk.JobCancelled):
        job.result()


def test_many_trainings_are_asked_for_by_pages(client, double, backend) -> None:
    ids = [str(create(client, hyperparameters={"epochs": n}).provider_job_id) for n in range(1, 6)]
    double.requests.clear()
    assert [job.provider_job_id for job in backend.get_many(ids)] == ids
    assert double.count() == 1


def test_weights_without_a_version_are_no_callable_model(client, double, clock, tmp_path) -> None:
    job = done(client, clock)
    training = double.trainings[str(job.provider_job_id)]
    weights = f"{double.origin}/delivery/{training.id}/weights.zip"
    double.faults.add("set", path="/v1/trainings/", field="output", value=weights, times=2)
    model = job.result()
    assert not model.callable_now
    with pytest.raises(NotReady, match="no version"):
        model.chat("x")
    assert model.download(tmp_path / "w").is_dir()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "http://169.254.169.254/x", "https://127.0.0.1.nip.invalid/x",
        "https://10.0.0.8/w.zip", "https://user:pw@x.example/w", "https://[::ffff:10.0.0.1]/w",
        "ftp://x.example/w", "https://2130706433/w.zip",
    ],
)  # fmt: skip
def test_a_trainers_address_of_weights_does_not_lead_inside(
    client, double, clock, tmp_path, url: str
) -> None:
    """A double on this machine is allowed; nothing else of this machine or its network is."""
    job = done(client, clock)
    double.faults.add(
        "set", path="/v1/trainings/", field="output",
        value={"version": "lab/tuned:abcdef012345", "weights": url}, times=None,
    )  # fmt: skip
    model = job.result()
    with pytest.raises((UnexpectedResponse, Unavailable)):
        model.download(tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_odd_ids_and_adopted_trainings(client, double, backend, home, clock) -> None:
    before = double.count()
    for odd in ("../files", "a/b", "", "x" * 300, "a?b", "é"):
        with pytest.raises(NotFound):
            backend.get(odd)
    assert double.count() == before
    job = create(client)
    with ftsdk.Client(home=home.parent / "other", env=double.variables(), clock=clock) as other:
        adopted = other.adopt_job("replicate", str(job.provider_job_id))
        clock.advance(60)
        assert adopted.refresh().status is JobStatus.SUCCEEDED
        assert adopted.cost.usd is None
        assert "hardware" in adopted.cost.source
