from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ftsdk.cli import completion


def test_job_ids_come_with_status_provider_and_name(cli, done, running):
    assert [job for job, _ in completion.jobs("ftj_")] == [running, done]
    assert dict(completion.jobs(done))[done] == "succeeded · fake · first"
    assert completion.jobs("nothing") == []


def at(provider):
    """A command line that names this provider so far."""
    return SimpleNamespace(params={"provider": provider})


def test_names_of_providers_profiles_models_and_statuses(cli):
    assert completion.providers("fa") == ["fake"]
    assert completion.profiles("") == []
    cli.ok("init")
    assert completion.profiles("p") == ["prod"]
    assert completion.models(at(None), "smol") == ["smollm2-135m"]
    assert "gpt-4.1-mini-2025-04-14" in completion.models(at("openai"), "gpt-4.1-m")
    assert completion.models(at("fake"), "smol") == ["smollm2-135m"]
    assert completion.methods("d") == ["dpo"]
    assert completion.statuses("in") == ["in_doubt"]


def test_completion_creates_nothing_and_raises_nothing(cli, home):
    from pathlib import Path

    assert completion.jobs("") == []
    assert not home.exists()
    home.mkdir()
    (home / "journal.db").write_bytes(b"no database" * 100)
    assert completion.jobs("") == []
    Path("ftsdk.toml").write_text("= broken")
    assert completion.profiles("") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("ftsdk create --provider ", "fake"), ("ftsdk cre", "create"), ("ftsdk list --status fa", "failed"),
     ("ftsdk create --method d", "dpo"), ("ftsdk create --provider openai --model gpt-4.1-m", "gpt-4.1-mini-2025-04-14")],
)  # fmt: skip
def test_the_shell_gets_the_suggestions(cli, typed, offered):
    words = typed.split(" ")
    ran = subprocess.run(
        [sys.executable, "-m", "ftsdk"],
        env={
            **os.environ, "_FTSDK_COMPLETE": "complete_bash", "COMP_WORDS": typed,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert offered in ran.stdout.split()


def test_completion_of_job_ids_in_the_shell(cli, done):
    typed = f"ftsdk show {done[:6]}"
    ran = subprocess.run(
        [sys.executable, "-m", "ftsdk"],
        env={**os.environ, "_FTSDK_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": typed},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done in ran.stdout
    assert "succeeded" in ran.stdout
