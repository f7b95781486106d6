"""HTTP messages: a request as received, and a reply as it will be sent."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_DISPOSITION = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Part:
    """One field of a multipart form; `filename` is None for a plain value."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str = ""

    @property
    def text(self) -> str:
        """The content as text."""
        return self.content.decode("utf-8", "replace")


@dataclass(frozen=True)
class Request:
    """A complete request. Header names are lower case; `query` maps each name to all its values."""

    number: int
    method: str
    path: str
    query: Mapping[str, tuple[str, ...]]
    headers: Mapping[str, str]
    body: bytes
    received_at: dt.datetime
    """By the machine's clock; in `Double.requests`, by the double's clock."""

    def json(self) -> Any:
        """Return the body parsed as JSON. Raises `Refusal` (400) when it is not JSON."""
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise Refusal(400, {"error": {"message": f"not JSON: {error}"}}) from error

    def first(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a query parameter, or `default`."""
        return self.query.get(name, (default,))[0]

    def parts(self) -> dict[str, Part]:
        """Return the fields of a multipart form by name; empty when the body is not a form."""
        kind = self.headers.get("content-type", "")
        match = re.search(r'boundary="?([^";]+)"?', kind)
        if "multipart/form-data" not in kind or match is None:
            return {}
        found = {}
        for block in self.body.split(b"--" + match.group(1).encode())[1:]:
            head, gap, content = block.partition(b"\r\n\r\n")
            if not gap:
                continue
            headers = head.decode("utf-8", "replace")
            facts = dict(_DISPOSITION.findall(headers))
            if "name" in facts:
                mime = re.search(r"content-type:\s*([^\r\n]+)", headers, re.IGNORECASE)
                found[facts["name"]] = Part(
                    facts["name"],
                    content.removesuffix(b"\r\n"),
                    facts.get("filename"),
                    mime.group(1).strip() if mime else "",
                )
        return found


@dataclass(frozen=True)
class Reply:
    """A reply: `body` is bytes, text, or anything that JSON can represent."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self) -> bytes:
        """Return the body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, ensure_ascii=False).encode()

    def content_type(self) -> str:
        """Return the media type: from the headers, otherwise from the Python type of the body."""
        for name, value in self.headers.items():
            if name.lower() == "content-type":
                return value
        if isinstance(self.body, bytes):
            return "application/octet-stream"
        return "text/plain; charset=utf-8" if isinstance(self.body, str) else "application/json"


class Refusal(Exception):
    """Raised by a handler to refuse a request, with an HTTP status and the provider's error body."""

    def __init__(
        self, status: int, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"HTTP {status}")
        self.reply = Reply(status, body, headers or {})


def make_request(
    number: int,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    received_at: dt.datetime,
) -> Request:
    """Return a `Request`, with the target split into path and query."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    return Request(
        number=number,
        method=method.upper(),
        path=unquote(parts.path),
        query={name: tuple(values) for name, values in query.items()},
        headers=headers,
        body=body,
        received_at=received_at,
    )
