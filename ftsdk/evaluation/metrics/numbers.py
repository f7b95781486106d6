r"""The number that an answer ends in: after `####`, inside `\boxed{}`, or the last one.

Numbers are compared as `Decimal`: $18.00 is 18, 1e3 is 1000, 1,234 is 1234. Where no number can be
found, that is counted apart from a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

from ftsdk.dataset.row import Row
from ftsdk.evaluation.metrics.metric import (
    Chosen,
    Message,
    Metric,
    answer_text,
    references_of,
    text_of,
)
from ftsdk.evaluation.metrics.text import MOST
from ftsdk.types.answer import ChatAnswer
from ftsdk.types.evaluation import Score

# Other writings of signs, points and separators. NFKC would turn m² into m2.
_SIGNS = str.maketrans(
    "−﹣－＋٫．٬，\u202f\u2009\u00a0’", "---+..,,\u00a0\u00a0\u00a0'"
)  # the characters are the point
_NUMBER = re.compile(
    r"(?<![A-Za-z_\d.])"  # not inside H2O, v1.2 or a longer number
    r"(?P<sign>(?<![\w)])[-+])?"  # not the minus of 7-5
    r"[$€£¥]?\s?"
    r"(?P<sign_after>(?<=[$€£¥])[-+])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})++(?![\d,])|\d{1,3}(?:[\u00a0']\d{3})++(?!\d)|\d++)?"
    r"(?P<fraction>(?<=\d)\.\d++|(?<![\d.])\.\d++)?"
    r"(?P<exponent>(?<=\d)[eE][-+]?\d{1,4}(?!\w))?"
    r"(?!\.\d|[eE][-+]?\d)"  # not the beginning of 1.5.2, or of what no number can be
)
_MARKED = re.compile(r"####[^\S\n]*([^\n]*)")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_FRACTION = re.compile(r"([-+]?)\\[dt]?frac\{(-?\d+)\}\{(-?\d+)\}|([-+]?\d+)/(\d+)")
_LATEX = re.compile(
    r"\\(?:text|mathrm|mbox)\{[^{}]*\}|\\[,;!: ]|\^\\circ|\^\{\\circ\}|\\%|%|\\(?=\$)"
)


class Number(Metric):
    """Passes an answer whose number is the reference's, within `tolerance`."""

    name = "number"

    @classmethod
    def chosen_for(cls, rows: Sequence[Row]) -> Chosen | None:
        r"""Fits answers with `####` or `\boxed{}`, and those that are numbers."""
        count = marked = alone = 0
        for text in map(text_of, references_of(rows)):
            count += 1
            marked += "####" in text or _BOXED.search(text) is not None
            alone += is_number(text)
        if not count or marked + alone < count * MOST:
            return None
        return Chosen(cls(), f"{marked} answers mark their number, {alone} are a number")

    def __init__(self, *, tolerance: Decimal = Decimal(0)) -> None:
        self._tolerance = tolerance

    def score(self, reference: Message, answer: ChatAnswer, row: Row) -> Score:
        """Return whether the number is right. Without a number in the reference there is no score."""
        wanted = number_in(text_of(reference))
        found = number_in(answer_text(answer, reference))
        detail = {"number": _shown(wanted), "given": _shown(found)}
        if wanted is None:
            return Score(None, detail=detail)
        same = found is not None and (found == wanted or abs(found - wanted) <= self._tolerance)
        return Score(float(same), passed=same, detail=detail)

    def summary(self, scores: Sequence[Score]) -> dict[str, Any]:
        """Return the mean, and how many answers and references had no number."""
        details = [
            score.detail
            for score in scores
            if "given" in score.detail and "outcome" not in score.detail
        ]
        return {
            **super().summary(scores),
            "no_number_given": sum(
                one["given"] is None and one["number"] is not None for one in details
            ),
            "no_number_in_reference": sum(one["number"] is None for one in details),
        }


def number_in(text: str) -> Decimal | None:
    r"""Return the number that a text ends in, or None.

    The first line marked `####` decides, then the last `\boxed{}`, then the last number of the text.
    """
    text = text.translate(_SIGNS)
    marked = _MARKED.search(text)
    if marked:
        numbers = _numbers(marked[1])
        return numbers[0] if numbers else None
    boxed = _boxed(text)
    if boxed is not None:
        return _of_box(boxed)
    numbers = _numbers(text)
    return numbers[-1] if numbers else None


def is_number(text: str) -> bool:
    """Return whether a text is a number and nothing else, but for its currency and a final point."""
    plain = text.translate(_SIGNS).strip().removesuffix(".").removesuffix("%").rstrip()
    match = _NUMBER.fullmatch(plain)
    return match is not None and _decimal(match) is not None


def _numbers(text: str) -> list[Decimal]:
    return [number for match in _NUMBER.finditer(text) if (number := _decimal(match)) is not None]


def _decimal(match: re.Match[str]) -> Decimal | None:
    digits, fraction = match["digits"] or "", match["fraction"] or ""
    if not digits and not fraction:
        return None
    digits = re.sub(r"[,\u00a0']", "", digits)
    sign = match["sign"] or match["sign_after"] or ""
    return Decimal(f"{sign}{digits}{fraction}{match['exponent'] or ''}")


def _boxed(text: str) -> str | None:
    """The content of the last box; None where there is none, or it is not closed."""
    start = None
    for match in _BOXED.finditer(text):
        start = match.end()
    if start is None:
        return None
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return None


def _of_box(content: str) -> Decimal | None:
    """The number that a box is: as a whole, with its unit, or as a fraction."""
    plain = _LATEX.sub("", content.replace("{,}", ",")).strip()
    fraction = _FRACTION.fullmatch(plain)
    if fraction:
        return _quotient(fraction)
    match = _NUMBER.match(plain)
    rest = plain[match.end() :].strip() if match else plain
    if match is None or re.search(r"[\d\\^*/+]", rest):
        return None  # an expression, not a number
    return _decimal(match)


def _quotient(fraction: re.Match[str]) -> Decimal | None:
    sign, above, below, first, second = fraction.groups()
    if below is not None:
        top, bottom = Decimal(f"{above}"), Decimal(below)
        top = -top if sign == "-" else top
    else:
        top, bottom = Decimal(first), Decimal(second)
    if bottom == 0:
        return None
    with localcontext(prec=28):
        return top / bottom


def _shown(number: Decimal | None) -> str | None:
    return None if number is None else str(number)
