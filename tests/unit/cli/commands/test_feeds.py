from __future__ import annotations

import csv
import io

import pytest

from ftsdk.backends.fake import FakeBackend
from ftsdk.cli.commands.feeds import lines_after
from ftsdk.types.events import MetricPoint


def test_logs_print_lines_and_only_the_last_if_asked(cli, done):
    lines = cli.ok("logs", done).out.strip().split("\n")
    assert len(lines) == 8, "two statuses and six steps: 12 rows, 8 in a batch, 3 epochs"
    assert cli.ok("logs", done, "-n", "2").out.strip().split("\n") == lines[-2:]
    assert cli.ok("logs", "-n", "0").out == ""
    document = cli.ok("logs", done, "--json", "--tail", 3).json
    assert document["job_id"] == done
    assert len(document["lines"]) == 3


def test_logs_follow_to_the_end(cli, running):
    lines = cli.ok("logs", running, "-n", "1", "--follow").out.strip().split("\n")
    assert "step 2/6" in lines[0]
    assert "step 3/6" in lines[1]
    assert "succeeded" in lines[-1]


def test_logs_lose_control_sequences_and_secrets(cli, done, monkeypatch):
    lines = [
        "\x1b[2J\x1b[1;1Hgone",
        "Authorization: Bearer abcdefghijklmnop",
        "key sk-abcdefgh1234",
    ]
    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.logs", lambda *_, **__: lines)
    out = cli.ok("logs", done).out
    assert out == "gone\nAuthorization: ***\nkey ***\n"
    assert "abcdefgh" not in cli.ok("logs", done, "--json").out


def test_metrics_draw_a_curve_and_a_table(cli, done):
    out = cli.ok("metrics", done).out
    assert "1.748 ┤" in out
    assert "train loss" in out
    rows = [line.split() for line in out.split("\n") if line.strip().startswith("6 ")]
    assert rows == [["6", "3.00", "0.7257", "0"]]


def test_metrics_have_every_point_as_json_and_csv(cli, done):
    points = cli.ok("metrics", done, "--json").json["metrics"]
    assert [p["step"] for p in points] == list(range(1, 7))
    assert points[0]["train_loss"] == 1.7484
    table = list(csv.DictReader(io.StringIO(cli.ok("metrics", done, "--csv").out)))
    assert [float(row["train_loss"]) for row in table] == [p["train_loss"] for p in points]
    assert table[0]["validation_loss"] == ""


def test_metrics_of_a_method_are_columns(cli, done, monkeypatch):
    points = [
        MetricPoint(
            step=1, train_loss=0.7, raw={"rewards/margins": 0.25, "train_loss": 0.7, "of": "x"}
        ),
        MetricPoint(step=2, validation_accuracy=0.5, raw={"validation_rewards/margins": -0.5}),
    ]
    monkeypatch.setattr("ftsdk.jobs.job.FineTuneJob.metrics", lambda _: points)
    table = list(csv.DictReader(io.StringIO(cli.ok("metrics", done, "--csv").out)))
    assert table[0]["rewards/margins"] == "0.25"
    assert table[1]["validation_rewards/margins"] == "-0.5"
    assert "of" not in table[0]
    out = cli.ok("metrics", done).out
    assert "validation margin" in out
    assert [line.split() for line in out.split("\n") if line.strip().startswith("2 ")] == [
        ["2", "0.5000", "-0.5"]
    ]


def test_a_job_without_points_says_so(cli, data):
    cli.ok("create", data, "--yes", "-d")
    assert "No points yet." in cli.ok("metrics").out
    assert cli.ok("metrics", "--csv").out.startswith("step,epoch,")
    assert "No checkpoints." in cli.ok("checkpoints").out


def test_events_in_order_and_by_kind(cli, done):
    lines = cli.ok("events", done).out.strip().split("\n")
    assert lines[0].split()[1:] == ["status", "running"]
    assert all(
        " metric " in line for line in cli.ok("events", "--kind", "metric").out.split("\n")[:5]
    )
    events = cli.ok("events", done, "--json").json["events"]
    assert {"id", "seq", "time", "kind", "message", "data"} == set(events[0])
    assert [e["seq"] for e in events] == sorted(e["seq"] for e in events)
    later = cli.ok("events", done, "--after", events[-2]["seq"], "--json").json["events"]
    assert later == events[-1:]


