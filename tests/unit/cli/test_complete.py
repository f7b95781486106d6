from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ftsdk.cli import complete


def test_job_ids_come_with_what_they_are(cli, done, running):
    assert [job for job, _ in complete.jobs("ftj_")] == [running, done]
    assert dict(complete.jobs(done))[done] == "succeeded · fake · first"
    assert complete.jobs("nothing") == []


def test_names_of_providers_profiles_models_and_statuses(cli):
    assert complete.providers("fa") == ["fake"]
    assert complete.profiles("") == []
    cli.ok("init")
    assert complete.profiles("p") == ["prod"]
    assert complete.models("smol") == ["smollm2-135m"]
    assert complete.statuses("in") == ["in_doubt"]


def test_nothing_is_made_and_nothing_is_raised_while_typing(cli, home):
    from pathlib import Path

    assert complete.jobs("") == []
    assert not home.exists()
    home.mkdir()
    (home / "journal.db").write_bytes(b"no database" * 100)
    assert complete.jobs("") == []
    Path("ftsdk.toml").write_text("= broken")
    assert complete.profiles("") == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("ftsdk create --provider ", "fake"), ("ftsdk cre", "create"), ("ftsdk list --status fa", "failed")],
)  # fmt: skip
def test_the_shell_gets_them(cli, typed, offered):
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
