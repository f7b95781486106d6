from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftsdk.cli.commands.show import _usable
from ftsdk.errors import Unsupported
from ftsdk.types.portability import Portability, PortabilityProblem
from tests.unit.cli.conftest import DONE, FAILS


def test_an_empty_journal_says_how_to_start(cli):
    assert "ftsdk create DATA" in cli.ok("list").out
    assert cli.ok("list", "--json").json == {"jobs": []}


def test_list_shows_one_line_per_job_newest_first(cli, done, running):
    head, *lines = cli.ok("list").out.strip().split("\n")
    assert head.split() == ["job", "status", "name", "provider", "model", "detail", "created"]
    assert len(lines) == 2
    assert running in lines[0]
    assert "running" in lines[0]
    assert "49 %" in lines[0]
    assert done in lines[1]
    assert "first" in lines[1]
    assert "$0.00" in lines[1]
    jobs = cli.ok("list", "--json").json["jobs"]
    assert [job["id"] for job in jobs] == [running, done]
    shape = ["id", "provider", "provider_job_id", "status", "raw_status", "model", "name", "cost"]
    assert list(jobs[0])[: len(shape)] == shape
    assert "client_token" not in jobs[0]


def test_list_filters(cli, done, running, data):
    cli.ok("create", data, "--yes", "-d", "--tag", "team=cx", "--set", DONE)
    ids = lambda *words: [job["id"] for job in cli.ok("list", "--json", *words).json["jobs"]]
    assert ids("--status", "running", "--tag", "team=cx") == ids("--tag", "team")
    cli.ok("cancel", ids("--tag", "team")[0])
    assert ids("--status", "running") == [running]
    assert len(ids("--status", "succeeded", "--status", "running")) == 2
    assert len(ids("--tag", "team")) == len(ids("--tag", "team=cx")) == 1
    assert ids("--tag", "team=x") == []
    assert ids("--provider", "local") == []
    assert len(ids("-n", "2")) == 2
    assert "No job matches." in cli.ok("list", "--provider", "local").out


def test_list_in_pages(cli, done, running):
    ids = lambda *words: [job["id"] for job in cli.ok("list", "--json", *words).json["jobs"]]
    assert ids("--limit", "1") == [running]
    assert ids("--limit", "1", "--after", running) == ids("--after", running) == [done]
    assert ids("--after", "first") == []
    assert ids("--status", "succeeded", "--after", running, "-n", "1") == [done]
    assert f"--after {running}" in cli.ok("list", "-n", "1").err
    assert "--after" not in cli.ok("list", "-n", "2").err
    assert cli.error(2, "list", "--after", "nobody")["code"] == "unknown_job"


def test_offline_asks_nobody(cli, running, monkeypatch):
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.get", _never)
    [job] = cli.ok("list", "--offline", "--json").json["jobs"]
    assert job["status"] == "queued"
    assert cli.ok("show", running, "--offline", "--json").json["status"] == "queued"


def _never(self, provider_job_id):
    raise AssertionError("asked")


def test_an_unreachable_provider_does_not_break_the_list(cli, running, monkeypatch):
    from ftsdk.errors import Unavailable

    def get(self, provider_job_id):
        raise Unavailable("fake is out of reach", where="the test")

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.get", get)
    ran = cli.ok("list")
    assert running in ran.out
    assert "not asked" in ran.out
    assert "fake is out of reach" in ran.err
    [job] = cli.ok("list", "--json").json["jobs"]
    assert job["not_asked"]["code"] == "unavailable"
    shown = cli.ok("show")
    assert "fake is out of reach" in shown.err


def test_show_prints_data_settings_loss_model_and_next_steps(cli, done):
    ran = cli.ok("show", done)
    head, *lines = ran.out.strip().split("\n")
    facts = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line.strip()}
    assert "first" in head
    assert "fake · smollm2-135m" in head
    assert "$0.00" in head
    assert facts["data"].startswith("rows.jsonl  sha256 ")
    assert "12 rows" in facts["data"]
    assert facts["sent"].startswith("3 epochs · batch 8 · lr 2e-4 · LoRA r16 α32 · seed 0")
    assert facts["loss"] == "train 1.75 → 0.73"
    assert "callable now" in facts["model"]
    assert facts["next"].startswith(f"ftsdk chat {done}")


def test_show_as_json_has_the_first_and_last_loss(cli, done):
    document = cli.ok("show", done, "--json").json
    assert document["id"] == done
    assert document["loss"]["train"] == [1.7484, 0.7257]
    assert document["loss"]["validation"] is None
    assert document["result"]["kind"] == "hosted"
    assert document["not_asked"] is None


def test_show_a_failed_job(cli, data):
    cli("create", data, "--yes", "--set", FAILS, "--set", "message=out of luck")
    ran = cli.ok("show")
    assert "out of luck" in ran.out
    assert "ftsdk logs" in ran.out


def test_show_a_cancelled_job_that_can_be_resumed(cli, running):
    cli.ok("cancel", running)
    assert f"next     ftsdk resume {running} · ftsdk logs" in cli.ok("show", running).out