def test_events_follow_to_the_end(cli, running):
    lines = cli.ok("events", running, "--follow", "--kind", "status").out.strip().split("\n")
    assert [line.split()[-1] for line in lines] == ["queued", "running", "finalizing", "succeeded"]


@pytest.mark.parametrize("command", ["logs", "events"])
def test_ctrl_c_ends_following(cli, running, monkeypatch, clock, command):
    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(clock, "sleep", sleep)
    assert cli(command, running, "--follow").code == 130


def test_checkpoints_are_listed(cli, done):
    head, *lines = cli.ok("checkpoints", done).out.strip().split("\n")
    assert head.split() == ["step", "id"], "a column without values has no heading"
    assert [line.split()[0] for line in lines] == ["3", "6"]
    kept = cli.ok("checkpoints", done, "--json").json["checkpoints"]
    assert [c["step"] for c in kept] == [3, 6]


def test_a_backend_without_feeds_is_named(cli, done, monkeypatch):
    from ftsdk.backends.base import Backend

    monkeypatch.setattr("ftsdk.backends.fake.FakeBackend.logs", Backend.logs)
    assert cli.error(2, "logs", done)["code"] == "unsupported"


@pytest.mark.parametrize(
    ("seen", "lines", "fresh"),
    [
        ("abc", "abcde", "de"), ("abc", "abc", ""), ("", "ab", "ab"), ("abc", "ab", ""),
        ("abc", "", ""), ("abcd", "cdef", "ef"), ("abcd", "bcd", ""), ("abc", "xyz", "xyz"),
        ("aab", "abab", "ab"), ("aaa", "aaaa", "a"), ("abab", "abx", "x"),
    ],
)  # fmt: skip
def test_the_lines_that_follow(seen, lines, fresh):
    assert lines_after(list(seen), list(lines)) == list(fresh)


@pytest.mark.parametrize("kept", [1000, 3])
def test_logs_follow_prints_every_line_once(cli, running, monkeypatch, clock, kept):
    written, polls = [f"line {i}" for i in range(4)], []

    def logs(self, identity, *, tail=None):
        polls.append(identity)
        # Two lines appear between any two reads.
        written.extend(f"line {len(written)}" for _ in range(2))
        lines = written[-kept:]
        return lines if tail is None else lines[max(0, len(lines) - tail) :]

    monkeypatch.setattr(FakeBackend, "logs", logs)
    printed = cli.ok("logs", running, "--follow", "-n", "2").out.split("\n")[:-1]
    first = int(printed[0].removeprefix("line "))
    assert first == 4
    assert printed == [f"line {i}" for i in range(first, len(written))]
    assert len(polls) > 5


@pytest.mark.parametrize("last", [False, True])
def test_one_failed_read_does_not_end_following_and_loses_no_line(cli, running, monkeypatch, last):
    from ftsdk.backends.fake import FakeBackend
    from ftsdk.errors import NotFound, Unavailable

    whole = cli.ok("logs", running, "--follow").out
    monkeypatch.setattr("ftsdk.jobs.job.FineTuneJob.is_final", property(lambda self: ended[0]))
    ended, reads, logs = [False], [], FakeBackend.logs

    def read(self, identity, **facts):
        reads.append(identity)
        ended[0] = len(reads) > 3
        if len(reads) in ((4, 5) if last else (2, 3)):
            raise (NotFound if len(reads) % 2 else Unavailable)("not now")
        return logs(self, identity, **facts)[: len(reads)]

    monkeypatch.setattr(FakeBackend, "logs", read)
    printed = cli.ok("logs", running, "--follow").out.split("\n")[:-1]
    assert printed == whole.split("\n")[: len(printed)]
    assert len(printed) == len(reads)


def test_a_log_that_stays_away_ends_following(cli, running, monkeypatch):
    from ftsdk.backends.fake import FakeBackend
    from ftsdk.errors import NotFound

    logs, reads = FakeBackend.logs, []

    def read(self, identity, **facts):
        reads.append(identity)
        if len(reads) > 1:
            raise NotFound("gone")
        return logs(self, identity, **facts)

    monkeypatch.setattr(FakeBackend, "logs", read)
    assert cli("logs", running, "--follow").code == 4
    assert len(reads) > 3
