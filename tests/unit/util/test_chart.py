"""Charts and cards: axes with round numbers, labels that do not overlap, texts that are escaped."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree as ET

import pytest

from ftsdk.util import card, chart

TRAIN = [(float(n), 2.4 - 0.02 * n) for n in range(1, 91)]
VALIDATION = [(30.0, 1.38), (90.0, 0.61)]


@pytest.mark.parametrize(
    ("low", "high"), [(0.6, 2.4), (0.0, 0.0), (1.0, 1.0), (-3, 1000), (1e-6, 2e-6), (7, 7.001)]
)
def test_ticks_are_round_and_hold_the_range(low: float, high: float) -> None:
    marks = chart.ticks(low, high, 4)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert marks == sorted(set(marks))
    assert 2 <= len(marks) <= 7


def test_a_chart_has_axes_both_series_and_their_ends() -> None:
    tree = ET.fromstring(chart.loss_chart(TRAIN, VALIDATION))
    texts = [one.text for one in tree.iter() if one.tag.endswith("text")]
    assert {"training 0.60", "validation 0.61", "step", "20", "0.5", "2.5"} <= set(texts)
    title = next(one for one in tree.iter() if one.tag.endswith("title"))
    assert title.text == "training loss 2.38 → 0.60, validation loss 1.38 → 0.61"
    dashed = [one.get("stroke-dasharray") for one in tree.iter() if one.tag.endswith("polyline")]
    assert dashed == [None, None, "6 4"]  # the raw values, the smoothed line, validation


def test_equal_lines_of_equal_names_are_both_labelled() -> None:
    twice = [chart.Series("run", "var(--learn)", "", TRAIN)] * 2
    assert chart.line_chart(twice, title="two").count("run 0.60") == 2


def test_labels_stay_above_the_steps() -> None:
    low = [(0.0, 4.0), (10.0, 0.0)]
    drawn = chart.loss_chart(low, low)
    at = [float(y) for y in re.findall(r'y="([0-9.]+)" fill="var\(--(?:learn|second)\)"', drawn)]
    assert max(at) <= 184
    assert abs(at[0] - at[1]) >= 14


def test_a_curve_is_thinned_without_losing_its_peaks_and_names_are_escaped() -> None:
    points = [(float(n), 1.0) for n in range(5000)]
    points[2345] = (2345.0, 9.0)
    kept = chart.thinned(points, 300)
    assert len(kept) <= 302
    assert (2345.0, 9.0) in kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    hostile = [chart.Series("<b>", "var(--learn)", "", TRAIN)]
    marks = [chart.Mark(45, best=True), chart.Mark(4500)]
    drawn = chart.line_chart(hostile, title="<i>", marks=marks, look="narrow")
    assert "<b>" not in drawn
    assert "<i>" not in drawn
    assert drawn.count("checkpoint at step") == 1
    area = re.search(r'data-area="([0-9,]+)"', drawn)
    assert area is not None
    assert [int(one) for one in area[1].split(",")] == [48, 584, 12, 184]


def test_labels_of_equal_ends_do_not_overlap() -> None:
    svg = chart.loss_chart(TRAIN, VALIDATION)
    at = [float(y) for y in re.findall(r'y="([0-9.]+)" fill="var\(--(?:learn|second)\)"', svg)]
    assert len(at) == 2
    assert abs(at[0] - at[1]) >= 14


def test_what_is_not_a_number_is_left_out_and_one_point_is_no_curve() -> None:
    assert "nan" not in chart.loss_chart([*TRAIN, (91.0, math.nan)])
    assert chart.loss_chart([(1.0, 2.0)]) == ""
    assert chart.loss_chart([]) == ""


def test_every_text_of_a_card_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    shown = card.card(
        card.head(evil, evil), card.line([evil]), card.table([evil], [[evil]]), card.meter(2, evil)
    )
    assert "<script" not in shown
    assert shown.count("&lt;script") == 7


def test_a_card_is_readable_in_both_themes() -> None:
    for theme in (card._LIGHT, card._DARK):
        colours = dict(part.split(":") for part in theme.replace("--", "").split(";"))
        for name in ("ink", "soft", "faint", "learn", "second", "warn", "bad"):
            assert contrast(colours[name], colours["card"]) >= 4.5, name


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    code = colour.removeprefix("#")
    code = "".join(c * 2 for c in code) if len(code) == 3 else code
    parts = [int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
