"""Modules and functions stay small: the limits that the contributing guide names."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "ftsdk"
MOST_LINES = 500
MEDIAN_LINES = 200
P90_FUNCTION_LINES = 35


def function_lengths(source: str) -> Iterator[int]:
    """Yield the number of lines of each function, nested ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def test_modules_and_functions_are_small() -> None:
    sources = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    lines = {
        path.relative_to(PACKAGE).as_posix(): text.count("\n") for path, text in sources.items()
    }
    functions = sorted(n for text in sources.values() for n in function_lengths(text))
    median = statistics.median(lines.values())
    p90 = functions[len(functions) * 9 // 10]
    longest = max(lines, key=lines.__getitem__)
    print(
        f"{len(lines)} modules: median {median:.0f} lines, longest {lines[longest]} ({longest}); "
        f"{len(functions)} functions: median {statistics.median(functions):.0f} lines, p90 {p90}"
    )
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}
    assert median < MEDIAN_LINES
    assert p90 < P90_FUNCTION_LINES


def test_the_length_of_a_function_is_counted() -> None:
    assert list(function_lengths("def f():\n    def g():\n        pass\n    return g\n")) == [4, 2]
