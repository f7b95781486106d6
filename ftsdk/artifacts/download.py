"""Download a file from an untrusted URL: resumed, bounded, and never from the local network.

The URL of weights comes from a provider, or from a third-party trainer. So: https only; no address
of this machine or its network (checked on the resolved address, which is the one connected to); a
key only for its own origin; every redirect checked like the first URL; no HTML; and the file
appears only when it is complete. What arrived of it can be kept for the next process.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ftsdk.artifacts.partial_file import RECORDED_EVERY, PartialFile
from ftsdk.artifacts.stated_digest import StatedDigest, stated_digest
from ftsdk.errors import AuthError, NotFound, StoreError, Unavailable, UnexpectedResponse
from ftsdk.util.clock import Clock
from ftsdk.util.files import atomic_file
from ftsdk.util.tls import tls_context

if TYPE_CHECKING:
    import httpx

_MAX_HOPS = 5
_ATTEMPTS = 5
_RANGE = re.compile(r"^bytes (\d+)-(\d+)/(\d+|\*)$")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504, 524, 529})


@dataclass(frozen=True)
class Source:
    """A file's address. `headers` go only to the origin of `url`, never to a redirect's.

    `allow_loopback` is for a provider that is itself on this machine (a rehearsal).
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_loopback: bool = False

    @property
    def shown(self) -> str:
        """The URL without its query, which may be a signature."""
        return _shown(self.url)


class _Hidden(dict[str, str]):
    """Headers that no traceback shows."""

    def __repr__(self) -> str:
        return f"<{len(self)} headers>"


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid address"
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"[:200]


