"""The documentation page of every rule, from the rule table: `python -m ftsdk.dataset.code_docs FOLDER`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ftsdk.dataset.codes import RULES, Rule

FAMILIES = (
    ("FT0", "The file, its bytes and lines"),
    ("FT1", "The contents of a row"),
    ("FT2", "The provider's limits"),
    ("FT3", "Duplicates and outliers"),
    ("FT4", "Secrets and personal data"),
    ("FT5", "Tokens and chat templates"),
    ("FT9", "The provider's own checks"),
)


def pages() -> Iterator[tuple[str, str]]:
    """`(file name, text)` of each page, the index first."""
    yield "index.md", _index()
    for code in sorted(RULES):
        yield f"{code}.md", _page(RULES[code])


def _index() -> str:
    lines = [
        "# Dataset codes",
        "",
        "Every finding of `ftsdk validate` has a stable code. A *fault* stops a job. A *notice* does not,",
        "and fails `ftsdk validate` only with `--strict`. Codes of the family FT4 also stop an upload",
        "until they are acknowledged.",
    ]
    for prefix, title in FAMILIES:
        lines += ["", f"## {title}", "", "| Code | Severity | Finding |", "|---|---|---|"]
        for code in sorted(RULES):
            if code.startswith(prefix):
                rule = RULES[code]
                lines.append(f"| [{code}]({code}.md) | {rule.severity} | {_cell(rule.title)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page(rule: Rule) -> str:
    kind = (
        "A fault: it stops a job."
        if rule.severity == "fault"
        else "A notice: it does not stop a job, but deserves attention."
    )
    lines = [f"# {rule.code}: {rule.title}", "", kind]
    if rule.page:
        lines += ["", rule.page]
    lines += ["", f"**Fix:** {rule.hint}."]
    if rule.fixable:
        lines += [
            "",
            "`ftsdk validate DATA --fix FILE` writes a copy in which it is fixed, where that loses nothing.",
        ]
    lines += ["", "[All codes](index.md)"]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> list[Path]:
    """Write all pages into `folder`; returns those that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed: list[Path] = []
    for name, text in pages():
        path = folder / name
        data = text.encode()
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
            changed.append(path)
    return changed


if __name__ == "__main__":
    write(Path(sys.argv[1]))
