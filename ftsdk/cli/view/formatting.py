"""Values as short text for people, and text of others made safe for a terminal."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from ftsdk.util import durations

if TYPE_CHECKING:
    from ftsdk.types.cost import Cost

# What a terminal may execute instead of show: CSI, OSC/DCS/PM/APC strings (ended or not), other escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# Control characters, those that reorder, hide or break a line, and lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

_STYLES = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "paused": "yellow",
    "in_doubt": "yellow",
    "unknown": "yellow",
    "created": "yellow",
    "cancelling": "yellow",
}


def clean_block(text: object) -> str:
    """Return text of others without control sequences; line ends and tabs remain."""
    plain = str(text).replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub("", _ESCAPES.sub("", plain))


def clean_line(text: object) -> str:
    """Return text of others as one safe line, with its spaces."""
    return clean_block(text).replace("\n", " ").expandtabs(4)


def clean(text: object, limit: int | None = None) -> str:
    """Return text of others as one safe line, at most `limit` characters long."""
    line = " ".join(clean_block(text).split())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


# `key` alone is a job's idempotency key, and `tokens` are counted: neither is a secret.
_SECRET_NAME = re.compile(
    r"[_-]key$|apikey|(?:^|[_-])token$|secret|passw|credential|authorization", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"\b(?:sk|pk|rk|r8|hf|xai|gsk|tgp|rpa|ghp|gho|glpat)[-_][A-Za-z0-9_\-]{8,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|(?i:bearer|basic)\s+[A-Za-z0-9._~+/=\-]{8,}"
)


def redact(value: Any, env: Any = None) -> Any:
    """Return the value with secrets replaced by `***`.

    Secrets are found by the names of dict keys, by known formats of keys, and by the values of
    variables in `env`.
    """
    if isinstance(value, dict):
        return {
            name: "***"
            if _SECRET_NAME.search(str(name)) and isinstance(item, str)
            else redact(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    if not isinstance(value, str):
        return value
    for name, secret in (env or {}).items():
        if _SECRET_NAME.search(name) and len(secret) >= 6:
            value = value.replace(secret, "***")
    return _SECRET_VALUE.sub("***", value)


def duration(seconds: float | None) -> str:
    """Return `0.4 s`, `46 s`, `2 min 4 s`, `3 h 10 min`, `2 d 3 h`; `–` when unknown."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{max(seconds, 0):.1f} s"
    return durations.duration(seconds)


def count(value: float | None) -> str:
    """Return `31,406`; `–` when unknown."""
    return "–" if value is None else f"{value:,.0f}"


def number(value: float | None) -> str:
    """Return a hyperparameter as `2e-4`, `3`, `0.05`."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value, 60)
    if value and abs(value) < 0.01:
        mantissa, exponent = f"{value:.6e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:.6g}"


def size(value: float | None) -> str:
    """Return bytes as `9.8 MB`, in powers of ten."""
    if value is None:
        return "–"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def cost_text(cost: Cost) -> str:
    """Return `$0.00`, `$0.47 – 0.63` or `cost unknown`."""
    text = str(cost)
    return "cost unknown" if text == "unknown" else text


def status_text(status: object) -> str:
    """Return a status as people write it: `in doubt`."""
    return str(status).replace("_", " ")


def status_style(status: object) -> str:
    """Return the colour of a status."""
    return _STYLES.get(str(status), "cyan")


def when(moment: dt.datetime, now: dt.datetime) -> str:
    """Return `14:02` today, `24 Nov 14:02` this year, `24 Nov 2025` before; in local time."""
    local, today = moment.astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"{local:%H:%M}"
    if local.year == today.year:
        return f"{local.day} {local:%b %H:%M}"
    return f"{local.day} {local:%b %Y}"


def date_text(day: dt.date | None) -> str:
    """Return `14 Jan 2027`; a dash when unknown."""
    return "–" if day is None else f"{day.day} {day:%b %Y}"
