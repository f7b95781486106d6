"""Reads are safe: only GET requests are sent, and every raw status is understood."""

from __future__ import annotations

import contextlib
import json
import pickle

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.errors import FtsdkError, NotFound
from ftsdk.jobs.follow import poll_once
from ftsdk.jobs.submit import submitter_for
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.faults.providers import PROVIDERS, ROWS, START, each_provider

UNKNOWN_STATUSES = ("compacting", "ON_HOLD", "succeeded!", "paused_v2", "已完成")
INVALID_STATUSES = (None, "", 7, True, {}, [], {"state": "running"})
SECONDS = {"waiting": 0.0, "running": 3.0, "done": 60.0}
STATES = (*SECONDS, "failed", "cancelled", "in doubt", "gone")


def in_state(provider, client, double, state):
    """Return a job in this state at the provider."""
    if state == "in doubt":
        provider.inject(double, "close", acted=False)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client)
        return client.get_job(str(caught.value.job_id))
    job = provider.send(client)
    identity = str(job.provider_job_id)
    if state == "failed":
        raw = next(raw for raw, status in provider.statuses.items() if status == "failed")
        provider.set_status(double, identity, raw)
    elif state == "cancelled":
        double.clock.advance(3)
        job.cancel()
    elif state == "gone":
        del provider.jobs(double)[identity]
    double.clock.advance(SECONDS.get(state, 60.0))
    return job


def reads_of(provider, client, job):
    """Yield a function for every read of the Python API."""
    backend = client.backend(provider.name)
    identity = job.provider_job_id or provider.unknown_id
    yield from (
        job.refresh, job.events, job.metrics, job.checkpoints, job.logs, job.result,
        lambda: list(job.stream(timeout=30)), lambda: job.wait(timeout=30),
        lambda: client.get_job(job.id).refresh(), client.list_jobs, client.reconcile,
        lambda: poll_once(client.session, [job.snapshot] * 3),
        lambda: client.adopt_job(provider.name, identity),
        lambda: client.adopt_job(provider.name, provider.unknown_id),
        lambda: client.plan(ROWS, provider=provider.name, model=provider.model,
                            provider_options=provider.options),
        lambda: client.estimate(ROWS, provider=provider.name, model=provider.model),
        lambda: client.validate(ROWS, provider=provider.name, model=provider.model),
        lambda: backend.get(identity), lambda: list(backend.list()),
        lambda: list(backend.get_many([identity] * 3)), lambda: backend.model(identity),
        lambda: backend.find(submitter_for(client.session).request(job.snapshot)),
    )  # fmt: skip


@each_provider()
@pytest.mark.parametrize("state", STATES)
def test_every_read_sends_only_gets(provider, state, home):
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job = in_state(provider, client, double, state)
        double.requests.clear()
        for read in reads_of(provider, client, job):
            with contextlib.suppress(FtsdkError):
                read()
        asked = list(double.requests)
        client.close()
    assert len(asked) > 5
    assert [(one.method, one.path) for one in asked if one.method != "GET"] == []


COMMANDS = (
    "list", "show {job}", "events {job}", "logs {job}", "metrics {job}", "checkpoints {job}",
    "watch {job} --timeout 30", "wait {job} --timeout 30", "reconcile", "reconcile {job}", "costs",
    "deployments", "retirements", "doctor", "backends", "models", "plan {rows}", "estimate {rows}",
    "estimate {rows} --compare", "validate {rows}", "inspect {rows}", "adopt {provider} {id}",
    "journal check", "journal export",
)  # fmt: skip


@each_provider()
@pytest.mark.parametrize("state", ["running", "done", "failed", "in doubt"])
def test_every_command_that_reads_sends_only_gets(provider, state, home, tmp_path, monkeypatch):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    codes = []
    with provider.double(ManualClock(START)) as double:
        with provider.client(double, home) as client:
            job = in_state(provider, client, double, state)
        for name, value in double.variables().items():
            monkeypatch.setenv(name, value)
        options = "".join(f"{name} = {value!r}\n" for name, value in provider.options.items())
        (tmp_path / "ftsdk.toml").write_text(
            f"provider = {provider.name!r}\nmodel = {provider.model!r}\n"
            f"[provider_options]\n{options}"
        )
        monkeypatch.setattr("ftsdk.session.SystemClock", lambda: double.clock)
        monkeypatch.chdir(tmp_path)
        double.requests.clear()
        for text in COMMANDS:
            words = text.format(
                job=job.id, rows=rows, provider=provider.name,
                id=job.provider_job_id or provider.unknown_id,
            ).split()  # fmt: skip
            ran = CliRunner().invoke(app, words)
            assert ran.exception is None or isinstance(ran.exception, SystemExit), text
            assert "No such" not in ran.output, ran.output
            codes.append(ran.exit_code)
        asked = list(double.requests)
    assert [(one.method, one.path) for one in asked if one.method != "GET"] == []
    assert len(asked) > 3
    assert codes.count(0) > len(codes) / 2, codes


