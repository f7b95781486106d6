"""Which job answers a chat: the one of a name, or one of an alias's; and whether it can do what is asked."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from ftsdk.async_client import AsyncFineTuneJob
from ftsdk.serve.aliases import choose
from ftsdk.serve.problems import Problem
from ftsdk.serve.requests import ChatBody
from ftsdk.serve.state import ServerState

USER_HEADER = "x-ftsdk-user"
"""Names whom the answer is for, so that one user always asks the same model of an alias."""
JOB_HEADER = "x-ftsdk-job"
"""Names the job whose model answered."""


@dataclass(frozen=True)
class Choice:
    """The job that answers, and the other ones of the same alias."""

    job: AsyncFineTuneJob
    others: tuple[str, ...] = ()

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer that say who gave it."""
        return {JOB_HEADER: self.job.id}


async def choose_job(state: ServerState, body: ChatBody, request: Request) -> Choice:
    """Return the job that answers this chat. Raises `Problem` where none does, or cannot."""
    shares = state.aliases.get(body.model)
    if shares is None:
        choice = Choice(await state.job_of_model(body.model))
    else:
        user = request.headers.get(USER_HEADER) or body.user_name
        chosen = choose(body.model, shares, user, state.settings.draw)
        others = tuple(share.job for share in shares if share != chosen)
        choice = Choice(await state.job_of_model(chosen.job), others)
    _require_json_mode(state, choice.job, body)
    return choice


def _require_json_mode(state: ServerState, job: AsyncFineTuneJob, body: ChatBody) -> None:
    """Raise `Problem` for an answer in JSON that the model's backend cannot promise."""
    wanted = body.answer_type
    if wanted in (None, "text"):
        return
    backend = state.client.session.backend_for(job.snapshot)
    if not backend.capabilities.json_mode:
        raise Problem(
            400,
            f"{backend.name} cannot promise an answer of the type {wanted!r}; leave response_format out.",
            code="unsupported_parameter",
            param="response_format",
        )
