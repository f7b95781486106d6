"""Together's API through its official SDK: one origin, no retries of its own, raw JSON back.

Every call goes through the SDK's client (`get`, `post`, … and the upload exchange); the SDK's typed
wrappers are left aside where they would make calls of their own (`create` makes three) or lose
fields (see `mapping`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import threading
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.hosted import (
    BoundKey,
    HTTPFacts,
    Reads,
    attempt,
    guard_logs,
)
from ftsdk.backends.hosted.trust import Place, place_of
from ftsdk.backends.progress import telling
from ftsdk.errors import (
    FtsdkError,
    MissingExtra,
    NotFound,
    Rejected,
    Unavailable,
    UnexpectedResponse,
)

if TYPE_CHECKING:
    import httpx
    from together import Together

__all__ = ["KEYS", "PROVIDER", "Wire", "known_id", "nothing_sent"]

PROVIDER = "Together"
KEYS = ("TOGETHER_API_KEY",)
DEFAULT_URL = "https://api.together.ai"
INFERENCE_URL = "https://api-inference.together.ai"
_OWN_HOSTS = frozenset({"api.together.ai", "api.together.xyz"})
_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{2,127}$")


def known_id(value: str, what: str = "job") -> str:
    """`value`, fit for a path. Raises `NotFound` for what can be no id of Together's."""
    if not _ID.match(value):
        raise NotFound(
            f"Together has no {what} with such an id",
            where=f"{what} id {value[:40]!r}",
            mend="ids look like ft-0a1b2c3d-…; `ftsdk list` shows those of this machine",
        )
    return value


@contextlib.contextmanager
def nothing_sent() -> Iterator[None]:
    """Mark every error of the block: the job itself was not submitted."""
    try:
        yield
    except FtsdkError as error:
        error.submitted = "no"
        raise


def judge(facts: HTTPFacts) -> FtsdkError | None:
    """Together's own meanings of a status."""
    if facts.status == 402:
        return Rejected(
            f"Together's spend limit is reached: {facts.message or 'no more is billed this month'}",
            where=f"{PROVIDER}, HTTP 402",
            mend="raise the limit or add credits at Together, then try again",
            status_code=402,
            request_id=facts.request_id,
        )
    return None


