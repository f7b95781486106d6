"""The report of a migration: the evaluation's page with cost, dates and what was not carried over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftsdk.evaluation.junit import junit_xml
from ftsdk.migration.comparing import Compared
from ftsdk.migration.migrate_options import MigrationOptions
from ftsdk.migration.old_model import OldModel
from ftsdk.session import Session
from ftsdk.types.migration import CandidatePlan, LostFeature, MigratedModel
from ftsdk.util.files import atomic_write_bytes


@dataclass(frozen=True)
class ReportFacts:
    """What a report rests on."""

    session: Session
    old: OldModel
    options: MigrationOptions
    compared: Compared
    result: MigratedModel
    candidates: Sequence[CandidatePlan]


def write_reports(folder: Path, facts: ReportFacts, lost: Iterable[LostFeature]) -> None:
    """Write `report.html`, `report.json` and `report.xml` into the folder."""
    missing = list(lost)
    report = facts.compared.report
    document = {
        "migration": facts.result.model_dump(mode="json"),
        "lost": [one.model_dump(mode="json") for one in missing],
        "evaluation": report.to_dict(),
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    atomic_write_bytes(folder / "report.html", report.to_html().encode())
    atomic_write_bytes(folder / "report.json", text.encode() + b"\n")
    atomic_write_bytes(folder / "report.xml", junit_xml(report))
