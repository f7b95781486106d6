"""Mask secrets in everything that is shown or stored: messages, causes, log lines."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.errors import Unsupported

MASK = "[secret]"
_SHORTEST = 6
_SHAPES = re.compile(
    r"""(?ix)
    \b(?: sk-[\w-]{6,} | r8_\w{6,} | hf_\w{6,} | tgp_v\d_[\w-]{6,} | whsec_[\w+/=]{6,}
        | gh[pousr]_\w{16,} | AKIA[0-9A-Z]{12,} | rpa_\w{16,} )
    | (?<=bearer\s)[\w.~+/=-]{6,}
    | (?<=basic\s)[\w+/=]{12,}
    | (?<=[?&])(?: x-amz-(?:signature|security-token|credential) | sig | signature | token
        | api[-_]?key | access[-_]?token | key )=[^&\s"'<>]+
    | (?<=://)[^/\s:@"']*:[^/\s@"']+(?=@)
    """
)
_SECRET_WORDS = re.compile(
    r"(?i)(api[-_]?key|secret|password|passwd|token$|credential|^key$|_key$)"
)
_FAMILIES = frozenset(
    {"httpx", "httpx2", "httpcore", "httpcore2", "openai", "together", "replicate"}
)
_LATE_LOGGERS = (
    "openai.lib.parsing",
    "openai.resources.uploads.uploads",
    "together.lib.resources.files",
    *(
        f"{core}.{part}"
        for core in ("httpcore", "httpcore2")
        for part in ("connection", "http11", "http2", "proxy", "socks")
    ),
)
"""Loggers of modules that are imported on first use; their filter must exist before."""
_PLAIN_RECORD = frozenset(vars(logging.makeLogRecord({})))


class _Known:
    """The secrets in use in this process; never shown."""

    def __init__(self) -> None:
        self._values: set[str] = set()
        self.unlock()

    def unlock(self) -> None:
        """Make a new lock: in a forked process another thread may have held the old one."""
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        with self._lock:
            self._values.add(value)

    def mask(self, text: str) -> str:
        with self._lock:
            values = sorted(self._values, key=len, reverse=True)
        for value in values:
            text = text.replace(value, MASK)
        return text

    def mask_bytes(self, content: bytes) -> bytes:
        with self._lock:
            values = sorted(self._values, key=len, reverse=True)
        for value in values:
            content = content.replace(value.encode(), MASK.encode())
        return content

    def __repr__(self) -> str:
        return "<known secrets>"

    def __reduce__(self) -> str:
        return "_KNOWN"  # a pickle names this object, it never carries it


_KNOWN = _Known()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_KNOWN.unlock)


def remember(secret: str) -> None:
    """Mask this value from now on. Values under 6 characters are not secrets."""
    if len(secret) >= _SHORTEST:
        _KNOWN.add(secret)


def mask_known(content: bytes) -> bytes:
    """Return a reply's bytes without the secrets in use, should the provider repeat one."""
    return _KNOWN.mask_bytes(content)


def mask_text(text: str) -> str:
    """Return `text` as it is, but for the secrets in it."""
    return _clean(text)


def scrub(text: object, limit: int = 300) -> str:
    """Return `text` as one line of at most `limit` characters, with all secrets masked."""
    shown = _clean(str(text))
    shown = " ".join(shown.split())
    shown = "".join(ch if ch.isprintable() else "�" for ch in shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class _Scrubber(logging.Filter):
    """Masks secrets in the records of HTTP libraries, which log whole URLs, headers and errors.

    An exception is replaced by its masked text: the object itself holds the request with its key.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        whole = record.getMessage()
        clean = _clean(whole)
        if clean != whole:
            record.msg, record.args = clean, ()
        if record.exc_info:
            text = record.exc_text or _FORMATTER.formatException(record.exc_info)
            record.exc_info, record.exc_text = None, text
        for name, value in vars(record).items():
            if isinstance(value, str) and (name in _TEXTS or name not in _PLAIN_RECORD):
                setattr(record, name, _clean(value))
        return True


def _clean(text: str) -> str:
    return _SHAPES.sub(MASK, _KNOWN.mask(text))


_TEXTS = ("exc_text", "stack_info")
_FORMATTER = logging.Formatter()
_SCRUBBER = _Scrubber()


def guard_logs(*others: str) -> None:
    """Filter secrets from the logs of HTTP libraries, SDKs and `others`. May be called repeatedly."""
    there = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _FAMILIES]
    for name in (*_FAMILIES, *_LATE_LOGGERS, *there, *others):
        logging.getLogger(name).addFilter(_SCRUBBER)  # adding the same filter twice adds it once


def refuse_secrets(options: Mapping[str, Any], *, where: str, hint: str) -> None:
    """Raise `Unsupported` when `provider_options`, which are journaled, contain a secret."""
    names = sorted(set(_secret_names(options, "")))
    if names:
        raise Unsupported(
            f"provider_options.{names[0]} looks like a secret, and options are kept in the journal",
            where=where,
            hint=hint,
            submitted="no",
        )


def _secret_names(value: Any, path: str) -> Iterable[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            full = f"{path}{name}"
            if isinstance(inner, str) and inner and _SECRET_WORDS.search(str(name)):
                yield full
            else:
                yield from _secret_names(inner, f"{full}.")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _secret_names(inner, f"{path.removesuffix('.')}[{number}].")
    elif isinstance(value, str) and _SHAPES.search(value):
        yield path.removesuffix(".")
