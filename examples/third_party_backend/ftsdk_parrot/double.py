"""The parrot service on loopback."""

from __future__ import annotations

from typing import Any

from ftsdk.testing.lab import (
    KeyedDouble,
    Refusal,
    Reply,
    Request,
    Stage,
    Timeline,
    fake_training,
    route,
)

STAGES = (Stage("egg", 0), Stage("listening", 1), Stage("repeating", 3), Stage("talks", 4))


class ParrotDouble(KeyedDouble):
    """Replies as the service would; see `ftsdk.testing.lab`."""

    name = "parrot"
    own_keys = ("lab-parrot-key",)
    own_stages = STAGES

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rows: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    def variables(self) -> dict[str, str]:
        return {"PARROT_URL": self.base_url, "PARROT_KEY": min(self.keys)}

    def _shown(self, job: dict[str, Any]) -> dict[str, Any]:
        status = job["forced"] if job["forced"] is not None else job["timeline"].status(self.now())
        return {
            "id": job["id"],
            "state": status,
            "model": job["asked"]["model"],
            "label": job["asked"]["label"],
            "created": job["timeline"].started.isoformat(),
            "why": "it lost its voice" if status == "mute" else "",
        }

    def _job(self, job_id: str) -> dict[str, Any]:
        if job_id not in self.jobs:
            raise Refusal(404, {"error": {"message": "no such parrot"}})
        return self.jobs[job_id]

    @route("POST", "/v1/rows")
    def take_rows(self, request: Request) -> Any:
        identity = self.new_id("rows-")
        self.rows[identity] = request.body
        return Reply(201, {"id": identity})

    @route("POST", "/v1/jobs")
    def create(self, request: Request) -> Any:
        asked = request.json()
        missing = {"model", "rows", "epochs", "seed", "label"} ^ set(asked)
        if missing:
            raise Refusal(422, {"error": {"message": f"what is {min(missing)}?"}})
        identity = self.new_id("parrot-")
        timeline = Timeline(self.now(), self.stages, training="listening", trained="repeating")
        self.jobs[identity] = {"id": identity, "asked": asked, "timeline": timeline, "forced": None}
        return Reply(201, self._shown(self.jobs[identity]))

    @route("GET", "/v1/jobs")
    def list(self, request: Request) -> Any:
        label, begin = request.first("label"), int(request.first("from") or 0)
        shown = [self._shown(job) for job in reversed(self.jobs.values())]
        found = [job for job in shown if label in (None, job["label"])]
        end = begin + (self.page_size or 50)
        return {"jobs": found[begin:end], "next": end if end < len(found) else None}

    @route("GET", "/v1/jobs/{job_id}")
    def get(self, request: Request, job_id: str) -> Any:
        return self._shown(self._job(job_id))

    @route("POST", "/v1/jobs/{job_id}/shush")
    def shush(self, request: Request, job_id: str) -> Any:
        job = self._job(job_id)
        if job["timeline"].status(self.now()) != "talks":
            job["timeline"].end("shushed", self.now())
        return self._shown(job)

    @route("GET", "/v1/jobs/{job_id}/log")
    def log(self, request: Request, job_id: str) -> Any:
        stages = self._job(job_id)["timeline"].reached(self.now())
        return {"lines": [f"{stage.at_s:g} s: {stage.status}" for stage in stages]}

    @route("POST", "/v1/jobs/{job_id}/say")
    def say(self, request: Request, job_id: str) -> Any:
        unknown = set(request.json()) - {"messages", "max_tokens", "temperature", "seed"}
        if unknown:
            raise Refusal(422, {"error": {"message": f"what is {min(unknown)}?"}})
        rows = self.rows[self._job(job_id)["asked"]["rows"]]
        return {"text": fake_training.nearest_answer(rows, request.json()["messages"])}
