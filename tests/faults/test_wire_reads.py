"""Reading spends nothing and throws nothing: only GETs leave, and every status has its meaning."""

from __future__ import annotations

import contextlib
import json
import pickle

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.errors import FtsdkError, NotFound
from ftsdk.jobs.follow import poll_once
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import ManualClock
from tests.faults.providers import PROVIDERS, ROWS, START, each_provider

INVENTED = ("compacting", "ON_HOLD", "succeeded!", "paused_v2", "已完成")
NO_WORDS = (None, "", 7, True, {}, [], {"state": "running"})
SECONDS = {"waiting": 0.0, "running": 3.0, "done": 60.0}
STATES = (*SECONDS, "failed", "cancelled", "in doubt", "gone")


def in_state(provider, client, double, state):
    """A job, and the double, as the state says."""
    if state == "in doubt":
        provider.spoil(double, "close", acted=False)
        with pytest.raises(FtsdkError) as caught:
            provider.send(client)
        return client.get_job(str(caught.value.job_id))
    job = provider.send(client)
    identity = str(job.provider_job_id)
    if state == "failed":
        word = next(w for w, ours in provider.statuses.items() if ours == "failed")
        provider.show(double, identity, word)
    elif state == "cancelled":
        double.clock.advance(3)
        job.cancel()
    elif state == "gone":
        del provider.jobs(double)[identity]
    double.clock.advance(SECONDS.get(state, 60.0))
    return job


def questions(provider, client, job):
    """Every question that can be asked in Python."""
    backend = client.backend(provider.name)
    identity = job.provider_job_id or provider.unknown_id
    yield from (
        job.refresh, job.events, job.metrics, job.checkpoints, job.logs, job.result,
        lambda: list(job.stream(timeout=30)), lambda: job.wait(timeout=30),
        lambda: client.get_job(job.id).refresh(), client.list_jobs, client.reconcile,
        lambda: poll_once(client, [job.snapshot] * 3),
        lambda: client.adopt_job(provider.name, identity),
        lambda: client.adopt_job(provider.name, provider.unknown_id),
        lambda: client.plan(ROWS, provider=provider.name, model=provider.model,
                            provider_options=provider.options),
        lambda: client.estimate(ROWS, provider=provider.name, model=provider.model),
        lambda: client.validate(ROWS, provider=provider.name, model=provider.model),
        lambda: backend.get(identity), lambda: list(backend.list()),
        lambda: list(backend.get_many([identity] * 3)), lambda: backend.model(identity),
        lambda: backend.find(client._submitter().request(job.snapshot)),
    )  # fmt: skip


@each_provider()
@pytest.mark.parametrize("state", STATES)
def test_every_question_sends_only_gets(provider, state, home):
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job = in_state(provider, client, double, state)
        double.requests.clear()
        for ask in questions(provider, client, job):
            with contextlib.suppress(FtsdkError):
                ask()
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
        monkeypatch.setattr("ftsdk.client.SystemClock", lambda: double.clock)
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
def test_the_check_sees_a_read_that_posts(provider, home, monkeypatch):
    """Planted: asking for a job also asks for its cancellation."""
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job = provider.send(client)
        backend = client.backend(provider.name)
        events = backend.events

        def also_posts(identity, **asked):
            backend.cancel(identity)
            return events(identity, **asked)

        monkeypatch.setattr(backend, "events", also_posts)
        double.requests.clear()
        job.events()
        assert {one.method for one in double.requests} == {"GET", "POST"}
        client.close()


# --- statuses ---


def words():
    for provider in PROVIDERS:
        here = pytest.mark.skipif(not provider.is_here(), reason=f"{provider.needs} is missing")
        for word, ours in provider.statuses.items():
            yield pytest.param(provider, word, ours, id=f"{provider}-{word}", marks=here)
        for number, word in enumerate(INVENTED):
            yield pytest.param(
                provider, word, "unknown", id=f"{provider}-invented-{number}", marks=here
            )


@pytest.mark.parametrize(("provider", "word", "ours"), list(words()))
def test_every_status_has_its_meaning(provider, word, ours, home):
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job, backend = provider.send(client), client.backend(provider.name)
        provider.never_ends(double)
        jobs = [job, *(provider.send(client, seed=seed) for seed in (1, 2))]
        identity = str(job.provider_job_id)
        double.clock.advance(60)
        provider.show(double, identity, word)
        (listed,) = [one for one in backend.list() if one.provider_job_id == identity]
        many = backend.get_many([str(one.provider_job_id) for one in jobs])
        (found,) = [one for one in many if one.provider_job_id == identity]
        for told in (backend.get(identity), listed, found):
            assert told.provider_job_id == identity
            assert told.raw_status == word
            # A list may leave out what was made; then the job is not called ended by it.
            assert told.status == ours or (told is listed and told.status == "finalizing")
        polled = poll_once(client, [one.snapshot for one in jobs])
        assert polled[0].status == ours
        assert {one.status for one in polled[1:]} == {JobStatus.RUNNING}
        assert job.refresh().status == ours
        assert job.raw_status == word
        assert job.is_final is (ours in ("succeeded", "failed", "cancelled"))
        assert pickle.loads(pickle.dumps(job.snapshot)) == job.snapshot
        assert json.loads(job.snapshot.model_dump_json())["raw_status"] == word
        for ask in (job.events, job.metrics, job.checkpoints, job.logs, job.result):
            with contextlib.suppress(FtsdkError):
                ask()
        assert client.get_job(job.id).status == ours
        if not job.is_final:
            provider.show(double, identity, None)
            assert job.refresh().status is JobStatus.SUCCEEDED
        client.close()


@each_provider()
@pytest.mark.parametrize("word", NO_WORDS, ids=repr)
def test_what_is_no_status_is_unknown_and_throws_nothing(provider, word, home):
    with provider.double(ManualClock(START)) as double:
        provider.never_ends(double)
        client = provider.client(double, home)
        job = provider.send(client)
        double.clock.advance(3)
        double.faults.add("set", method="GET", field="status", value=word, times=None)
        assert job.refresh().status is JobStatus.UNKNOWN
        assert not job.is_final
        for ask in (job.events, job.metrics, job.checkpoints, job.logs, job.result):
            with contextlib.suppress(FtsdkError):
                ask()
        double.faults.clear()
        assert job.refresh().status is JobStatus.RUNNING
        client.close()


@each_provider()
def test_a_job_that_is_gone_is_an_error_and_no_status(provider, home):
    with provider.double(ManualClock(START)) as double:
        client = provider.client(double, home)
        job = in_state(provider, client, double, "gone")
        before = job.status
        with pytest.raises(NotFound):
            job.refresh()
        assert client.get_job(job.id).status == before
        client.close()
