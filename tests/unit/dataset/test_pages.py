"""The pages of the rules: one each, fresh, and found from the index."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.dataset import RULES
from ftsdk.dataset.pages import pages, write

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "errors"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the documentation is not beside the tests")
def test_pages_are_fresh_and_none_is_left_over() -> None:
    stale = [name for name, text in pages() if (FOLDER / name).read_bytes() != text.encode()]
    assert stale == [], "run `python -m ftsdk.dataset.pages docs/errors`"
    assert {p.name for p in FOLDER.iterdir()} == {name for name, _ in pages()}


def test_a_page_is_written_once(tmp_path: Path) -> None:
    assert len(write(tmp_path)) == len(RULES) + 1
    assert write(tmp_path) == []
    index = (tmp_path / "index.md").read_text()
    assert all(f"[{code}]({code}.md)" in index for code in RULES)
