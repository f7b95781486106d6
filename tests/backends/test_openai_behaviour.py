"""Behaviour of OpenAI and compatible services that a job must survive."""

from __future__ import annotations

import base64
import datetime as dt
import inspect
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest

import ftsdk
from ftsdk.backends.base import Context
from ftsdk.backends.hosted import BoundKey
from ftsdk.backends.openai import AzureBackend, OpenAIBackend, job_mapping, metrics
from ftsdk.backends.openai.profiles import AZURE, CRUSOE, GENERIC, NEBIUS, OPENAI, profile_for
from ftsdk.backends.openai.request import create_body
from ftsdk.backends.upload_progress import on_upload
from ftsdk.dataset import Dataset
from ftsdk.errors import (
    AuthError,
    ConfigError,
    NotFound,
    NotReady,
    ProviderClosed,
    Rejected,
    UnexpectedResponse,
    Unsupported,
)
from ftsdk.spending.ledger import ledger
from ftsdk.testing.conformance.world import chat_rows, pair_rows
from ftsdk.testing.lab.openai import models
from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.types.cost import CostBasis
from ftsdk.types.spec import JobSpec, LoRA
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock

pytest.importorskip("openai")

START = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
MODEL = "gpt-4.1-mini-2025-04-14"
ACTION = "GET /fine_tuning/jobs/ID"


@pytest.fixture
def clock():
    return ManualClock(START)


@pytest.fixture
def double(clock):
    with OpenAIDouble(clock=clock) as made:
        yield made


@pytest.fixture
def client(double, clock, tmp_path):
    made = ftsdk.Client(home=tmp_path, clock=clock, env=double.variables())
    yield made
    made.close()


def backend(double, home, cls=OpenAIBackend, **options):
    env = {
        **double.variables(),
        "AZURE_OPENAI_ENDPOINT": double.base_url,
        "AZURE_OPENAI_API_KEY": "lab-openai-key",
    }
    return cls(Context(home=home, clock=double.clock, env=env, options=options))


def create(client, **changes):
    given = {"provider": "openai", "model": MODEL, **changes}
    return client.create_job(given.pop("dataset", chat_rows()), **given)


RAW = {
    "id": "ftjob-abc", "object": "fine_tuning.job", "model": MODEL, "status": "running",
    "created_at": 1_790_000_000, "error": None, "fine_tuned_model": None, "result_files": [],
}  # fmt: skip


def mapped(**changes):
    return job_mapping.remote_job({**RAW, **changes}, OPENAI, action=ACTION)


# --- tolerant reading ---


@pytest.mark.parametrize(
    "error", [None, {}, {"code": None, "message": None, "param": None}, [], ""]
)
def test_an_empty_error_is_none(error):
    assert mapped(error=error).error is None


def test_a_job_without_half_its_fields_is_still_read():
    job = job_mapping.remote_job({"id": "ftjob-abc", "status": "queued"}, OPENAI, action=ACTION)
    assert (job.status, job.model, job.trained_tokens) == (JobStatus.QUEUED, None, None)


@pytest.mark.parametrize("value", [True, "12", float("nan"), float("inf"), -1, 10**30, None, {}])
def test_an_invalid_number_is_none(value):
    assert mapped(created_at=value).created_at is None
    assert mapped(trained_tokens=value).trained_tokens in (None, 10**30)


def test_succeeded_without_a_model_is_not_the_end():
    assert mapped(status="succeeded").status is JobStatus.FINALIZING
    assert mapped(status="succeeded", fine_tuned_model=" ").status is JobStatus.FINALIZING
    assert mapped(status="succeeded", fine_tuned_model="ft:x").status is JobStatus.SUCCEEDED


@pytest.mark.parametrize("identity", [None, "", 7, "ftjob-a/b", "ftjob-\n", "x" * 500, "<html>"])
def test_an_id_of_another_shape_is_unexpected(identity):
    with pytest.raises(UnexpectedResponse):
        mapped(id=identity)


