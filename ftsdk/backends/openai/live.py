"""What OpenAI and the services of its shape are asked by `ftsdk doctor --live`.

Fields and their names are those of the published schema (2026-08-21), with Azure's exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_text
from ftsdk.backends.hosted.live.plan import (
    NOT_SEEN,
    Check,
    Conclusion,
    Evidence,
    Plan,
    Read,
    counted,
    tag_is_kept,
)
from ftsdk.backends.hosted.live.shape import Field, Shape
from ftsdk.backends.openai import live_chats
from ftsdk.backends.openai.account_models import base_of, end_at_azure
from ftsdk.backends.openai.job_mapping import STATUSES, TAG_KEY, tag_of
from ftsdk.backends.openai.profiles import Profile

_TEXT, _TIME, _COUNT = Field("text"), Field("time"), Field("count")
_MAYBE_TEXT = Field("text", optional=True, nullable=True)
_MODEL = Shape(
    {"id": _TEXT, "shutdown_date": _MAYBE_TEXT},
    frozenset({"object", "created", "owned_by", "created_at", "status", "capabilities",
               "lifecycle_status", "deprecation", "fine_tune", "model", "parent"}),
)  # fmt: skip
_FILE = Shape(
    {
        "id": _TEXT,
        "bytes": _COUNT,
        "created_at": _TIME,
        "filename": _TEXT,
        "purpose": _TEXT,
        "status": Field(
            "text",
            optional=True,
            nullable=True,
            words=frozenset({"uploaded", "processed", "error", "pending", "running"}),
        ),
    },
    frozenset({"object", "expires_at", "status_details"}),
)
_JOB = Shape(
    {
        "id": _TEXT,
        "status": Field("text", words=frozenset(STATUSES)),
        "created_at": _TIME,
        "finished_at": Field("time", optional=True, nullable=True),
        "model": _TEXT,
        "fine_tuned_model": Field("text", nullable=True),
        "trained_tokens": Field("count", optional=True, nullable=True),
        "error": Field("object", optional=True, nullable=True),
        "result_files": Field("list", optional=True, nullable=True),
        "training_file": _TEXT,
        "metadata": Field("object", optional=True, nullable=True),
        "suffix": _MAYBE_TEXT,
        "user_provided_suffix": _MAYBE_TEXT,
    },
    frozenset({"object", "organization_id", "hyperparameters", "validation_file", "integrations",
               "seed", "estimated_finish", "method", "usage_metrics", "shared_with_openai",
               "eval_id", "trainingType", "training_type"}),
)  # fmt: skip
_EVENT = Shape(
    {
        "id": _TEXT,
        "created_at": _TIME,
        "level": Field("text", words=frozenset({"info", "warn", "warning", "error"})),
        "message": _TEXT,
        "data": Field("object", optional=True, nullable=True),
    },
    frozenset({"object", "type"}),
)
_CHECKPOINT = Shape(
    {
        "id": _TEXT,
        "created_at": _TIME,
        "step_number": _COUNT,
        "fine_tuned_model_checkpoint": Field("text", optional=True, nullable=True),
        "metrics": Field("object"),
    },
    frozenset({"object", "fine_tuning_job_id", "result_files"}),
)


def plan_of(service: Profile) -> Plan:
    """Return the reads of a service, and the checks of its facts."""
    jobs = "/fine_tuning/jobs"
    reads = [
        Read("models", "/models", _MODEL, optional=service.name != "openai"),
        Read("files", "/files", _FILE, query={"limit": "50"}),
        Read("jobs", jobs, _JOB, query={"limit": "50"}),
        Read("job", f"{jobs}/{{id}}", _JOB, items=None, each="jobs"),
        Read("events", f"{jobs}/{{id}}/events", _EVENT, each="jobs", query={"limit": "50"}),
        Read("checkpoints", f"{jobs}/{{id}}/checkpoints", _CHECKPOINT, each="jobs"),
    ]
    if service.takes_metadata:
        reads.append(
            Read("jobs by tag", jobs, _JOB, query={"limit": "50"}, ask=_by_tag, optional=True)
        )
    if service.capabilities.can_batch:
        reads += live_chats.reads()
    by_suffix = service.name in ("nebius", "crusoe")
    find_by = tag_is_kept("jobs", _searched) if by_suffix else _filtered
    return Plan(
        tuple(reads),
        {
            "capabilities.find_by": find_by,
            "capabilities.hyperparameters": _own_names(service.own_hyperparameters),
            "catalogue.models.gpt-4o-2024-08-06.note": _tuned_by_dpo("gpt-4o-2024-08-06"),
            "catalogue.models.gpt-4o-mini-2024-07-18.note": _tuned_by_dpo("gpt-4o-mini-2024-07-18"),
            "capabilities.lists_models": _lists_tuned,
            "capabilities.reports_model_ends": _reports_ends,
            **live_chats.CHECKS,
        },
    )


def _searched(job: Mapping[str, Any]) -> str:
    """Return the text in which `find` looks for a tag, at services without a filter."""
    names = ("suffix", "user_provided_suffix", "fine_tuned_model")
    return " ".join(filter(None, (as_text(job.get(name)) for name in names)))


def _by_tag(seen: Evidence) -> Iterator[Mapping[str, str]]:
    """Yield the query for the newest job that has a tag in its metadata."""
    tag = next(filter(None, map(tag_of, seen.of("jobs"))), None)
    if tag is not None:
        yield {f"metadata[{TAG_KEY}]": tag}


def _filtered(seen: Evidence) -> Conclusion:
    """Conclude whether a list can be filtered by metadata."""
    if not seen.was_asked("jobs by tag"):
        return NOT_SEEN
    tags = {tag_of(job) for job in seen.of("jobs by tag")}
    if len(tags) == 1 and None not in tags:
        return "confirmed", "only the job that was asked for"
    return "refuted", "the filter was not applied" if tags else "the job was not found"


def _lists_tuned(seen: Evidence) -> Conclusion:
    """Conclude whether the list of models has the account's fine-tunes; they may be deleted."""
    made = {as_text(job.get("fine_tuned_model")) for job in seen.of("jobs")} - {None}
    listed = {as_text(model.get("id")) for model in seen.of("models")} & made
    return ("confirmed", counted(len(listed), "fine-tune")) if listed else NOT_SEEN


def _reports_ends(seen: Evidence) -> Conclusion:
    """Conclude whether the list of models says when a fine-tune ends."""
    tuned = [one for one in seen.of("models") if base_of(one) is not None]
    if any(one.get("shutdown_date") or end_at_azure(one) for one in tuned):
        return "confirmed", "the list has such a day"
    return ("refuted", f"{counted(len(tuned), 'fine-tune')} without a day") if tuned else NOT_SEEN


def _own_names(names: frozenset[str]) -> Check:
    """Return the check that jobs show the service's own hyperparameters under these names."""

    def check(seen: Evidence) -> Conclusion:
        asked = [job.get("hyperparameters") for job in seen.of("jobs")]
        shown = {name for one in asked if isinstance(one, Mapping) for name in one} & names
        return ("confirmed", ", ".join(sorted(shown))) if shown else NOT_SEEN

    return check


def _tuned_by_dpo(base: str) -> Check:
    def check(seen: Evidence) -> Conclusion:
        for job in seen.of("jobs"):
            method = job.get("method")
            kind = method.get("type") if isinstance(method, Mapping) else None
            if job.get("model") == base and kind == "dpo" and job.get("status") == "succeeded":
                return "confirmed", "a job of this account was tuned by DPO"
        return NOT_SEEN

    return check
