"""Every `ftsdk` command that a message names exists, with its options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ftsdk.cli.app import app

PACKAGE = Path(__file__).resolve().parents[2] / "ftsdk"
COMMAND = re.compile(r"(?P<tick>`)?\bftsdk (?P<words>[a-z][^`;,()\n]*)")


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield every string of a module; the replaced parts of an f-string are X."""
    inside = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def problems_in(text: str, root: Any) -> Iterator[str]:
    """Yield one line for each command or option in `text` that does not exist."""
    for found in COMMAND.finditer(text):
        words = found["words"].split()
        if words[0] not in root.commands:
            if found["tick"]:
                yield f"{found[0]!r}: no such command"
            continue  # a sentence about ftsdk
        command = root
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {o for p in command.params for o in [*p.opts, *p.secondary_opts]} | {"--help"}
        options = {word.split("=")[0].rstrip(".:") for word in words if word.startswith("--")}
        yield from (f"{found[0]!r}: no option {one}" for one in sorted(options - known))


def test_commands_in_messages_exist() -> None:
    root: Any = typer.main.get_command(app)
    problems, seen = [], 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in texts(ast.parse(path.read_text())):
            seen += len(COMMAND.findall(text))
            problems += [f"{path.relative_to(PACKAGE)}: {one}" for one in problems_in(text, root)]
    assert seen > 100
    assert problems == []


def test_a_wrong_command_and_a_wrong_option_are_found() -> None:
    root: Any = typer.main.get_command(app)
    assert list(problems_in("`ftsdk modells` lists them", root))
    assert list(problems_in("ftsdk models --provider together lists them", root))
    assert not list(problems_in("ftsdk is here; `ftsdk models pull X`, or --yes", root))
