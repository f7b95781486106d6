"""The hosted backends that the lab can play, one record each: what differs in their tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HOSTED", "ROWS", "Hosted"]

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"where is parcel {i}?"},
            {"role": "assistant", "content": f"[shipping/{i}] on its way"},
        ]
    }
    for i in range(20)
]


@dataclass(frozen=True)
class Hosted:
    """One backend, and how to control its double."""

    name: str
    key: str
    url: str
    """The variables of the key and of the base URL."""
    create: str
    """The path of the create call, as a regular expression."""
    show: Callable[[Any, str, str | None], None]
    """Make the double report a job with this raw status."""
    running: str
    job: Mapping[str, Any] = field(default_factory=dict)

    def new(self, client: Any, **given: Any) -> Any:
        """A job of this backend."""
        rows = given.pop("rows", ROWS)
        return client.create_job(rows, **{"provider": self.name, **self.job, **given})


def _forced(double: Any, job_id: str, word: str | None) -> None:
    double.jobs[job_id].forced = word


def _forced_training(double: Any, job_id: str, word: str | None) -> None:
    double.trainings[job_id].forced = word


HOSTED = {
    one.name: one
    for one in (
        Hosted(
            name="openai", key="OPENAI_API_KEY", url="OPENAI_BASE_URL",
            create=r"/fine_tuning/jobs$", show=_forced, running="running",
            job={"model": "gpt-4.1-mini-2025-04-14"},
        ),
        Hosted(
            name="together", key="TOGETHER_API_KEY", url="TOGETHER_BASE_URL",
            create=r"/v1/fine-tunes$", show=_forced, running="running",
            job={"model": "Qwen/Qwen3.5-9B"},
        ),
        Hosted(
            name="replicate", key="REPLICATE_API_TOKEN", url="REPLICATE_BASE_URL",
            create=r"/trainings$", show=_forced_training, running="processing",
            job={
                "model": "lab/llama-trainer",
                "provider_options": {"destination": "lab/tuned", "hardware": "gpu-l40s"},
            },
        ),
    )
}  # fmt: skip
