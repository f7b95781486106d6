"""Days that providers told when they were asked: kept in `ends.json`, newer than the catalogue.

`ftsdk retirements --live` writes them; from then on plans and estimates go by them. A day stands over
the shipped one unless that was read later; a user's own `prices.toml` stands over both.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.errors import ConfigError
from ftsdk.util.files import atomic_write_json, make_private_folder

__all__ = ["TOLD", "over", "read_told", "remember"]

TOLD = "ends.json"
Told = dict[str, tuple[dt.date, dict[str, dt.date]]]
"""By provider: the day on which it was asked, and the day on which each model ends."""


def remember(home: Path, provider: str, ends: Mapping[str, dt.date], asked_on: dt.date) -> None:
    """Keep what `provider` told on `asked_on`, in place of what it told before."""
    path = make_private_folder(home) / TOLD
    told = read_told(path, path.read_bytes() if path.is_file() else b"")
    told[provider] = (asked_on, dict(ends))
    atomic_write_json(
        path,
        {
            name: {
                "asked_on": day.isoformat(),
                "ends": {model: end.isoformat() for model, end in sorted(days.items())},
            }
            for name, (day, days) in sorted(told.items())
        },
    )


def read_told(path: Path, data: bytes) -> Told:
    """What was kept; empty for no data. Raises `ConfigError` for a file that is not ours."""
    if not data:
        return {}
    try:
        return {
            name: (
                dt.date.fromisoformat(one["asked_on"]),
                {model: dt.date.fromisoformat(end) for model, end in one["ends"].items()},
            )
            for name, one in json.loads(data).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "The days that providers told cannot be read",
            where=str(path),
            hint="remove the file; `ftsdk retirements --live` asks again",
        ) from error


def over(base: Mapping[str, Any], told: Told) -> dict[str, Any]:
    """A layer for the catalogue `base`: the ends told, of models it knows and has no newer day of."""
    providers: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    for name, (asked_on, days) in told.items():
        facts = base["providers"].get(name, {})
        models = {}
        for model, known in facts.get("models", {}).items():
            before = known.get("ends_on")
            read = base["sources"][before["source"]]["day"] if before else dt.date.min
            if model in days and read <= asked_on:
                models[model] = {"ends_on": {"day": days[model], "source": f"told-{name}"}}
        if models:
            providers[name] = {"models": models}
            title = f"{facts['title']}, as it told when it was asked"
            sources[f"told-{name}"] = {"title": title, "day": asked_on}
    return {"providers": providers, "sources": sources}