def check_url(url: str, *, allow_loopback: bool = False) -> tuple[str, int, tuple[str, ...]]:
    """Return host, port, and the addresses to connect to (none: let a proxy resolve it).

    Raises `UnexpectedResponse` for a URL that is not plain https, that names this machine, its
    network or a metadata service, or whose name resolves to one; `Unavailable` when it resolves to
    nothing.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise _refused(url, "it is not a URL") from error
    if parts.username is not None or parts.password is not None:
        raise _refused(url, "it carries a user name")
    if not host or parts.scheme not in ("https", "http"):
        raise _refused(url, "it is not https")
    if parts.scheme == "http" and not (allow_loopback and _is_loopback(host)):
        raise _refused(url, "it is plain http")
    port = port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in urllib.request.getproxies() and not _literal(host):
        return host, port, ()
    return host, port, _resolved(url, host, port, allow_loopback=allow_loopback)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _literal(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _resolved(url: str, host: str, port: int, *, allow_loopback: bool) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(
            f"The host of the weights has no address: {host}",
            where=_shown(url),
            hint="check the network and try again",
        ) from error
    addresses = tuple(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))
    for text in addresses:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if allow_loopback and address.is_loopback:
            continue
        if not address.is_global or address.is_multicast:
            raise _refused(url, "it leads to this machine or its own network")
    if not addresses:
        raise _refused(url, "its host has no address")
    return addresses


def _refused(url: str, why: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"The address of the weights is refused: {why}",
        where=_shown(url),
        hint="download it by hand only if you trust its source",
    )


# --- downloading --------------------------------------------------------------------------------


class _Retry(Exception):
    """This attempt ended early; what was received is kept for the next."""


@dataclass
class _State:
    tries: int = 0
    got: int = 0
    total: int | None = None
    etag: str | None = None
    digest: StatedDigest | None = None
    part: PartialFile | None = None
    recorded: int = 0

    def record(self, out: Any) -> None:
        """Note the bytes so far, where they are kept for the next process."""
        if self.part is not None and self.got > self.recorded:
            self.part.record(out, self.got, self.total, self.etag)
            self.recorded = self.got


def download(
    source: Source,
    target: Path,
    *,
    clock: Clock,
    max_bytes: int,
    timeout_s: float = 60.0,
    on_bytes: Callable[[int, int | None], None] | None = None,
    part: PartialFile | None = None,
) -> int:
    """Write the file at `source` to `target`, completely or not at all; return its size in bytes.

    An interrupted connection is resumed up to five times, as long as the server confirms that the
    file is the same. With `part`, on the same file system as `target`, an interrupted process is too.
    Size and digest are compared with what the server states. `on_bytes` gets the bytes so far and the
    total, if known.

    Raises `UnexpectedResponse` for a page instead of a file, a wrong range, a size or digest that does
    not match, or a size over `max_bytes`; `AuthError` or `NotFound` (an expired address); `Unavailable`
    when all attempts fail; `StoreError` when the disk is full.
    """
    import httpx

    state = _State(part=part)
    if part is not None:
        state.got, state.total, state.etag = part.got, part.total, part.etag
        state.recorded = part.got
    try:
        with (
            httpx.Client(verify=tls_context(), follow_redirects=False, timeout=timeout_s) as client,
            atomic_file(target) if part is None else part.opened() as out,
        ):
            try:
                _fetch(client, source, state, out, clock, max_bytes, on_bytes)
            except UnexpectedResponse:
                if part is not None:
                    part.discard()
                raise
        if part is not None:
            part.finish(target)
    except OSError as error:
        raise StoreError(
            f"The weights cannot be written: {error.strerror or error}",
            where=str(target),
            hint="free some space, or give another folder",
        ) from error
    return state.got


def _fetch(
    client: httpx.Client,
    source: Source,
    state: _State,
    out: Any,
    clock: Clock,
    max_bytes: int,
    on_bytes: Callable[[int, int | None], None] | None,
) -> None:
    """Receive the whole file into `out`, over as many connections as it takes."""
    import httpx

    failure = ""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            if not state.got or state.got != state.total:
                with _open(client, source, state) as response:
                    _receive(response, source, state, out, max_bytes, on_bytes)
        except (httpx.TransportError, _Retry) as error:
            failure = type(error).__name__ if str(error) == "" else str(error)
        else:
            _check_digest(source, state, out)
            return
        finally:
            state.record(out)
        state.tries += 1
        # Outside the block, so that no error of ours keeps the request.
        if attempt < _ATTEMPTS:
            clock.sleep(min(30.0, 2.0 ** (attempt - 1)))
    kept = state.part is not None and state.etag is not None
    raise Unavailable(
        f"The download was interrupted {_ATTEMPTS} times, at byte {state.got:,}: {failure}",
        where=source.shown,
        hint="try again; it goes on there" if kept else "try again; it starts from the beginning",
    )


def _check_digest(source: Source, state: _State, out: Any) -> None:
    """Raise `UnexpectedResponse` where the file is not the one whose digest the server stated."""
    out.flush()
    if state.digest is not None and not state.digest.is_of(out):
        raise _unexpected(source, f"its bytes do not match the digest in {state.digest.header}")


@contextlib.contextmanager
def _open(client: httpx.Client, source: Source, state: _State) -> Iterator[httpx.Response]:
    """Yield the response with the file, after checking every redirect on the way."""
    url, headers = source.url, _Hidden(source.headers)
    headers["Accept-Encoding"] = "identity"
    if state.got:
        headers["Range"] = f"bytes={state.got}-"
        if state.etag:
            headers["If-Range"] = state.etag
    for _ in range(_MAX_HOPS):
        host, port, addresses = check_url(url, allow_loopback=source.allow_loopback)
        address = addresses[state.tries % len(addresses)] if addresses else None
        with client.stream("GET", **_pinned(url, host, port, address, headers)) as response:
            if response.status_code not in _REDIRECTS:
                yield response
                return
            before, url = url, urljoin(url, response.headers.get("location", ""))
        if urlsplit(before)[:2] != urlsplit(url)[:2]:
            # The caller's headers are for the first origin; only ours are sent on.
            ours = ("Accept-Encoding", "Range", "If-Range")
            headers = _Hidden({k: v for k, v in headers.items() if k in ours})
    raise _refused(source.url, "it redirects too often")


def _pinned(
    url: str, host: str, port: int, address: str | None, headers: _Hidden
) -> dict[str, Any]:
    """Return a request to the address that was checked, under the host's own name."""
    if address is None:
        return {"url": url, "headers": headers}
    parts = urlsplit(url)
    place = f"[{address}]" if ":" in address else address
    name = f"[{host}]" if ":" in host else host
    usual = port == (443 if parts.scheme == "https" else 80)
    return {
        "url": parts._replace(netloc=f"{place}:{port}").geturl(),
        "headers": _Hidden({**headers, "Host": name if usual else f"{name}:{port}"}),
        "extensions": {"sni_hostname": host},
    }


