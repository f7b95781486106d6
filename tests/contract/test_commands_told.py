"""Whatever command of ours a message tells to type, there is: with the options it is told with."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from ftsdk.cli.app import app

PACKAGE = Path(__file__).resolve().parents[2] / "ftsdk"
TOLD = re.compile(r"(?P<tick>`)?\bftsdk (?P<words>[a-z][^`;,()\n]*)")


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string of a module; what a template fills in stands as X."""
    inside = {
        part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "X" for p in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in inside:
            yield node.value


def wrong_in(text: str, root: Any) -> Iterator[str]:
    for found in TOLD.finditer(text):
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
    wrong, seen = [], 0
    for path in sorted(PACKAGE.rglob("*.py")):
        for text in texts(ast.parse(path.read_text())):
            seen += len(TOLD.findall(text))
            wrong += [f"{path.relative_to(PACKAGE)}: {one}" for one in wrong_in(text, root)]
    assert seen > 100
    assert wrong == []


def test_a_wrong_command_and_a_wrong_option_are_found() -> None:
    root: Any = typer.main.get_command(app)
    assert list(wrong_in("`ftsdk modells` lists them", root))
    assert list(wrong_in("ftsdk models --provider together lists them", root))
    assert not list(wrong_in("ftsdk is here; `ftsdk models pull X`, or --yes", root))
