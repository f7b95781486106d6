"""The commands `capture` and `forget`: what they print, ask and exit with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock
from tests.backends.openai_account import account_of_the_environment, rows_of, tune
from tests.unit.cli.conftest import Cli, cli

pytest.importorskip("openai", reason="needs the extra `openai`")
__all__ = ["account_of_the_environment", "cli"]  # fixtures


@pytest.fixture
def tuned(tmp_path: Path, double: OpenAIDouble, clock: ManualClock) -> str:
    return tune(tmp_path / "other", double, clock)


def write(name: str, rows: list[dict[str, Any]]) -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked_models(double: OpenAIDouble) -> int:
    return double.count("POST", "chat/completions$")


def test_a_capture_from_plan_to_forgetting(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", [*rows_of("asked", 4), *rows_of("trained", 2)])
    dry = cli.ok("capture", tuned, data, "--repeats", 2, "--dry-run")
    assert f"Plan  {tuned}" in dry.out
    assert "4 × 2, and once its base gpt-4.1-mini-2025-04-14" in dry.out
    assert "12 requests · one by one" in dry.out
    assert "2 rows of its training file (2 same row): lines 5, 6" in dry.out
    assert "nothing was asked" in dry.err
    assert asked_models(double) == 0
    unasked = cli("capture", tuned, data, "--no-input")
    assert unasked.code == 7
    assert asked_models(double) == 0
    done = cli.ok("capture", tuned, data, "--repeats", 2, "--yes", "--rights", "own", "--into", "c")
    assert "Sealed  c" in done.out
    assert "tuned    8 answered" in done.out
    assert "base     4 answered" in done.out
    assert "agrees   with itself on 100 %" in done.out
    assert "rights   own" in done.out
    assert asked_models(double) == 12
    assert "whole" in cli.ok("capture", "--verify", "c").out
    again = cli.ok("capture", tuned, data, "--repeats", 2, "--into", "c").out  # nothing to ask
    assert "12 answers from before, free" in again
    assert asked_models(double) == 12
    kept = cli.ok("forget", tuned, "--yes").out
    assert f"answers of {tuned} at openai" in kept
    assert Path("c").is_dir()
    cli.ok("forget", "c", "--yes")
    assert not Path("c").exists()
    assert cli("forget", "c", "--yes").code == 2


def test_the_answer_no_asks_nothing(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", rows_of("asked", 4))
    ran = cli("capture", tuned, data, stdin="n\n")
    assert ran.code == 1
    assert "Ask 8 requests and spend up to $" in ran.err
    assert "Nothing was asked." in ran.err
    assert asked_models(double) == 0


def test_over_the_budget_it_exits_with_6(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", rows_of("asked", 4))
    error = cli.error(6, "capture", tuned, data, "--yes", "--budget", "0.0001")
    assert error["code"] == "budget"
    assert asked_models(double) == 0


def test_requests_without_an_answer_exit_with_4(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    double.faults.add(
        "status", method="POST", path="chat/completions$", status=400, times=1,
        body={"error": {"message": "bad", "type": "invalid_request_error"}},
    )  # fmt: skip
    data = write("questions.jsonl", rows_of("asked", 4))
    ran = cli("capture", tuned, data, "--yes", "--no-base")
    assert ran.code == 4
    assert "3 answered · 1 no answer" in ran.out
    assert "1 request without an answer" in ran.err
    assert "run the same command again" in ran.err
    assert cli.ok("capture", tuned, data, "--yes", "--no-base", "--json").json["is_complete"]


def test_every_model_of_the_account(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", rows_of("asked", 3))
    found = cli.ok("capture", "--all", data, "--yes", "--json").json
    assert [one["model"] for one in found["captures"]] == [tuned]
    assert found["is_complete"] is True
    assert "Name a model" in cli.error(2, "capture")["what"]


def test_a_changed_bundle_exits_with_3(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", rows_of("asked", 2))
    cli.ok("capture", tuned, data, "--yes", "--into", "c")
    with Path("c/cases.jsonl").open("a") as handle:
        handle.write("{}\n")
    ran = cli("capture", "--verify", "c", "--json")
    assert ran.code == 3
    assert ran.json["wrong"] == ["cases.jsonl: it was changed"]


def test_rows_that_ask_nothing_are_named(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", [{"messages": [{"role": "assistant", "content": "a"}]}])
    error = cli.error(3, "capture", tuned, data, "--yes")
    assert error["what"] == "1 row asks nothing"


def test_a_name_without_a_provider_is_refused(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    data = write("questions.jsonl", rows_of("asked", 2))
    error = cli.error(2, "capture", "some-model", data)
    assert "--provider" in error["hint"]
