"""Exporting, checking and pruning the journal from the command line."""

from __future__ import annotations

import json

from ftsdk.store.journal import Journal
from tests.unit.cli.conftest import DONE


def make(cli, data, **words):
    flags = [str(w) for pair in words.items() for w in (f"--{pair[0]}", pair[1])]
    return cli.ok("create", data, "--yes", "--json", "--set", DONE, *flags).json["id"]


def test_exporting_no_journal_prints_nothing_and_creates_none(cli, home):
    assert cli.ok("journal", "export").out == ""
    assert not (home / "journal.db").exists()


def test_export_gives_a_line_for_each_job(cli, data, tmp_path):
    ids = [make(cli, data, seed=n) for n in range(2)]
    lines = cli.ok("journal", "export").out.split("\n")
    assert [json.loads(line)["job"]["id"] for line in lines[:-1]] == ids
    target = tmp_path / "out.jsonl"
    cli.ok("journal", "export", target)
    assert target.read_text() == "\n".join(lines)
    assert target.stat().st_mode & 0o777 == 0o600
    assert cli("journal", "export", target).code == 2


def test_backup_is_a_journal_that_can_be_put_back(cli, data, tmp_path, home, monkeypatch):
    job = make(cli, data)
    copy = tmp_path / "elsewhere" / "journal.db"
    error = cli.error(2, "journal", "backup", copy)
    assert "No such file" in error["what"]
    copy.parent.mkdir(mode=0o700)
    assert "1 job. To use it" in cli.ok("journal", "backup", copy).out
    assert copy.stat().st_mode & 0o777 == 0o600
    assert cli("journal", "backup", copy).code == 2  # nothing is overwritten
    moves = Journal(home).status_changes(job)
    assert Journal(copy.parent, read_only=True).status_changes(job) == moves
    monkeypatch.setenv("FTSDK_HOME", str(copy.parent))
    assert cli.ok("journal", "check", "--json").json["jobs"] == 1
    assert [one["id"] for one in cli.ok("list", "--json").json["jobs"]] == [job]


def test_check_of_a_sound_journal(cli, data):
    make(cli, data)
    assert "is sound: 1 job." in cli.ok("journal", "check").out
    assert cli.ok("journal", "check", "--json").json["ok"] is True


def test_check_finds_damage(cli, data, home):
    make(cli, data)
    path = home / "journal.db"
    raw = bytearray(path.read_bytes())
    raw[4096 : 4096 + 2048] = b"\xff" * 2048
    path.write_bytes(bytes(raw))
    error = cli.error(2, "journal", "check")
    assert error["code"] == "journal_damaged"


def test_a_truncated_journal_stops_every_command_except_export(cli, data, home, monkeypatch):
    job = make(cli, data)
    (home / "journal.db-unchecked").touch()  # a write was cut short
    with monkeypatch.context() as broken:
        broken.setattr(Journal, "integrity", lambda _: "row 1 missing from index")
        for words in (("list",), ("list",), ("journal", "check"), ("show", job)):
            error = cli.error(2, *words)
            assert error["code"] == "journal_damaged"
            assert "missing from index" in error["what"]
            assert "ftsdk journal export" in error["hint"]
        assert json.loads(cli.ok("journal", "export").out)["job"]["id"] == job
    cli.ok("list")
    assert not (home / "journal.db-unchecked").exists()


def test_forget_asks_and_keeps_recent_jobs(cli, data):
    job = make(cli, data)
    assert cli.ok("journal", "forget", "--json").json == {"forgotten": []}
    cli.ok("list")
    assert [j["id"] for j in cli.ok("list", "--json").json["jobs"]] == [job]
