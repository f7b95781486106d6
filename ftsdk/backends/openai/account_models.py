"""The models of one account: which exist, when they end, which are its own fine-tunes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.openai.transport import Transport
from ftsdk.errors import NotFound


class AccountModels:
    """Reads the models of one account; changes nothing."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def facts(self, identity: str) -> tuple[bool, dt.date | None]:
        """Return whether the service has the model, and its announced shutdown day, if any."""
        try:
            reply = self._transport.read(
                "GET /models/ID", lambda client: client.models.with_raw_response.retrieve(identity)
            )
        except NotFound:
            return False, None
        return True, _day(reply.get("shutdown_date"))

    def ends(self) -> dict[str, dt.date]:
        """Return model id → shutdown day, for models that have one."""
        days = {str(one.get("id")): _day(one.get("shutdown_date")) for one in self._all()}
        return {name: day for name, day in days.items() if day is not None}

    def own(self) -> dict[str, str | None]:
        """Return model id → base model, for the account's fine-tunes."""
        names = [str(one.get("id")) for one in self._all()]
        return {name: name.split(":")[1] for name in names if name.startswith("ft:")}

    def _all(self) -> list[Mapping[str, Any]]:
        reply = self._transport.read(
            "GET /models", lambda client: client.models.with_raw_response.list()
        )
        data = reply.get("data")
        return [one for one in data or () if isinstance(one, Mapping)]


def _day(value: Any) -> dt.date | None:
    """Return an ISO day as a date, or None for anything else."""
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