@pytest.mark.parametrize("status", [None, 7, [], {}, "", "Compacting"])
def test_no_status_raises(status):
    assert mapped(status=status).status is JobStatus.UNKNOWN


# --- events and metrics ---

CSV = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.5,0.3,2.6,0.2\n2,2.0,0.4,,\n"
NEW = (
    b"step,train_loss,train_mean_token_accuracy,valid_loss,validation_mean_token_accuracy,"
    b"full_valid_loss,full_valid_mean_token_accuracy\n1,2.5,0.3,2.6,0.2,2.7,0.25\n"
)


@pytest.mark.parametrize(
    "content", [CSV, base64.b64encode(CSV), base64.encodebytes(CSV), b"\xef\xbb\xbf" + CSV]
)
def test_a_result_file_plain_or_in_base64(content):
    first, second = metrics.points_from_csv(content)
    assert (first.step, first.train_loss, first.train_accuracy) == (1, 2.5, 0.3)
    assert (first.validation_loss, first.validation_accuracy) == (2.6, 0.2)
    assert second.validation_loss is None


def test_new_column_names():
    (point,) = metrics.points_from_csv(NEW)
    assert (point.train_accuracy, point.validation_loss, point.validation_accuracy) == (
        0.3,
        2.7,
        0.25,
    )


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"step\nx\n", b"no,header\n1,2\n", b"step,train_loss\n1,nan\n"]
)
def test_a_broken_result_file_gives_no_points(content):
    assert metrics.points_from_csv(content) == []


def test_steps_in_event_messages():
    raw = {
        "id": "e",
        "created_at": 5,
        "message": "Step 20/90: training loss=1.25, validation loss=1.5",
        "type": "message",
    }
    event = metrics.event(raw, 1)
    assert event.kind == "metric"
    (point,) = metrics.points_from_events([event])
    assert (point.step, point.train_loss, point.validation_loss) == (20, 1.25, 1.5)


def test_sources_of_the_curve_fill_each_others_gaps():
    by_event = metrics.points_from_checkpoints(
        [{"step_number": 1, "metrics": {"step": 1, "valid_loss": 9.0}}]
    )
    (point,) = metrics.merged(by_event, metrics.points_from_csv(b"step,train_loss\n1,2.5\n"))
    assert (point.train_loss, point.validation_loss) == (2.5, 9.0)


@pytest.mark.parametrize("encoded", [True, False])
def test_the_curve_of_a_real_job(client, double, clock, encoded):
    double.results_encoded = encoded
    job = create(client, validation=0.2)
    clock.advance(60)
    points = job.refresh().metrics()
    assert len(points) == double.jobs[job.provider_job_id].steps
    assert all(one.train_loss and one.validation_loss for one in points)


def test_events_are_read_back_to_the_known_ones(client, double, clock):
    job = create(client)
    clock.advance(4)
    some = job.events()
    before = double.count("GET", "/events$")
    clock.advance(60)
    everything = job.events()
    assert everything[: len(some)] == some
    assert double.count("GET", "/events$") - before <= 2


# --- files ---


def test_the_same_rows_are_uploaded_once(client, double, tmp_path):
    for seed in (1, 2, 3):
        create(client, seed=seed)
    assert double.count("POST", "/files$") == 1
    elsewhere = ftsdk.Client(home=tmp_path / "other", clock=double.clock, env=double.variables())
    create(elsewhere)
    assert double.count("POST", "/files$") == 1
    elsewhere.close()


def test_a_deleted_file_is_uploaded_again(client, double, clock):
    create(client)
    double.files.clear()
    clock.advance(3600)
    create(client, seed=2)
    assert double.count("POST", "/files$") == 2


def test_another_account_gets_its_own_copy(client, double, clock, tmp_path):
    create(client)
    double.keys.add("lab-other-key")
    double.files.clear()
    other = ftsdk.Client(
        home=client.home, clock=clock, env={**double.variables(), "OPENAI_API_KEY": "lab-other-key"}
    )
    create(other, seed=2)
    assert double.count("POST", "/files$") == 2
    other.close()


