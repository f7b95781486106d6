"""Exporting, checking and pruning the journal from the command line."""

from __future__ import annotations

import json

from .conftest import DONE


def make(cli, data, **words):
    flags = [str(w) for pair in words.items() for w in (f"--{pair[0]}", pair[1])]
    return cli.ok("create", data, "--yes", "--json", "--set", DONE, *flags).json["id"]


def test_export_gives_a_line_for_each_job(cli, data, tmp_path):
    ids = [make(cli, data, seed=n) for n in range(2)]
    lines = cli.ok("journal", "export").out.split("\n")
    assert [json.loads(line)["job"]["id"] for line in lines[:-1]] == ids
    target = tmp_path / "out.jsonl"
    cli.ok("journal", "export", target)
    assert target.read_text() == "\n".join(lines)
    assert target.stat().st_mode & 0o777 == 0o600
    assert cli("journal", "export", target).code == 2


def test_check_says_that_it_is_sound(cli, data):
    make(cli, data)
    assert "is sound: 1 jobs" in cli.ok("journal", "check").out
    assert cli.ok("journal", "check", "--json").json["ok"] is True


def test_check_finds_damage(cli, data, home):
    make(cli, data)
    path = home / "journal.db"
    raw = bytearray(path.read_bytes())
    raw[4096 : 4096 + 2048] = b"\xff" * 2048
    path.write_bytes(bytes(raw))
    error = cli.error(2, "journal", "check")
    assert error["code"] == "journal_damaged"


def test_forget_asks_and_spares_the_young(cli, data):
    job = make(cli, data)
    assert cli.ok("journal", "forget", "--json").json == {"forgotten": []}
    cli.ok("list")
    assert [j["id"] for j in cli.ok("list", "--json").json["jobs"]] == [job]
