"""The bar while rows go up: on a terminal, and nowhere else."""

from __future__ import annotations

import io
import re
import time

import pytest

from ftsdk.backends.upload_progress import current_listener, on_upload
from ftsdk.cli.view.upload_bar import show_upload


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True

    def until(self, words: str) -> str:
        limit = time.monotonic() + 30
        while words not in (shown := re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", self.getvalue())):
            assert time.monotonic() < limit, shown
            time.sleep(0.02)  # the screen is drawn by a thread of its own
        return shown


def screen_for(monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen()
    monkeypatch.setattr("sys.stderr", made)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    return made


def test_the_bar_is_shown_during_the_upload_only(monkeypatch):
    screen = screen_for(monkeypatch)
    with show_upload(quiet=False):
        listen = current_listener()
        assert "MB" not in screen.until("sending")
        listen(1_000_000, 4_000_000)
        assert "1.0/4.0 MB" in screen.until("uploading")
        screen.truncate(0)
        listen(4_000_000, 4_000_000)
        assert "4.0/4.0" not in screen.until("sending")
        listen(500_000, 4_000_000)  # the second file, or the first once more
        screen.until("0.5/4.0 MB")


def test_no_bar_for_programs(monkeypatch):
    screen = screen_for(monkeypatch)
    with show_upload(quiet=True):
        current_listener()(1, 2)
    assert screen.getvalue() == ""


def test_a_listener_is_called_within_its_block_only():
    seen: list[tuple[int, int]] = []
    current_listener()(1, 2)
    with on_upload(lambda *progress: seen.append(progress)):
        listen = current_listener()
        listen(-3, 10)
        listen(30, 10)
    current_listener()(5, 10)
    assert seen == [(0, 10), (10, 10)]