def test_a_large_file_is_uploaded_in_parts_with_progress(double, tmp_path, monkeypatch):
    made = backend(double, tmp_path)
    played = replace(profile_for(OPENAI, double.base_url), one_call_bytes=1000)
    made.service = made.transport.profile = played
    made.files.part_bytes = 1000
    seen = []
    rows = Dataset.load(chat_rows(60))
    with on_upload(lambda sent, size: seen.append((sent, size))):
        file_id = made.files.ready(rows)
    assert double.count("POST", "/uploads$") == 1
    assert double.count("POST", "/parts$") > 5
    assert double.files[file_id]["content"].count(b"\n") == 60
    assert seen[-1][0] == seen[-1][1] == len(double.files[file_id]["content"])
    assert [sent for sent, _ in seen] == sorted(sent for sent, _ in seen)
    made.close()


def test_a_lost_upload_is_found_by_its_name(client, double):
    double.faults.add("close", method="POST", path="/files$", acted=True)
    job = create(client)
    assert job.provider_job_id in double.jobs
    assert len(double.files) == 1


def test_a_failing_upload_leaves_no_doubt(client, double):
    double.faults.add("status", method="POST", path="/files$", status=413)
    with pytest.raises(Rejected) as caught:
        create(client)
    assert caught.value.submitted == "no"
    assert client.get_job(caught.value.job_id).status is JobStatus.FAILED
    assert double.count("POST", "/jobs$") == 0


def test_processing_is_waited_for(client, double, clock):
    double.processing_s = 40
    create(client)
    assert clock.now() >= START + dt.timedelta(seconds=40)


def test_rows_are_sent_unchanged(client, double):
    rows = chat_rows(12)
    job = create(client, dataset=rows)
    sent = double.files[double.jobs[job.provider_job_id].request["training_file"]]["content"]
    assert [json.loads(line) for line in sent.splitlines()] == rows


def test_preference_rows(client, double, clock):
    job = create(client, dataset=pair_rows(), method="dpo", hyperparameters={"beta": 0.2})
    assert double.jobs[job.provider_job_id].request["method"]["dpo"]["hyperparameters"] == {
        "beta": 0.2
    }
    clock.advance(60)
    assert job.refresh().status is JobStatus.SUCCEEDED


# --- Azure ---


def test_azures_quirks(tmp_path, clock):
    with OpenAIDouble(clock=clock, service="azure") as double:
        made = ftsdk.Client(
            home=tmp_path,
            clock=clock,
            env={"AZURE_OPENAI_ENDPOINT": double.origin, "AZURE_OPENAI_API_KEY": "lab-openai-key"},
        )
        job = made.create_job(chat_rows(), provider="azure", model=MODEL, name="bot v1.5")
        sent = double.jobs[job.provider_job_id].request
        assert sent["trainingType"] == "GlobalStandard"
        assert sent["suffix"] == f"bot-v1-5-{job.snapshot.tag}"
        assert double.files[sent["training_file"]]["content"].startswith(b"\xef\xbb\xbf{")
        clock.advance(60)
        job.refresh()
        assert job.status is JobStatus.SUCCEEDED
        assert job.snapshot.trained_tokens > 100  # reported only by an event
        handle = job.result()
        assert (handle.kind, handle.callable_now) == ("needs_deployment", False)
        with pytest.raises(NotReady) as caught:
            handle.chat("hello")
        assert f"--model-name {handle.id} --model-version 1" in caught.value.hint
        with pytest.raises(NotFound):
            handle.chat("hello", deployment="support-bot")
        double.deployments["support-bot"] = handle.id
        answer = handle.chat("What does ticket number 3 ask for?", deployment="support-bot")
        assert answer.text == "Ticket 3 asks for a refund."
        assert double.asked("POST", "/chat")[-1].json()["model"] == "support-bot"
        assert "deployment" not in double.asked("POST", "/chat")[-1].json()
        assert [one for one in job.metrics() if one.train_loss]
        made.close()


