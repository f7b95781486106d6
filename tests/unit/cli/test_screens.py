"""What a person reads: help without types and braces, plans without Python, one message once."""

from __future__ import annotations

import re

import pytest

from ftsdk.cli.command_table import COMMANDS
from tests.unit.cli.conftest import DONE

SHOWN = sorted(name for name, entry in COMMANDS.items() if entry.panel)


@pytest.mark.parametrize("name", SHOWN)
def test_help_names_values_and_not_python_types(cli, name: str) -> None:
    out = cli.ok(name, "--help").out
    assert not re.search(r"<(?:bool|int|float|str|text|path)", out), out
    usage = out.partition("\n")[0]
    assert "{" not in usage, usage


def test_no_plan_shows_python(cli, data, monkeypatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "tgp_v1_abcdefghijklmnop")
    out = cli.ok("plan", data, "--provider", "together", "--model", "Qwen/Qwen3-8B").out
    assert "type Lora, lora_r 16" in out
    for mark in ("{", "}", "True", "False", "None"):
        assert mark not in out, out


def test_a_rank_that_is_not_ours_to_set_is_not_the_headline(cli, data, monkeypatch) -> None:
    pytest.importorskip("bpe_openai", reason="OpenAI's tokens are counted")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-" + "x" * 20)
    words = (data, "--provider", "openai", "--model", "gpt-4.1-mini-2025-04-14")
    headline = cli.ok("plan", *words).out.partition("\n")[0]
    assert "adapter set by the service" in headline
    assert "r16" not in headline
    assert "epochs auto" in headline
    assert "× auto" not in cli.ok("plan", *words).out


def test_a_missing_file_is_reported_once(cli) -> None:
    ran = cli("create", "nothing.jsonl", "--yes")
    assert ran.code == 3
    assert (ran.out + ran.err).count("does not exist") == 1
    assert "FT001" in ran.err


def test_the_rehearsal_takes_the_planned_number_of_steps(cli, data) -> None:
    cli.ok("create", data, "--yes", "--epochs", "5", "--batch-size", "4", "--set", DONE)
    steps = [p["step"] for p in cli.ok("metrics", "--json").json["metrics"]]
    assert steps == list(range(1, 16)), "12 rows, 4 in a batch, 5 epochs"
    cli.ok("create", data, "--yes", "--set", "max_steps=1000", "--set", DONE)
    long = [p["step"] for p in cli.ok("metrics", "--json").json["metrics"]]
    assert (len(long), long[-1]) == (200, 1000)
