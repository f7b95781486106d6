from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from ftsdk.backends.local.runs.ask_stack import NoAnswer
from ftsdk.cli.commands import doctor
from ftsdk.cli.commands.init import template


def test_init_writes_profiles_that_work(cli, monkeypatch):
    ran = cli.ok("init")
    lines = ran.out.split("\n")
    assert lines[0].startswith("Wrote ftsdk.toml")
    assert lines[1].split("  ")[1:2] == ["profile dev"]
    assert lines[1].endswith("in use")
    assert "local · smollm2-135m" in lines[1]
    profiles = tomllib.loads(Path("ftsdk.toml").read_text())["profiles"]
    assert profiles["dev"] == {"provider": "local", "model": "smollm2-135m"}
    assert profiles["prod"]["provider"] == "together"
    assert profiles["test"]["provider"] == "fake"
    from ftsdk.config import load_config

    assert load_config(env={}).profile == "dev"


def test_the_file_names_its_schema_which_is_there(cli):
    cli.ok("init")
    first = Path("ftsdk.toml").read_text().partition("\n")[0]
    assert first == "#:schema ./.ftsdk/config.schema.json"
    schema = json.loads(Path(first.removeprefix("#:schema ")).read_text())
    assert schema["title"] == "ftsdk.toml"
    assert "#:schema" not in cli.ok("init", "--print").out, "where the file goes is not known"


def test_the_first_profile_trains_here_only_where_that_works():
    for system, profile in {"linux": "dev", "darwin": "dev", "win32": "test"}.items():
        written = tomllib.loads(template(system))
        assert written["profile"] == profile
        assert written["profiles"][profile]["provider"] == ("local" if profile == "dev" else "fake")
    assert "dev" not in tomllib.loads(template("win32"))["profiles"]


def test_init_as_json_and_printed(cli):
    text = cli.ok("init", "--print").out
    assert not Path("ftsdk.toml").exists()
    document = cli.ok("init", "--json").json
    assert document["written"] is True
    assert document["text"] == Path("ftsdk.toml").read_text()
    assert document["text"].partition("\n")[2] == text
    assert cli.ok("init", "--print", "--json").json["text"] == text


EXAMPLES = Path(__file__).parents[4] / "examples" / "data"


def test_init_writes_the_sample_data(cli):
    ran = cli.ok("init", "--example")
    assert "Wrote support.jsonl: 320 rows" in ran.out
    guide = ran.out.partition("Next\n")[2].strip().split("\n")
    assert [line.split()[0] for line in guide] == [str(n) for n in range(1, len(guide) + 1)]
    assert any(re.search(r"ftsdk validate support.jsonl +find every fault", line) for line in guide)
    for name in ("support.jsonl", "support_heldout.jsonl"):
        assert Path(name).read_bytes() == (EXAMPLES / name).read_bytes()
    assert cli.ok("validate", "support.jsonl", "--validation", "support_heldout.jsonl")


def test_init_never_overwrites_data_unless_asked(cli):
    Path("support.jsonl").write_text("mine\n")
    Path("ftsdk.toml").write_text('provider = "fake"\n')
    ran = cli.ok("init", "--example")
    assert "Kept ftsdk.toml, which already exists" in ran.out
    assert "Kept support.jsonl" in ran.out
    assert "Wrote support_heldout.jsonl: 33 rows" in ran.out
    assert Path("support.jsonl").read_text() == "mine\n"
    assert Path("ftsdk.toml").read_text() == 'provider = "fake"\n'
    document = cli.ok("init", "--example", "--json").json
    assert document["written"] is False
    assert [one["written"] for one in document["example"]] == [False, False]
    document = cli.ok("init", "--example", "--force", "--json").json
    assert document["written"] is True
    assert [Path(one["path"]).name for one in document["example"]] == [
        "support.jsonl", "support_heldout.jsonl",
    ]  # fmt: skip
    assert Path("support.jsonl").read_bytes() == (EXAMPLES / "support.jsonl").read_bytes()


