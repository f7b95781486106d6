"""Reads a documentation page into the steps that its reader takes; `docs_reader` takes them.

A page says at its top what it needs, in one line that every reader sees:

    **Needs:** `pip install 'ftsdk[openai]'` · no key · 3 minutes

Its fenced blocks are the steps, from top to bottom:

- `console`: each line that begins with `$ ` is typed into one bash session (`> ` continues a line).
  It must end with exit code 0, or with the one that its comment names: `# exit code 3`.
  A line that ends in `&` goes on in the background; the reader continues when it has printed
  something. `pip install 'ftsdk[…]'` counts as done, and must name what the page needs.
- `python`: runs in one Python process, as in a REPL or a notebook. The process starts at the first
  such block, with the variables that the shell has then.
- Any block whose first line is a comment with a file name (`# ftsdk.toml`), or that has a caption
  (`title="ftsdk.toml"`): the reader saves it under that name.

Everything else is text. Two comments, right above a block, change what is done with it:

    <!-- norun: the reason -->     the block is not run (Python is still compiled)
    <!-- output -->                the output that the page shows is compared; `…` matches anything
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NEEDS = re.compile(
    r"^\*\*Needs:\*\* `pip install '?ftsdk(?:\[(?P<extra>[a-z,]+)\])?'?`", re.MULTILINE
)
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^`\n]*)$")
NORUN = re.compile(r"^ *<!-- norun: (?P<reason>.+?) -->$")
OUTPUT = re.compile(r"^ *<!-- output -->$")
CAPTION = re.compile(r'\btitle="(?P<name>[^"]+)"')
NAMED = re.compile(r"^(?:#|//|--) (?P<name>[\w./-]+\.\w+)(?:,.*|:.*)?$")
EXIT_CODE = re.compile(r"\s#.*\bexit code (\d+)")


@dataclass(frozen=True)
class Command:
    """One command of a console block, with the output that the page shows below it."""

    line: int
    text: str
    shown: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        found = EXIT_CODE.search(self.text)
        return int(found[1]) if found else 0


@dataclass(frozen=True)
class Block:
    """One fenced block: where its text begins, its language, and what is done with it."""

    line: int
    language: str
    text: str
    file: str | None = None
    reason: str | None = None
    compared: bool = False

    @property
    def runs(self) -> bool:
        """Whether the block is a step; false for text and for what cannot run."""
        is_step = self.file is not None or self.language in ("python", "console")
        return is_step and self.reason is None

    def commands(self) -> Iterator[Command]:
        """The commands of a console block."""
        command: list[str] = []
        shown: list[str] = []
        start = 0
        for number, line in enumerate(self.text.split("\n")[:-1], self.line):
            if line.startswith("$ "):
                if command:
                    yield Command(start, "\n".join(command), tuple(shown))
                command, shown, start = [line[2:]], [], number
            elif command and not shown and line.startswith("> "):
                command.append(line[2:])
            else:
                shown.append(line)
        if command:
            yield Command(start, "\n".join(command), tuple(shown))


@dataclass(frozen=True)
class Page:
    """A page: the extra that it needs, and its blocks in order."""

    path: Path
    text: str
    blocks: tuple[Block, ...] = field(repr=False)

    @property
    def extra(self) -> str | None:
        """The brackets of its `pip install`, sorted; `""` without brackets, None without a line."""
        found = NEEDS.search(self.text)
        return None if found is None else sorted_extra(found["extra"])

    @property
    def steps(self) -> list[Block]:
        return [block for block in self.blocks if block.runs]


def sorted_extra(extra: str | None) -> str:
    return ",".join(sorted(filter(None, (extra or "").split(","))))


def read_page(path: Path, text: str | None = None) -> Page:
    """The page in the file `path`, or in `text`."""
    text = path.read_text(encoding="utf-8") if text is None else text
    return Page(path, text, tuple(_blocks(text)))


def _blocks(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opened = FENCE.match(lines[at])
        if opened is None:
            at += 1
            continue
        indent, fence = len(opened["indent"]), opened["fence"]
        start = at + 1
        at = start
        while at < len(lines) and lines[at].strip() != fence:
            at += 1
        body = [line[indent:] if line[:indent].isspace() else line for line in lines[start:at]]
        words = opened["info"].split()
        caption = CAPTION.search(opened["info"])
        named = NAMED.match(body[0]) if body else None
        above = lines[start - 2] if start >= 2 else ""
        norun = NORUN.match(above)
        yield Block(
            line=start + 1,
            language=words[0] if words else "",
            text="".join(f"{line}\n" for line in body),
            file=caption["name"] if caption else named["name"] if named else None,
            reason=norun["reason"] if norun else None,
            compared=OUTPUT.match(above) is not None,
        )
        at += 1


def first_missing(shown: tuple[str, ...], printed: str) -> str | None:
    """The first of the lines shown that is not printed, in order; `…` in a line is anything."""
    lines = iter([" ".join(line.split()) for line in printed.split("\n")])
    for line in shown:
        words = " ".join(line.split())
        if not words or words == "…":
            continue
        pattern = ".*".join(re.escape(part) for part in words.split("…"))
        if not any(re.fullmatch(pattern, one) for one in lines):
            return line
    return None


def compiled(block: Block, page: Path) -> ast.Module:
    """The syntax tree of a Python block, with the line numbers of its page."""
    tree = ast.parse(block.text, str(page))
    ast.increment_lineno(tree, block.line - 1)
    return tree