def _receive(
    response: httpx.Response,
    source: Source,
    state: _State,
    out: Any,
    max_bytes: int,
    on_bytes: Callable[[int, int | None], None] | None,
) -> None:
    _check_response(response, source, state, out)
    if state.total is not None and state.total > max_bytes:
        raise _unexpected(
            source, f"it declares {state.total} bytes; at most {max_bytes} are accepted"
        )
    for chunk in response.iter_raw():
        state.got += len(chunk)
        if state.got > max_bytes:
            raise _unexpected(source, f"it has more than {max_bytes} bytes")
        if state.total is not None and state.got > state.total:
            raise _unexpected(source, "it has more bytes than it says")
        out.write(chunk)
        if on_bytes is not None:
            on_bytes(state.got, state.total)
        if state.got - state.recorded >= RECORDED_EVERY:
            state.record(out)
    if state.total is not None and state.got < state.total:
        raise _Retry(f"{state.total - state.got} bytes are missing")
    if state.got == 0:
        raise _unexpected(source, "it is empty")


def _check_response(response: httpx.Response, source: Source, state: _State, out: Any) -> None:
    """Record size and ETag; start again where the server does; raise for a wrong response."""
    status, headers = response.status_code, response.headers
    if status in _WORTH_ANOTHER_TRY:
        raise _Retry(f"HTTP {status}")
    if status in (401, 403):
        raise AuthError(
            "The address of the weights is not open (any more)",
            where=f"{source.shown}, HTTP {status}",
            hint="ask for the job again: such addresses expire; then check the key",
        )
    if status in (404, 410):
        raise NotFound(
            "The weights do not exist (any more)",
            where=f"{source.shown}, HTTP {status}",
            hint="check that the job succeeded and its files were not deleted",
        )
    if status not in (200, 206):
        raise _unexpected(source, f"HTTP {status}")
    if headers.get("content-type", "").startswith("text/html"):
        raise _unexpected(source, "an HTML page came instead of a file")
    etag = headers.get("etag")
    state.digest = stated_digest(headers, whole=status == 200) or state.digest
    if status == 206:
        match = _RANGE.match(headers.get("content-range", ""))
        if match is None or int(match.group(1)) != state.got:
            raise _unexpected(source, "the server sent another range than was requested")
        whole = match.group(3)
        same = whole == "*" or state.total is None or int(whole) == state.total
        if not same or (state.etag is not None and etag not in (None, state.etag)):
            raise _unexpected(source, "the file changed while it was read")
        if whole != "*":
            state.total = int(whole)
        return
    out.seek(0)
    out.truncate()
    state.recorded = 0
    length = headers.get("content-length", "")
    state.got = 0
    state.total = int(length) if length.isascii() and length.isdecimal() else None
    # A weak tag does not identify bytes.
    state.etag = etag if etag and not etag.startswith("W/") else None


def _unexpected(source: Source, why: str) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"The download of the weights is refused: {why}",
        where=source.shown,
        hint="try again; if it fails again, contact the provider",
    )
