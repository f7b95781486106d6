"""How jobs whose row in the journal cannot be read are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftsdk.cli.view.formatting import clean
from ftsdk.cli.view.output import note
from ftsdk.store.job_rows import UnreadableJob


def note_unreadable(jobs: Sequence[UnreadableJob]) -> None:
    """Print a line on standard error for each job, and a hint."""
    for job in jobs:
        note(("! ", "red"), (f"{job.id}  ", "bold"), clean(f"cannot be read: {job.why}"))
    for hint in dict.fromkeys(job.hint for job in jobs):
        note(("  hint  ", "dim"), hint)


def unreadable_document(jobs: Sequence[UnreadableJob]) -> dict[str, Any]:
    """Return the part of a `--json` document that names the jobs; empty where there are none."""
    if not jobs:
        return {}
    return {"unreadable": [{"id": job.id, "why": job.why, "hint": job.hint} for job in jobs]}
