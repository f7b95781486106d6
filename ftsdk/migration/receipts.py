"""The receipts of a migration: one file for each step that is done, with its inputs, times and money.

A receipt is written atomically, and only after its step. A step with a receipt is not done again. A
receipt that was made from other inputs than those of now is an error: nothing is mixed silently.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from ftsdk.errors import StoreError, UsageError
from ftsdk.types.migration import StepName
from ftsdk.util.clock import Clock, parse_time
from ftsdk.util.files import atomic_write_json

SCHEMA = 1
ASKED, DEPLOYMENTS, ALIASES = "migration.json", "deployments.json", "aliases.json"
"""Records in the folder of a migration: what was asked, what runs, and the names of the new models."""
_NUMBERS: Mapping[StepName, int] = {
    "inventory": 1,
    "capture": 2,
    "rights": 3,
    "plan": 4,
    "train": 5,
    "compare": 6,
    "report": 7,
    "alias": 8,
}


@dataclass(frozen=True)
class Receipt:
    """One step that is done. `usd` is what it cost in US dollars; None where that is not known."""

    step: str
    inputs: Mapping[str, Any]
    started_at: dt.datetime
    ended_at: dt.datetime
    usd: Decimal | None = Decimal(0)
    result: Mapping[str, Any] = field(default_factory=dict)


class Receipts:
    """The receipts in one folder: those of a migration, or of one of its models."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock

    def path(self, step: StepName, of: str = "") -> Path:
        """Return the place of a receipt; `of` names one of several, such as a target."""
        name = f"{_NUMBERS[step]}-{step}" + (f"-{of}" if of else "")
        return self.folder / f"{name}.json"

    def read(self, step: StepName, of: str = "") -> Receipt | None:
        """Return the receipt of a step, or None. Raises `StoreError` for one that cannot be read."""
        path = self.path(step, of)
        if not path.is_file():
            return None
        found = read_record(path)
        try:
            usd = found["usd"]
            return Receipt(
                step=str(found["step"]),
                inputs=dict(found["inputs"]),
                started_at=parse_time(found["started_at"]),
                ended_at=parse_time(found["ended_at"]),
                usd=None if usd is None else Decimal(usd),
                result=dict(found["result"]),
            )
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise _unreadable(path, "a field is missing or wrong") from error

    def done(self, step: StepName, inputs: Mapping[str, Any], of: str = "") -> Receipt | None:
        """Return the receipt of a step that was done with these inputs; None where it was not done.

        Raises `UsageError` that names each input that is another one now.
        """
        found = self.read(step, of)
        if found is not None:
            refuse_changes(found.inputs, inputs, self.path(step, of))
        return found

    def write(
        self,
        step: StepName,
        inputs: Mapping[str, Any],
        started_at: dt.datetime,
        result: Mapping[str, Any],
        *,
        usd: Decimal | None = Decimal(0),
        of: str = "",
    ) -> Receipt:
        """Write the receipt of a step that is done now."""
        made = Receipt(step, inputs, started_at, self._clock.now(), usd, result)
        write_record(
            self.path(step, of),
            {
                "step": made.step,
                "inputs": dict(inputs),
                "started_at": made.started_at.isoformat(),
                "ended_at": made.ended_at.isoformat(),
                "usd": None if usd is None else str(usd),
                "result": dict(result),
            },
        )
        return made


def write_record(path: Path, value: Mapping[str, Any]) -> None:
    """Write a record with the version of its schema."""
    atomic_write_json(path, {"schema_version": SCHEMA, **value})


def read_record(path: Path) -> dict[str, Any]:
    """Return a record that `write_record` wrote. Raises `StoreError` where it cannot be read."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unreadable(path, "it is not JSON") from error
    version = found.get("schema_version") if isinstance(found, dict) else None
    if not isinstance(version, int):
        raise _unreadable(path, "it has no version")
    if version > SCHEMA:
        raise StoreError(
            f"A newer ftsdk wrote this migration (schema {version}, this one reads {SCHEMA})",
            where=str(path),
            hint="pip install --upgrade ftsdk",
        )
    return {name: value for name, value in found.items() if name != "schema_version"}


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise `UsageError` that names each input that differs from the recorded one."""
    changed = [
        f"{name} was {_short(before.get(name))}, now {_short(now.get(name))}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise UsageError(
            f"This migration was begun with other inputs: {'; '.join(changed)}",
            where=str(path),
            hint="give the same as before, or begin another migration: --name NAME",
        )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return "none" if value is None else text if len(text) <= 80 else f"{text[:40]}…"


def _unreadable(path: Path, why: str) -> StoreError:
    return StoreError(
        f"A receipt of the migration cannot be read: {why}",
        where=str(path),
        hint="restore it from a copy; or delete it, and the step is done again",
    )
