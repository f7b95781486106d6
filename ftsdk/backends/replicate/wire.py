"""Replicate's API over httpx: one origin, no redirects, raw JSON.

The SDK (1.0.7) refuses the status `aborted`, drops `metrics`, and its transport repeats reads ten
times with a `Retry-After` that has no upper end; so it is left aside here.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import BoundKey, HTTPFacts, Reads, attempt, guard_logs
from ftsdk.backends.hosted.trust import Place, place_of
from ftsdk.backends.progress import Counted, telling
from ftsdk.errors import FtsdkError, MissingExtra, NotFound, Rejected, UnexpectedResponse

if TYPE_CHECKING:
    import httpx

__all__ = ["KEYS", "PROVIDER", "Wire", "known_id", "nothing_sent"]

PROVIDER = "Replicate"
KEYS = ("REPLICATE_API_TOKEN",)
DEFAULT_URL = "https://api.replicate.com"
_OWN_HOSTS = frozenset({"api.replicate.com"})
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{2,127}$")
_MOST_PAGES = 500


def known_id(value: str, what: str = "training") -> str:
    """`value`, fit for a path. Raises `NotFound` for what can be no id of Replicate's."""
    if not _ID.match(value):
        raise NotFound(
            f"Replicate has no {what} with such an id",
            where=f"{what} id {value[:40]!r}",
            mend="ids are letters and digits; `ftsdk list` shows those of this machine",
        )
    return value


@contextlib.contextmanager
def nothing_sent() -> Iterator[None]:
    """Mark every error of the block: the training itself was not submitted."""
    try:
        yield
    except FtsdkError as error:
        error.submitted = "no"
        raise


def judge(facts: HTTPFacts) -> FtsdkError | None:
    """Replicate's own meanings of a status."""
    if facts.status == 402:
        return Rejected(
            f"Replicate wants credit first: {facts.message or 'the balance is used up'}",
            where=f"{PROVIDER}, HTTP 402",
            mend="add credit or a payment method at Replicate, then try again",
            status_code=402,
            request_id=facts.request_id,
        )
    return None


class Wire:
    """One account at one base URL. Opens connections at the first call, never before."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.reads = Reads(context.clock)
        self._lock = threading.Lock()
        self._client: tuple[str, httpx.Client] | None = None
        place = place_of(context, variable="REPLICATE_BASE_URL", default=DEFAULT_URL)
        self._place = Place(place.url.removesuffix("/v1"), place.from_file)

    @property
    def base_url(self) -> str:
        """The base URL in use, without `/v1`."""
        return self._place.url

    @property
    def is_here(self) -> bool:
        """True for a double on this machine."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    def key(self) -> BoundKey:
        """The key, read now. Raises `ConfigError` with the places looked at."""
        return self._place.key(
            "replicate",
            KEYS,
            self._context.env,
            url_variable="REPLICATE_BASE_URL",
            own_hosts=_OWN_HOSTS,
        )

    def client(self) -> httpx.Client:
        """The client for the key of this moment; made anew when the key changes."""
        key = self.key()
        with self._lock:
            if self._client is None or self._client[0] != key.fingerprint:
                made = self._make(key)
                weakref.finalize(self, made.close)  # a dropped backend leaves no open socket
                self._client = (key.fingerprint, made)
            return self._client[1]

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None

    def _make(self, key: BoundKey) -> httpx.Client:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra(
                "The backend 'replicate' needs httpx, which is not installed",
                where="ftsdk.backends.replicate",
                mend="pip install 'ftsdk[replicate]'",
                submitted="no",
            ) from error
        guard_logs()
        seconds = float(self._context.options.get("timeout_s", 60))
        return httpx.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {key.reveal(self.base_url)}"},
            timeout=httpx.Timeout(seconds, connect=min(10.0, seconds)),
            follow_redirects=False,
        )

    # --- calls ---

    def _once(
        self, method: str, path: str, ask: Callable[[httpx.Client], httpx.Response], *, sends: bool
    ) -> dict[str, Any]:
        def call() -> dict[str, Any]:
            response = ask(self.client())
            response.raise_for_status()
            return _object(response, f"{method} {path}")

        return attempt(
            call,
            provider=PROVIDER,
            action=f"{method} {path}",
            sends=sends,
            judge=judge,
            now=self._context.clock.now(),
        )

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A read: asked again where that may help. Gives the JSON object."""
        params = dict(query or {})
        return self.reads(
            lambda: self._once("GET", path, lambda c: c.get(path, params=params), sends=False)
        )

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, creates: bool = False
    ) -> dict[str, Any]:
        """A call that changes something: exactly one attempt."""
        return self._once(
            "POST", path, lambda c: c.post(path, json=dict(body or {})), sends=creates
        )

    def upload(self, path: Path, filename: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Put a file to Replicate. Uploading again makes another file and costs nothing."""

        def ask(client: httpx.Client) -> httpx.Response:
            with Counted(path, telling()) as content:
                return client.post(
                    "/v1/files",
                    files={"content": (filename, content, "application/jsonl")},
                    data={"metadata": json.dumps(dict(metadata))},
                )

        return self.reads(lambda: self._once("POST", "/v1/files", ask, sends=False))

    def pages(self, path: str) -> Iterator[Mapping[str, Any]]:
        """The rows of a cursor-paged list, newest first; a cursor that comes again ends it."""
        query: dict[str, str] = {}
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            page = self.get(path, query)
            rows = page.get("results")
            if not isinstance(rows, list):
                raise _odd(f"GET {path}", "the list has no results in it")
            yield from (row for row in rows if isinstance(row, Mapping))
            # Only the cursor is taken from `next`: its host is not ours to trust with a key.
            following = page.get("next")
            asked = urlsplit(following).query if isinstance(following, str) else ""
            cursor = parse_qs(asked).get("cursor")
            if not cursor or cursor[0] in seen:
                return
            seen.add(cursor[0])
            query = {"cursor": cursor[0]}


def _object(response: httpx.Response, action: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises `UnexpectedResponse` for anything else."""
    content = response.content
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return data
    error = _odd(action, "a page of HTML" if content.lstrip()[:1] == b"<" else "no JSON object")
    error.retryable = True  # a proxy's page, most often: the next answer may be Replicate's
    raise error


def _odd(action: str, why: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"Replicate gave an answer that is not of the documented shape: {why}",
        where=f"{PROVIDER}, {action}",
        mend="check that the base URL is Replicate itself; if so, update ftsdk",
    )
