"""No traceback, no secret, no noise: how anything that goes wrong reaches a person or a program."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ftsdk.cli.errors import guarded, wants_json


def test_a_bug_exits_with_1_and_saves_a_private_traceback(cli, data, home, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "plain-key-without-a-shape")

    def plan(self, spec, train=None):
        raise ZeroDivisionError("with plain-key-without-a-shape and sk-abcdefgh12345678")

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.plan", plan)
    ran = cli("create", data, "--yes")
    assert ran.code == 1
    assert "This is a bug in ftsdk: ZeroDivisionError" in ran.err
    assert "abcdefgh12345678" not in ran.err
    [written] = (home / "faults").iterdir()
    assert str(written) in ran.err
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    text = written.read_text()
    assert "Traceback" in text
    assert "ZeroDivisionError" in text
    assert "plain-key-without-a-shape" not in text
    assert "abcdefgh12345678" not in text
    assert cli("create", data, "--yes", "--json").json["error"]["code"] == "error"


def test_a_bug_is_reported_when_its_traceback_cannot_be_saved(cli, data, home, monkeypatch):
    def plan(self, spec, train=None):
        home.joinpath("faults").write_text("in the way")
        raise ZeroDivisionError("oh")

    home.mkdir()
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.plan", plan)
    ran = cli("create", data, "--yes")
    assert ran.code == 1
    assert "could not be saved" in ran.err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [(["list", "--json"], True), (["list"], False), (["chat", "--", "--json"], False)],
)
def test_json_is_recognized_before_options_are_parsed(words, wanted):
    assert wants_json(words) is wanted


@pytest.mark.parametrize(
    ("error", "code"),
    [(typer.Exit(3), 3), (KeyboardInterrupt(), 130), (typer.Abort(), 130), (ValueError("x"), 1)],
)
def test_each_outcome_has_its_exit_code(error, code, capsys):
    def go():
        raise error

    assert guarded(go, as_json=False) == code
    assert "Traceback" not in capsys.readouterr().err


def ftsdk(*words: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ftsdk", *map(str, words)],
        capture_output=True, text=True, timeout=60, **options,
    )  # fmt: skip


def test_a_closed_pipe_is_not_an_error(cli, done, tmp_path):
    """A real pipe whose other end is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "ftsdk", "metrics", "--json"],
            stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert ran.stderr == ""
    assert ran.returncode == 141


def test_an_old_locale_does_not_end_a_command(cli, done):
    ran = ftsdk("show", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0, ran
    assert "smollm2-135m" in ran.stdout
    ran = ftsdk("show", "--json", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 0
    assert ran.stdout.isascii()


def test_the_module_runs_as_the_script_does(cli, done):
    assert ftsdk("path").stdout == ftsdk("path").stdout != ""
    assert ftsdk("list", "--nonsense").returncode == 2


def test_help_imports_nothing_heavy(tmp_path):
    """Also the light ones are left out: no rows, no journal, no records for a page of help."""
    code = (
        "import sys\nsys.argv = ['ftsdk', '--help']\nfrom ftsdk.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(' '.join(sorted(m for m in sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    loaded = set(ran.stderr.split())
    assert "create" in ran.stdout
    heavy = {
        "torch", "transformers", "numpy", "peft", "httpx", "openai", "together", "replicate",
        "pandas", "pyarrow", "asyncio", "pydantic", "ftsdk.types.job", "ftsdk.client", "ftsdk.dataset",
        "ftsdk.backends", "ftsdk.config",
    }  # fmt: skip
    assert not heavy & loaded


def test_nothing_but_the_command_line_prints():
    import ftsdk.cli

    folder = Path(ftsdk.cli.__file__).parent
    for path in folder.glob("*.py"):
        assert "rich.print" not in path.read_text()
