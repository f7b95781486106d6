"""The hosted backends on the command line: suggested commands and hints."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path

import pytest

import ftsdk
from ftsdk.cli.command_table import COMMANDS
from ftsdk.testing.lab import Lab
from ftsdk.testing.lab.replicate.double import TRAINER
from tests.backends.hosted_worlds import HOSTED, ROWS
from tests.unit.cli.conftest import Cli


@pytest.fixture
def at(monkeypatch, tmp_path, clock):
    """Makes a command line whose provider is a double, with the double itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("ftsdk.session.SystemClock", lambda: clock)
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with contextlib.ExitStack() as stack:

        def made(provider: str) -> tuple[Cli, object]:
            pytest.importorskip(provider)
            double = stack.enter_context(Lab(provider, clock=clock))[provider]
            for name, value in double.variables().items():
                monkeypatch.setenv(name, value)
            return Cli(), double

        yield made


def create(cli: Cli, provider: str) -> str:
    """The id of a new job, made on the command line."""
    result = HOSTED[provider].job
    options = [f"{k}={v}" for k, v in result.get("provider_options", {}).items()]
    sets = [word for one in options for word in ("--set", one)]
    made = cli.ok("create", "rows.jsonl", "--provider", provider, "--model", result["model"],
                  "--yes", "--detach", "--json", *sets)  # fmt: skip
    return str(made.json["id"])


def offered(cli: Cli, job: str) -> list[str]:
    """The commands that `show` offers next, without their program's name."""
    line = cli.ok("show", job).out.strip().split("\n")[-1]
    name, _, result = line.strip().partition(" ")
    assert name == "next"
    return [one.strip().removeprefix("ftsdk ").partition(" ")[0] for one in result.split("·")]


@pytest.mark.parametrize(
    ("provider", "done"),
    [
        ("openai", ["chat"]),
        ("together", ["deploy", "download"]),
        ("replicate", ["chat", "download"]),
    ],
)
def test_only_supported_commands_are_suggested(at, clock, provider, done) -> None:
    cli, _ = at(provider)
    job = create(cli, provider)
    assert offered(cli, job) == ["watch", "cancel"]
    clock.advance(3600)
    assert offered(cli, job) == done
    watched = cli.ok("watch", job).out.strip().split("\n")[-1]
    assert watched == f"next  ftsdk {done[0]} {job} · ftsdk show {job}"


@pytest.mark.parametrize("provider", ["openai", "together"])
def test_resume_is_not_suggested_where_it_is_unsupported(at, clock, provider) -> None:
    cli, _ = at(provider)
    job = create(cli, provider)
    cli.ok("cancel", job)
    clock.advance(3600)
    assert offered(cli, job) == ["logs"]
    assert cli.error(5, "chat", job, "-m", "hello")["hint"] == "create it again"
    error = cli.error(2, "resume", job)
    assert error["code"] == "unsupported"
    assert "resume" in error["what"]


def test_a_paused_job_is_resumed(at, clock) -> None:
    cli, _ = at("openai")
    job = create(cli, "openai")
    clock.advance(3)
    cli.ok("pause", job)
    assert offered(cli, job) == ["resume", "cancel"]
    cli.ok("resume", job)
    clock.advance(3600)
    assert cli.ok("show", job, "--json").json["status"] == "succeeded"


def commands_in(words: str) -> set[str]:
    """Return the ftsdk commands in a sentence; each must exist."""
    found = {tail.split()[0] for tail in words.split("ftsdk ")[1:]}
    assert found <= set(COMMANDS)
    return found


def test_a_model_without_an_endpoint_says_how_to_deploy_it(at, clock) -> None:
    cli, _ = at("together")
    job = create(cli, "together")
    clock.advance(3600)
    error = cli.error(5, "chat", job, "-m", "hello")
    assert f"ftsdk deploy {job} --for 2h" in error["hint"]
    assert f"ftsdk download {job} FOLDER" in error["hint"]
    assert commands_in(error["hint"]) == {"deploy", "download"}
    cli.ok("deploy", job, "--for", "2h", "--yes")
    clock.advance(600)
    assert cli.ok("chat", job, "-m", "hello").out.strip()
    assert offered(cli, job) == ["chat", "download"]


def test_deploy_can_wait_until_the_model_answers(at, clock) -> None:
    cli, _ = at("together")
    job = create(cli, "together")
    clock.advance(3600)
    refused = cli.error(5, "chat", job, "-m", "hello")
    started = cli.ok("deploy", job, "--yes").out
    assert f"starting; `ftsdk show {job}` says when it is ready" in started
    early = cli("chat", job, "-m", "hello", "--json")
    assert early.code == 5
    assert early.json["error"]["what"] != refused["what"]
    assert f"ftsdk deploy {job} --wait" in early.json["error"]["hint"]
    assert "callable now" in cli.ok("deploy", job, "--wait", "--yes").out
    assert cli.ok("chat", job, "-m", "hello").out.strip()


def test_an_earlier_id_of_a_restarted_job_is_adopted_as_the_job_it_became(
    at, clock, monkeypatch, tmp_path
) -> None:
    cli, double = at("together")
    create(cli, "together")
    (old,) = double.jobs
    new = double.restart(old)
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "another"))
    result = cli.ok("adopt", "together", old).out
    assert f"is {new} at together, restarted from {old}" in result
    [job] = cli.ok("list", "--json").json["jobs"]
    assert (job["provider_job_id"], job["earlier_ids"]) == (new, [old])
    for identity in (old, new):  # the same job, whichever of its ids is given
        assert cli.ok("adopt", "together", identity, "--json").json["id"] == job["id"]
        assert cli.ok("show", identity, "--json").json["id"] == job["id"]
    assert f"before: {old}" in cli.ok("show", job["id"]).out
    clock.advance(3600)
    assert cli.ok("wait", old, "--json").json["status"] == "succeeded"