# --- closed accounts ---


def test_a_closed_account_is_reported_as_closed(client, double):
    double.closed = True
    with pytest.raises(ProviderClosed) as caught:
        create(client)
    assert (caught.value.submitted, caught.value.retryable) == ("no", False)
    assert caught.value.exit_code == 4


def test_a_closed_provider_stays_readable(client, double, clock):
    job = create(client)
    double.closed = True
    clock.advance(60)
    assert job.refresh().result().chat("What does ticket number 3 ask for?").text


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_right_is_not_a_closed_account(client, double, status):
    body = {
        "error": {
            "message": "You have insufficient permissions: api.fine_tuning.write",
            "type": "x",
        }
    }
    double.faults.add("status", method="POST", path="/jobs$", status=status, body=body)
    with pytest.raises(AuthError):
        create(client)


def test_dates_refuse_before_anything_is_sent(tmp_path, clock):
    with OpenAIDouble(clock=clock) as double:
        made = backend(double, tmp_path, profile="openai")
        spec = JobSpec.build(provider="openai", model=MODEL)
        made.check(spec)
        clock.advance((dt.datetime(2027, 1, 7, tzinfo=dt.UTC) - START).total_seconds())
        with pytest.raises(ProviderClosed) as caught:
            made.plan(spec)
        assert "2027-01-06" in str(caught.value)
        assert len(double.requests) == 0


def test_a_model_that_has_ended_is_refused_by_name(tmp_path, clock):
    with OpenAIDouble(clock=clock) as double:
        made = backend(double, tmp_path, profile="openai")
        with pytest.raises(ProviderClosed) as caught:
            made.plan(JobSpec.build(provider="openai", model="gpt-4.1-nano-2025-04-14"))
        assert "gpt-4.1-nano" in str(caught.value)


