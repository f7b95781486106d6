"""The report as JUnit XML, which CI systems show: one case for each comparison."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

from ftsdk.evaluation.report import EvaluationReport
from ftsdk.evaluation.report_parts import CandidateResult
from ftsdk.types.evaluation import Comparison, Verdict

_MOST_FLIPS = 20


def junit_xml(report: EvaluationReport, *, texts: bool = True) -> bytes:
    """Return the report: a comparison that is worse is a failure, one without a verdict is skipped.

    With `texts`, the first flips of the primary metric are in the failure's text.
    """
    root = ET.Element("testsuites", name="ftsdk evaluate")
    for one in report.candidates:
        compared = {**one.gate.metrics, **{f"slice {n}": c for n, c in one.gate.slices.items()}}
        suite = ET.SubElement(
            root,
            "testsuite",
            name=f"{one.name} against {report.reference}",
            tests=str(len(compared)),
            failures=str(sum(c.verdict is Verdict.WORSE for c in compared.values())),
            errors=str(sum(c.verdict is Verdict.NOT_COMPARABLE for c in compared.values())),
            skipped=str(sum(c.verdict is Verdict.INCONCLUSIVE for c in compared.values())),
            timestamp=report.ended_at.isoformat(),
        )
        for name, comparison in compared.items():
            case = ET.SubElement(suite, "testcase", classname=one.name, name=name)
            details = _flips(report, one) if texts and name == one.gate.primary else ""
            _add_result(case, comparison, details)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _add_result(case: ET.Element, one: Comparison, details: str) -> None:
    kind = {
        Verdict.WORSE: "failure",
        Verdict.NOT_COMPARABLE: "error",
        Verdict.INCONCLUSIVE: "skipped",
    }.get(one.verdict)
    if kind is None:
        ET.SubElement(case, "system-out").text = _printable(f"{one.verdict}: {one.reason}")
        return
    found = ET.SubElement(case, kind, message=_printable(one.reason))
    if kind == "failure" and details:
        found.text = _printable(details)


def _flips(report: EvaluationReport, one: CandidateResult) -> str:
    lines = [
        f"line {flip.line}: expected {flip.expected!r}, {report.reference} {flip.reference!r}, "
        f"{one.name} {flip.candidate!r}"
        for flip in itertools.islice(report.each_flip(one.name), _MOST_FLIPS)
    ]
    return "\n".join(lines)


def _printable(text: str) -> str:
    """Return the text without what XML cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or (ord(c) >= 32 and ord(c) not in (0xFFFE, 0xFFFF)))  # fmt: skip
