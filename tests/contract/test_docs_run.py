"""Every Python block of the documentation runs, page by page, in the order of the page.

A page is one program in a process of its own: home and working folder are new, the profile is
`fake`, and the examples lie where the README says. Comments before a block, which no reader sees,
say what else it needs:

    <!-- norun: the reason -->         the block is only compiled
    <!-- profile: local -->            the page runs on `local`, where that can be
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?:<!-- norun: (?P<reason>[^>]+) -->\n)?^(?P<fence>`{3,})(?P<info>[^\n`]*)\n"
    r"(?P<code>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
CONFIG = """
model = "smollm2-135m"
[profiles.fake]
provider = "fake"
[profiles.test]
provider = "fake"
[profiles.other]
provider = "fake"
hyperparameters = { epochs = 1 }
[profiles.local]
provider = "local"
provider_options = { pull = true }
"""


@dataclass(frozen=True)
class Block:
    """One fenced Python block: its first line in the page, its text, why it cannot run."""

    line: int
    code: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    """The Python blocks of a page; a fence inside a longer fence is text, not code."""
    return [
        Block(text.count("\n", 0, match.start("code")) + 1, match["code"], match["reason"])
        for match in BLOCK.finditer(text)
        if match["info"].strip() == "python"
    ]


def program(page: Path) -> str:
    """The page as one program whose line numbers are those of the page."""
    lines: list[str] = []
    for block in blocks(page.read_text()):
        compile(block.code, str(page), "exec")
        if block.reason is None:
            lines += [""] * (block.line - 1 - len(lines))
            lines += block.code.rstrip("\n").split("\n")
    return "\n".join(lines) + "\n"


PAGES = [
    page
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
    if blocks(page.read_text())
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_page_runs(page: Path, tmp_path: Path) -> None:
    if "<!-- profile: local -->" in page.read_text():
        pytest.importorskip("torch", reason="the page trains a model; needs the extra `local`")
        profile = "local"
    else:
        profile = "fake"
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "ftsdk.toml").write_text(CONFIG)
    (tmp_path / "examples" / "ftsdk.toml").unlink(missing_ok=True)
    file = tmp_path / "page.py"
    file.write_text(program(page))
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=tmp_path,
        env={**os.environ, "FTSDK_PROFILE": profile, "FTSDK_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ran.returncode == 0, f"{page.relative_to(ROOT)}\n{ran.stdout}\n{ran.stderr}"


def test_docstring_examples_of_the_root_compile() -> None:
    import ftsdk

    example = [line[4:] for line in (ftsdk.__doc__ or "").split("\n") if line.startswith("    ")]
    compile("\n".join(example), "ftsdk", "exec")


def test_the_reader_of_pages_sees_what_it_should() -> None:
    page = (
        "```python\na = 1\n```\n\n<!-- norun: needs a key -->\n```python\nb = 2\n```\n\n"
        "````markdown\n```python\nnot code\n```\n````\n\n```toml\nc = 3\n```\n"
    )
    assert blocks(page) == [Block(2, "a = 1\n", None), Block(7, "b = 2\n", "needs a key")]


def test_a_page_that_fails_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nraise SystemExit(3)\n```\n")
    source = program(page)
    assert source.split("\n")[3] == "raise SystemExit(3)", "line numbers are those of the page"
    ran = subprocess.run([sys.executable, "-c", source], check=False)
    assert ran.returncode == 3


def test_every_block_that_cannot_run_says_why() -> None:
    for page in PAGES:
        for block in blocks(page.read_text()):
            assert block.reason is None or len(block.reason) > 8, f"{page}:{block.line}"
