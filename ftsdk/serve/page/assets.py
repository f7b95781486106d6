"""The files of the page that are not made per request: style, script, icon. Nothing else is served."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files

from ftsdk.errors import NotFound

TYPES: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "theme.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Every asset, and its media type."""


@functools.cache
def asset(name: str) -> tuple[bytes, str]:
    """Return the bytes and the media type of an asset. Raises `NotFound` for another name."""
    if name not in TYPES:
        raise NotFound(f"There is no asset {name!r}"[:120], where="/assets")
    return files("ftsdk.serve.page").joinpath("assets", name).read_bytes(), TYPES[name]
