from __future__ import annotations

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import ConfigError, StoreError
from tests.unit.cli.conftest import DONE, FAILS, LONG


def test_watch_prints_plain_lines_without_a_terminal(cli, running):
    lines = cli.ok("watch", running).out.strip().split("\n")
    assert "running" in lines[0]
    assert "49 %  step 2/6  loss 1.204" in lines[0]
    assert "succeeded" in lines[-2]
    assert lines[-1].startswith("next")
    assert "\x1b" not in "".join(lines)
    assert len(lines) < 20  # every ten seconds, not at every look


def test_watch_without_a_name_follows_jobs_that_have_not_ended(cli, data, running, done):
    ran = cli.ok("watch")
    assert running in ran.out
    assert done not in ran.out
    assert "succeeded" in cli.ok("watch").out  # none is left: the newest, which has ended


def test_watching_several_jobs_exits_with_the_worst_code(cli, data):
    ids = [
        cli.ok("create", data, "--yes", "-d", "--json", "--seed", i, "--set", t).json["id"]
        for i, t in enumerate((DONE, FAILS))
    ]
    ran = cli("watch", *ids)
    assert ran.code == 5
    assert all(job in ran.out for job in ids)
    assert "it was scripted to fail" in ran.err
    ran = cli("wait", *ids, "--json")
    assert ran.code == 5
    assert [job["status"] for job in ran.json["jobs"]] == ["succeeded", "failed"]
    assert ran.json["error"]["job_id"] == ids[1]


@pytest.mark.parametrize("command", ["watch", "wait"])
def test_as_json_it_is_the_job_at_its_end(cli, data, command):
    job = cli.ok("create", data, "--yes", "-d", "--json", "--set", DONE).json["id"]
    document = cli.ok(command, job, "--json").json
    assert (document["id"], document["status"]) == (job, "succeeded")
    both = cli.ok(command, job, job[:20], "--json").json
    assert both["id"] == job  # the same job named twice is one job


def test_wait_is_silent(cli, running):
    ran = cli.ok("wait", running)
    assert (ran.out, ran.err) == ("", "")


@pytest.mark.parametrize("command", ["watch", "wait"])
def test_a_failed_or_cancelled_job_is_5(cli, data, command):
    failing = cli.ok("create", data, "--yes", "-d", "--json", "--set", FAILS).json["id"]
    ran = cli(command, failing)
    assert ran.code == 5
    assert "The job failed: it was scripted to fail" in ran.err
    cancelled = cli.ok("create", data, "--yes", "-d", "--json", "--set", LONG).json["id"]
    cli.ok("cancel", cancelled)
    assert cli(command, cancelled).code == 5
    assert cli.error(5, command, cancelled)["code"] == "job_cancelled"


def test_a_timeout_leaves_and_says_that_the_job_goes_on(cli, running):
    error = cli.error(5, "wait", running, "--timeout", "3")
    assert error["code"] == "wait_timeout"
    assert error["retryable"] is True
    assert cli.ok("show", running, "--json").json["status"] == "running"


def test_a_paused_job_needs_a_decision(cli, data):
    words = ("create", data, "--yes", "-d", "--json", "--set")
    job = cli.ok(*words, 'timeline=[["paused", 0]]').json["id"]
    error = cli.error(7, "watch", job)
    assert error["code"] == "needs_decision"
    assert "ftsdk resume" in error["hint"]


def test_ctrl_c_leaves_the_job_running(cli, running, monkeypatch, clock):
    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "sleep", sleep)
    ran = cli("watch", running)
    assert ran.code == 130
    assert f"ftsdk watch {running} · ftsdk cancel {running}" in ran.err
    assert cli.ok("list", "--json").json["jobs"][0]["status"] == "running"
    ran = cli("watch", running, "--json")
    assert ran.code == 130
    assert ran.json["error"]["what"] == "Interrupted"


def test_a_provider_that_is_unreachable_for_a_while(cli, running, monkeypatch):
    from ftsdk.backends.fake import FakeBackend
    from ftsdk.errors import Unavailable

    asked = []
    original = FakeBackend.get

    def get(self, provider_job_id):
        asked.append(1)
        if len(asked) in (2, 3):
            raise Unavailable("fake is out of reach")
        return original(self, provider_job_id)

    monkeypatch.setattr(FakeBackend, "get", get)
    ran = cli.ok("watch", running)
    assert "not reachable now: fake is out of reach" in ran.out
    assert "succeeded" in ran.out


def test_a_provider_that_is_unreachable_for_minutes_is_4(cli, running, monkeypatch):
    from ftsdk.errors import Unavailable

    def get(self, provider_job_id):
        raise Unavailable("fake is out of reach")

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.get", get)
    error = cli.error(4, "wait", running)
    assert (error["code"], error["job_id"]) == ("unavailable", running)


@pytest.mark.parametrize("command", ["watch", "wait"])
def test_local_trouble_does_not_end_watching(cli, running, monkeypatch, command):
    polls, real = [], FakeBackend.get

    def get(self, identity):
        polls.append(identity)
        if 2 <= len(polls) <= 400:
            raise StoreError("The journal cannot be used: database or disk is full")
        return real(self, identity)

    monkeypatch.setattr(FakeBackend, "get", get)
    ran = cli.ok(command, running)
    if command == "watch":
        assert "cannot be read on this machine now: The journal cannot be used" in ran.out
    assert cli.ok("show", running, "--json").json["status"] == "succeeded"


def test_local_trouble_at_the_first_look_is_an_error(cli, running, monkeypatch):
    def get(self, identity):
        raise ConfigError("Your price file cannot be used")

    monkeypatch.setattr(FakeBackend, "get", get)
    assert cli.error(2, "watch", running)["what"] == "Your price file cannot be used"


@pytest.fixture
def missing(monkeypatch):
    """Return a set: `fake` does not know the provider's ids in it."""
    from ftsdk.backends.fake import FakeBackend
    from ftsdk.errors import NotFound

    ids, get = set(), FakeBackend.get

    def read(self, provider_job_id):
        if provider_job_id in ids:
            raise NotFound("fake has no such job")
        return get(self, provider_job_id)

    monkeypatch.setattr(FakeBackend, "get", read)
    return ids


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_job_that_is_gone_does_not_end_the_watching_of_another(cli, data, clock, missing, order):
    made = [
        cli.ok("create", data, "--yes", "--json", "--detach", "--seed", n, "--set", LONG).json
        for n in range(2)
    ]
    missing.add(made[0]["provider_job_id"])
    began = clock.monotonic()
    ran = cli("watch", *(made[n]["id"] for n in order))
    assert ran.code == 4
    assert "fake has no such job" in ran.err
    assert f"ftsdk resolve {made[0]['id']} --give-up" in ran.err
    assert f"{made[1]['id']}  succeeded" in ran.out
    assert clock.monotonic() - began > 100
    document = cli("wait", *(made[n]["id"] for n in order), "--json").json
    assert document["error"]["code"] == "not_found"
    assert {job["id"]: job["status"] for job in document["jobs"]}[made[1]["id"]] == "succeeded"


def test_a_job_that_is_missing_once_is_watched_on(cli, running, missing, monkeypatch, clock):
    known = cli.ok("show", running, "--json").json["provider_job_id"]
    missing.add(known)
    sleep, slept = clock.sleep, []

    def back_after_two(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            missing.clear()
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", back_after_two)
    ran = cli.ok("watch", running)
    assert "fake has no such job" in ran.out
    assert "succeeded" in ran.out
