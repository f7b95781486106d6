"""Write requests as the file that a batch is made of, and refuse those that a batch cannot take."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ftsdk.backends.hosted import refuse_stream
from ftsdk.backends.hosted.chat_answer import checked_options
from ftsdk.backends.openai.chat import chat_options
from ftsdk.backends.refusals import refuse
from ftsdk.errors import Unsupported
from ftsdk.types.chat import ChatRequest

ENDPOINT: Final = "/v1/chat/completions"
MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""What one batch may have: 50,000 requests, and a file of 200 MB (openai 3.57.0,
`types/batch_create_params.py`)."""
_LONGEST_ID = 64
_MOST_FAULTS = 20


@dataclass(frozen=True)
class RequestFile:
    """The file with the requests of one batch. `sha256` is of its bytes."""

    path: Path
    requests: int
    bytes: int
    sha256: str


def write_requests(
    path: Path, model: str, requests: Iterable[ChatRequest], title: str
) -> RequestFile:
    """Write a line for each request to `path`.

    Raises `Unsupported` that lists what a batch cannot take: too many requests, too many bytes, an
    id that is empty, too long or used twice, an option that the service does not have.
    """
    faults, digest, size, count = list[str](), hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for count, (line, found) in enumerate(_lines(model, requests, title), 1):
            faults += found
            size += len(line)
            if count > MOST_REQUESTS or size > MOST_BYTES or len(faults) > _MOST_FAULTS:
                break  # `requests` may have no end
            file.write(line)
            digest.update(line)
    _refuse(faults, count, size, title)
    return RequestFile(path, count, size, digest.hexdigest())


def _refuse(faults: list[str], count: int, size: int, title: str) -> None:
    where = f"batch, {title}, before anything was sent"
    if len(faults) > _MOST_FAULTS:
        faults = [*faults[:_MOST_FAULTS], "and more"]
    refuse(faults, where=where, hint="correct these requests; nothing was charged")
    if not count:
        refuse(["a batch of no requests"], where=where, hint="give at least one request")
    large = [
        f"more than {MOST_REQUESTS:,} requests" if count > MOST_REQUESTS else "",
        f"more than {MOST_BYTES:,} bytes" if size > MOST_BYTES else "",
    ]
    refuse(
        [f"a batch of {one}" for one in large if one],
        where=where,
        hint=f"send several batches, each of at most {MOST_REQUESTS:,} requests and "
        f"{MOST_BYTES:,} bytes",
    )


def _lines(
    model: str, requests: Iterable[ChatRequest], title: str
) -> Iterator[tuple[bytes, list[str]]]:
    """Yield the line of each request, and what is wrong with it."""
    seen: set[str] = set()
    for request in requests:
        fault = _fault_of_id(request.id, seen)
        seen.add(request.id)
        line = b""
        if fault is None:
            try:
                line = _line(model, request, title)
            except Unsupported as error:
                fault = f"request {request.id!r}: {error.what}"
            except (TypeError, ValueError, RecursionError) as error:
                fault = f"request {request.id!r} cannot be written as JSON: {error}"
        yield line, [] if fault is None else [fault]


def _fault_of_id(identity: Any, seen: set[str]) -> str | None:
    if not isinstance(identity, str) or not identity:
        return f"request {identity!r}: an id is a text that is not empty"
    if len(identity) > _LONGEST_ID:
        return f"request {identity[:_LONGEST_ID]!r}…: an id has at most {_LONGEST_ID} characters"
    return f"request {identity!r}: two requests have this id" if identity in seen else None


def _line(model: str, request: ChatRequest, title: str) -> bytes:
    """Return the request as one line, with its options as `chat` would send them."""
    options = checked_options(request.options, chat_options(), title)
    extra = options.pop("extra_body", None) or {}
    if isinstance(extra, Mapping):
        refuse_stream(extra, title)
    body = {
        "model": model,
        "messages": [dict(one) for one in request.messages],
        **options,
        **extra,
    }
    given = {"custom_id": request.id, "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(given, ensure_ascii=False, allow_nan=False).encode() + b"\n"
