"""What Replicate is asked by `ftsdk doctor --live`. Fields are those of its OpenAPI text of 2026-03-16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted.live.plan import NOT_SEEN, Conclusion, Evidence, Plan, Read, tag_is_kept
from ftsdk.backends.hosted.live.shape import Field, Shape
from ftsdk.backends.replicate.job_mapping import STATUSES, TAG_FRAGMENT, tag_in

_TEXT, _TIME = Field("text"), Field("time")
_MAYBE_TEXT = Field("text", optional=True, nullable=True)
_MAYBE_TIME = Field("time", optional=True, nullable=True)
_TRAINER = "nateraw/axolotl-trainer-llama-2-7b"
_TRAINING = Shape(
    {
        "id": _TEXT,
        "status": Field("text", words=frozenset(STATUSES)),
        "model": _TEXT,
        "version": _TEXT,
        "created_at": _TIME,
        "started_at": _MAYBE_TIME,
        "completed_at": _MAYBE_TIME,
        "input": Field("object", optional=True, nullable=True),
        "error": _MAYBE_TEXT,
        "logs": _MAYBE_TEXT,
        "metrics": Field(
            "object",
            optional=True,
            nullable=True,
            inner={"predict_time": Field("number", optional=True, nullable=True)},
        ),
    },
    frozenset({"output", "source", "urls", "data_removed", "webhook", "webhook_events_filter",
               "deadline", "deployment"}),
)  # fmt: skip
_FILE = Shape(
    {
        "id": _TEXT,
        "size": Field("count"),
        "created_at": _TIME,
        "urls": Field("object", inner={"get": _TEXT}),
    },
    frozenset({"name", "content_type", "etag", "checksums", "metadata", "expires_at"}),
)
_HARDWARE = Shape({"name": _TEXT, "sku": _TEXT})
_ACCOUNT = Shape(
    {"type": _TEXT, "username": _TEXT}, frozenset({"name", "github_url", "avatar_url"})
)
_MODEL = Shape(
    {"owner": _TEXT, "name": _TEXT, "latest_version": Field("object", optional=True, nullable=True)},
    frozenset({"url", "description", "visibility", "github_url", "paper_url", "license_url",
               "run_count", "cover_image_url", "default_example", "weights_url", "is_official"}),
)  # fmt: skip


def plan() -> Plan:
    """Return the reads of Replicate, and the checks of its facts."""
    trainings = "/v1/trainings"
    return Plan(
        (
            Read("account", "/v1/account", _ACCOUNT, items=None),
            Read("hardware", "/v1/hardware", _HARDWARE, items="*"),
            Read("files", "/v1/files", _FILE, items="results"),
            Read("jobs", trainings, _TRAINING, items="results"),
            Read("job", f"{trainings}/{{id}}", _TRAINING, items=None, each="jobs"),
            Read("trainer", f"/v1/models/{_TRAINER}", _MODEL, items=None, optional=True),
        ),
        {
            "capabilities.find_by": tag_is_kept("jobs", _fragment),
            f"catalogue.models.{_TRAINER}.note": _trainer_is_there,
        },
    )


def _fragment(training: Mapping[str, Any]) -> str:
    """Return the tag that `input` still has, as `find` would see it."""
    tag = tag_in(training)
    return "" if tag is None else f"#{TAG_FRAGMENT}{tag}"


def _trainer_is_there(seen: Evidence) -> Conclusion:
    """Conclude that it is gone where Replicate no longer has it; that it runs is never seen."""
    if "trainer" in seen.missing:
        return "refuted", "Replicate no longer has this trainer"
    return NOT_SEEN
