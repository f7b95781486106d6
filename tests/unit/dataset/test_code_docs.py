"""The pages of the rules: one each, fresh, and found from the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ftsdk
from ftsdk.dataset import RULES
from ftsdk.dataset.code_docs import pages, write

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "errors"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the documentation is not beside the tests")
def test_pages_are_fresh_and_none_is_left_over() -> None:
    stale = [name for name, text in pages() if (FOLDER / name).read_bytes() != text.encode()]
    assert stale == [], "run `python -m ftsdk.dataset.code_docs docs/errors`"
    assert {p.name for p in FOLDER.iterdir()} == {name for name, _ in pages()}


def test_every_code_that_the_package_names_has_a_page() -> None:
    folder = Path(ftsdk.__file__).parent
    named = {c for p in folder.rglob("*.py") for c in re.findall(r'"(FT\d{3})"', p.read_text())}
    assert named - set(RULES) == set()


def test_every_rule_is_fired_somewhere() -> None:
    """A page that promises a check which nobody makes is worse than none."""
    folder = Path(ftsdk.__file__).parent
    source = "".join(p.read_text() for p in folder.rglob("*.py"))
    idle = [c for c, r in RULES.items() if r.check is None and source.count(f'"{c}"') < 2]
    assert idle == []


def test_a_page_is_written_once(tmp_path: Path) -> None:
    assert len(write(tmp_path)) == len(RULES) + 1
    assert write(tmp_path) == []
    index = (tmp_path / "index.md").read_text()
    assert all(f"[{code}]({code}.md)" in index for code in RULES)