def test_doctor_reports_every_check(cli, done):
    ran = cli.ok("doctor")
    for word in ("ftsdk", "sqlite", "home", "journal", "config", "profile", "cpu", "gpu", "disk"):
        assert re.search(rf"^  [✓·] *{word}\b", ran.out, re.MULTILINE), word
    assert "1 job · schema" in ran.out
    assert "sound" in ran.out
    assert ran.out.rstrip().endswith("No faults.")
    document = cli.ok("doctor", "--json").json
    assert document["ok"] is True
    assert {"name", "verdict", "found", "hint"} == set(document["checks"][0])


def test_doctor_never_shows_a_key(cli, monkeypatch):
    from dataclasses import replace

    from ftsdk.backends.fake import FakeBackend

    able = replace(FakeBackend.capabilities, key_variables=("FAKE_API_KEY",))
    monkeypatch.setattr(FakeBackend, "capabilities", able)
    assert "FAKE_API_KEY is not set" in cli.ok("doctor").out
    monkeypatch.setenv("FAKE_API_KEY", "super-secret-value")
    for words in (("doctor",), ("doctor", "--json")):
        out = cli.ok(*words).out
        assert "FAKE_API_KEY is set" in out
        assert "super-secret" not in out


def test_doctor_finds_files_that_others_can_read(cli, done, home):
    (home / "journal.db").chmod(0o644)
    ran = cli("doctor")
    assert ran.code == 1
    assert f"chmod 600 {home / 'journal.db'}" in ran.out


def test_doctor_with_a_broken_profile_is_1(cli, monkeypatch):
    monkeypatch.setenv("FTSDK_PROVIDER", "nobody")
    ran = cli("doctor")
    assert ran.code == 1
    assert "No provider is called 'nobody'" in ran.out


def test_path_is_the_home(cli, home):
    assert cli.ok("path").out == f"{home}\n"
    assert cli.ok("path", "--json").json["journal"] == str(home / "journal.db")


def test_backends_are_compared(cli):
    out = cli.ok("backends").out
    lines = {line.split()[0]: line for line in out.strip().split("\n") if line.strip()}
    assert "✓" in lines["fake"]
    assert "local" in lines
    assert "delete" in out.split("\n")[0]  # what an error sends here for
    found = cli.ok("backends", "--json").json["backends"]
    fake = next(one for one in found if one["name"] == "fake")
    assert fake["can_cancel"] is True
    assert fake["methods"] == ["dpo", "sft"]
    assert fake["hyperparameters"]["epochs"]["default"] == 3.0


def test_one_backend_in_detail(cli):
    out = cli.ok("backends", "fake").out
    assert "learning_rate_multiplier" in out
    assert "constant | linear | cosine" in out
    assert cli.ok("backends", "fake", "--json").json["find_by"] == "metadata"
    assert cli.error(2, "backends", "fakr")["what"].endswith("did you mean 'fake'?")


def test_a_backend_whose_extra_is_missing_does_not_hide_the_others(cli, monkeypatch):
    from ftsdk.backends import registry
    from ftsdk.errors import MissingExtra

    original = registry.load_backend

    def load(name):
        if name == "local":
            raise MissingExtra("local needs torch", hint="pip install 'ftsdk[local]'")
        return original(name)

    monkeypatch.setattr("ftsdk.cli.commands.backends.load_backend", load)
    out = cli.ok("backends").out
    assert "pip install 'ftsdk[local]'" in out
    assert "fake" in out
    found = cli.ok("backends", "--json").json["backends"]
    assert next(b for b in found if b["name"] == "local")["error"]["code"] == "missing_extra"


def test_models_are_listed_and_pulled(cli, monkeypatch, home):
    assert "ftsdk models pull smollm2-135m" in cli.ok("models").out
    [model] = cli.ok("models", "--json").json["models"]
    assert (model["name"], model["pulled"]) == ("smollm2-135m", False)
    monkeypatch.setattr("ftsdk.cli.local_models.pull_model", _pull)
    ran = cli.ok("models", "pull", "smollm2-135m")
    assert "is ready" in ran.out
    assert "smollm2-135m download 93.0 MB" in ran.err
    document = cli.ok("models", "pull", "smollm2-135m", "--json").json
    assert document["license"] == "apache-2.0"
    assert document["path"] == str(home / "models" / "smollm2-135m")


