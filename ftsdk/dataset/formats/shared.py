"""Helpers of all formats: messages with their position in the source, JSON texts, images."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.readers import strict_json

Row = dict[str, Any]
Written = Row | list[Hit]
"""A row in its format, or the hits where it does not fit."""


Said = Callable[[str], None]
"""Takes a fact about a reading: what of a row was taken as what."""


def unsaid(_: str) -> None:
    """Forget a fact: the row was read before."""


class Unreadable(Exception):
    """Raised when a row cannot be read as its format: where, why, and what to do."""

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.field, self.message, self.hint = field, message, hint


class Turn(NamedTuple):
    """A canonical message and its position in the source.

    `place` is the path of its container; `content` goes behind that for its content (and all that
    the source writes there, such as tool calls), `role` for its role.
    """

    place: str
    message: Any
    content: str = ".content"
    role: str = ".role"


def messages_from(turns: Iterable[Turn]) -> list[Any]:
    """The messages of a row's turns."""
    return [turn.message for turn in turns]


def source_place(turns: Iterator[Turn], canonical: str, key: str = "messages") -> str:
    """The path in the source for a canonical path of the list `key`, whose positions `turns` gives."""
    number, _, inside = canonical.removeprefix(f"{key}[").partition("]")
    turn = next((t for i, t in enumerate(turns) if i == int(number)), None)
    if turn is None:
        return canonical
    if inside.startswith(".content"):
        return turn.place + turn.content + inside.removeprefix(".content")
    if inside == ".role":
        return turn.place + turn.role
    among_content = (".tool_call", ".reasoning_content")
    if turn.content != ".content" and inside.startswith(among_content):
        return turn.place + turn.content
    return turn.place + inside


def rest(row: Mapping[str, Any], *used: str) -> Row:
    """All keys but those in `used`; they keep their names."""
    return {k: v for k, v in row.items() if k not in used}


# --- texts with JSON      --------------------------------------------------------------------


def as_text(value: Any) -> str:
    """A value as compact JSON."""
    return orjson.dumps(value).decode()