class Wire:
    """One account at one base URL. Makes the SDK's client at the first call, never before."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.reads = Reads(context.clock)
        self._lock = threading.Lock()
        self._client: tuple[str, Together] | None = None
        place = place_of(context, variable="TOGETHER_BASE_URL", default=DEFAULT_URL)
        # Older SDKs wanted `/v1` at the end; now it stands in each path.
        self._place = Place(place.url.removesuffix("/v1"), place.from_file)

    # --- where, and with which key ---

    @property
    def base_url(self) -> str:
        """The base URL in use, without `/v1`."""
        return self._place.url

    @property
    def chat_url(self) -> str:
        """Where chat goes: Together's inference host, unless the base URL is somebody else's."""
        path = "/v1/chat/completions"
        return f"{INFERENCE_URL}{path}" if self.base_url == DEFAULT_URL else path

    @property
    def is_here(self) -> bool:
        """True for a double on this machine."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    def key(self) -> BoundKey:
        """The key, read now. Raises `ConfigError` with the places looked at."""
        return self._place.key(
            "together",
            KEYS,
            self._context.env,
            url_variable="TOGETHER_BASE_URL",
            own_hosts=_OWN_HOSTS,
        )

    def client(self) -> Together:
        """The SDK's client for the key of this moment; made anew when the key changes."""
        key = self.key()
        with self._lock:
            if self._client is None or self._client[0] != key.fingerprint:
                made = self._make(self.base_url, key)
                weakref.finalize(self, made.close)  # a dropped backend leaves no open socket
                self._client = (key.fingerprint, made)
            return self._client[1]

    def close(self) -> None:
        """Close the connections; the next call makes a new client."""
        with self._lock:
            if self._client is not None:
                self._client[1].close()
                self._client = None

    def _make(self, base_url: str, key: BoundKey) -> Together:
        try:
            import httpx
            from together import DefaultHttpxClient, Together
        except ImportError as error:
            raise MissingExtra(
                f"The backend 'together' needs {error.name}, which is not installed",
                where="ftsdk.backends.together",
                mend="pip install 'ftsdk[together]'",
                submitted="no",
            ) from error
        guard_logs()
        seconds = float(self._context.options.get("timeout_s", 60))
        return Together(
            api_key=key.reveal(base_url),
            base_url=base_url,
            project_id=self._context.env.get("TOGETHER_PROJECT_ID") or None,
            max_retries=0,
            timeout=httpx.Timeout(seconds, connect=min(10.0, seconds)),
            http_client=DefaultHttpxClient(follow_redirects=False),
        )

    # --- calls ---

    def now(self) -> dt.datetime:
        """The instant, for `Retry-After` dates."""
        return self._context.clock.now()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A read: asked again where that may help. Gives the JSON object."""
        import httpx

        def ask() -> dict[str, Any]:
            response = self.client().get(
                path, cast_to=httpx.Response, options={"params": dict(query or {})}
            )
            return _object(response, f"GET {path}")

        return self.reads(
            lambda: attempt(
                ask, provider=PROVIDER, action=f"GET {path}", judge=judge, now=self.now()
            )
        )

    def send(
        self,
        method: Literal["POST", "PATCH", "DELETE"],
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        creates: bool = False,
    ) -> dict[str, Any]:
        """A call that changes something (or asks by POST): exactly one attempt."""
        import httpx

        def ask() -> dict[str, Any]:
            client = self.client()
            response: httpx.Response
            if method == "POST":
                response = client.post(path, cast_to=httpx.Response, body=body)
            elif method == "PATCH":
                response = client.patch(path, cast_to=httpx.Response, body=body)
            else:
                response = client.delete(path, cast_to=httpx.Response, body=body)
            return _object(response, f"{method} {path}")

        return attempt(
            ask,
            provider=PROVIDER,
            action=f"{method} {urlsplit(path).path}",
            sends=creates,
            judge=judge,
            now=self.now(),
        )

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """A question that is asked by POST and changes nothing: asked again like a read."""
        return self.reads(lambda: self.send("POST", path, body))

    def upload(self, path: Path) -> str:
        """The id of the file at Together: uploaded, or the one that is already there (409).

        The exchange is the SDK's: the checksum first, then the bytes to storage (in parts above
        5 GiB), then the word that they are there.
        """
        tell = telling()

        def ask() -> str:
            try:
                told = self.client().files.upload(
                    path,
                    purpose="fine-tune",
                    check=False,
                    progress_callback=lambda at: tell(at.uploaded_bytes, at.total_bytes),
                )
            except (AssertionError, AttributeError, KeyError, TypeError) as error:
                raise _odd("POST /v1/files", "the upload exchange broke off") from error
            except Exception as error:
                if type(error) is not Exception:
                    raise
                # Of a failed part the SDK says so with a bare Exception.
                raise Unavailable(
                    "Together did not take a part of the file",
                    where=f"{PROVIDER}, PUT of a part",
                    mend="try again; the upload starts anew",
                ) from error
            return str(getattr(told, "id", "") or "")

        identity = self.reads(
            lambda: attempt(
                ask, provider=PROVIDER, action="POST /v1/files", judge=judge, now=self.now()
            )
        )
        if not _ID.match(identity):
            raise _odd("POST /v1/files", "no usable file id came back")
        return identity


def _object(response: httpx.Response, action: str) -> dict[str, Any]:
    """The JSON object of an answer. Raises `UnexpectedResponse` for anything else."""
    content = response.content
    if not content and response.request.method == "DELETE":
        return {}
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return data
    error = _odd(action, "a page of HTML" if content.lstrip()[:1] == b"<" else "no JSON object")
    error.retryable = True  # a proxy's page, most often: the next answer may be Together's
    raise error


def _odd(action: str, why: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"Together gave an answer that is not of the documented shape: {why}",
        where=f"{PROVIDER}, {action}",
        mend="check that the base URL is Together itself; if so, update ftsdk",
    )
