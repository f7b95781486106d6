"""Pages that are files of the repository's root: the README is the home page, unchanged.

A page that holds one comment, `<!-- file: README.md -->`, becomes that file. Its links are written
for the root of the repository; here they are changed to the documentation's own pages.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"\A\s*<!-- file: ([\w./-]+) -->\s*\Z")
PAGES = {"CHANGELOG.md": "changelog.md"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page's text, or that of the file it names."""
    match = MARK.match(markdown)
    if match is None:
        return markdown
    return links_from_root((ROOT / match[1]).read_text(encoding="utf-8"))


def links_from_root(text: str) -> str:
    """Links to pages become links between pages; those to other files lose the link, not the word."""
    text = re.sub(r"\]\(docs/", "](", text)
    for name, page in PAGES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return re.sub(r"\[([^\]]+)\]\((?:CONTRIBUTING\.md|SECURITY\.md|LICENSE)\)", r"\1", text)
