"""On a real (pseudo) terminal: colour, the live bar, questions, Ctrl-C, a conversation."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="this system has no pseudo terminals")

from tests.unit.cli.conftest import DONE, LONG  # noqa: E402  # after the skip

_PATIENCE_S = 60.0
# Makes the pseudo terminal the one that Ctrl-C on it reaches, then becomes the command. Tests that
# run in the background of a shell inherit from it that Ctrl-C is ignored; at a terminal it is not.
_TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "ftsdk", *sys.argv[1:]])
"""


class Terminal:
    """A process on a pseudo terminal: wait for words, type, see how it ended."""

    def __init__(self, *words: object, columns: int = 120, **env: str) -> None:
        import fcntl
        import termios

        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
        environment.pop("NO_COLOR", None)
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *map(str, words)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=environment | env,
        )  # fmt: skip
        os.close(theirs)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return True
        try:
            chunk = os.read(self._fd, 65536)
        except OSError:  # how Linux signals the end of a terminal
            return False
        self.seen += self._decoder.decode(chunk)
        return bool(chunk)

    def until(self, words: str) -> None:
        """Read until the words were shown; fails after a minute."""
        limit = time.monotonic() + _PATIENCE_S
        while words not in self.plain:
            assert time.monotonic() < limit, f"never saw {words!r} in {self.plain[-2000:]!r}"
            assert self._read(0.2) or words in self.plain, f"ended: {self.plain[-2000:]!r}"

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def end(self, pressing: str = "") -> int:
        """Read to the end and give the exit code; `pressing` is typed every other second till then.

        A signal between Python's prompt and its wait for a key is seen at the next key only.
        """
        limit, press = time.monotonic() + _PATIENCE_S, time.monotonic()
        while self._read(0.2):
            now = time.monotonic()
            assert now < limit, self.plain[-2000:]
            if pressing and now >= press:
                press = now + 2
                with contextlib.suppress(OSError):  # it has just ended
                    self.type(pressing)
        return self._process.wait(_PATIENCE_S)

    def close(self) -> None:
        """Leave nothing behind when a test failed half way."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_PATIENCE_S)

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", self.seen)


@pytest.fixture
def terminal(cli) -> Iterator[type[Terminal]]:
    """Opens terminals, and closes them after the test."""
    opened: list[Terminal] = []

    def make(*words: object, **options) -> Terminal:
        opened.append(Terminal(*words, **options))
        return opened[-1]

    yield make  # type: ignore[misc]
    for one in opened:
        one.close()


def test_ctrl_c_while_watching_leaves_the_job_and_says_how_to_come_back(cli, data, terminal):
    started = terminal("create", data, "--yes", "-d", "--set", LONG)  # by the machine's own clock
    assert started.end() == 0
    screen = terminal("watch")
    screen.until("─")
    screen.type("\x03")
    assert screen.end() == 130
    tail = screen.plain.split("The job goes on without you.")[1]
    short = re.search(r"ftsdk watch (ftj_\w+) · ftsdk cancel (ftj_\w+)", tail)
    assert short
    assert short[1] == short[2]
    assert len(short[1]) == 14
    assert "Traceback" not in screen.plain
    assert "\x1b[?25h" in screen.seen.split("\x1b[?25l")[-1]  # the cursor is back
    assert cli.ok("list", "--offline", "--json").json["jobs"][0]["status"] in ("queued", "running")


def test_a_whole_job_on_a_terminal(cli, data, terminal):
    screen = terminal("create", data, "--set", DONE)
    screen.until("Start? [Y/n]")
    screen.type("y\n")
    assert screen.end() == 0
    assert "━" in screen.plain
    assert "succeeded" in screen.plain
    assert "\x1b[32m" in screen.seen  # green
    assert "ftsdk chat ftj_" in screen.plain


def test_no_color_means_none(cli, data, terminal):
    screen = terminal("create", data, "--yes", "--set", DONE, NO_COLOR="1")
    assert screen.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", screen.seen)


def test_an_error_on_a_terminal_is_three_lines(cli, terminal):
    screen = terminal("show", "ftj_01ZZZZZZZZZZ", columns=70)
    assert screen.end() == 2
    lines = [line.rstrip() for line in screen.plain.strip().split("\n")]
    assert lines[0] == "✗ No job ftj_01ZZZZZZZZZZ is in the journal"
    assert lines[1].startswith("  where  ")
    assert any(line.startswith("  hint   ") for line in lines)
    assert all(len(line) <= 70 for line in lines)


def test_tables_fit_eighty_columns(cli, data, done, terminal):
    """What matters is not cut off: the key of a provider, the status of a job, how a model is served."""
    shown = {}
    for words in (("backends",), ("list",), ("estimate", data, "--compare")):
        screen = terminal(*words, columns=80)
        assert screen.end() == 0
        shown[words[0]] = [line.rstrip() for line in screen.plain.split("\n") if line.strip()]
    for lines in shown.values():
        assert all(len(line) <= 80 for line in lines)
    assert any(line.endswith("TOGETHER_API_KEY") for line in shown["backends"])
    assert "…" not in "".join(shown["backends"] + shown["list"])
    assert re.search(r"ftj_\w{10}  succeeded  first", "\n".join(shown["list"]))
    assert any("your machine" in line for line in shown["estimate"])


def test_what_does_not_fit_continues_below(cli, data, done, terminal):
    """Nothing is cut off: notes of a plan, of a comparison, of checks, and both answers of a chat."""
    openai = ("--provider", "openai", "--model", "gpt-4.1-mini-2025-04-14")
    shown = {}
    for words in (
        ("plan", data, *openai), ("estimate", data, "--compare"), ("retirements",),
        ("doctor",), ("models",), ("chat", "--beside-base", "-m", " ".join(f"w{n}" for n in range(30))),
    ):  # fmt: skip
        screen = terminal(*words, columns=80)
        screen.end()
        lines = [line.rstrip().rpartition("\r")[2] for line in screen.plain.split("\n")]
        assert [line for line in lines if len(line) > 80] == [], words
        shown[words[0]] = " ".join(" ".join(lines).split())
    assert "n_epochs · default" in shown["plan"]
    assert "no new jobs from 6 Jan 2027" in shown["estimate"]
    assert "14 Jan 2027" in shown["estimate"]
    assert "no end date known" in shown["retirements"]
    assert "ftsdk models pull smollm2-135m" in shown["models"]
    for name in ("retirements", "doctor", "models", "chat"):
        assert "…" not in shown[name], name
    assert f"w0 {' '.join(f'w{n}' for n in range(1, 30))}" in shown["chat"]


def test_a_conversation(cli, done, home, terminal):
    screen = terminal("chat")
    screen.until("› ")
    screen.type("question number 3\n")
    screen.until("the answer is 21")
    screen.type("/nonsense\n")
    screen.until("/reset starts")
    screen.type("/reset\n")
    screen.type("question number 2\n")
    screen.until("the answer is 14")
    screen.type("/quit\n")
    assert screen.end() == 0
    kept = home / "chat_history"
    if kept.exists():  # where Python has readline
        assert "question number 3" in kept.read_text()
        assert kept.stat().st_mode & 0o077 == 0


def test_ctrl_c_and_ctrl_d_leave_a_conversation(cli, done, terminal):
    for key in ("\x03", "\x04"):
        screen = terminal("chat")
        screen.until("› ")
        assert screen.end(pressing=key) == 0
        assert "Traceback" not in screen.plain


def test_ctrl_c_at_a_question_starts_nothing(cli, data, terminal):
    screen = terminal("create", data)
    screen.until("Start?")
    assert screen.end(pressing="\x03") == 130
    assert cli.ok("list", "--json").json == {"jobs": []}


def test_a_pull_shows_its_bar(cli, terminal, tmp_path):
    source = Path("nothing.gguf")
    source.write_bytes(b"GGUF")
    screen = terminal("models", "pull", "smollm2-135m", "--source", source)
    assert screen.end() in (2, 4)  # the bytes are wrong, or the extra is not installed
    assert "Traceback" not in screen.plain