# --- what is refused ---


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hyperparameters": {"learning_rate": 1e-4}}, "learning_rate_multiplier"),
        ({"hyperparameters": {"epochs": 2.5}}, "epochs"),
        ({"hyperparameters": {"epochs": 51}}, "epochs"),
        ({"hyperparameters": {"beta": 0.1}}, "beta"),
        ({"adapter": LoRA(rank=64)}, "rank"),
        ({"adapter": LoRA(dropout=0.1)}, "dropout"),
        ({"provider_options": {"training_file": "file-x"}}, "training_file"),
        ({"provider_options": {"method": {}}}, "method"),
        ({"provider_options": {"metadata": {"ftsdk_submission": "x"}}}, "ftsdk_submission"),
        ({"provider_options": {"hyperparameters": {"n_epochs": 3}}}, "n_epochs"),
        ({"provider_options": {"integrations": [{"wandb": {"api_key": "abcdef123"}}]}}, "api_key"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(client, double, changes, named):
    with pytest.raises(Unsupported) as caught:
        create(client, **changes)
    assert named in str(caught.value)
    assert "2 things" not in caught.value.what
    assert len(double.requests) == 0


def test_options_are_sent_unchanged(client, double):
    options = {
        "integrations": [{"type": "wandb", "wandb": {"project": "p", "tags": ["a"]}}],
        "metadata": {"team": "cx"},
    }
    job = create(client, provider_options=options)
    sent = double.jobs[job.provider_job_id].request
    assert sent["integrations"] == options["integrations"]
    assert sent["metadata"] == {"team": "cx", "ftsdk_submission": job.snapshot.tag}


def test_a_provider_that_does_not_know_a_field_says_so(client):
    with pytest.raises(Rejected) as caught:
        create(client, provider_options={"turbo": True})
    assert "turbo" in str(caught.value)


# --- cost ---


def test_an_estimate_before_and_the_bill_after(client, clock):
    plan = client.plan(chat_rows(), provider="openai", model=MODEL, hyperparameters={"epochs": 3})
    assert plan.cost.basis is CostBasis.ESTIMATED
    job = create(client, hyperparameters={"epochs": 3})
    clock.advance(60)
    cost = job.refresh().cost
    assert cost.basis is CostBasis.BILLED
    assert cost.low == cost.high == Decimal(job.snapshot.trained_tokens) * 5 / 1_000_000


def test_a_cancelled_job_costs_the_tokens_that_are_reported(client, double, clock):
    job = create(client)
    clock.advance(5)
    facts = {"method": "GET", "path": "/fine_tuning/jobs/", "times": None}
    double.faults.add("set", field="trained_tokens", value=2_000, **facts)
    assert job.cancel().status is JobStatus.CANCELLED
    assert job.cost.basis is CostBasis.BILLED
    assert job.cost.low == job.cost.high == Decimal("0.01")


# --- keys and addresses ---


def test_profiles_by_host():
    assert profile_for(OPENAI, "https://api.openai.com/v1").name == "openai"
    for region in ("us", "eu", "ae", "au", "in", "jp"):
        assert profile_for(OPENAI, f"https://{region}.api.openai.com/v1") is OPENAI
    assert profile_for(OPENAI, "https://xx.api.openai.com/v1") is GENERIC
    assert profile_for(OPENAI, "https://us.api.openai.com.evil.example/v1") is GENERIC
    assert profile_for(OPENAI, "https://x.openai.azure.com/openai/v1") is AZURE
    assert profile_for(OPENAI, "https://api.tokenfactory.nebius.com/v1") is NEBIUS
    assert profile_for(OPENAI, "https://api.intelligence.crusoecloud.com/v1") is CRUSOE
    assert profile_for(OPENAI, "https://gateway.example.com/v1") is GENERIC
    assert profile_for(OPENAI, "https://api.openai.com.evil.example/v1") is GENERIC
    assert profile_for(OPENAI, "http://127.0.0.1:1/v1") is OPENAI


def test_every_region_that_the_sdk_has_is_openai():
    residency = pytest.importorskip("openai._data_residency")
    urls = re.findall(r"https://[a-z]{2}\.api\.openai\.com/v1", inspect.getsource(residency))
    assert urls
    for url in urls:
        assert profile_for(OPENAI, url) is OPENAI, url


def test_a_regional_host_gets_the_key_and_has_prices_and_end_dates(tmp_path):
    """Also when a file sets the address."""
    backend = OpenAIBackend(
        Context(
            home=tmp_path,
            env={"OPENAI_API_KEY": "sk-regional-000000", "OPENAI_ORG_ID": "org-1"},
            base_url="https://eu.api.openai.com/v1",
        )
    )
    assert backend.dated_as == "openai"
    assert backend.capabilities.price == "catalogue"
    assert backend.transport.profile.takes_parts
    assert backend.transport.key().reveal("https://eu.api.openai.com/v1") == "sk-regional-000000"
    assert backend.transport.companions() == {"OPENAI_ORG_ID": "org-1"}


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1", "ftp://x/v1", "https://user:hunter2@host/v1", "https://host/v1?key=1",
        "https://host/v1#x", "nonsense", "https://", "https://host:99999999/v1",
    ],
)  # fmt: skip
def test_a_base_url_that_must_not_carry_a_key(url, tmp_path):
    with pytest.raises(ConfigError) as caught:
        OpenAIBackend(Context(home=tmp_path, env={"OPENAI_BASE_URL": url}))
    assert "hunter2" not in str(caught.value)


def test_a_key_is_sent_to_its_origin_only():
    key = BoundKey("sk-secret-value", "https://api.openai.com:443")
    assert key.reveal("https://API.openai.com/v1/files") == "sk-secret-value"
    for url in (
        "https://api.openai.com.evil.example/",
        "http://api.openai.com/",
        "https://api.openai.com:444/",
    ):
        with pytest.raises(ConfigError):
            key.reveal(url)
    assert "secret-value" not in repr(key)


