"""The parrot service as a backend: six methods over its small JSON API."""

from __future__ import annotations

import itertools
import json
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from ftsdk.backends import Backend, Capabilities, Context, FindBy, Range, SubmitRequest
from ftsdk.backends.hosted import (
    BoundKey,
    Retries,
    account_of_key,
    attempt,
    bind_key,
    checked_base_url,
    guard_logs,
    json_object,
)
from ftsdk.errors import NotFound, UnexpectedResponse, Unsupported
from ftsdk.types.account import named_account
from ftsdk.types.job import RemoteJob
from ftsdk.types.model import ChatAnswer, ModelHandle, ModelKind
from ftsdk.types.status import JobStatus
from ftsdk.util.clock import parse_time

STATUSES = {
    "egg": JobStatus.QUEUED,
    "listening": JobStatus.RUNNING,
    "repeating": JobStatus.FINALIZING,
    "talks": JobStatus.SUCCEEDED,
    "mute": JobStatus.FAILED,
    "shushing": JobStatus.CANCELLING,
    "shushed": JobStatus.CANCELLED,
}
"""The service's statuses and ours. Any other is `unknown`, which is never final."""

_OPTIONS = ("max_tokens", "temperature", "seed")
_ID = re.compile(r"parrot-[0-9a-f]{24}")


