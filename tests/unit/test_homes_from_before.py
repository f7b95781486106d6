"""The journal and the run directories that ftsdk 0.1.0 wrote before its modules moved still open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.testing.lab import Lab
from tests.home_before import FACTS, IDS, THEN, chat_rows, replay_requests, restore_home
from tests.unit.cli.conftest import Cli

STATUS = {
    "succeeded at fake": ("fake", "succeeded"),
    "failed at fake": ("fake", "failed"),
    "refused at fake": ("fake", "failed"),
    "never sent to fake": ("fake", "created"),
    "in doubt, arrived": ("fake", "in_doubt"),
    "in doubt, never arrived": ("fake", "in_doubt"),
    "running at fake": ("fake", "running"),
    "killed while sending": ("fake", "submitting"),
    "deployed once": ("together", "succeeded"),
    "deployed": ("together", "succeeded"),
    "refused at together": ("together", "failed"),
    "succeeded here": ("local", "succeeded"),
    "trainer killed": ("local", "failed"),
    "failed unseen": ("local", "queued"),  # it was never refreshed after it failed
    "interrupted": ("local", "paused"),
}
"""Provider and stored status of each job, oldest first."""


@pytest.fixture
def before(home: Path) -> Path:
    """The old home."""
    return restore_home(home.parent / "before")


@pytest.fixture
def client(before: Path, clock: Any) -> Iterator[ftsdk.Client]:
    """A client of the old home, at the time of the old version's last command."""
    clock.advance((THEN - clock.now()).total_seconds())
    with ftsdk.Client(home=before, env={}, clock=clock) as made:
        yield made


def at_fake(home: Path) -> int:
    return len(list((home / "fake").glob("fake-*.json")))


# --- the journal ------------------------------------------------------------------------------------


def test_every_job_is_listed_as_it_was(client: ftsdk.Client) -> None:
    jobs = client.list_jobs()
    found = {str(job.name): (job.provider, str(job.status)) for job in reversed(jobs)}
    assert list(found.items()) == list(STATUS.items())
    assert {job.name: job.id for job in jobs} == {name: IDS[name] for name in STATUS}
    assert [job.name for job in client.list_jobs(tag="team=cx")] == [
        "deployed once",
        "succeeded at fake",
    ]
    cost = client.get_job(IDS["deployed"]).cost
    assert (cost.basis, str(cost.high)) == ("billed", "4.000")


def test_a_job_that_succeeded_gives_its_model(client: ftsdk.Client) -> None:
    job = client.get_job(IDS["succeeded at fake"])
    assert len(job.metrics()) == 20
    assert [one.step for one in job.checkpoints()] == [10, 20]
    model = job.result()
    assert model.id == f"fake:{job.provider_job_id}"
    assert model.chat("succeeded at fake 3?").text == "succeeded at fake 21."


def test_a_key_from_before_is_the_same_job(client: ftsdk.Client, before: Path) -> None:
    count = at_fake(before)
    job = client.create_job(
        chat_rows(6, "succeeded at fake"),
        provider="fake",
        model="smollm2-135m",
        name="succeeded at fake",
        key="nightly-7",
        tags={"team": "cx"},
        validation=chat_rows(2, "check"),
    )
    assert job.id == IDS["succeeded at fake"]
    with pytest.raises(ftsdk.UsageError) as caught:
        client.create_job(
            chat_rows(7, "other"), provider="fake", model="smollm2-135m", key="nightly-7"
        )
    assert caught.value.job_id == job.id
    assert at_fake(before) == count


def test_a_running_job_is_followed_to_its_end(client: ftsdk.Client, clock: Any) -> None:
    job = client.get_job(IDS["running at fake"])
    assert job.refresh().status == "running"
    clock.advance(86_400)
    assert job.wait().status == "succeeded"
    assert job.result().callable_now


