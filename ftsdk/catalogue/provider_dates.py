"""End dates that providers reported, stored in `ends.json`; they can be newer than the catalogue.

`ftsdk retirements --live` stores them; plans and estimates then use them. A reported date overrides
the shipped one unless that is newer; a user's own `prices.toml` overrides both.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.errors import ConfigError
from ftsdk.util.files import atomic_write_json, make_private_folder

REPORTED_FILE = "ends.json"
ReportedDates = dict[str, tuple[dt.date, dict[str, dt.date]]]
"""By provider: the day on which it was asked, and the end date of each model."""


def store_reported_dates(
    home: Path, provider: str, ends: Mapping[str, dt.date], asked_on: dt.date
) -> None:
    """Store the end dates that `provider` reported on `asked_on`, replacing its earlier ones."""
    path = make_private_folder(home) / REPORTED_FILE
    reported = read_reported_dates(path, path.read_bytes() if path.is_file() else b"")
    reported[provider] = (asked_on, dict(ends))
    atomic_write_json(
        path,
        {
            name: {
                "asked_on": day.isoformat(),
                "ends": {model: end.isoformat() for model, end in sorted(days.items())},
            }
            for name, (day, days) in sorted(reported.items())
        },
    )


def read_reported_dates(path: Path, data: bytes) -> ReportedDates:
    """Parse stored dates; no data is an empty result. Raises `ConfigError` for any other content."""
    if not data:
        return {}
    try:
        return {
            name: (
                dt.date.fromisoformat(entry["asked_on"]),
                {model: dt.date.fromisoformat(end) for model, end in entry["ends"].items()},
            )
            for name, entry in json.loads(data).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "The end dates that providers reported cannot be read",
            where=str(path),
            hint="delete the file; `ftsdk retirements --live` asks the providers again",
        ) from error


def overlay_dates(base: Mapping[str, Any], reported: ReportedDates) -> dict[str, Any]:
    """Return the reported dates as an overlay for `base`: only known models without a newer date."""
    providers: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    for name, (asked_on, days) in reported.items():
        facts = base["providers"].get(name, {})
        models = {}
        for model, known in facts.get("models", {}).items():
            before = known.get("ends_on")
            read = base["sources"][before["source"]]["day"] if before else dt.date.min
            if model in days and read <= asked_on:
                models[model] = {"ends_on": {"day": days[model], "source": f"reported-{name}"}}
        if models:
            providers[name] = {"models": models}
            title = f"{facts['title']}, as reported by the provider"
            sources[f"reported-{name}"] = {"title": title, "day": asked_on}
    return {"providers": providers, "sources": sources}