class ParrotBackend(Backend):
    """Calls `PARROT_URL` with the key in `PARROT_KEY`."""

    name = "parrot"
    reads_key_variable = True
    capabilities = Capabilities(
        methods=frozenset({"sft"}),
        adapters=frozenset({"full"}),
        formats=frozenset({"chat"}),
        hyperparameters={"epochs": Range(low=1, high=20, default=3)},
        find_by=FindBy.METADATA,  # its jobs have a label, and its list filters by it
        can_cancel=True,
        can_chat=True,
        has_logs=True,
        takes_validation=False,
        poll_s=2.0,
        key_variables=("PARROT_KEY",),
    )

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        url = context.base_url or context.env.get("PARROT_URL", "https://parrot.example/v1")
        self.base_url: str = checked_base_url(url, source="base_url or PARROT_URL")
        self._retries = Retries(context.clock)
        self._http = self._client()
        weakref.finalize(self, self._http.close)
        guard_logs()

    def _client(self) -> httpx.Client:
        # No redirects: they would receive the key. No retries: a create is sent once.
        seconds = float(self.context.options.get("timeout_s", 30))
        return httpx.Client(timeout=seconds, follow_redirects=False)

    def close(self) -> None:
        self._http.close()
        self._http = self._client()

    def _key(self) -> BoundKey:
        variable = self.context.key_variable or "PARROT_KEY"  # a profile may name another one
        return bind_key(self.name, (variable,), self.context.env, self.base_url)

    def account(self) -> str:
        return self._account_of(self._key())

    def _account_of(self, key: BoundKey) -> str:
        named = self.context.account  # a name from the profile, whatever the key is
        return named_account(named) if named else account_of_key(key, self.context.home)

    # --- requests ---

    def _call(self, method: str, path: str, **facts: Any) -> bytes:
        """Make one request and return the content of its reply."""
        key = self._key()
        self.require_account(self._account_of(key))
        url = self.base_url + path
        headers = {"Authorization": f"Bearer {key.reveal(url)}"}
        response = self._http.request(method, url, headers=headers, **facts)
        response.raise_for_status()
        return response.content

    def _get(self, path: str, **query: str) -> Any:
        return self._retries(
            lambda: self._try(f"GET {path}", lambda: self._call("GET", path, params=query))
        )

    def _try(self, action: str, ask: Callable[[], bytes], **how: Any) -> Any:
        """Return the JSON of a reply. `attempt` maps httpx's errors, `json_object` masks the key."""
        return attempt(
            lambda: json_object(ask(), "parrot", action),
            provider="parrot", action=action, now=self.clock.now(), **how,
        )  # fmt: skip

    def _job(self, reply: Any, asked_for: str | None = None) -> RemoteJob:
        """Return a job as a `RemoteJob`. Raises `UnexpectedResponse` for a reply without its id."""
        identity = reply.get("id") if isinstance(reply, dict) else None
        right = isinstance(identity, str) and _ID.fullmatch(identity)
        if not right or (asked_for is not None and identity != asked_for):
            raise UnexpectedResponse(
                "parrot sent a reply without a job id",
                where=self.base_url,
                hint="check PARROT_URL",
                submitted="maybe" if asked_for is None else None,
            )
        status = str(reply.get("state") or "")
        return RemoteJob(
            provider_job_id=str(identity),
            status=STATUSES.get(status, JobStatus.UNKNOWN),
            raw_status=status,
            model=reply.get("model"),
            tag=reply.get("label"),
            message=str(reply.get("why") or ""),
            created_at=parse_time(reply["created"]) if reply.get("created") else None,
            raw=reply,
        )

    # --- the contract ---

    def submit(self, request: SubmitRequest) -> RemoteJob:
        lines = b"".join(json.dumps(row).encode() + b"\n" for row in request.train)
        rows = self._try(
            "POST /rows", lambda: self._call("POST", "/rows", content=lines), submitted="no"
        )
        body = {
            "model": request.spec.model,
            "rows": rows["id"],
            "epochs": int(request.spec.hyperparameters.epochs or 3),
            "seed": request.spec.seed,
            "label": request.tag,
        }
        reply = self._try("POST /jobs", lambda: self._call("POST", "/jobs", json=body), sends=True)
        return self._job(reply)

    def find(self, request: SubmitRequest) -> list[RemoteJob]:
        return [job for job in self._all(label=request.tag) if job.tag == request.tag]

    def _all(self, **query: str) -> Iterator[RemoteJob]:
        """Yield the jobs of every page, newest first, each once."""
        seen: set[str] = set()
        start: Any = 0
        while isinstance(start, int):
            reply = self._get("/jobs", **query, **{"from": str(start)})
            for job in map(self._job, reply.get("jobs", [])):
                if job.provider_job_id not in seen:
                    seen.add(job.provider_job_id)
                    yield job
            following = reply.get("next")
            start = following if isinstance(following, int) and following > start else None

    def get(self, provider_job_id: str) -> RemoteJob:
        return self._job(self._get(f"/jobs/{self._checked_id(provider_job_id)}"), provider_job_id)

    def list(self, *, limit: int | None = None) -> Iterator[RemoteJob]:
        yield from itertools.islice(self._all(), limit)

    def cancel(self, provider_job_id: str) -> None:
        path = f"/jobs/{self._checked_id(provider_job_id)}/shush"
        self._try(f"POST {path}", lambda: self._call("POST", path))

    def logs(self, provider_job_id: str, *, tail: int | None = None) -> Any:
        lines = self._get(f"/jobs/{self._checked_id(provider_job_id)}/log")["lines"]
        return lines if tail is None else lines[max(0, len(lines) - tail) :]

    def model(self, provider_job_id: str) -> ModelHandle:
        job = self.get(provider_job_id)
        if job.status is not JobStatus.SUCCEEDED:
            raise self.not_ready(job.raw_status)
        return ModelHandle(
            kind=ModelKind.HOSTED,
            provider=self.name,
            id=provider_job_id,
            base_model=job.model or "unknown",
            callable_now=True,
        ).bound_to(self)

    def chat(
        self, handle: ModelHandle, messages: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
    ) -> ChatAnswer:
        asked = {name: value for name, value in options.items() if value is not None}
        unknown = sorted(set(asked) - set(_OPTIONS))
        if unknown:
            raise Unsupported(
                f"parrot has no chat option {', '.join(unknown)}",
                where="before anything was sent",
                hint=f"it takes {', '.join(_OPTIONS)}",
                submitted="no",
            )
        body = {"messages": [dict(message) for message in messages], **asked}
        path = f"/jobs/{self._checked_id(handle.id)}/say"
        reply = self._try(f"POST {path}", lambda: self._call("POST", path, json=body))
        message = {"role": "assistant", "content": str(reply["text"])}
        return ChatAnswer(text=message["content"], message=message, raw=reply)

    def _checked_id(self, identity: str) -> str:
        """Return the id, safe for a path. Raises `NotFound` when it cannot be an id."""
        if _ID.fullmatch(identity):
            return identity
        raise NotFound(
            "parrot has no job with such an id", where=repr(identity[:40]), hint="ftsdk list"
        )
