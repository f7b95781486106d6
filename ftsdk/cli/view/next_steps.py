"""The commands to suggest next for a job, by its status and what its backend can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ftsdk.backends.capabilities import Capabilities
from ftsdk.cli.view.output import command
from ftsdk.jobs.job import FineTuneJob
from ftsdk.types.model import ModelHandle
from ftsdk.types.status import JobStatus

_NEEDS = {
    "cancel": "can_cancel",
    "chat": "can_chat",
    "deploy": "can_deploy",
    "download": "can_download",
    "logs": "has_logs",
    "resume": "can_resume",
}
"""The capability a command needs; the other commands are always suggested."""

_ARGUMENTS = {"resolve": " --send-again", "download": " FOLDER"}


def next_steps(job: FineTuneJob, handle: ModelHandle | None = None) -> list[str]:
    """Return the commands to suggest for the job; with its model's `handle`, more exactly."""
    able = job.session.backend_for(job.snapshot).capabilities
    wanted = _wanted(job, able, handle)
    found = [one for one in wanted if one not in _NEEDS or getattr(able, _NEEDS[one])]
    return found or (["logs"] if able.has_logs else [])


def steps(commands: Iterable[str], short: str) -> list[tuple[str, str]]:
    """Return the commands for the job called `short` as parts of a line."""
    cells: list[tuple[str, str]] = []
    for name in commands:
        line = f"ftsdk {name} {short}{_ARGUMENTS.get(name, '')}"
        cells += [*([(" · ", "dim")] if cells else []), command(line)]
    return cells


def _wanted(job: FineTuneJob, able: Capabilities, handle: ModelHandle | None) -> Sequence[str]:
    if job.status is JobStatus.SUCCEEDED:
        callable_now = not able.can_deploy if handle is None else handle.callable_now
        return ("chat" if callable_now else "deploy", "download")
    again = ("resume",) if able.resumes_ended else ()
    return {
        JobStatus.FAILED: ("logs", *again),
        JobStatus.CANCELLED: (*again, "logs"),
        JobStatus.PAUSED: ("resume", "cancel"),
        JobStatus.IN_DOUBT: ("reconcile", "resolve"),
        JobStatus.SUBMITTING: ("reconcile",),
        JobStatus.CREATED: ("resolve", "cancel"),
    }.get(job.status, ("watch", "cancel"))
