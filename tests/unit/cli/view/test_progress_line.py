from __future__ import annotations

import datetime as dt

import pytest

from ftsdk.cli.view.loss_curve import draw
from ftsdk.cli.view.progress_line import Row, bar, live_line, plain_line
from ftsdk.types.events import Progress
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


def snapshot(status: JobStatus = JobStatus.RUNNING, **more) -> JobSnapshot:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return JobSnapshot(
        id="ftj_01KDVDNA00MWREF83YY7FG6YVF", provider="local", status=status, model="m", tag="t",
        client_token="c", fingerprint="f", created_at=now, updated_at=now, **more,
    )  # fmt: skip


def row(**more) -> Row:
    progress = Progress(fraction=0.64, step=57, total_steps=90, tokens_per_s=1180.4, eta_s=46)
    losses = [2.41 * 0.98**i for i in range(57)]
    return Row("ftj_01KDVDNA00", snapshot(progress=progress, **more), losses)


def test_a_wide_line_shows_everything():
    line = live_line(row(), 140).plain
    assert line.startswith("ftj_01KDVDNA00  running     ━━━━")
    for part in ("64 %", "step 57/90", "loss 2.41 ", "1,180 tok/s", "0:46 left"):
        assert part in line
    assert "▁" in line
    assert "█" in line


def test_a_line_never_exceeds_its_terminal():
    wide = Row("ftj_x", snapshot(message="日本語" * 30))
    for width in range(1, 200):
        assert live_line(row(), width).cell_len <= width
        assert live_line(wide, width).cell_len <= width


def test_a_narrow_line_drops_the_least_important_first():
    kept = {w: live_line(row(), w).plain for w in (120, 100, 80, 60)}
    assert "tok/s" in kept[120]
    assert "tok/s" not in kept[100] or "▁" in kept[100]
    assert "64 %" in kept[60]
    assert "left" in kept[80]


def test_unknown_values_are_left_out():
    line = live_line(Row("ftj_x", snapshot(JobStatus.QUEUED, message="in line")), 100).plain
    assert line.split() == ["ftj_x", "queued", "in", "line"]
    bare = live_line(Row("ftj_x", snapshot(progress=Progress(fraction=0.5))), 100).plain
    assert "step" not in bare
    assert "50 %" in bare


def test_trouble_replaces_the_bar():
    troubled = Row("ftj_x", row().snapshot, (), "cannot ask just now: \x1b[31mtimeout")
    line = live_line(troubled, 100).plain
    assert "cannot ask just now: timeout" in line
    assert "━" not in line
    assert plain_line(troubled).endswith("cannot ask just now: timeout")


def test_an_ended_job_has_no_speed_and_no_time_left():
    line = live_line(row(), 140).plain
    ended = live_line(
        Row("x", snapshot(JobStatus.SUCCEEDED, progress=row().snapshot.progress)), 140
    )
    assert "left" in line
    assert "left" not in ended.plain
    assert "tok/s" not in ended.plain


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [(0, "────"), (0.125, "╸───"), (0.5, "━━──"), (0.6, "━━╸─"), (1, "━━━━"), (7, "━━━━"), (-1, "────")],
)  # fmt: skip
def test_bars(fraction, shown):
    assert bar(fraction, 4, "").plain == shown


def test_plain_lines_for_a_log():
    assert plain_line(row()).split("  ") == [
        "ftj_01KDVDNA00", "running", "64 %", "step 57/90", "loss 0.777", "1,180 tok/s", "0:46 left",
    ]  # fmt: skip


def test_a_curve_falls_from_upper_left_to_lower_right():
    lines = [line.plain for line in draw([(1, 2.0), (10, 1.0)], [(10, 1.2)], width=20, height=5)]
    assert lines[0].startswith("  2.000 ┤")
    assert lines[4].startswith("  1.000 ┤")
    assert "●" in lines[3] or "●" in lines[4]
    assert lines[-1].split() == ["step", "1", "10"]
    first = [line[9:].strip() for line in lines[:5]]
    assert all(first)
    assert lines[0][9] != " "
    assert lines[4].rstrip().endswith("⣀") or lines[4].rstrip().endswith("●")
    assert len(lines[0].rstrip()) < len(lines[4].rstrip())


def test_a_curve_needs_two_points_and_takes_equal_ones():
    assert draw([(1, 2.0)]) == []
    assert draw([]) == []
    assert len(draw([(1, 2.0), (1, 2.0)], height=3)) == 5
