"""A dataset report as lines on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk.cli.view.formatting import clean_line
from ftsdk.cli.view.output import say

if TYPE_CHECKING:
    from ftsdk.dataset import DatasetReport

_STYLES = {"✗": "red", "!": "yellow", "·": "dim"}
_HINT = "      hint  "


def show_findings(report: DatasetReport, *, stderr: bool = False) -> None:
    """Print the report's lines, each kind of finding in its colour."""
    head, *rest = str(report).split("\n")
    say((clean_line(head), "bold"), stderr=stderr)
    for line in rest:
        body = line.rstrip()
        symbol = body.lstrip()[:1]
        style = _STYLES.get(symbol)
        if body.startswith(_HINT):
            say((clean_line(body), "dim"), stderr=stderr)
            continue
        if style is None:
            say(clean_line(body), stderr=stderr)
            continue
        before, _, after = body.partition(symbol)
        say(before, (symbol, style), clean_line(after), stderr=stderr)
