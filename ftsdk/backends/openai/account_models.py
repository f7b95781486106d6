"""The models of one account at the service: which answer, when they end, which are its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.openai.transport import Transport
from ftsdk.errors import NotFound


class AccountModels:
    """Only reads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def facts(self, identity: str) -> tuple[bool, dt.date | None]:
        """Whether the service has the model now, and the day on which it says it will shut it."""
        try:
            told = self._transport.read(
                "GET /models/ID", lambda client: client.models.with_raw_response.retrieve(identity)
            )
        except NotFound:
            return False, None
        return True, _day(told.get("shutdown_date"))

    def ends(self) -> dict[str, dt.date]:
        """The day each model shuts down, where the service tells one."""
        days = {str(one.get("id")): _day(one.get("shutdown_date")) for one in self._all()}
        return {name: day for name, day in days.items() if day is not None}

    def own(self) -> dict[str, str | None]:
        """The account's own fine-tunes, each with its base."""
        names = [str(one.get("id")) for one in self._all()]
        return {name: name.split(":")[1] for name in names if name.startswith("ft:")}

    def _all(self) -> list[Mapping[str, Any]]:
        told = self._transport.read(
            "GET /models", lambda client: client.models.with_raw_response.list()
        )
        data = told.get("data")
        return [one for one in data or () if isinstance(one, Mapping)]


def _day(word: Any) -> dt.date | None:
    """An ISO day, or None for anything else."""
    try:
        return dt.date.fromisoformat(word) if isinstance(word, str) else None
    except ValueError:
        return None
