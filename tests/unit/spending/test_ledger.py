"""The ledger's totals by day, provider and tag, and its CSV without formulas."""

from __future__ import annotations

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest

from ftsdk.errors import UsageError
from ftsdk.spending.ledger import COLUMNS, Line, safe_cell, to_csv, totals


def line(
    number=1, *, day=25, provider="openai", low="1", high="2", actual=None, counted="2", **more
):
    def money(text):
        return None if text is None else Decimal(text)

    return Line(
        kind=more.pop("kind", "training"),
        id=f"ftj_{number}",
        time=dt.datetime(2026, 11, day, 9, tzinfo=dt.UTC),
        provider=provider,
        model="m",
        status="succeeded",
        low=money(low),
        high=money(high),
        actual=money(actual),
        counted=money(counted),
        **more,
    )


LINES = [
    line(1, tags={"team": "cx"}),
    line(2, day=24, actual="2.50", counted="2.50", tags={"team": "ml"}),
    line(3, provider="together", actual="4", low="4", high="4", counted="4", tags={"team": "cx"}),
    line(4, provider="together", low=None, high=None, counted=None),
]


def test_days_are_newest_first():
    found = totals(LINES, "day")
    assert [t.key for t in found] == ["2026-11-25", "2026-11-24"]
    today = found[0]
    assert (today.lines, today.counted, today.actual, today.billed, today.unknown) == (
        3, Decimal(6), Decimal(4), 1, 1,
    )  # fmt: skip


def test_by_provider_and_tag_the_most_expensive_first():
    assert [(t.key, t.counted) for t in totals(LINES, "provider")] == [
        ("openai", Decimal("4.50")),
        ("together", Decimal(4)),
    ]
    assert [(t.key, t.lines) for t in totals(LINES, "tag:team")] == [("cx", 2), ("ml", 1), ("–", 1)]
    assert [t.key for t in totals(LINES, "month")] == ["2026-11"]
    assert totals(LINES, "profile")[0].key == "–"
    assert totals([], "day") == []
    with pytest.raises(UsageError):
        totals(LINES, "colour")


def test_a_day_is_a_utc_day():
    late = dt.datetime(2026, 11, 25, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    assert Line("training", "x", late, "p", "m", "s").day == dt.date(2026, 11, 24)


@pytest.mark.parametrize(
    ("actual", "off"), [("1.5", "0"), ("2.5", "0.5"), ("0.4", "-0.6"), (None, None)]
)
def test_how_far_off_the_estimate_was(actual, off):
    assert line(actual=actual).off == (None if off is None else Decimal(off))


@pytest.mark.parametrize(
    "evil",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", '=HYPERLINK("x")', "|cmd",
     "＝1", "%0A=1"],
)  # fmt: skip
def test_no_cell_is_a_formula(evil):
    text = to_csv([line(name=evil, profile=evil, tags={evil: evil}, why=evil)])
    header, row = list(csv.reader(io.StringIO(text, newline="")))
    assert header == list(COLUMNS)
    cells = dict(zip(header, row, strict=True))
    for column in ("name", "profile", "tags", "source"):
        assert cells[column].startswith("'"), column
        assert cells[column].isprintable()


def test_plain_cells_and_money_stay_as_they_are():
    text = to_csv([line(name='a, b; "c"', actual="0.4")])
    cells = dict(zip(*csv.reader(io.StringIO(text, newline="")), strict=True))
    assert cells["name"] == 'a, b; "c"'
    assert (cells["estimate_high_usd"], cells["off_usd"]) == ("2", "-0.6")
    assert text.count("\r\n") == 2
    assert safe_cell("") == ""


def test_a_line_as_json():
    row = line(tags={"a": "b"}).to_dict()
    assert row["day"] == dt.date(2026, 11, 25)
    assert row["tags"] == {"a": "b"}
    assert totals(LINES, "day")[0].to_dict()["key"] == "2026-11-25"
