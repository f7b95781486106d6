"""What people get wrong: each error has what, where and hint and its exit code, and nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import DONE

GOOD = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n'


def row(*turns: tuple[str, object]) -> str:
    return json.dumps({"messages": [{"role": r, "content": c} for r, c in turns]}) + "\n"


DATA = {
    "empty": b"",
    "blank lines": b"\n\n\n",
    "bad json on line 3": (GOOD + GOOD + '{"messages": [\n').encode(),
    "no assistant": row(("user", "hello")).encode(),
    "unknown role": row(("user", "q"), ("wizard", "a")).encode(),
    "not an object": b"[1, 2]\n",
    "content is a number": row(("user", "q"), ("assistant", 5)).encode(),
    "not utf-8": GOOD.replace("q", "\u00e9").encode("latin-1"),
    "binary": bytes(range(256)) * 4,
    "lone surrogate": row(("user", "q"), ("assistant", "\ud800")).encode(),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("command", ["create", "validate"])
def test_bad_data_is_3_and_nothing_is_journaled(cli, name, command):
    Path("bad.jsonl").write_bytes(DATA[name])
    words = (command, "bad.jsonl", *(["--yes"] if command == "create" else []))
    ran = cli(*words)
    assert ran.code == 3, ran
    assert "bad.jsonl" in ran.out + ran.err
    ran = cli(*words, "--json")
    assert ran.code == 3
    assert ran.err == ""
    report = ran.json if command == "validate" else ran.json["report"]
    assert report["ok"] is False
    assert report["faults"]
    assert {"code", "severity", "line", "field", "message", "hint"} <= set(report["faults"][0])
    assert cli.ok("list", "--json").json == {"jobs": []}


def test_bad_json_names_its_line(cli):
    Path("bad.jsonl").write_bytes(DATA["bad json on line 3"])
    found = cli("validate", "bad.jsonl", "--json").json["faults"]
    assert [f["line"] for f in found if f["severity"] == "fault"] == [3]
    assert "line 3" in cli("validate", "bad.jsonl").out


@pytest.mark.parametrize("place", ["not-there.jsonl", ".", "/dev/null"])
@pytest.mark.parametrize("command", ["create", "validate"])
def test_a_path_that_is_not_a_file_is_3(cli, place, command):
    assert cli(command, place, *(["--yes"] if command == "create" else [])).code == 3


USE = {
    "unknown provider": (("--provider", "fale"), "unknown_backend", "fake"),
    "unknown model": (("--provider", "local", "--model", "smolm2-135m"), "unknown_model", "smollm2"),
    "negative epochs": (("--epochs", "-1"), "spec", "epochs"),
    "epochs of no number": (("--epochs", "nan"), "spec", "epochs"),
    "both learning rates": (
        ("--learning-rate", "1e-4", "--set", "learning_rate_multiplier=2"), "spec", "exclude",
    ),
    "unknown hyperparameter": (("--set", "hyperparameters.lr=1"), "spec", "lr"),
    "misspelt option": (("--set", "learning_rat=1"), "usage", "did you mean 'learning_rate'"),
    "unknown option": (("--set", "wandb_project=1"), "unsupported", "wandb_project"),
    "zero batch": (("--batch-size", "0"), "spec", "batch_size"),
    "zero rank": (("--rank", "0"), "spec", "rank"),
    "unknown quantization": (("--quantize", "int3"), "spec", "quantize"),
    "full and rank": (("--full", "--rank", "8"), "usage", "--full"),
    "unknown method": (("--method", "rlhf"), "spec", "method"),
    "negative seed": (("--seed", "-3"), "spec", "seed"),
    "no fraction": (("--validation", "1.5"), "usage", "fraction"),
    "a fraction of no number": (("--validation", "nan"), "usage", "fraction"),
    "max cost of letters": (("--max-cost", "abc"), "spec", "max_cost"),
    "unknown profile": (("--profile", "prd"), "config", "prd"),
    "set without a value": (("--set", "warmup_ratio"), "usage", "NAME=VALUE"),
    "tag without a value": (("--tag", "team"), "usage", "NAME=VALUE"),
    "tag twice": (("--tag", "a=1", "--tag", "a=2"), "usage", "twice"),
    "epochs twice": (("--epochs", "3", "--set", "epochs=4"), "usage", "twice"),
    "empty key": (("--key", ""), "usage", "key"),
    "unknown switch": (("--epoch", "3"), "usage", "--epochs"),
    "epochs of letters": (("--epochs", "three"), "usage", "--epochs"),
    "a value is missing": (("--epochs",), "usage", "epochs"),
}  # fmt: skip


@pytest.mark.parametrize("name", USE)
def test_usage_errors_are_2_before_anything_is_sent(cli, data, name):
    words, code, text = USE[name]
    error = cli.error(2, "create", data, "--yes", *words)
    assert error["code"] == code
    assert text in error["what"] + error["hint"]
    ran = cli("create", data, "--yes", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("✗ ")
    assert "\n  where " in ran.err
    assert cli.ok("list", "--json").json == {"jobs": []}


FILES = {
    "broken toml": "profile = \n",
    "a key in it": '[profiles.dev]\nprovider = "openai"\napi_key = "sk-abcdefgh12345678"\n',
    "unknown setting": 'provder = "fake"\n',
    "profile is not there": 'profile = "dev"\n[profiles.prod]\nprovider = "fake"\n',
}


@pytest.mark.parametrize("name", FILES)
def test_a_broken_configuration_is_2_and_names_the_place(cli, data, name):
    Path("ftsdk.toml").write_text(FILES[name])
    for words in (("create", data, "--yes"), ("list",), ("validate", data)):
        error = cli.error(2, *words)
        assert error["code"] == "config"
        assert "ftsdk.toml" in error["where"]
        assert "sk-abcdefgh" not in json.dumps(error)
    doctor = cli("doctor", "--json")
    assert doctor.code == 1
    assert "sk-abcdefgh" not in doctor.out


def test_a_missing_provider_lists_the_places_searched(cli, data, monkeypatch):
    monkeypatch.delenv("FTSDK_PROVIDER")
    error = cli.error(2, "create", data, "--yes")
    assert "FTSDK_PROVIDER" in error["where"]
    assert "ftsdk init" in error["hint"]


def test_a_home_that_cannot_be_used_is_2(cli, data, home):
    home.write_text("a file in place of the folder")
    for words in (("create", data, "--yes"), ("list",), ("show",)):
        error = cli.error(2, *words)
        assert error["code"] == "store"
        assert "FTSDK_HOME" in error["hint"]


def test_a_foreign_or_damaged_journal_is_2_and_not_changed(cli, data, home):
    home.mkdir()
    (home / "journal.db").write_bytes(b"not a database at all, but longer than its header" * 40)
    assert cli.error(2, "list")["code"] == "journal_damaged"
    assert (home / "journal.db").read_bytes().startswith(b"not a database")
    assert cli("doctor").code == 1


def test_the_same_key_for_other_data_is_2(cli, data):
    cli.ok("create", data, "--yes", "--key", "k", "--set", DONE)
    other = Path("other.jsonl")
    other.write_text(GOOD * 2)
    error = cli.error(2, "create", other, "--yes", "--key", "k")
    assert error["submitted"] == "no"
    assert len(cli.ok("list", "--json").json["jobs"]) == 1


@pytest.mark.parametrize(
    "command",
    ["show", "watch", "wait", "logs", "metrics", "events", "checkpoints", "cancel", "resume",
     "reconcile", "chat"],
)  # fmt: skip
def test_an_unknown_job_is_2_everywhere(cli, done, command):
    words = (command, "ftj_01ZZZZZZZZZZZZZZZZZZZZZZZZ")
    assert cli.error(2, *words)["code"] == "unknown_job"
    assert cli.error(2, command, "frist")["what"].endswith("did you mean 'first'?")


def test_an_ambiguous_id_asks_for_more(cli, done, running):
    error = cli.error(2, "show", done[:8])
    assert error["code"] == "unknown_job"
    assert "Several" in error["what"]


def test_an_ambiguous_name_asks_for_the_id(cli, done, data):
    cli.ok("create", data, "--yes", "-d", "--name", "first")
    assert "2 jobs" in cli.error(2, "show", "first")["what"]


def test_no_job_at_all_says_so(cli):
    assert cli.error(2, "watch")["what"] == "There is no job yet"


def test_cancelling_twice_is_harmless(cli, running):
    assert cli.ok("cancel", running, "--json").json["status"] == "cancelled"
    ran = cli.ok("cancel", running)
    assert "had already ended" in ran.out


def test_a_result_before_it_is_ready_is_5(cli, running, tmp_path):
    assert cli.error(5, "chat", running, "-m", "hi")["code"] == "not_ready"
    assert cli.error(5, "download", running, tmp_path / "out")["code"] == "not_ready"


def test_a_result_of_a_cancelled_job_is_5(cli, running):
    cli.ok("cancel", running)
    assert cli.error(5, "chat", running, "-m", "hi")["code"] == "job_cancelled"


def test_resume_and_resolve_without_need_are_2(cli, done):
    assert cli.error(2, "resume", done)["code"] == "usage"
    assert cli.error(2, "resolve", done, "--give-up")["code"] == "usage"
    assert cli.error(2, "resolve", done)["what"] == "Give exactly one decision"
    assert cli.error(2, "resolve", done, "--give-up", "--send-again")["code"] == "usage"


def test_an_unknown_status_names_the_right_ones(cli):
    assert "succeeded" in cli.error(2, "list", "--status", "done")["hint"]


def test_adopting_an_unknown_job_is_4(cli):
    assert cli.error(4, "adopt", "fake", "fake-0000000000000000")["code"] == "not_found"
    assert cli.error(4, "adopt", "fake", "../../etc/passwd")["code"] == "not_found"
    assert cli.error(2, "adopt", "nobody", "x")["code"] == "unknown_backend"


def test_exclusive_options_are_2(cli, done):
    assert cli.error(2, "logs", done, "--follow")["code"] == "usage"
    assert cli.error(2, "events", done, "--follow")["code"] == "usage"
    assert cli.error(2, "metrics", done, "--csv")["code"] == "usage"


def test_an_empty_message_is_2(cli, done):
    assert cli.error(2, "chat", done, "-m", " ")["code"] == "usage"
    assert cli.error(2, "chat", done)["code"] == "usage"


def test_no_such_command_offers_the_nearest(cli):
    error = cli.error(2, "crate")
    assert "create" in error["what"] + error["hint"]


def test_an_existing_configuration_is_kept(cli):
    Path("ftsdk.toml").write_text("# mine\n")
    assert cli.error(2, "init")["code"] == "config"
    assert Path("ftsdk.toml").read_text() == "# mine\n"
    cli.ok("init", "--force")
    assert "[profiles.dev]" in Path("ftsdk.toml").read_text()


def test_an_unwritable_folder_is_an_error(cli):
    Path("ftsdk.toml").mkdir()
    assert cli.error(2, "init", "--force")["code"] == "config"


def test_a_full_disk_is_2_and_leaves_no_partial_file(cli, data, monkeypatch):
    import errno
    import os

    def fsync(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("ftsdk.util.files.os.fsync", fsync)
        error = cli.error(2, "create", data, "--yes")
    assert error["code"] == "store"
    assert "space" in error["what"] + error["hint"]
    assert cli.ok("list", "--json").json == {"jobs": []}
    cli.ok("create", data, "--yes", "-d")


def test_two_creates_at_once_with_one_key_are_one_job(cli, data):
    import subprocess
    import sys

    words = ["create", str(data), "--key", "nightly", "--yes", "--detach", "--json"]
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "ftsdk", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    ended = [(one.communicate(timeout=90), one.returncode) for one in both]
    assert [code for _, code in ended] == [0, 0], ended
    assert len({json.loads(out)["id"] for (out, _), _ in ended}) == 1
    assert len(cli.ok("list", "--json").json["jobs"]) == 1
