"""The report of an evaluation: the verdict of each candidate, what it rests on, and every flip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from ftsdk.evaluation.flips import Flip, flips_of
from ftsdk.evaluation.gate import GateResult
from ftsdk.evaluation.report_page import Frame, page
from ftsdk.evaluation.report_parts import CandidateResult, FlippedRow, ReportData
from ftsdk.evaluation.table import comparison_table, macro_f1_line
from ftsdk.types.evaluation import Comparison
from ftsdk.util.json_stream import Streamed, json_blocks

_WORST = (GateResult.FAILED, GateResult.NOT_COMPARABLE, GateResult.INCONCLUSIVE, GateResult.PASSED)


@dataclass(frozen=True)
class EvaluationReport(ReportData):
    """An evaluation: the verdict of each candidate against the reference, and what it rests on.

    Its fields are those of `ReportData`. Leave the texts of rows out of what you pass on by
    `texts=False`.
    """

    @property
    def result(self) -> GateResult:
        """The worst result of all candidates."""
        found = {one.gate.result for one in self.candidates}
        return next(one for one in _WORST if one in found)

    @property
    def verdict(self) -> str:
        """The verdict of the first candidate on the primary metric."""
        return self.candidates[0].verdict

    @property
    def exit_code(self) -> int:
        """0 passed, 8 failed, 7 inconclusive, 4 not comparable."""
        return self.result.exit_code

    def compare(self, candidate: str | None = None, metric: str | None = None) -> Comparison:
        """Return the comparison of a candidate by a metric; the first and the primary by default."""
        found = self._candidate(candidate)
        return found.gate.metrics[metric or found.gate.primary]

    def _candidate(self, name: str | None) -> CandidateResult:
        return next((one for one in self.candidates if one.name == name), self.candidates[0])

    def flips(self, candidate: str | None = None, metric: str | None = None) -> list[FlippedRow]:
        """Return the rows on which the scores differ, losses first."""
        return list(self.each_flip(candidate, metric))

    def each_flip(
        self, candidate: str | None = None, metric: str | None = None
    ) -> Iterator[FlippedRow]:
        """Yield what `flips` returns, with the texts of one row in memory."""
        found = self._candidate(candidate)
        pairs = found.pairs[metric or found.gate.primary]
        return (self._flipped(one, found.name) for one in flips_of(pairs))

    def _flipped(self, flip: Flip, candidate: str) -> FlippedRow:
        text = self.texts[flip.row] if self.texts else {}
        return FlippedRow(
            line=self.lines[flip.row] if self.lines else flip.row + 1,
            asked=text.get("asked", ""),
            expected=text.get("expected", ""),
            reference=text.get(self.reference, ""),
            candidate=text.get(candidate, ""),
            reference_score=flip.reference,
            candidate_score=flip.candidate,
        )

    def lines_of_text(self) -> list[str]:
        """Return the tables of all candidates."""
        lines: list[str] = []
        for one in self.candidates:
            lines += comparison_table(
                one.gate, one.means, reference=self.reference, candidate=one.name
            )
            if one.macro_f1 is not None:
                lines.insert(-1, macro_f1_line(one.macro_f1))
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines_of_text())

    def to_html(self, *, texts: bool = True, frame: Frame | None = None) -> str:
        """Return the report as one self-contained page, without scripts and without the network.

        Without `texts` no row's text is in it. `frame` has what else is on the page.
        """
        return page(self, self._flipped, texts=texts, frame=frame)

    def _repr_html_(self) -> str:
        """Return the page in a frame, for a notebook."""
        frame = escape(self.to_html())
        return f'<iframe srcdoc="{frame}" width="100%" height="700" sandbox=""></iframe>'

    def to_dict(self, *, texts: bool = True) -> dict[str, Any]:
        """Return the report as plain JSON values; without `texts`, no row's text is in it."""
        return self._document(lambda name: list(self._flip_dicts(name, texts=texts)))

    def to_stream(self, *, texts: bool = True) -> dict[str, Any]:
        """Return what `to_dict` returns, for `json_blocks`: it reads the texts as it writes them."""
        return self._document(lambda name: Streamed(lambda: self._flip_dicts(name, texts=texts)))

    def json_blocks(self, *, texts: bool = True) -> Iterator[bytes]:
        """Yield the report as indented JSON, with the texts of one row in memory."""
        return json_blocks(self.to_stream(texts=texts))

    def _flip_dicts(self, name: str, *, texts: bool) -> Iterator[dict[str, Any]]:
        for flip in self.each_flip(name):
            yield vars(flip) if texts else {"line": flip.line}

    def _document(self, flips: Callable[[str], list[dict[str, Any]]]) -> dict[str, Any]:
        return {
            "data": self.data,
            "rows": self.rows,
            "result": str(self.result),
            "verdict": self.verdict,
            "reference": self.reference,
            "metrics": dict(self.metrics),
            "primary": next(iter(self.metrics)),
            "margin": self.margin,
            "clusters": self.clusters,
            "repeats": self.repeats,
            "decoding": dict(self.decoding),
            "started_at": self.started_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "models": [one.to_dict() for one in self.models],
            "candidates": [_candidate_dict(one, flips(one.name)) for one in self.candidates],
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "judge": {name: dict(one) for name, one in self.judged.items()},
        }


def _candidate_dict(one: CandidateResult, flips: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": one.name,
        "result": str(one.gate.result),
        "reason": one.gate.reason,
        "verdict": one.verdict,
        "metrics": {n: c.model_dump(mode="json") for n, c in one.gate.metrics.items()},
        "macro_f1": None
        if one.macro_f1 is None
        else {**vars(one.macro_f1), "delta": one.macro_f1.delta},
        "slices": {n: c.model_dump(mode="json") for n, c in one.gate.slices.items()},
        "flips": flips,
    }
