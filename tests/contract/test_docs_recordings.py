"""The recordings of a terminal: of the commands that the scripts type, drawn from what they print."""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import load_script

pytest.importorskip("pty", reason="this system has no pseudo terminals")

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def terminal() -> ModuleType:
    return load_script(DOCS / "terminal.py")


@pytest.fixture(scope="module")
def first_hour(terminal: ModuleType) -> ModuleType:
    return load_script(DOCS / "first_hour.py")  # imports `terminal`, as it does when it is run


def text_of(name: str) -> str:
    """What a reader sees in a picture or a fragment, with single spaces."""
    raw = (DOCS / "assets" / name).read_text(encoding="utf-8")
    raw = re.sub(r"<style>.*?</style>", "", raw, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"</?(?:span|b|pre|text)\b[^>]*>", "", raw)).split())


def test_the_pictures_show_the_commands_of_their_scripts(
    terminal: ModuleType, first_hour: ModuleType
) -> None:
    commands = list(terminal.COMMANDS)
    for name, typed in {
        "terminal.svg": commands,
        "terminal.html": commands[-2:],
        "first-hour.svg": first_hour.STEPS,
    }.items():
        shown = text_of(name)
        for command in typed:
            assert command in shown, (name, "python docs/terminal.py, python docs/first_hour.py")
        for word in ("Traceback", "✗", "No such command", "refused"):
            assert word not in shown, name


def test_the_first_hour_ends_with_an_answer_of_the_tuned_model() -> None:
    shown = text_of("first-hour.svg")
    assert re.search(r"pip install -q '\./ftsdk-\S+\.whl\[local\]'", shown)
    assert re.search(r"ftsdk chat -m 'my parcel is late' # [\d.]+ min .*\[shipping/late\]", shown)
    assert re.search(r"[\d.]+ minutes in all", shown)


def test_a_command_is_recorded_as_its_terminal_shows_it(
    terminal: ModuleType, tmp_path: Path
) -> None:
    code = (
        r"import os; print('one\rtwo', os.environ['COLUMNS']); print('\x1b[1;32mgreen\x1b[0m <b>')"
    )
    env = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    one = terminal.record(f'{Path(sys.executable).name} -c "{code}"', "", tmp_path, env)
    assert one.lines[-1] == "\x1b[1;32mgreen\x1b[0m <b>"
    assert one.lines[-2].endswith(f"two {terminal.WIDTH}")
    assert one.seconds > 0
    fragment = terminal.as_html([one])
    assert '<span class="bold green">green</span> &lt;b&gt;' in fragment
    picture = terminal.as_svg([one], "a title · of it", minutes=True)
    assert "min" in picture
    assert "@font-face" not in picture
    assert picture == terminal.as_svg([one], "a title · of it", minutes=True)


def test_a_command_that_fails_ends_the_recording(terminal: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="false ended with 1"):
        terminal.record("false", "", tmp_path, {"PATH": "/usr/bin:/bin"})


def test_a_new_user_has_nothing_but_the_network(
    first_hour: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("FTSDK_HOME", "/somewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    env = first_hour.environment(tmp_path / "bin", tmp_path)
    assert not {"OPENAI_API_KEY", "FTSDK_HOME", "PYTHONPATH"} & env.keys()
    assert env["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert env["PATH"].startswith(str(tmp_path / "bin"))
    assert env["HOME"] == str(tmp_path)
