"""Pages that are made of other files of the repository: the changelog, and most of the home page.

A page that holds one comment, `<!-- file: CHANGELOG.md -->`, becomes that file. A line
`<!-- part: README.md, from: ## Install -->` becomes that file from that heading on, or the whole file
without `from`. Links are written for the root of the repository; here they are changed to the
documentation's own pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"\A\s*<!-- file: ([\w./-]+) -->\s*\Z")
PART = re.compile(r"^<!-- part: ([\w./-]+)(?:, from: (.+))? -->$", re.MULTILINE)
PAGES = {"CHANGELOG.md": "changelog.md"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page's text, or that of the file it names, with the parts that it names in their places."""
    match = MARK.match(markdown)
    if match is None:
        return PART.sub(lambda found: part(found[1], found[2]), markdown)
    return links_from_root((ROOT / match[1]).read_text(encoding="utf-8"))


def part(name: str, heading: str | None) -> str:
    """The text of a file from a heading on. Raises `ValueError` where it has no such heading."""
    text = (ROOT / name).read_text(encoding="utf-8")
    if heading is not None:
        text = text[text.index(f"\n{heading}\n") + 1 :]
    return links_from_root(text) if name.endswith(".md") else text.rstrip("\n")


def links_from_root(text: str) -> str:
    """Links to pages become links between pages; those to other files lose the link, not the word."""
    text = re.sub(r"\]\(docs/", "](", text)
    for name, page in PAGES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return re.sub(r"\[([^\]]+)\]\((?:CONTRIBUTING\.md|SECURITY\.md|LICENSE)\)", r"\1", text)
