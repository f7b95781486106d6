from __future__ import annotations

from pathlib import Path


def test_cancel_stops_a_job_and_prints_its_status(cli, running):
    ran = cli.ok("cancel", running)
    assert "cancelled  stopped" in ran.out
    assert cli.ok("show", running, "--json").json["status"] == "cancelled"


def test_cancel_a_job_that_was_never_sent(cli, data):
    assert cli("create", data, "--yes", "--set", "submit=not_sent").code == 4
    [job] = cli.ok("list", "--json").json["jobs"]
    assert job["status"] == "created"
    assert cli.ok("cancel", job["id"], "--json").json["status"] == "cancelled"


def test_resume_continues(cli, running):
    cli.ok("cancel", running)
    document = cli.ok("resume", running, "--json").json
    assert document["status"] == "queued"
    cli.ok("cancel", running)
    assert f"ftsdk watch {running}" in cli.ok("resume", running).out


def test_reconcile_finds_a_job_that_appears_late(cli, data, clock):
    words = ("--set", "submit=lost", "--set", "visible_after_s=300")
    error = cli.error(4, "create", data, "--yes", *words)
    assert error["submitted"] == "maybe"
    waiting = cli.ok("reconcile", "--json").json
    assert waiting["jobs"][0]["status"] == "in_doubt"
    assert waiting["errors"] == []
    assert "not found yet" in cli.ok("reconcile").out
    clock.advance(300)
    ran = cli.ok("reconcile")
    assert "found at fake as fake-" in ran.out
    assert "nothing was sent again" in ran.out
    assert "No job is in doubt." in cli.ok("reconcile").out


def test_a_job_that_never_appears_needs_a_decision_in_every_view(cli, data, clock):
    words = ("--set", "submit=lost", "--set", "visible_after_s=100000")
    job = cli.error(4, "create", data, "--yes", *words)["job_id"]
    assert "in doubt" in cli.ok("show", job).out
    clock.advance(3600)
    assert "needs a decision  not found, looking for ft" in cli.ok("reconcile").out
    assert "needs a decision" in cli.ok("show", job).out
    assert "needs a decision" in cli("list").out


def test_resolve_by_giving_up(cli, data):
    cli("create", data, "--yes", "--set", "submit=lost_request")
    [job] = cli.ok("list", "--json").json["jobs"]
    assert cli.ok("resolve", job["id"], "--give-up", "--json").json["status"] == "failed"


def test_resolve_by_adopting(cli, data, home):
    """A job that shows too late to be found by itself, and that somebody saw on the page."""
    words = ("--set", "submit=lost", "--set", "visible_after_s=9999")
    cli("create", data, "--yes", *words)
    [job] = cli.ok("list", "--status", "in_doubt", "--json").json["jobs"]
    [theirs] = [path.stem for path in (home / "fake").glob("fake-*.json")]
    ran = cli.ok("resolve", job["id"], "--adopt", theirs)
    assert f"is {theirs} at fake" in ran.out


def test_one_job_of_the_provider_is_not_adopted_twice(cli, data, done):
    theirs = cli.ok("show", done, "--json").json["provider_job_id"]
    cli("create", data, "--yes", "--seed", 9, "--set", "submit=lost_request")
    [job] = cli.ok("list", "--status", "in_doubt", "--json").json["jobs"]
    assert done in cli.error(2, "resolve", job["id"], "--adopt", theirs)["where"]


def test_sending_again_is_asked_for(cli, data, monkeypatch):
    cli("create", data, "--yes", "--set", "submit=lost_request")
    [job] = cli.ok("list", "--json").json["jobs"]
    words = ("resolve", job["id"], "--send-again")
    assert cli.error(7, *words)["code"] == "needs_decision"
    assert cli(*words, "--no-input").code == 7
    refused = cli(*words, stdin="\n")
    assert refused.code == 1
    assert "twice" in refused.err
    assert cli.ok("show", job["id"], "--json").json["status"] == "in_doubt"
    from ftsdk.backends.fake import FakeBackend

    original = FakeBackend._options
    found = lambda self, spec: {**original(self, spec), "submit": "ok"}
    monkeypatch.setattr(FakeBackend, "_options", found)
    assert "is fake-" in cli.ok(*words, "--yes").out


def test_a_job_that_was_never_sent_is_sent_without_asking(cli, data):
    cli("create", data, "--yes", "--set", "submit=not_sent")
    [job] = cli.ok("list", "--json").json["jobs"]
    assert (
        cli("resolve", job["id"], "--send-again").code == 4
    )  # still not reachable, which is an error


def test_adopting_twice_is_one_job(cli, done, tmp_path, monkeypatch):
    theirs = cli.ok("show", done, "--json").json["provider_job_id"]
    assert cli.ok("adopt", "fake", theirs, "--json").json["id"] == done
    assert f"is {theirs} at fake" in cli.ok("adopt", "fake", theirs).out


def test_an_adopted_job_shows_no_rows(cli, done, home):
    theirs = cli.ok("show", done, "--json").json["provider_job_id"]
    (home / "journal.db").unlink()  # another machine, which did not make it
    adopted = cli.ok("adopt", "fake", theirs, "--json").json["id"]
    shown = cli.ok("show", adopted).out
    assert "the job was created elsewhere" in shown
    assert "0 rows" not in shown
    assert "None" not in shown


def test_download_copies_the_result(cli, done):
    document = cli.ok("download", done, "out", "--json").json
    assert set(document["files"]) == {"rows.jsonl", "ftsdk.json"}
    assert document["size_bytes"] == sum(f.stat().st_size for f in Path("out").iterdir())
    assert "2 files" in cli.ok("download", done, "out2").out


def test_cancel_of_a_job_in_doubt_asks_nobody_and_says_so(cli, data):
    words = ("--set", "submit=lost", "--set", "visible_after_s=300")
    job_id = cli.error(4, "create", data, "--yes", *words)["job_id"]
    error = cli.error(7, "cancel", job_id)
    assert "nobody could be asked to cancel it; it is cancelled once it is found" in error["what"]
    ran = cli("cancel", job_id)
    assert "was asked to stop" not in ran.out
