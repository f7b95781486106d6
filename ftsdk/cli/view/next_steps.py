"""What can be done next with a job: what its state asks for, as far as its backend has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ftsdk.cli.view.output import command

if TYPE_CHECKING:
    from ftsdk.backends.capabilities import Capabilities
    from ftsdk.jobs.job import FineTuneJob
    from ftsdk.types.model import ModelHandle

__all__ = ["next_steps", "steps"]

_NEEDS = {
    "cancel": "can_cancel",
    "chat": "can_chat",
    "deploy": "can_deploy",
    "download": "can_download",
    "logs": "has_logs",
    "resume": "can_resume",
}
"""What a backend must be able to do, for a command to be offered; the others always can be."""

_TAILS = {"resolve": " --send-again", "download": " FOLDER"}


def next_steps(job: FineTuneJob, handle: ModelHandle | None = None) -> list[str]:
    """The commands to offer for the job as it stands; with its model's `handle`, more exactly."""
    able = job._client._backend_for(job.snapshot).capabilities
    wanted = _wanted(job, able, handle)
    found = [one for one in wanted if one not in _NEEDS or getattr(able, _NEEDS[one])]
    return found or (["logs"] if able.has_logs else [])


def steps(commands: Iterable[str], short: str) -> list[tuple[str, str]]:
    """The commands about the job called `short`, as the cells of a line."""
    cells: list[tuple[str, str]] = []
    for word in commands:
        line = f"ftsdk {word} {short}{_TAILS.get(word, '')}"
        cells += [*([(" · ", "dim")] if cells else []), command(line)]
    return cells


def _wanted(job: FineTuneJob, able: Capabilities, handle: ModelHandle | None) -> Sequence[str]:
    from ftsdk.types.status import JobStatus

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