def _pull(name, *, home, source=None, on_progress=None):
    from ftsdk.backends.local.models.pull_progress import PullProgress
    from ftsdk.backends.local.models.resolve import ResolvedModel

    for done in (0, 50_000_000, 93_000_000):
        if on_progress:
            on_progress(PullProgress(name, "download", done, 93_000_000))
    return ResolvedModel(
        name=name, path=home / "models" / name, revision="r", source="built-in",
        license="apache-2.0", sha256="ab" * 32, chat_template_sha256=None,
    )  # fmt: skip


def test_pulling_an_unknown_model_is_2(cli):
    assert "smollm2-135m" in cli.error(2, "models", "pull", "smolm2-135m")["hint"]


def test_validate_of_good_data(cli, data):
    ran = cli.ok("validate", data)
    assert ran.out.startswith("rows.jsonl   chat · 12 rows")
    document = cli.ok("validate", data, "--json").json
    assert (document["ok"], document["rows"]) == (True, 12)
    assert all(f["severity"] == "notice" for f in document["faults"])


def test_validate_refuses_an_unknown_provider(cli, data):
    assert cli.error(2, "validate", data, "--provider", "fkae")["code"] == "unknown_backend"
    assert cli.error(2, "validate", data, "--method", "ppo")["code"] == "usage"


def test_version_and_help(cli):
    from ftsdk import __version__

    assert cli.ok("--version").out == f"ftsdk {__version__}\n"
    assert "create" in cli.ok("--help").out
    assert "--max-cost" in cli.ok("create", "-h").out


@pytest.mark.parametrize("words", [(), ("models", "pull")])
def test_without_arguments_groups_print_help(cli, words):
    ran = cli(*words)
    assert ran.code in (0, 2)
    assert "ftsdk" in ran.out + ran.err


@pytest.mark.parametrize(
    ("version", "verdict", "found"),
    [
        ((3, 34, 1), "fault", "3.34.1: the journal needs 3.37 or newer"),
        ((3, 40, 1), "ok", "3.40.1 · its WAL can damage a file; the journal does not use it"),
        ((3, 44, 6), "ok", "3.44.6"),
        ((3, 50, 6), "ok", "3.50.6 · its WAL can damage a file; the journal does not use it"),
        ((3, 51, 3), "ok", "3.51.3"),
        ((3, 53, 0), "ok", "3.53.0"),
    ],
)
def test_doctor_checks_the_linked_sqlite(cli, monkeypatch, version, verdict, found):
    monkeypatch.setattr("sqlite3.sqlite_version_info", version)
    monkeypatch.setattr("sqlite3.sqlite_version", ".".join(map(str, version)))
    checks = {one["name"]: one for one in cli("doctor", "--json").json["checks"]}
    assert (checks["sqlite"]["verdict"], checks["sqlite"]["found"]) == (verdict, found)


APPLE_GPUS = [
    ({"is_there": False, "faults": {}}, "note", "no Apple GPU found"),
    ({"is_there": True, "faults": {"float32": "its loss differs"}}, "note", "its loss differs"),
    ({"is_there": True, "faults": {"float32": None}}, "ok", "Apple GPU"),
    (NoAnswer("exit code 1"), "note", "not checked: exit code 1"),
]


@pytest.mark.parametrize(("answer", "verdict", "found"), APPLE_GPUS)
def test_doctor_checks_an_apple_gpu(monkeypatch, answer, verdict, found):
    def ask(program, asked):
        assert program == "ftsdk.backends.local.compute.apple_gpu"
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("ftsdk.cli.commands.doctor.sys.platform", "darwin")
    monkeypatch.setattr("ftsdk.cli.commands.doctor.importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("ftsdk.cli.commands.doctor.ask_stack", ask)
    check = doctor._gpu()
    assert check.verdict == verdict
    assert found in check.found