def test_a_new_key_is_used_at_once(double, tmp_path, clock):
    env = dict(double.variables())
    made = OpenAIBackend(Context(home=tmp_path, clock=clock, env=env))
    list(made.list())
    env["OPENAI_API_KEY"] = "sk-wrong-key-000"
    with pytest.raises(AuthError) as caught:
        list(made.list())
    assert "sk-wrong" not in str(caught.value)
    made.close()


def test_a_missing_key_lists_where_it_was_looked_for(double, tmp_path):
    made = OpenAIBackend(Context(home=tmp_path, env={"OPENAI_BASE_URL": double.base_url}))
    with pytest.raises(ConfigError) as caught:
        made.get("ftjob-abc")
    assert "OPENAI_API_KEY" in str(caught.value)
    assert len(double.requests) == 0


# --- other services ---


def body(profile, **changes):
    spec = JobSpec.build(provider=profile.name, model="m", **changes)
    return create_body(profile, spec, "ft0123456789ab", "file-t", "file-v")


def test_nebius_takes_an_absolute_rate_and_the_adapter():
    sent = body(NEBIUS, hyperparameters={"learning_rate": 2e-4, "epochs": 2}, adapter=LoRA(rank=8))
    assert sent["hyperparameters"] == {
        "n_epochs": 2, "learning_rate_multiplier": 2e-4,
        "lora": True, "lora_r": 8, "lora_alpha": 16.0, "lora_dropout": 0.0,
    }  # fmt: skip
    assert "method" not in sent
    assert sent["suffix"] == "ft0123456789ab"
    assert body(NEBIUS, adapter=None)["hyperparameters"]["lora"] is False


@pytest.mark.parametrize("name", ["nebius", "crusoe"])
def test_a_job_of_a_compatible_service_from_rows_to_result(tmp_path, clock, name):
    """Top-level hyperparameters, no metadata, a list without a filter, no pause."""
    with OpenAIDouble(clock=clock, service=name) as service:
        made = ftsdk.Client(home=tmp_path, clock=clock, env=service.variables())
        service.faults.add("close", method="POST", path="/jobs$", acted=True)
        job = made.create_job(
            chat_rows(), provider=name, model="Qwen/Qwen3-8B", name="bot",
            hyperparameters={"epochs": 2, "batch_size": 4}, validation=0.2,
        )  # fmt: skip
        sent = service.jobs[job.provider_job_id].request
        assert {"n_epochs": 2, "batch_size": 4}.items() <= sent["hyperparameters"].items()
        assert sent["suffix"] == f"bot-{job.snapshot.tag}"
        assert service.count("POST", "/jobs$") == 1
        with pytest.raises(Unsupported, match="pause"):
            job.pause()
        clock.advance(4)
        assert job.refresh().status is JobStatus.RUNNING
        kinds = [one.kind for one in job.stream()]
        assert {"status", "metric"} <= set(kinds)
        assert job.status is JobStatus.SUCCEEDED
        losses = [one.train_loss for one in job.metrics()]
        assert losses[0] > losses[-1]
        assert len(job.checkpoints()) == 2  # one an epoch
        handle = job.result()
        if name == "nebius":
            assert (handle.kind, handle.callable_now) == ("hosted", True)
            assert handle.chat("What does ticket number 3 ask for?").text
            early = job.checkpoints()[0]
            assert early.model().id == early.model_id != handle.id
            assert early.model().chat("What does ticket number 3 ask for?").text
        else:
            assert (handle.kind, handle.callable_now) == ("adapter", False)
            assert handle.id == job.checkpoints()[-1].id
            with pytest.raises(Unsupported, match="checkpoint"):
                job.checkpoints()[0].model()
            with pytest.raises(NotReady, match="adapter"):
                handle.chat("hello")
        other = made.create_job(chat_rows(), provider=name, model="Qwen/Qwen3-8B", seed=1)
        assert other.cancel().status is JobStatus.CANCELLED
        with pytest.raises(Unsupported, match="delete"):
            job.delete()
        made.close()


