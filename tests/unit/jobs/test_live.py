"""What `wait` shows: a bar on a terminal when asked, a card in a notebook, nothing in a pipe."""

from __future__ import annotations

import asyncio
import io
import re
from types import SimpleNamespace

import pytest

from ftsdk.async_client import AsyncFineTuneJob
from ftsdk.backends.fake import FakeBackend
from ftsdk.errors import Unavailable
from ftsdk.jobs import live
from ftsdk.types.events import MetricPoint, Progress
from ftsdk.types.status import JobStatus


class Screen(io.StringIO):
    """A terminal, or a pipe."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def python_on(screen: Screen, **more: str) -> SimpleNamespace:
    """A `sys` whose errors go to this screen; `ps1` is there at a prompt."""
    return SimpleNamespace(stderr=screen, modules={}, flags=SimpleNamespace(interactive=0), **more)


@pytest.fixture
def terminal(monkeypatch) -> Screen:
    screen = Screen(is_terminal=True)
    monkeypatch.setattr(live, "sys", python_on(screen))
    monkeypatch.setenv("COLUMNS", "80")
    return screen


def test_a_bar_when_asked_that_ends_its_line(client, rows, terminal, capsys) -> None:
    client.create_job(rows(40), epochs=3).wait(progress=True)
    shown = terminal.getvalue()
    lines = shown.rstrip("\n").split("\r")
    assert lines[-1].startswith("succeeded  ━")
    assert shown.endswith("\n")
    assert any("running" in line and re.search(r"\d+ % · step \d+ of \d+", line) for line in lines)
    assert any("loss " in line for line in lines)
    assert max(map(len, lines)) < 80
    assert capsys.readouterr().out == ""


def test_nothing_in_a_script_unless_asked(client, rows, terminal) -> None:
    client.create_job(rows(12)).wait()
    assert terminal.getvalue() == ""


def test_a_bar_by_default_at_a_prompt_unless_refused(client, rows, terminal, monkeypatch) -> None:
    monkeypatch.setattr(live, "sys", python_on(terminal, ps1=">>> "))
    client.create_job(rows(12), seed=1).wait(progress=False)
    assert terminal.getvalue() == ""
    client.create_job(rows(12), seed=2).wait()
    assert "100 %" in terminal.getvalue()


def test_nothing_in_a_pipe_even_when_asked(client, rows, monkeypatch) -> None:
    pipe = Screen(is_terminal=False)
    monkeypatch.setattr(live, "sys", python_on(pipe))
    client.create_job(rows(12)).wait(progress=True)
    assert pipe.getvalue() == ""


def test_metrics_that_cannot_be_read_do_not_end_the_wait(
    client, rows, terminal, monkeypatch
) -> None:
    def away(*_: object) -> None:
        raise Unavailable("no metrics now")

    monkeypatch.setattr(FakeBackend, "metrics", away)
    job = client.create_job(rows(12)).wait(progress=True)
    assert job.status is JobStatus.SUCCEEDED
    assert "100 %" in terminal.getvalue()
    assert "loss" not in terminal.getvalue()


def test_the_bar_ends_its_line_when_interrupted(client, rows, terminal) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.create_job(rows(12)).wait(on_event=stop, progress=True)
    assert terminal.getvalue().endswith("\n")


def test_the_awaited_wait_shows_the_same(client, rows, terminal) -> None:
    job = AsyncFineTuneJob(client.create_job(rows(12)))
    asyncio.run(job.wait(progress=True))
    assert "succeeded" in terminal.getvalue()


@pytest.mark.parametrize("width", [20, 40, 79, 200])
def test_a_line_fits_and_has_no_control_characters(client, rows, width) -> None:
    job = client.create_job(rows(12)).snapshot
    now = Progress(fraction=0.64, step=57, total_steps=90, tokens_per_s=1180.0, eta_s=4000.0)
    running = job.model_copy(update={"status": JobStatus.RUNNING, "progress": now})
    line = live.bar_line(running, [MetricPoint(step=1, train_loss=1.02)], width)
    assert len(line) <= width
    queued = job.model_copy(update={"message": "in\nline \x1b[2J", "progress": None})
    assert live.bar_line(queued, [], width).isprintable()
    if width == 200:
        assert line.endswith("64 % · step 57 of 90 · loss 1.02 · 1,180 tok/s · 1:06:40 left")
