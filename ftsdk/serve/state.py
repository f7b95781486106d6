"""What the routes share: the client, the settings, uploads, and which model a name means."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anyio

from ftsdk.async_client import AsyncClient, AsyncFineTuneJob
from ftsdk.backends.hosted.redact import guard_logs, remember
from ftsdk.errors import UnknownJob
from ftsdk.jobs.job import FineTuneJob
from ftsdk.jobs.search import find_job
from ftsdk.serve.aliases import parse_alias
from ftsdk.serve.answer_log import AnswerLog
from ftsdk.serve.problems import Problem
from ftsdk.serve.settings import ServeSettings
from ftsdk.serve.uploads import Uploads
from ftsdk.util.files import atomic_write_json, make_private_folder

_COMPARED_AT_ONCE = 2
_CHECKPOINT = re.compile(r"(.+?)(?::ckpt-step-|@)([0-9]{1,9})")
"""A model's name, and the step of a checkpoint of its job."""
_OURS = re.compile(r"ft:.*:(ftj_[0-9A-Z]{26})")


class ServerState:
    """The state of one server."""

    def __init__(self, client: AsyncClient, settings: ServeSettings) -> None:
        self.client, self.settings = client, settings
        remember(settings.token)
        guard_logs(
            "ftsdk", "uvicorn.error"
        )  # no log has the token or a key, also not in a traceback
        self.clock = client.session.clock
        self.uploads = Uploads(settings.folder / "files", self.clock)
        self.chats = anyio.Semaphore(settings.max_chats)
        self.waiting = 0
        self.aliases = {name: parse_alias(jobs) for name, jobs in settings.aliases.items()}
        path = settings.answer_log
        self.answer_log = None if path is None else AnswerLog(path)
        self.comparisons, self.comparing = anyio.Semaphore(_COMPARED_AT_ONCE), 0

    async def job(self, job_id: str) -> AsyncFineTuneJob:
        """The job with this id. Raises `UnknownJob`."""
        if not job_id.startswith("ftj_"):
            raise UnknownJob(f"There is no job {job_id!r}", hint="job ids begin with ftj_")
        return await self.client.get_job(job_id)

    async def job_of_model(self, name: str) -> AsyncFineTuneJob:
        """The job whose model has this name: an alias's largest share, ours, or what `find_job` finds.

        With `@STEP` or `:ckpt-step-STEP` behind it, its result is the model at that checkpoint.

        Raises `Problem` for a name that nothing has, or several jobs.
        """
        shares = self.aliases.get(name)
        wanted = name if shares is None else max(shares, key=lambda share: share.percent).job
        at = _CHECKPOINT.fullmatch(wanted)
        wanted = wanted if at is None else at[1]
        ours = _OURS.fullmatch(wanted)
        wanted = wanted if ours is None else ours[1]
        try:
            found = await anyio.to_thread.run_sync(find_job, self.client.session.journal, wanted)
        except UnknownJob as error:
            raise _unknown_model(name, error) from error
        if at is None:
            return await self.client.get_job(found.id)
        return AsyncFineTuneJob(FineTuneJob(self.client.session, found, step=int(at[2])))

    # --- which files a job came from ---

    def remember_files(self, job_id: str, files: dict[str, Any]) -> None:
        """Keep the ids of the files that a job was created from."""
        atomic_write_json(make_private_folder(self.settings.folder / "jobs") / job_id, files)

    def files_of(self, job_id: str) -> dict[str, Any]:
        """The ids of the files that a job was created from; none for a job from elsewhere."""
        path = self.settings.folder / "jobs" / Path(job_id).name
        found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
        return found


def _unknown_model(name: str, error: UnknownJob) -> Problem:
    return Problem(
        404,
        f"There is no model {name!r} here: {error.what}. GET /v1/models lists them, and --alias adds a name.",
        code="model_not_found",
        param="model",
    )
