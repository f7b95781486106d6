"""The figures on the page "Comparing models" are those that the code gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="statistics need the extra `eval`")

from ftsdk.evaluation.statistics import power
from ftsdk.evaluation.statistics.compare import compare

PAGE = Path(__file__).resolve().parents[4] / "docs" / "explanation" / "comparing-models.md"
EXAMPLE = re.compile(
    r"^\| (?P<verdict>[a-z]+) \|[^|]*\| (?P<wins>\d+) wins, (?P<losses>\d+) losses, (?P<rows>\d+) rows"
    r"(?:, margin (?P<margin>\d) points)? \| (?P<reason>[^|]+) \|$",
    re.MULTILINE,
)


def rows_of(first: str) -> list[list[float]]:
    """Return the numbers of each line of the table whose head begins with `first`."""
    table = PAGE.read_text().split(f"| {first} |")[1].split("\n\n")[0]
    return [
        [float(cell.replace(",", "")) for cell in re.findall(r"\b\d[\d,]*", line)]
        for line in table.split("\n")[2:]
    ]


def test_the_examples_of_verdicts() -> None:
    found = list(EXAMPLE.finditer(PAGE.read_text()))
    assert [one["verdict"] for one in found] == ["better", "parity", "worse", "inconclusive"]
    for one in found:
        wins, losses, rows = (int(one[name]) for name in ("wins", "losses", "rows"))
        options: dict[str, Any] = {"margin": int(one["margin"]) / 100} if one["margin"] else {}
        ties = [1] * (rows - wins - losses)
        got = compare([0] * wins + [1] * losses + ties, [1] * wins + [0] * losses + ties, **options)
        assert got.verdict == one["verdict"]
        assert got.reason == one["reason"].replace("−", "-")


def test_the_rows_for_a_difference() -> None:
    lines = rows_of("Difference")
    assert len(lines) == 2
    for points, *rows in lines:
        expected = [power.rows_for_difference(rate, points / 100) for rate in (0.05, 0.1, 0.2)]
        assert rows == expected


def test_the_rows_for_parity() -> None:
    lines = rows_of("Margin")
    assert len(lines) == 4
    for points, without, *rows in lines:
        margin = points / 100
        assert without == power.rows_without_flips(margin)
        assert rows == [power.rows_for_parity(rate, margin) for rate in (0.05, 0.1, 0.2)]


def test_forty_rows_without_a_flip() -> None:
    assert pytest.approx(1 / 8, abs=0.005) == 0.95**40
