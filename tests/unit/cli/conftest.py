"""The command line in this process, on `fake`, with a clock that moves only when it sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.util.clock import ManualClock

DONE = 'timeline=[["running", 0], ["succeeded", 1]]'
FAILS = 'timeline=[["running", 0], ["failed", 1]]'
LONG = 'timeline=[["queued", 0], ["running", 1], ["finalizing", 100], ["succeeded", 101]]'


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs commands as `ftsdk …` would; a traceback anywhere fails the test."""

    def __init__(self) -> None:
        self._runner = CliRunner()

    def __call__(self, *words: object, stdin: str | None = None) -> Ran:
        result = self._runner.invoke(app, [str(word) for word in words], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.stdout + result.stderr
        return Ran(result.exit_code, result.stdout, result.stderr)

    def ok(self, *words: object, stdin: str | None = None) -> Ran:
        ran = self(*words, stdin=stdin)
        assert ran.code == 0, ran
        return ran

    def error(self, code: int, *words: object) -> dict[str, Any]:
        """The command's error as JSON, with this exit code and nothing on standard error."""
        ran = self(*words, "--json")
        assert ran.code == code, ran
        assert ran.err == ""
        error = ran.json["error"]
        assert {"code", "what", "where", "hint", "retryable", "submitted"} <= set(error)
        return error


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: ManualClock) -> Cli:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "smollm2-135m")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("ftsdk.session.SystemClock", lambda: clock)
    return Cli()


@pytest.fixture
def data(cli: Cli, rows: Callable[[int], list[dict[str, Any]]]) -> Path:
    path = Path("rows.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(12)))
    return path


@pytest.fixture
def done(cli: Cli, data: Path) -> str:
    """The id of a job that has succeeded."""
    made = cli.ok("create", data, "--yes", "--json", "--name", "first", "--set", DONE).json
    assert made["status"] == "succeeded"
    return str(made["id"])


@pytest.fixture
def running(cli: Cli, data: Path, clock: ManualClock) -> str:
    """The id of a job that is half through."""
    made = cli.ok("create", data, "--yes", "--json", "--detach", "--set", LONG).json
    clock.advance(50)
    return str(made["id"])