def as_object(text: Any) -> Row | None:
    """The object in a text, when the text is strict JSON and one object."""
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None
    try:
        value = strict_json.parse(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return None
    return value if isinstance(value, dict) else None


def same_object(text: str) -> Row | None:
    """As `as_object`, when the object written again is the same (no number changed)."""
    value = as_object(text)
    return value if value is not None and as_object(as_text(value)) == value else None


# --- what does not fit -----------------------------------------------------------------------


def left_over(
    row: Mapping[str, Any], used: Iterable[str], title: str, place: str = ""
) -> list[Hit]:
    """A hit for every key that a format has no place for."""
    known = set(used)
    return [
        Hit(f"{place}{k}", f"{title} has no place for {k!r}", v)
        for k, v in row.items()
        if k not in known
    ]


def later_system(messages: Any, title: str) -> list[Hit]:
    """A hit for every system message that is not the first."""
    return [
        Hit(f"messages[{i}].role", f"{title} has a system text only before the conversation")
        for i, m in enumerate(messages if isinstance(messages, list) else [])
        if i and isinstance(m, dict) and m.get("role") == "system"
    ]


def take_system(messages: list[Any]) -> tuple[Any, list[Any]]:
    """The system text (None without one), and the other messages."""
    if messages and isinstance(messages[0], dict) and messages[0].get("role") == "system":
        return messages[0].get("content"), messages[1:]
    return None, messages


def declared_functions(
    tools: Any, title: str, hits: list[Hit]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every function of canonical tools with its place; hits for what is no function, or more."""
    if not isinstance(tools, list):
        hits.append(Hit("tools", f"{title} needs a list of tools", tools))
        return
    for i, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            hits.append(Hit(f"tools[{i}]", f"{title} declares functions only", tool))
            continue
        place = f"tools[{i}].function"
        hits += left_over(tool, ("type", "function"), title, f"tools[{i}].")
        hits += left_over(function, ("name", "description", "parameters"), title, f"{place}.")
        yield place, function


def write_texts(content: Any, place: str, title: str, hits: list[Hit]) -> list[Row]:
    """A canonical content of texts as `{"text": …}` blocks; a hit when it has anything else."""
    if isinstance(content, str):
        return [{"text": content}]
    if text_parts(content):
        return [{"text": p["text"]} for p in content]
    hits.append(Hit(place, f"{title} supports text only here", content))
    return []


# --- messages of blocks ----------------------------------------------------------------------


class Blocks(NamedTuple):
    """The readers of a format with content blocks; each returns None for a block of another kind.

    `thought` gives the reasoning, `call` a canonical tool call, `result` a canonical tool message
    (without what its message says beside); `part` gives any other block as a canonical part.
    """

    thought: Callable[[Row], str | None]
    call: Callable[[Row], Row | None]
    result: Callable[[Row], Row | None]
    part: Callable[[Any], Any]

    def content(self, blocks: list[Any]) -> Any:
        """Blocks as a canonical content."""
        return sole([self.part(b) for b in blocks])


def message_turns(row: Mapping[str, Any], kinds: Blocks) -> Iterator[Turn]:
    """The messages of a row whose contents are blocks, as canonical turns with their places."""
    messages = row.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else []):
        for read in _read_message(message, kinds):
            yield Turn(f"messages[{i}]", read)


def _read_message(message: Any, kinds: Blocks) -> Iterator[Any]:
    """One message of blocks as canonical messages: each tool result is one of its own."""
    blocks = message.get("content") if isinstance(message, dict) else None
    if not isinstance(blocks, list) or not all(isinstance(b, dict) for b in blocks):
        yield message
    elif message.get("role") == "assistant":
        yield _read_assistant(message, blocks, kinds)
    else:
        yield from _read_user(message, blocks, kinds)


def _read_assistant(message: Row, blocks: list[Any], kinds: Blocks) -> Row:
    thought = [b for b in blocks if kinds.thought(b) is not None]
    calls = [b for b in blocks if kinds.call(b) is not None]
    said = [b for b in blocks if b not in thought and b not in calls]
    if blocks != [*thought, *said, *calls]:  # a canonical message has no other order
        return {**message, "content": [kinds.part(b) for b in blocks]}
    read: Row = {**message, "content": kinds.content(said)}
    if calls:
        read["content"] = read["content"] if said else None
        read["tool_calls"] = [kinds.call(b) for b in calls]
    if thought:
        read["reasoning_content"] = "".join(kinds.thought(b) or "" for b in thought)
    return read


def _read_user(message: Row, blocks: list[Any], kinds: Blocks) -> Iterator[Row]:
    """Each tool result is one message, and so are the blocks between two results."""
    pending: list[Any] = []
    for block in blocks:
        result = kinds.result(block)
        if result is None:
            pending.append(block)
            continue
        if pending:
            yield {**message, "content": kinds.content(pending)}
            pending = []
        yield {**result, **rest(message, "role", "content")}
    if pending or not blocks:
        yield {**message, "content": kinds.content(pending)}


# --- content parts ---------------------------------------------------------------------------


def is_text_part(part: Any) -> bool:
    """Whether a canonical content part is a text and nothing more."""
    return (
        isinstance(part, dict)
        and set(part) == {"type", "text"}
        and part["type"] == "text"
        and isinstance(part["text"], str)
    )


def text_parts(content: Any) -> bool:
    """Whether a canonical content is a list of texts."""
    return isinstance(content, list) and bool(content) and all(map(is_text_part, content))


def sole(parts: list[Any]) -> Any:
    """Canonical parts as content; a single text becomes a string."""
    if len(parts) == 1 and is_text_part(parts[0]):
        return parts[0]["text"]
    return parts


_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp",
    "gif": "image/gif", "bmp": "image/bmp", "heic": "image/heic", "heif": "image/heif",
}  # fmt: skip
_DATA = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+);base64,(.*)", re.DOTALL)


def media_type_of(url: str) -> str | None:
    """The media type by the suffix of a URL's path, or None."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return None
    return _TYPES.get(path.rpartition(".")[2].lower()) if "." in path else None


def image_part(url: str, media_type: str | None = None) -> Row:
    """A canonical image part; `media_type` is kept where the URL's suffix does not imply it."""
    image: Row = {"url": url}
    if media_type is not None and media_type != media_type_of(url):
        image["media_type"] = media_type
    return {"type": "image_url", "image_url": image}


class Image(NamedTuple):
    """An image of a canonical part: embedded `data` (base64), or a `url`."""

    media_type: str
    data: str | None
    url: str | None


def image_of(part: Any, title: str, place: str, hits: list[Hit], *more: str) -> Image | None:
    """The image of a canonical part; None, with hits, when there is none that the format can carry.

    `more` names keys of `image_url` beside `url` and `media_type` that the format has a place for.
    """
    if not isinstance(part, dict) or part.get("type") != "image_url":
        hits.append(Hit(place, f"{title} supports text and images only", part))
        return None
    hits += left_over(part, ("type", "image_url"), title, f"{place}.")
    image = part.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(image, dict) or not isinstance(url, str):
        hits.append(Hit(f"{place}.image_url", "the image has no URL", image))
        return None
    hits += left_over(image, ("url", "media_type", *more), title, f"{place}.image_url.")
    given = image.get("media_type")
    if url.startswith("data:"):
        match = _DATA.fullmatch(url)
        if match is None or given is not None:
            hits.append(Hit(f"{place}.image_url.url", f"{title} embeds images as base64 only", url))
            return None
        return Image(match[1], match[2], None)
    media_type = given if isinstance(given, str) else media_type_of(url)
    if media_type is None:
        hits.append(Hit(f"{place}.image_url.url", f"{title} needs a media type, and the URL implies none (give "
                        "image_url.media_type)", url))  # fmt: skip
        return None
    return Image(media_type, None, url)


def numbered(taken: Iterable[Any]) -> Iterator[str]:
    """`call_1`, `call_2`, …: ids for the calls of a format without ids, except those in `taken`."""
    used = set(taken)
    number = 0
    while True:
        number += 1
        if f"call_{number}" not in used:
            yield f"call_{number}"
