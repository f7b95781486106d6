"""What hosted backends have in common: prepare, send once, refuse by name."""

from __future__ import annotations

import abc
import builtins
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

from ftsdk.artifacts.download import Source
from ftsdk.backends.base import Backend, Context, SubmitRequest
from ftsdk.backends.hosted.chat_many import chat_many
from ftsdk.backends.hosted.live.plan import Plan as LivePlan
from ftsdk.backends.hosted.redact import refuse_secrets
from ftsdk.backends.hosted.response_checks import nothing_sent
from ftsdk.backends.hosted.results import download_weights
from ftsdk.backends.hosted.transport import HostedTransport
from ftsdk.backends.refusals import refuse
from ftsdk.errors import UnexpectedResponse
from ftsdk.types.chat import ChatOutcome, ChatRequest
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ModelHandle, ModelKind
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus

TransportT = TypeVar("TransportT", bound=HostedTransport[Any])
Ready = TypeVar("Ready")

_AT_ONCE = 3
"""This many jobs are read without waiting, so that a short list is not slow."""
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,127}")


class HostedBackend(Backend, Generic[TransportT, Ready]):
    """A backend over one `transport`.

    `Ready` is what `_prepared` returns and `_created` sends.
    """

    secrets_hint: ClassVar[str] = "leave it out"
    reads_key_variable = True
    refusal_hint: ClassVar[str] = "leave them out or change them"

    def __init__(self, context: Context, transport: TransportT) -> None:
        super().__init__(context)
        self.transport = transport
        self.base_url = transport.base_url
        self._ready: dict[str, Ready] = {}
        self._read_at: dict[str, float] = {}

    def close(self) -> None:
        self.transport.close()

    def account(self) -> str | None:
        return self.transport.account()

    @property
    def has_moved(self) -> bool:
        return self.transport.has_moved

    @property
    def dated_as(self) -> str | None:
        host = urlsplit(self.transport.base_url).hostname or ""
        return self.transport.service.name if self.transport.service.owns(host) else None

    def live_plan(self) -> LivePlan:
        """Return what `ftsdk doctor --live` asks this provider, and how it concludes from it."""
        raise self.cannot("be asked about its answers")

    # --- refusing ---

    def _refuse(self, faults: Sequence[str], spec: JobSpec) -> None:
        """Raise one `Unsupported` with all of these faults; do nothing without any."""
        refuse(
            faults,
            where=f"backend {self.name}, {spec.model}, before anything was sent",
            hint=f"{self.refusal_hint}; `ftsdk backends {self.name}` lists what it takes",
        )

    def _refuse_secrets(self, spec: JobSpec) -> None:
        """Raise `Unsupported` when the provider's options contain a secret."""
        refuse_secrets(
            spec.provider_options,
            where=f"backend {self.name}, before anything was sent",
            hint=self.secrets_hint,
        )

    # --- submitting ---

    @abc.abstractmethod
    def _prepared(self, request: SubmitRequest) -> Ready:
        """Do everything before the create call that spends nothing: checks, uploads, quote."""

    @abc.abstractmethod
    def _created(self, request: SubmitRequest, ready: Ready) -> RemoteJob:
        """Make the create call, in one attempt, and return the job."""

    def prepare(self, request: SubmitRequest) -> None:
        with nothing_sent():
            self._ready[request.tag] = self._prepared(request)

    def _ready_for(self, request: SubmitRequest) -> Ready:
        """Return what `prepare` found; prepare now if it was not called."""
        if request.tag not in self._ready:
            self.prepare(request)
        return self._ready[request.tag]

    def submit(self, request: SubmitRequest) -> RemoteJob:
        with nothing_sent():
            ready = self._ready.pop(request.tag, None)
            if ready is None:
                ready = self._prepared(request)
        try:
            job = self._created(request, ready)
            if not _JOB_ID.fullmatch(job.provider_job_id):
                raise self.transport.unexpected("the create call", "it has no usable job id")
            if not self._is_ours(job, request):
                raise self.transport.unexpected("the create call", "it is about another job")
        except UnexpectedResponse as error:
            if error.submitted is None:
                error.submitted = "maybe"
                error.hint = f"ftsdk reconcile {request.job_id}"
            raise
        return job.model_copy(update={"tag": request.tag})

    def _is_ours(self, job: RemoteJob, request: SubmitRequest) -> bool:
        """Whether the created job has the tag that was sent, where the provider repeats it."""
        return job.tag is None or job.tag == request.tag

    # --- reading ---

    def _read_in_turn(self, unread: Mapping[str, RemoteJob | None]) -> Iterator[RemoteJob]:
        """Yield jobs that must be read one by one, at the provider's request rate.

        `unread` maps ids to the job as a list shows it, or to None. Those read longest ago come
        first. After half a poll interval the rest are left for next time: a listed job is returned
        as the list has it, though never as ended, and an unlisted one is left out.
        """
        until = self.clock.monotonic() + self.capabilities.poll_s / 2
        order = sorted(unread, key=lambda one: self._read_at.get(one, -math.inf))
        for number, identity in enumerate(order):
            row = unread[identity]
            if number < _AT_ONCE or self.transport.pace.wait(until):
                self._read_at[identity] = self.clock.monotonic()
                yield self.get(identity)
            elif row is not None:
                yield self._without_outcome(row)

    def _without_outcome(self, row: RemoteJob) -> RemoteJob:
        """Return a job that a list reports as ended, until its outcome is read."""
        if not row.status.is_final:
            return row
        message = (
            f"{self.transport.service.title} reports {row.raw_status}; its outcome is read next"
        )
        left_out = dict.fromkeys(("error", "finished_at", "result_model", "cost"))
        update = {**left_out, "status": JobStatus.FINALIZING, "message": message}
        return row.model_copy(update=update)

    # --- chats ---

    def chat_many(
        self,
        handle: ModelHandle,
        requests: Iterable[ChatRequest],
        *,
        concurrency: int = 8,
        on_outcome: Callable[[ChatOutcome], None] | None = None,
    ) -> Iterator[ChatOutcome]:
        # A model that answers only with its deployment's name declares no chat, and can do both.
        if not self.capabilities.can_chat_many and handle.kind is not ModelKind.NEEDS_DEPLOYMENT:
            raise self.cannot("answer many conversations at once")
        return chat_many(
            lambda request: self.chat(handle, request.messages, request.options),
            requests,
            concurrency=concurrency,
            on_outcome=on_outcome,
            clock=self.clock,
        )

    @staticmethod
    def _tail(lines: builtins.list[str], tail: int | None) -> builtins.list[str]:
        """Return the last `tail` lines; all of them for None."""
        return lines if tail is None else lines[max(0, len(lines) - tail) :]

    def _download(
        self, handle: ModelHandle, source: Source, folder: Path, *, kind: str = ""
    ) -> Path:
        """Download the archive at `source`, unpack it into `folder`, return the folder.

        `kind` names one of several archives of a model.
        """
        home, clock = self.context.home, self.clock
        return download_weights(folder, source, handle, home=home, clock=clock, kind=kind)
