"""Progress by the growth of a folder."""

from __future__ import annotations

from pathlib import Path

from ftsdk.backends.local.models.pull_progress import PullProgress, watch_growth


def test_growth_is_reported_up_to_the_expected_size(tmp_path: Path) -> None:
    reports: list[PullProgress] = []
    with watch_growth(tmp_path, "m", 10, reports.append, every_s=0.001):
        (tmp_path / "f").write_bytes(b"0" * 25)
        while len(reports) < 3:
            pass
    assert reports[0] == PullProgress("m", "download", 0, 10)
    assert reports[-1] == PullProgress("m", "download", 10, 10)
    assert all(progress.done_bytes <= 10 for progress in reports)