# --- failures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["refused at together", "trainer killed"])
def test_a_stored_failure_keeps_its_hint(client: ftsdk.Client, name: str) -> None:
    old = FACTS["failures"][name]
    with pytest.raises(ftsdk.JobFailed) as caught:
        client.get_job(IDS[name]).result()
    error = caught.value
    assert (error.what, error.where, error.hint) == (old["what"], old["where"], old["hint"])
    assert (error.job_id, error.code) == (IDS[name], "job_failed")
    assert list(error.log_tail[-3:]) == old["log_tail"]
    assert error.hint in str(error)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("failed at fake", "The job failed: the loss went up"),
        (
            "refused at fake",
            "The job failed: fake refuses the job, as asked",
        ),  # the stored hint is empty
    ],
)
def test_a_failure_without_a_hint_names_the_log(client: ftsdk.Client, name: str, why: str) -> None:
    with pytest.raises(ftsdk.JobFailed) as caught:
        client.get_job(IDS[name]).result()
    assert caught.value.what == why
    assert f"ftsdk logs {IDS[name]}" in caught.value.hint


def test_an_outcome_that_was_never_read_keeps_its_hint(client: ftsdk.Client) -> None:
    job = client.get_job(IDS["failed unseen"])
    assert job.refresh().status == "failed"
    for one in (job, client.get_job(job.id)):  # from the run directory, then from the journal
        with pytest.raises(ftsdk.JobFailed) as caught:
            one.result()
        assert "The validation loss became nan at step 0" in caught.value.what
        assert caught.value.hint.startswith("lower learning_rate (a tenth is a good try)")
        assert any("Failed: The validation loss" in line for line in caught.value.log_tail)


# --- jobs in doubt ----------------------------------------------------------------------------------


def test_jobs_in_doubt_are_found_and_none_is_sent_twice(
    client: ftsdk.Client, before: Path, clock: Any
) -> None:
    count = at_fake(before)
    clock.advance(3600)  # the job that arrived is visible by now
    looked_for = {str(job.name): job for job in client.reconcile()}
    assert set(looked_for) == {
        "in doubt, arrived",
        "in doubt, never arrived",
        "killed while sending",
    }
    for name in ("in doubt, arrived", "killed while sending"):
        job = looked_for[name]
        assert job.provider_job_id is not None
        assert job.wait().status == "succeeded"
    assert looked_for["in doubt, never arrived"].status == "in_doubt"
    assert at_fake(before) == count


def test_a_job_that_never_arrived_needs_a_decision(client: ftsdk.Client) -> None:
    job = client.get_job(IDS["in doubt, never arrived"])
    assert job.needs_decision
    with pytest.raises(ftsdk.NeedsDecision) as caught:
        job.refresh()
    assert caught.value.submitted == "maybe"
    assert f"ftsdk resolve {job.id}" in caught.value.hint
    assert client.resolve(job.id, give_up=True).status == "failed"


def test_such_a_job_may_be_sent_again(client: ftsdk.Client, before: Path, clock: Any) -> None:
    count = at_fake(before)
    with pytest.raises(ftsdk.Unavailable):  # its options lose this request too
        client.resolve(IDS["in doubt, never arrived"], send_again=True)
    assert client.get_job(IDS["in doubt, never arrived"]).status == "in_doubt"
    assert at_fake(before) == count


def test_creating_again_what_was_killed_while_it_was_sent(
    client: ftsdk.Client, before: Path
) -> None:
    count = at_fake(before)
    job = client.create_job(
        chat_rows(4, "killed while sending"),
        provider="fake",
        model="smollm2-135m",
        name="killed while sending",
        key="killed",
    )
    assert job.id == IDS["killed while sending"]
    assert job.status == "succeeded"
    assert at_fake(before) == count


def test_a_job_that_was_never_sent_is_cancelled_without_sending(
    client: ftsdk.Client, before: Path
) -> None:
    count = at_fake(before)
    assert client.get_job(IDS["never sent to fake"]).cancel().status == "cancelled"
    assert at_fake(before) == count


# --- runs on this machine ---------------------------------------------------------------------------


def test_a_local_run_that_succeeded_is_read(client: ftsdk.Client, before: Path) -> None:
    job = client.get_job(IDS["succeeded here"])
    steps = [point.step for point in job.metrics() if point.train_loss is not None]
    assert steps == list(range(1, 13))
    assert [one.step for one in job.checkpoints()] == [9, 12]
    kinds = {event.kind for event in job.events()}
    assert {"status", "metric", "progress", "checkpoint", "log"} <= kinds
    assert any("step 12/12" in line for line in job.logs())
    model = job.result()
    assert model.path == before / "runs" / job.id / "result"
    assert model.base_model == str(before.parent / "base")
    assert model.callable_now