@each_provider()
def test_a_read_that_posts_is_found(provider, home, monkeypatch):
    """Planted bug: reading events also cancels the job."""
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job = provider.send(client)
        backend = client.backend(provider.name)
        events = backend.events

        def also_posts(identity, **options):
            backend.cancel(identity)
            return events(identity, **options)

        monkeypatch.setattr(backend, "events", also_posts)
        double.requests.clear()
        job.events()
        assert {one.method for one in double.requests} == {"GET", "POST"}
        client.close()


# --- statuses ---


def status_cases():
    for provider in PROVIDERS:
        skip = pytest.mark.skipif(
            not provider.is_installed(), reason=f"{provider.needs} is missing"
        )
        for raw, status in provider.statuses.items():
            yield pytest.param(provider, raw, status, id=f"{provider}-{raw}", marks=skip)
        for number, raw in enumerate(UNKNOWN_STATUSES):
            yield pytest.param(
                provider, raw, "unknown", id=f"{provider}-unknown-{number}", marks=skip
            )


@pytest.mark.parametrize(("provider", "raw", "status"), list(status_cases()))
def test_every_raw_status_is_mapped(provider, raw, status, home):
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job, backend = provider.send(client), client.backend(provider.name)
        provider.run_forever(double)
        jobs = [job, *(provider.send(client, seed=seed) for seed in (1, 2))]
        identity = str(job.provider_job_id)
        double.clock.advance(60)
        provider.set_status(double, identity, raw)
        (listed,) = [one for one in backend.list() if one.provider_job_id == identity]
        many = backend.get_many([str(one.provider_job_id) for one in jobs])
        (found,) = [one for one in many if one.provider_job_id == identity]
        for job_read in (backend.get(identity), listed, found):
            assert job_read.provider_job_id == identity
            assert job_read.raw_status == raw
            # A list may not show the result; then the job is not reported as ended.
            assert job_read.status == status or (
                job_read is listed and job_read.status == "finalizing"
            )
        polled = poll_once(client.session, [one.snapshot for one in jobs])
        assert polled[0].status == status
        assert {one.status for one in polled[1:]} == {JobStatus.RUNNING}
        assert job.refresh().status == status
        assert job.raw_status == raw
        assert job.is_final is (status in ("succeeded", "failed", "cancelled"))
        assert pickle.loads(pickle.dumps(job.snapshot)) == job.snapshot
        assert json.loads(job.snapshot.model_dump_json())["raw_status"] == raw
        for read in (job.events, job.metrics, job.checkpoints, job.logs, job.result):
            with contextlib.suppress(FtsdkError):
                read()
        assert client.get_job(job.id).status == status
        if not job.is_final:
            provider.set_status(double, identity, None)
            assert job.refresh().status is JobStatus.SUCCEEDED
        client.close()


@each_provider()
@pytest.mark.parametrize("value", INVALID_STATUSES, ids=repr)
def test_an_invalid_status_is_unknown_and_raises_nothing(provider, value, home):
    with provider.double(ManualClock(START)) as double:
        provider.run_forever(double)
        client = provider.client(double, home)
        job = provider.send(client)
        double.clock.advance(3)
        double.faults.add("set", method="GET", field="status", value=value, times=None)
        assert job.refresh().status is JobStatus.UNKNOWN
        assert not job.is_final
        for read in (job.events, job.metrics, job.checkpoints, job.logs, job.result):
            with contextlib.suppress(FtsdkError):
                read()
        double.faults.clear()
        assert job.refresh().status is JobStatus.RUNNING
        client.close()


@each_provider()
def test_a_job_that_is_gone_raises_not_found(provider, home):
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job = in_state(provider, client, double, "gone")
        before = job.status
        with pytest.raises(NotFound):
            job.refresh()
        assert client.get_job(job.id).status == before
        client.close()
