"""The shipped schemas agree with the program: what it reads, and what `--json` prints."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ftsdk
from ftsdk import config
from ftsdk.cli.app import app
from ftsdk.cli.commands.init import template
from ftsdk.errors import ConfigError

jsonschema = pytest.importorskip("jsonschema", reason="needs the extra `test`")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(ftsdk.__path__[0]) / "schemas"


def validator(name: str) -> Any:
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults(name: str, document: Any) -> list[str]:
    return [
        f"{list(e.absolute_path)}: {e.message[:200]}" for e in validator(name).iter_errors(document)
    ]


def run(*words: object) -> Any:
    return json.loads(CliRunner().invoke(app, [str(word) for word in words]).stdout)


# --- ftsdk.toml ------------------------------------------------------------------------------


def test_the_schema_has_the_settings_that_are_read() -> None:
    top = json.loads((FOLDER / "config.json").read_text())["properties"]
    profile = top["profiles"]["additionalProperties"]["properties"]
    assert set(profile) == config._PROFILE_KEYS
    assert set(top) == config._TOP_KEYS | config._PROFILE_KEYS | config._TOP_EXTRA


@pytest.mark.parametrize("system", ["linux", "win32"])
def test_what_init_writes_is_valid(system: str) -> None:
    assert faults("config", tomllib.loads(template(system))) == []
    assert faults("config", tomllib.loads((ROOT / "examples" / "ftsdk.toml").read_text())) == []


WRONG = {
    "a misspelt setting": "providr = 'fake'",
    "a misspelt setting of a profile": "[profiles.a]\nmodell = 'm'",
    "a key": "[profiles.a]\napi_key = 'sk-1'",
    "a key as a variable": "key_variable = 'sk-abc'",
    "a profile that is no table": "[profiles]\na = 1",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_ftsdk_refuses_the_editor_marks(name: str, tmp_path: Path) -> None:
    path = tmp_path / "ftsdk.toml"
    path.write_text(WRONG[name])
    with pytest.raises(ConfigError):
        config.load_config(env={"FTSDK_CONFIG": str(path)})
    assert faults("config", tomllib.loads(WRONG[name])) != []


@pytest.mark.parametrize(
    "text", ["method = 'ppo'", "[hyperparameters]\nepoch = 1", "[adapter]\nrank = 0"]
)
def test_values_are_checked_too(text: str) -> None:
    assert faults("config", tomllib.loads(text)) != []


def test_a_table_of_everything_is_valid() -> None:
    text = """
provider = "together"
max_cost = "10"
hyperparameters = { epochs = 2, learning_rate = 2e-4, schedule = "cosine" }
adapter = { rank = 8, quantize = "nf4", target_modules = ["q_proj"] }
tags = { team = "cx" }
[budget]
month = "200.00"
lease_hours = 2
[profiles.two]
options = { profile = "azure" }
"""
    assert faults("config", tomllib.loads(text)) == []


# --- what --json prints ----------------------------------------------------------------------


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    path.write_text("".join(json.dumps({**row, "n": n}) + "\n" for n in range(12)))
    return path


def test_documents_of_the_command_line_are_valid(rows: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "m")
    common = ("--drop", "n", "--json")
    assert faults("plan", run("plan", rows, *common)) == []
    made = run("create", rows, "--yes", "--set", 'timeline=[["succeeded", 0]]', *common)
    assert faults("job", made) == []
    (listed,) = run("list", "--json")["jobs"]
    assert faults("job", listed) == []
    assert faults("error", run("show", "nothing", "--json")) == []
    assert "client_token" not in (FOLDER / "job.json").read_text()


@pytest.mark.parametrize(("key", "value"), [("status", "finished"), ("id", None), ("cost", "4.00")])
def test_another_shape_of_a_job_would_be_noticed(
    key: str, value: Any, rows: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("FTSDK_PROVIDER", "fake")
    monkeypatch.setenv("FTSDK_MODEL", "m")
    job = run("create", rows, "--yes", "--detach", "--drop", "n", "--json")
    assert faults("job", {**job, key: value}) != []


def test_schemas_are_printed_by_name() -> None:
    assert run("schema") == json.loads((FOLDER / "config.json").read_text())
    assert run("schema", "job")["title"] == "A job, as `--json` prints it"
    assert "did you mean 'plan'" in run("schema", "plann", "--json")["error"]["what"]
