"""Live pages: a stream of parts that replace what the page shows, sent only where they changed.

Each event is `{"id", "v", "html"}`: the element, the version of its content, and the content. The browser
skips a version that it shows already. `say` events are read to who does not see the screen: what became of
a job, never each step.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from ftsdk.backends.hosted.redact import mask_text
from ftsdk.serve.page.html import Html

_PAUSE_S = 1.0
_QUIET_PASSES = 15


def version(content: str) -> str:
    """Return a short name of a content, to compare it by."""
    return f"{zlib.crc32(content.encode()):08x}"


@dataclass
class Update:
    """What a page shows now: the content of its live parts by id, and what is to be said."""

    parts: dict[str, Html] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    is_last: bool = False


async def stream(
    read: Callable[[], Update], is_closing: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield server-sent events for as long as the page is open; `read` is called in a thread."""
    sent: dict[str, str] = {}
    quiet = 0
    yield b"retry: 2000\n\n"
    while True:
        update = await anyio.to_thread.run_sync(read)
        for event in _changed(update, sent):
            quiet = 0
            yield event
        if update.is_last:
            yield b"event: end\ndata: {}\n\n"
            return
        if is_closing():
            return
        quiet += 1
        if quiet % _QUIET_PASSES == 0:
            yield b": still here\n\n"
        await anyio.sleep(_PAUSE_S)


def _changed(update: Update, sent: dict[str, str]) -> Iterable[bytes]:
    for target, content in update.parts.items():
        now = version(content)
        if sent.get(target) != now:
            sent[target] = now
            yield _event({"id": target, "v": now, "html": mask_text(content)})
    for text in update.said:
        yield _event({"say": mask_text(text)})


def _event(document: dict[str, str]) -> bytes:
    return b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n"