def test_show_a_job_in_doubt_suggests_what_to_do(cli, data):
    cli("create", data, "--yes", "--set", "submit=lost_request")
    ran = cli.ok("show")
    assert "in doubt" in ran.out
    assert "ftsdk reconcile" in ran.out
    listed = cli.ok("list").out
    assert "no answer; looking for ft" in listed


def test_past_the_horizon_the_list_says_that_it_needs_a_decision(cli, data, clock):
    cli("create", data, "--yes", "--set", "submit=lost_request")
    clock.advance(3600)
    ran = cli.ok("list")
    assert "needs a decision" in ran.out
    assert "ftsdk resolve ftj_" in ran.err


def test_a_job_is_found_by_id_prefix_name_and_provider_id(cli, done):
    theirs = cli.ok("show", done, "--json").json["provider_job_id"]
    for word in (done, done[:14], done.lower(), "first", theirs):
        assert cli.ok("show", word, "--json").json["id"] == done


def test_text_of_others_cannot_steer_the_terminal(cli, data):
    evil = "\x1b]0;owned\x07\x1b[2Jred\x1b[31m\r\nfoo\u202e"
    cli.ok("create", data, "--yes", "-d", "--name", evil, "--set", DONE)
    for words in (("list",), ("show",)):
        out = cli.ok(*words).out
        assert "redfoo" in out or "red foo" in out
        assert not any(mark in out for mark in ("\x1b", "\x07", "\r", "\u202e", "owned"))
    raw = cli.ok("show", "--json").out
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    assert json.loads(raw)["name"] == evil


def test_secrets_in_provider_options_are_not_printed(cli, data, monkeypatch):
    monkeypatch.setattr(
        "ftsdk.backends.fake._OPTIONS",
        frozenset({"timeline", "wandb_api_key", "submit", "message", "visible_after_s"}),
    )
    cli.ok("create", data, "--yes", "-d", "--set", DONE, "--set", "wandb_api_key=abcdef123456")
    for words in (("show",), ("show", "--json"), ("list", "--json")):
        assert "abcdef123456" not in cli.ok(*words).out


def test_init_is_then_read(cli, data, monkeypatch):
    monkeypatch.delenv("FTSDK_PROVIDER")
    monkeypatch.delenv("FTSDK_MODEL")
    cli.ok("init")
    assert Path("ftsdk.toml").is_file()
    made = cli.ok("create", data, "--profile", "test", "--yes", "-d", "--json").json
    assert (made["provider"], made["profile"]) == ("fake", "test")


def test_a_gone_job_is_listed_as_gone_and_can_be_forgotten(cli, data, running, clock, monkeypatch):
    from ftsdk.backends.fake import FakeBackend
    from ftsdk.errors import NotFound

    other = cli.ok("create", data, "--yes", "--detach", "--json", "--seed", 7, "--set", DONE).json
    identity = cli.ok("show", running, "--json").json["provider_job_id"]
    get = FakeBackend.get

    def answer(self, provider_job_id):
        if provider_job_id == identity:
            raise NotFound("fake has no such job", where="the test")
        return get(self, provider_job_id)

    monkeypatch.setattr(FakeBackend, "get", answer)
    clock.advance(10)
    ran = cli.ok("list")
    assert "gone at the provider" in ran.out
    assert f"ftsdk resolve {running} --give-up" in ran.err
    listed = {job["id"]: job for job in cli.ok("list", "--json").json["jobs"]}
    assert listed[other["id"]]["status"] == "succeeded"
    assert listed[running]["not_asked"]["code"] == "not_found"
    assert "given up" in cli.ok("resolve", running, "--give-up").out
    assert "gone at the provider" not in cli.ok("list").out


class Carried:
    """A job of which only the portability is asked."""

    id = "ftj_x"

    def __init__(self, *verdicts: Portability) -> None:
        self.verdicts = verdicts

    def check_portability(self) -> tuple[Portability, ...]:
        if not self.verdicts:
            raise Unsupported("The base is not here")
        return self.verdicts


def test_show_says_where_a_model_on_this_machine_can_be_used() -> None:
    refused = (PortabilityProblem(what="DoRA", fix="merge it"),)
    job: Any = Carried(
        Portability(target="vllm", form="adapter", problems=refused),
        Portability(target="vllm", form="merged"),
        Portability(target="ollama", form="merged"),
    )
    assert list(_usable(job)) == [
        ("usable", "adapter: nowhere"),
        ("", "merged: vllm, ollama"),
        ("", ("why not the others: ftsdk export ftj_x --check", "dim")),
    ]
    all_well: Any = Carried(Portability(target="vllm", form="merged"))
    assert list(_usable(all_well)) == [("usable", "merged: vllm")]
    unknown: Any = Carried()
    assert list(_usable(unknown)) == [("usable", ("The base is not here", "dim"))]


def test_the_model_of_a_checkpoint_is_named_by_its_step(cli, done):
    refused = cli("chat", f"{done}@3", "-m", "hello")
    assert refused.code == 2
    assert "no checkpoint at step 3" in refused.err or "cannot give the model" in refused.err
    unknown = cli("chat", "nothing@3", "-m", "hello")
    assert "nothing" in unknown.err
