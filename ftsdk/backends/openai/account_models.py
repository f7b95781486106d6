"""The models of one account: which exist, when they end, which are its own fine-tunes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted.coerce import as_instant, as_text
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

    def has(self, identity: str) -> bool:
        """Return whether the account can use the model."""
        return self.facts(identity)[0]

    def names(self) -> list[str]:
        """Return the ids of the models that the account can use, without its fine-tunes."""
        return [str(one.get("id")) for one in self._all() if base_of(one) is None]

    def ends(self) -> dict[str, dt.date]:
        """Return model id → shutdown day, for models that have one.

        Azure's base models are left out: a model that was tuned from one outlives it there.
        """
        days = {str(one.get("id")): _end_of(one) for one in self._all()}
        return {name: day for name, day in days.items() if day is not None}

    def own(self) -> dict[str, str | None]:
        """Return model id → base model, for the account's fine-tunes."""
        found = {str(one.get("id")): base_of(one) for one in self._all()}
        return {name: base for name, base in found.items() if base is not None}

    def _all(self) -> list[Mapping[str, Any]]:
        reply = self._transport.read(
            "GET /models", lambda client: client.models.with_raw_response.list()
        )
        data = reply.get("data")
        return [one for one in data or () if isinstance(one, Mapping)]


def base_of(model: Mapping[str, Any]) -> str | None:
    """Return the base of a fine-tune in a list of models; None for any other model.

    Fine-tunes are called `ft:BASE:…` at OpenAI, and `BASE.ft-…` at Azure.
    """
    name = str(model.get("id"))
    if name.startswith("ft:"):
        return name.split(":")[1]
    base, is_tuned, _ = name.partition(".ft-")
    return (as_text(model.get("model")) or base) if is_tuned else None


def end_at_azure(model: Mapping[str, Any]) -> dt.date | None:
    """Return the day on which a model ends, as API version 2024-10-21 of Azure shows it."""
    deprecation = model.get("deprecation")
    given = deprecation.get("inference") if isinstance(deprecation, Mapping) else None
    instant = as_instant(given)
    return None if instant is None else instant.date()


def _end_of(model: Mapping[str, Any]) -> dt.date | None:
    day = _day(model.get("shutdown_date"))
    return end_at_azure(model) if day is None and base_of(model) is not None else day


def _day(value: Any) -> dt.date | None:
    """Return an ISO day as a date, or None for anything else."""
    try:
        return dt.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