def test_crusoe_and_an_unknown_service():
    assert body(CRUSOE, name="bot")["suffix"] == "bot-ft0123456789ab"
    sent = body(GENERIC, hyperparameters={"epochs": 2})
    assert sent["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 2}},
    }
    assert sent["metadata"] == {"ftsdk_submission": "ft0123456789ab"}


def test_a_service_behind_any_base_url(double, tmp_path, clock):
    """An address that is no known service's gets the cautious profile, and works."""
    double.any_model = True
    made = backend(double, tmp_path, profile="generic")
    assert made.capabilities is GENERIC.capabilities
    client = ftsdk.Client(
        home=tmp_path, clock=clock, env=double.variables(),
        config=ftsdk.config.Config(data={"options": {"profile": "generic"}}, env={}),
    )  # fmt: skip
    job = client.create_job(chat_rows(), provider="openai", model="my-own-model", adapter=None)
    clock.advance(60)
    assert job.refresh().result().chat("What does ticket number 2 ask for?").text
    client.close()


# --- the account ---


def test_many_jobs_are_read_by_pages(client, double, clock):
    made = client.backend("openai")
    ids = [create(client, seed=number).provider_job_id for number in range(7)]
    before = len(double.requests)
    assert sorted(one.provider_job_id for one in made.get_many(ids)) == sorted(ids)
    assert len(double.requests) - before == 1


def test_cancel_of_a_job_that_just_ended_is_no_error(client, clock):
    job = create(client)
    clock.advance(60)
    client.backend("openai").cancel(job.provider_job_id)
    assert job.refresh().status is JobStatus.SUCCEEDED


def test_a_new_model_may_need_some_minutes(client, double, clock):
    double.warmup_s = 9
    job = create(client)
    clock.advance(6.5)
    handle = job.refresh().result()
    assert handle.chat("What does ticket number 5 ask for?").text == "Ticket 5 asks for a refund."


def test_a_deleted_model_is_reported(client, double, clock):
    job = create(client)
    clock.advance(60)
    job.refresh()
    client.backend("openai").delete(job.provider_job_id)
    handle = job.result()
    assert not handle.callable_now
    with pytest.raises(NotReady):
        handle.chat("hello")


def test_a_quota_causes_a_wait_and_no_second_job(client, double, clock):
    double.jobs_at_once = 1
    create(client)
    began = clock.monotonic()
    second = create(client, seed=1)
    assert clock.monotonic() - began >= 60  # as the provider asks
    assert list(double.jobs)[1:] == [second.provider_job_id]


def test_moderation_is_a_failure_with_its_message(client, clock):
    rows = chat_rows()
    rows[3]["messages"][1]["content"] = "[[unsafe]]"
    job = create(client, dataset=rows)
    clock.advance(60)
    job.refresh()
    assert job.status is JobStatus.FAILED
    assert "moderation" in job.snapshot.message


def test_azure_has_its_own_backend_name(double, tmp_path):
    assert backend(double, tmp_path, AzureBackend).name == "azure"


# --- streams ---


def test_a_stream_is_sent_once_and_counts_what_it_used(client, double, monkeypatch):
    model = create(client).wait().result()
    stream = model.chat("hello there", stream=True)
    assert len(list(stream)) > 1, "words come one by one"
    [sent] = [one.json() for one in double.asked("POST", "/chat/completions")]
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}
    [chats] = [line for line in ledger(client.session) if line.kind == "chat"]
    assert chats.counted


def test_a_stream_that_is_cut_is_no_answer(client, double, monkeypatch):
    model = create(client).wait().result()
    whole = models._as_stream

    def cut(body, completion):
        reply = whole(body, completion)
        return replace(reply, body=reply.body[: reply.body.index('"finish_reason": "stop"') - 200])

    monkeypatch.setattr(models, "_as_stream", cut)
    stream = model.chat("hello there", stream=True)
    with pytest.raises(UnexpectedResponse, match="ended before the answer did"):
        list(stream)
