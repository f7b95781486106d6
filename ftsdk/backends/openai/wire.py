"""The service through the official `openai` SDK: one origin, no retries of its own, raw JSON back.

Answers are kept as the provider gave them: the SDK's typed objects turn missing fields into None
and `{}` into an error object that is true.
"""

from __future__ import annotations

import json
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import (
    BoundKey,
    HTTPFacts,
    Reads,
    attempt,
    bind_key,
    checked_base_url,
    guard_logs,
    mask_known,
    origin_of,
)
from ftsdk.backends.openai.profiles import AZURE, GENERIC, OPENAI, Profile, profile_for
from ftsdk.errors import ConfigError, FtsdkError, MissingExtra, Submitted, UnexpectedResponse

if TYPE_CHECKING:
    from openai import OpenAI

__all__ = ["Wire", "unexpected"]

_T = TypeVar("_T")
_TIMEOUT_S = 120.0
_CONNECT_S = 10.0
_MOST_PAGES = 10_000


class Wire:
    """One service, reached with the official SDK."""

    def __init__(self, context: Context, chosen: Profile) -> None:
        self._context = context
        self.base_url, self._from_file = _base_url(context, chosen)
        self.profile = profile_for(chosen, self.base_url)
        self.reads = Reads(context.clock)
        self._lock = threading.Lock()
        self._client: tuple[str, OpenAI] | None = None

    # --- the client ---

    def key(self) -> BoundKey:
        """The key, read now, bound to the origin of the base URL.

        A base URL that a configuration file names, and that is none of a known service, does not
        get the account's usual key: a file that came with a project could point anywhere. It gets
        the key stored for its host, or `OPENAI_API_KEY` when `OPENAI_BASE_URL` agrees.
        """
        env, name = self._context.env, self.profile.name
        variables = self.profile.capabilities.key_variables
        host = urlsplit(self.base_url).hostname or ""
        if self._from_file and self.profile.capabilities is GENERIC.capabilities:
            named = env.get("OPENAI_BASE_URL", "")
            if not named or origin_of(named) != origin_of(self.base_url):
                name = host
                variables = ("FTSDK_KEY_" + re.sub(r"[^A-Z0-9]", "_", host.upper()),)
        return bind_key(name, variables, env, self.base_url)

    def client(self) -> OpenAI:
        """The SDK's client for the key of this moment; made anew when the key changes."""
        key = self.key()
        with self._lock:
            if self._client is None or self._client[0] != key.fingerprint:
                made = self._made(key)
                weakref.finalize(self, made.close)  # a dropped backend leaves no open socket
                self._client = (key.fingerprint, made)
            return self._client[1]

    def close(self) -> None:
        """Close the connections; the next call makes a new client."""
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None

    def _made(self, key: BoundKey) -> OpenAI:
        try:
            import openai
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"The backend {self.profile.name!r} needs the openai SDK",
                where="import openai",
                mend="pip install 'ftsdk[openai]'",
                submitted="no",
            ) from error
        guard_logs()
        timeout_s = float(self._context.options.get("timeout_s", _TIMEOUT_S))
        env = self._context.env if self.profile is OPENAI else {}
        return openai.OpenAI(
            api_key=key.reveal(self.base_url),
            base_url=self.base_url,
            organization=env.get("OPENAI_ORG_ID"),
            project=env.get("OPENAI_PROJECT_ID"),
            max_retries=0,
            timeout=openai.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    # --- calls ---

    def read(self, action: str, ask: Callable[[OpenAI], Any]) -> dict[str, Any]:
        """A GET, asked again where that may help. Returns the JSON object."""
        client = self.client()
        return self.reads(lambda: self._once(action, lambda: _object(ask(client))))

    def read_bytes(self, action: str, ask: Callable[[OpenAI], Any]) -> bytes:
        """A GET whose answer is a file."""
        client = self.client()
        return self.reads(lambda: self._once(action, lambda: bytes(ask(client).content)))

    def act(self, action: str, ask: Callable[[OpenAI], Any]) -> dict[str, Any]:
        """One call that is not a create, made once."""
        client = self.client()
        return self._once(action, lambda: _object(ask(client)))

    def before(self, action: str, ask: Callable[[OpenAI], Any]) -> dict[str, Any]:
        """One call of the way to the create: whatever happens to it, nothing was submitted."""
        client = self.client()
        return self._once(action, lambda: _object(ask(client)), submitted="no")

    def send(
        self,
        action: str,
        ask: Callable[[OpenAI], Any],
        judge: Callable[[HTTPFacts], FtsdkError | None],
    ) -> dict[str, Any]:
        """The create call: one attempt, and its error says whether it may have arrived."""
        client = self.client()
        return attempt(
            lambda: _object(ask(client)),
            provider=self.profile.title,
            action=action,
            sends=True,
            judge=judge,
            now=self._context.clock.now(),
        )

    def _once(self, action: str, ask: Callable[[], _T], submitted: Submitted | None = None) -> _T:
        return attempt(
            ask,
            provider=self.profile.title,
            action=action,
            submitted=submitted,
            now=self._context.clock.now(),
        )

    def pages(
        self, action: str, ask: Callable[[OpenAI, Mapping[str, Any]], Any], *, size: int = 100
    ) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, as the provider orders them, each item once.

        A cursor that does not move ends the walk, so that a faulty service cannot hold it for ever.
        """
        seen: set[str] = set()
        query: dict[str, Any] = {"limit": size}
        for _ in range(_MOST_PAGES):
            page = self.read(action, lambda client: ask(client, query))  # noqa: B023  # called at once
            items = page.get("data")
            if not isinstance(items, list):
                raise unexpected(self.profile.title, action, "it has no list `data`")
            fresh = []
            for item in items:
                identity = item.get("id") if isinstance(item, dict) else None
                if isinstance(identity, str) and identity not in seen:
                    seen.add(identity)
                    fresh.append(item)
            yield fresh
            if not page.get("has_more") or not fresh:
                return
            query = {"limit": size, "after": fresh[-1]["id"]}


def _base_url(context: Context, chosen: Profile) -> tuple[str, bool]:
    """The base URL, and whether a file gave it: configuration, then variables, then the default."""
    if context.base_url:
        return checked_base_url(context.base_url, source="base_url of the configuration"), True
    for variable in chosen.url_variables:
        if context.env.get(variable):
            url = checked_base_url(context.env[variable], source=f"variable {variable}")
            if chosen is AZURE and "/openai" not in url:
                url += "/openai/v1"  # the variable usually holds the resource's endpoint alone
            return url, False
    if chosen.url:
        return chosen.url, False
    raise ConfigError(
        f"No base URL is set for {chosen.name}",
        where=", ".join(
            ["base_url in the profile", *(f"the variable {name}" for name in chosen.url_variables)]
        ),
        mend=f"set base_url in the profile, or export {chosen.url_variables[0]}=https://…",
    )


def _object(answer: Any) -> dict[str, Any]:
    """The JSON object of an SDK answer. Raises `UnexpectedResponse` for anything else."""
    content = mask_known(bytes(answer.content))
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    status = getattr(answer, "status_code", "?")
    what = "a page of HTML" if content.lstrip()[:1] == b"<" else "no JSON object"
    raise UnexpectedResponse(
        f"The service answered HTTP {status} with {what}",
        where=f"{len(content)} bytes",
        mend="check that the base URL is the service itself, and that no proxy answers for it",
        retryable=True,
    )


def unexpected(title: str, action: str, why: str) -> UnexpectedResponse:
    """The error for an answer without its documented shape."""
    return UnexpectedResponse(
        f"{title} gave an answer that is not of the documented shape: {why}",
        where=f"{title}, {action}",
        mend="check that the base URL is the service itself; if so, update ftsdk",
    )