def test_an_interrupted_run_says_from_which_step_it_can_go_on(client: ftsdk.Client) -> None:
    job = client.get_job(IDS["interrupted"]).refresh()
    assert (job.status, job.raw_status) == ("paused", "interrupted")
    assert "from step 6" in job.snapshot.message
    assert [one.step for one in job.checkpoints()] == [3, 6]
    with pytest.raises(ftsdk.NeedsDecision) as caught:
        job.wait()
    assert f"ftsdk resume {job.id}" in caught.value.hint


# --- deployments and money, through the command line ------------------------------------------------


@pytest.fixture
def deployed(
    home: Path, tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Cli, Any, Path]]:
    """The command line on the old home, Together's double with its jobs and endpoints, the home."""
    pytest.importorskip("together")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("ftsdk.session.SystemClock", lambda: clock)
    with Lab("together", clock=clock) as lab:
        double = lab["together"]
        for name, value in double.variables().items():
            monkeypatch.setenv(name, value)
        place = restore_home(home.parent / "before", together=double.origin)
        monkeypatch.setenv("FTSDK_HOME", str(place))
        clock.advance((THEN - clock.now()).total_seconds() - 7200)
        replay_requests(double, clock)
        clock.advance((THEN - clock.now()).total_seconds())
        yield Cli(), double, place


def contains(old: Any, new: Any) -> bool:
    """Whether `new` has everything that `old` has; it may have more keys."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(
            k in new and contains(v, new[k]) for k, v in old.items()
        )
    if isinstance(old, list):
        return len(old) == len(new) and all(map(contains, old, new))
    return bool(old == new)


@pytest.mark.parametrize("words", list(FACTS["said"]))
def test_the_command_line_says_what_the_old_one_said(
    deployed: tuple[Cli, Any, Path], words: str
) -> None:
    cli, double, _ = deployed
    ran = cli.ok(*words.split(), "--json")
    assert contains(FACTS["said"][words], ran.json)
    assert "costs $5.49 an hour; 1 h 44 min left" in ran.err
    assert len(double.endpoints) == 1


def test_an_open_deployment_answers_and_is_ended(deployed: tuple[Cli, Any, Path]) -> None:
    cli, double, _ = deployed
    job = IDS["deployed"]
    assert cli.ok("chat", job, "-m", "deployed 3?").out.strip() == "deployed 21."
    lease = cli.ok("undeploy", IDS["open lease"], "--json").json["lease"]
    assert (lease["id"], lease["state"]) == (IDS["open lease"], "closed")
    assert double.endpoints == {}
    assert cli.ok("leases", "--json").json["leases"] == []


def test_a_deployment_whose_time_is_over_is_ended_by_the_next_command(
    deployed: tuple[Cli, Any, Path], clock: Any
) -> None:
    cli, double, _ = deployed
    clock.advance(7200)
    ran = cli.ok("leases", "--json")
    assert ran.json["leases"] == []
    assert "is undeployed: its lease was over, about $12.35 in all" in ran.err
    assert double.endpoints == {}


def test_a_deployment_is_ended_by_its_job(deployed: tuple[Cli, Any, Path], clock: Any) -> None:
    _, double, home = deployed
    with ftsdk.Client(home=home, env=double.variables(), clock=clock) as client:
        job = client.get_job(IDS["deployed"])
        assert job.callable_result().chat("deployed 2?").text == "deployed 14."
        job.undeploy()
    assert double.endpoints == {}


def test_a_failure_on_the_command_line_has_its_hint(deployed: tuple[Cli, Any, Path]) -> None:
    cli, _, _ = deployed
    for name in ("refused at together", "trainer killed"):
        ran = cli("chat", IDS[name], "-m", "hello", "--json")
        error = ran.json["error"]
        assert ran.code == 5
        assert (error["code"], error["hint"]) == ("job_failed", FACTS["failures"][name]["hint"])


def test_the_journal_is_sound_and_can_be_exported(deployed: tuple[Cli, Any, Path]) -> None:
    cli, _, _ = deployed
    assert cli.ok("journal", "check", "--json").json["jobs"] == len(STATUS)
    lines = cli.ok("journal", "export").out.strip().split("\n")
    assert len(lines) == len(STATUS)
    listed = cli.ok("list").out
    assert [name for name in STATUS if name not in listed] == []
    assert cli.ok("show", IDS["deployed"], "--json").json["status"] == "succeeded"
