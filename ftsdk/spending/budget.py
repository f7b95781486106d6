"""Budgets: the spending limits of a job and of a month, read from the configuration.

[budget]
job = "25.00"            # the cap of each job
month = "200.00"         # all jobs and deployments of this journal, in a calendar month (UTC)
[profiles.prod.budget]
job = "10.00"
month = "100.00"         # only those of this profile
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ftsdk.config import Config
from ftsdk.errors import ConfigError
from ftsdk.store.limits import Limit
from ftsdk.util.names import nearest


@dataclass(frozen=True)
class Budget:
    """The configured spending limits.

    `job` is the cap of each job in US dollars, `limits` are those of the month. A warning is given
    when a running job has cost the share `warn_at` of its cap. `lease` is the default length of a
    deployment.
    """

    job: Decimal | None = None
    limits: tuple[Limit, ...] = ()
    warn_at: float = 0.8
    lease: dt.timedelta = dt.timedelta(hours=2)
    where: str = ""


def budget_of(config: Config) -> Budget:
    """Return the budget of the configuration: the general limits, plus those of the chosen profile.

    Raises `ConfigError` for invalid settings.
    """
    file = str(config.path) if config.path else "ftsdk.toml"
    all_jobs = _table(config.data.get("budget"), f"[budget] in {file}")
    where = f"[profiles.{config.profile}.budget] in {file}"
    own = _table(config.profiles.get(config.profile or "", {}).get("budget"), where)
    limits = []
    if all_jobs["month"] is not None:
        limits.append(Limit(all_jobs["month"], f"[budget] in {file}"))
    if own["month"] is not None:
        limits.append(Limit(own["month"], where, config.profile))
    caps = [table["job"] for table in (all_jobs, own) if table["job"] is not None]
    hours = own["lease_hours"] or all_jobs["lease_hours"]
    return Budget(
        job=min(caps, default=None),
        limits=tuple(limits),
        warn_at=own["warn_at"] or all_jobs["warn_at"] or Budget.warn_at,
        lease=dt.timedelta(hours=hours) if hours else Budget.lease,
        where=f"budget in {file}",
    )


_AMOUNTS, _NUMBERS = ("job", "month"), {"warn_at": 1.0, "lease_hours": 24.0 * 31}


def _table(data: Any, where: str) -> Mapping[str, Any]:
    """Check a `[budget]` table; raises `ConfigError` with all its faults."""
    given = {} if data is None else data
    faults: list[str] = []
    read: dict[str, Any] = dict.fromkeys((*_AMOUNTS, *_NUMBERS))
    for name, value in given.items() if isinstance(given, Mapping) else (("it", given),):
        if name not in read:
            faults.append(f"{name} is not a setting of a budget{nearest(name, read)}")
        elif name in _AMOUNTS:
            read[name] = _amount(value)
            faults += [] if read[name] is not None else [f"{name} is not an amount in US dollars"]
        elif not _is_number(value) or not 0 < value <= _NUMBERS[name]:
            faults.append(f"{name} is not a number above 0 and up to {_NUMBERS[name]:g}")
        else:
            read[name] = float(value)
    if faults:
        raise ConfigError(
            f"The budget has a fault: {'; '.join(faults)}",
            where=where,
            hint='for instance month = "200.00"; the settings are job, month, warn_at and lease_hours',
        )
    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _amount(value: Any) -> Decimal | None:
    """Parse an amount of zero or more; None if it is not one."""
    if not (isinstance(value, str) or _is_number(value)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
