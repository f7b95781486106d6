"""The data report of a job: what the checks find in its rows, as they are kept here."""

from __future__ import annotations

from typing import Any

from ftsdk.client import Client
from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.errors import StoreError
from ftsdk.serve.page import words
from ftsdk.serve.page.html import Child, Html, el
from ftsdk.serve.page.layout import View, card, document, facts, heading, table
from ftsdk.types.job import JobSnapshot
from ftsdk.util.names import plural

_SHOWN = 200


def data_report(client: Client, job: JobSnapshot) -> DatasetReport:
    """Check the kept rows of a job again, for its provider and model.

    Raises `StoreError` where they are not kept.
    """
    kept = str(job.dataset.get("kept") or "")
    path = client.home / "datasets" / kept
    if not kept or "/" in kept or not path.is_file():
        raise StoreError(
            "The job's rows are not kept on this machine",
            where=str(path),
            hint="`ftsdk validate FILE` checks a file of rows",
        )
    options: dict[str, Any] = {
        "provider": job.provider,
        "model": job.model,
        "method": job.method,
    }
    return client.validate(path, **options)


def data_page(view: View, job: JobSnapshot, report: DatasetReport) -> Html:
    """Return the report as a page."""
    name = job.name or job.id
    back = el("a", name, href=f"/jobs/{job.id}")
    found = [*report.faults, *report.notices]
    verdict = "no faults" if report.ok else plural(sum(report.row_counts.values()), "faulty row")
    parts: list[Child] = [
        heading("Data report", back, verdict),
        card("Rows", facts(_lines(job, report))),
    ]
    if found:
        columns = ("Code", "Line", "Field", "What", "How to fix it")
        rows = [_row(one) for one in found[:_SHOWN]]
        faulty = [k for k, one in enumerate(found[:_SHOWN]) if one.severity == "fault"]
        beside = f"the first {_SHOWN}" if len(found) > _SHOWN else plural(len(found), "finding")
        shown = table(columns, rows, numbers=(1,), label="Findings", changed=faulty)
        parts.append(card("Findings", shown, beside=beside))
    parts += [el("p", f"Not checked: {reason}", class_="soft") for reason in report.skipped]
    return document(view, f"Data of {name}", *parts)


def _lines(job: JobSnapshot, report: DatasetReport) -> list[tuple[Child, Child]]:
    tokens = report.tokens
    counted = None if tokens is None else f"{tokens.total:,}{'' if tokens.exact else ', estimated'}"
    counts = [f"{code}: {number:,}" for code, number in sorted(report.counts.items())]
    return [
        ("file", str(job.dataset.get("name") or "")),
        ("rows", f"{report.rows:,}"),
        ("format", report.format),
        ("size", words.size(report.size_bytes)),
        ("tokens", counted),
        ("findings by code", ", ".join(counts)),
    ]


def _row(one: Fault) -> list[Child]:
    more = f" and {one.rows - 1:,} more" if one.rows > 1 else ""
    said = [one.message, el("code", f" {one.value}") if one.value else None]
    return [one.code, f"{one.line:,}{more}" if one.line else "", one.field, said, one.hint]
