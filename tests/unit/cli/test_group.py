"""Commands are imported when they run; names and help come from the table of commands."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys

import pytest
import typer

from ftsdk.cli.app import app
from ftsdk.cli.command_table import COMMANDS
from ftsdk.cli.startup import begin_imports, end_imports

PROGRAM = (
    "import json, sys\nsys.argv[0] = 'ftsdk'\nfrom ftsdk.cli import main\n"
    "try:\n    main()\nexcept SystemExit:\n    pass\n"
    "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
)


def loaded_by(*words: str, **env: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        env={**os.environ, **env}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return set(json.loads(ran.stderr.split("\n")[-2]))


@pytest.mark.parametrize("name", [name for name, entry in COMMANDS.items() if entry.panel])
def test_the_line_of_help_is_the_first_of_the_docstring(name):
    command = typer.main.get_command(app).commands[name]
    assert command.name == name
    assert not command.hidden
    text = command.help or command.callback.__doc__
    assert " ".join(text.split("\n\n")[0].split()) == COMMANDS[name].summary


def test_every_command_is_listed_under_its_heading(cli):
    shown = cli.ok("--help").out
    for name, entry in COMMANDS.items():
        assert (f"\n  {name} " in shown) == bool(entry.panel)
        assert not entry.panel or f"\n{entry.panel}:\n" in shown


def test_help_and_version_import_no_command_and_no_rich():
    for words in (["--help"], ["--version"], ["no-such-command"]):
        loaded = loaded_by(*words)
        assert not {m for m in loaded if m.startswith("ftsdk.cli.commands")}, words
        assert not {"rich.console", "rich.text", "ftsdk.client", "sqlite3"} & loaded
    assert "pydantic" not in loaded_by("--help")


def test_completing_a_command_name_imports_no_command():
    loaded = loaded_by(_FTSDK_COMPLETE="complete_bash", COMP_WORDS="ftsdk cre", COMP_CWORD="1")
    assert not {m for m in loaded if m.startswith("ftsdk.cli.commands")}


def test_a_command_imports_its_own_module_only():
    loaded = loaded_by("path")
    commands = {m for m in loaded if m.startswith("ftsdk.cli.commands.")}
    assert commands == {"ftsdk.cli.commands.path"}
    assert not {"ftsdk.client", "rich.console"} & loaded


def test_a_list_of_ended_jobs_imports_no_client_and_into_a_pipe_no_rich(cli, done):
    loaded = loaded_by("list")
    commands = {m for m in loaded if m.startswith("ftsdk.cli.commands.")}
    assert commands == {"ftsdk.cli.commands.list_jobs"}
    for name in ("client", "session", "dataset", "catalogue", "backends", "jobs.submitter"):
        assert f"ftsdk.{name}" not in loaded
    assert not {"rich.console", "rich.text", "httpx", "torch", "numpy", "asyncio"} & loaded


def test_a_command_runs_with_garbage_collection_and_pydantics_plugins(monkeypatch):
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    frozen = gc.get_freeze_count()
    end_imports()  # nothing to undo, as in a program that calls the application itself
    assert gc.get_freeze_count() == frozen
    try:
        begin_imports()
        assert not gc.isenabled()
        assert os.environ["PYDANTIC_DISABLE_PLUGINS"] == "1"
    finally:
        end_imports()
        gc.unfreeze()
    assert gc.isenabled()
    assert "PYDANTIC_DISABLE_PLUGINS" not in os.environ


def test_a_typo_gets_a_suggestion(cli):
    assert "'create'" in cli.error(2, "craete")["what"]
