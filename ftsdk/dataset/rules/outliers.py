"""Outliers of a dataset: near-empty and dominating answers, unusual lengths and scripts."""

from __future__ import annotations

import dataclasses
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ftsdk.dataset.findings.finding import Fault, short
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.rules.duplicates import Duplicates

note("FT306", "notice", "An answer without content", "write the answer, or remove the row",
     "No letter and no digit, or a placeholder such as `n/a`, `null`, `TODO`.")  # fmt: skip
note("FT307", "notice", "One answer dominates", "balance the rows, unless this is what you want",
     "More than 60 % of at least 20 rows have the same answer: a model that always gives it already "
     "does well.")  # fmt: skip
note("FT308", "notice", "A row far longer than the others", "check that it is one row",
     "More than ten times the 90th percentile of row lengths.")  # fmt: skip
note("FT309", "notice", "A row in another script than the others", "check that it belongs here",
     "Less than 2 % of the answers are in this script while 90 % are in one other. Languages of one "
     "script are FT313.")  # fmt: skip

_PLACEHOLDERS = frozenset(
    (
        "n/a",
        "null",
        "undefined",
        "nan",
        "todo",
        "tbd",
        "[object object]",
        "xxx",
        "lorem ipsum",
        "noinput",
        "<noinput>",
        "#n/a",
    )
)
_SCRIPTS = (
    ("Cyrillic", 0x0400, 0x052F), ("Greek", 0x0370, 0x03FF), ("Hebrew", 0x0590, 0x05FF),
    ("Arabic", 0x0600, 0x06FF), ("Devanagari", 0x0900, 0x097F), ("Thai", 0x0E00, 0x0E7F),
    ("Japanese", 0x3040, 0x30FF), ("Han", 0x4E00, 0x9FFF), ("Hangul", 0xAC00, 0xD7AF),
)  # fmt: skip


_SHORT = 20
_NOT_LATIN = re.compile("[\u0370-\u1dff\u3040-\ud7af]")


def script_of(text: str) -> str:
    """The script that most letters of a text are in; Latin when there is nothing else."""
    if text.isascii() or not _NOT_LATIN.search(text):
        return "Latin"
    counts: Counter[str] = Counter()
    for ch in text[:300]:
        code = ord(ch)
        if code < 0x0250:
            counts["Latin"] += ch.isalpha()
            continue
        counts[next((name for name, low, high in _SCRIPTS if low <= code <= high), "")] += 1
    del counts[""]
    if counts["Japanese"]:  # kana beside Han is Japanese
        counts["Japanese"] += counts.pop("Han", 0)
    return counts.most_common(1)[0][0] if counts else "Latin"


class Outliers:
    """Counts over the answers of all rows; their hashes and lengths are in `Duplicates`."""

    def __init__(self) -> None:
        self.texts = 0
        self.scripts: Counter[str] = Counter()
        self.script_lines: dict[str, list[int]] = {}

    def add(self, line: int, answer: str) -> Fault | None:
        """Count one answer that is not plain ASCII or is very short (see `is_usual`)."""
        script = script_of(answer)
        if script != "Latin":
            self.scripts[script] += 1
            lines = self.script_lines.setdefault(script, [])
            if len(lines) < 20:
                lines.append(line)
        if len(answer) < 20 and _says_nothing(answer):
            return _notice("FT306", line, f"the answer is {short(answer, 20)!r}")
        return None

    def join(
        self,
        texts: int,
        scripts: Mapping[str, int],
        script_lines: Mapping[str, list[int]],
        first_line: int,
    ) -> None:
        """Add the counts of the next part of a file, whose lines count from `first_line`."""
        self.texts += texts
        self.scripts.update(scripts)
        for script, lines in script_lines.items():
            known = self.script_lines.setdefault(script, [])
            known.extend([line + first_line for line in lines[: 20 - len(known)]])

    def faults(self, duplicates: Duplicates) -> Iterator[Fault]:
        """Findings about the set."""
        yield from _dominating(duplicates)
        yield from _long(duplicates)
        yield from self._odd_scripts()

    def _odd_scripts(self) -> Iterator[Fault]:
        self.scripts["Latin"] = self.texts - sum(n for s, n in self.scripts.items() if s != "Latin")
        total = self.texts
        if total < 50:
            return
        main, most = self.scripts.most_common(1)[0]
        if most < 0.9 * total:
            return
        for script, count in self.scripts.items():
            if script != main and count < 0.02 * total:
                for line in self.script_lines.get(script, [0])[:20]:
                    yield _notice(
                        "FT309",
                        line,
                        f"the answer is in {script} script, {100 * most // total} % are in {main}",
                    )


def is_usual(answer: str) -> bool:
    """Whether an answer is plain ASCII and not very short."""
    return answer.isascii() and len(answer) >= _SHORT


def unusual(answers: Sequence[str | None]) -> list[int]:
    """The numbers of the answers that are not usual."""
    return [
        number
        for number, answer in enumerate(answers)
        if answer is not None and not (answer.isascii() and len(answer) >= _SHORT)
    ]


def _dominating(duplicates: Duplicates) -> Iterator[Fault]:
    rows = len(duplicates.answers)
    if rows < 20:
        return
    answer, count = Counter(_sample(duplicates.answers)).most_common(1)[0]
    seen = min(rows, len(_sample(duplicates.answers)))
    if count > 0.6 * seen:
        line = duplicates.lines[duplicates.answers.index(answer)]
        yield dataclasses.replace(
            _notice(
                "FT307", line, f"{100 * count // seen} % of the rows have the answer of this one"
            ),
            rows=count,
        )


def _long(duplicates: Duplicates) -> Iterator[Fault]:
    lengths = duplicates.lengths
    if len(lengths) < 20:
        return
    sample = sorted(_sample(lengths))
    usual = sample[len(sample) * 9 // 10]
    border = max(10 * usual, 8_000)
    reported = 0
    if max(lengths) <= border:
        return
    for i, length in enumerate(lengths):
        if length > border and reported < 20:
            reported += 1
            yield _notice(
                "FT308",
                duplicates.lines[i],
                f"{length:,} bytes, nine rows of ten have under {usual:,}",
            )


def _sample(values: array[int]) -> array[int]:
    """At most 200,000 of the values, evenly spread: enough for a share or a quantile."""
    return values[:: len(values) // 200_000 + 1]


def _says_nothing(answer: str) -> bool:
    if not answer or answer.isspace():
        return False  # FT109 reports it
    return not any(ch.isalnum() for ch in answer) or answer.strip().lower() in _PLACEHOLDERS


def _notice(code: str, line: int, message: str) -> Fault:
    rule = RULES[code]
    return Fault(code=code, severity=rule.severity, line=line, message=message, hint=rule.hint)