def test_a_deployment_is_ended_at_its_own_address(at, clock) -> None:
    cli, first = at("together")
    job = create(cli, "together")
    clock.advance(3600)
    _, second = at("together")  # from here on another address is configured
    assert second.base_url != first.base_url
    cli.ok("deploy", job, "--for", "2h", "--yes")
    clock.advance(600)
    assert cli.ok("chat", job, "-m", "hello").out.strip()
    assert len(first.endpoints) == 1
    cli.ok("undeploy", job)
    assert first.endpoints == {}
    assert [one.path for one in second.requests] == []


def test_an_undeployable_model_is_refused_before_the_prompt(at, clock) -> None:
    cli, _ = at("openai")
    job = create(cli, "openai")
    clock.advance(3600)
    assert "cannot deploy" in cli.error(2, "deploy", job)["what"]
    cli, _ = at("together")
    early = create(cli, "together")
    assert cli.error(5, "deploy", early)["code"] == "not_ready"


def test_the_base_model_is_asked_where_the_job_was_made(at, clock) -> None:
    cli, first = at("openai")
    job = create(cli, "openai")
    clock.advance(3600)
    _, second = at("openai")
    cli.ok("chat", job, "-m", "hello", "--beside-base")
    assert first.count("POST", "/chat/completions$") == 2
    assert second.count() == 0


def test_a_job_without_a_model_has_nothing_to_delete(at, clock) -> None:
    cli, double = at("openai")
    job = create(cli, "openai")
    cli.ok("cancel", job)
    assert "no model to delete" in cli.error(4, "delete", job, "--yes")["what"]
    assert double.count("DELETE") == 0


def test_the_new_id_of_a_restarted_job_is_the_job_that_is_here(at) -> None:
    cli, double = at("together")
    job = create(cli, "together")
    (old,) = double.jobs
    new = double.restart(old)  # and nobody has looked since
    assert cli.ok("adopt", "together", new, "--json").json["id"] == job
    [result] = cli.ok("list", "--json").json["jobs"]
    assert (result["provider_job_id"], result["earlier_ids"]) == (new, [old])


# --- a rehearsal -------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", HOSTED)
def test_the_command_that_the_lab_prints_creates_a_job(at, clock, provider) -> None:
    cli, double = at(provider)
    words = shlex.split(double.rehearsal)
    assert words[:2] == ["--provider", provider]
    cli.ok("create", "rows.jsonl", *words, "--yes")
    assert cli.ok("list", "--json").json["jobs"][0]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("provider", "model", "known"),
    [
        ("openai", "gpt-nope", "gpt-4.1-mini-2025-04-14"),
        ("together", "Qwen/Qwen3.5-8B", "Qwen/Qwen3.5-9B"),
        ("replicate", "meta/llama-2-7b", "lab/llama-trainer"),
    ],
)
def test_an_unknown_model_lists_the_known_ones(at, provider, model, known) -> None:
    cli, double = at(provider)
    words = shlex.split(double.rehearsal)
    words[words.index("--model") + 1] = model
    result = cli("create", "rows.jsonl", *words, "--yes")
    assert result.code in (2, 4)
    assert model in result.err
    assert known in result.err
    assert "nothing was submitted" in result.err


def test_a_destination_is_asked_for_and_made_by_what_the_errors_say(at) -> None:
    cli, double = at("replicate")
    words = ["create", "rows.jsonl", "--provider", "replicate", "--model", TRAINER, "--yes", "-d"]
    needed = cli(*words)
    assert "--set destination=me/tuned" in needed.err
    compared = cli.ok("estimate", "rows.jsonl", "--compare").out
    [line] = [one for one in compared.split("\n") if "replicate" in one]
    assert "not supported" not in line  # it is: something is left to be said
    absent = cli(*words, "--set", "destination=me/tuned")
    assert "--set create_destination=true" in absent.err
    cli.ok(*words, "--set", "destination=me/tuned", "--set", "create_destination=true")
    assert len(double.trainings) == 1


@pytest.mark.parametrize("provider", HOSTED)
def test_faults_of_a_reply_are_set_on_the_command_line(at, home, provider) -> None:
    """An unknown status, a field by another name, and rows that come twice."""
    cli, double = at(provider)
    job = create(cli, provider)
    theirs = cli.ok("show", job, "--json").json["provider_job_id"]
    facts = {"url": double.origin, "env": {}}
    (home / "lab.json").write_text(json.dumps({"pid": os.getpid(), "doubles": {provider: facts}}))
    fault = ["lab", "fault", provider, "--method", "GET", "--path", theirs + "$"]
    cli.ok(*fault, "set", "--field", "status", "--value", "levitating")
    [result] = cli.ok("list", "--json").json["jobs"]
    assert (result["status"], result["raw_status"]) == ("unknown", "levitating")
    cli.ok(*fault, "rename", "--field", "status", "--value", "state")
    [result] = cli.ok("list", "--json").json["jobs"]
    assert result["status"] == "unknown"
    cli.ok("lab", "fault", provider, "repeat", "--method", "GET", "--times", "9")
    with ftsdk.Client() as client:
        assert [one.provider_job_id for one in client.backend(provider).list()] == [theirs]
    assert double.faults.triggered == 3
