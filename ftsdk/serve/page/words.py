"""Values as the page writes them: money with its unit, times of this machine, shares, sizes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from ftsdk.serve.page.html import Html, el
from ftsdk.types.cost import Cost, CostBasis
from ftsdk.types.job import JobSnapshot
from ftsdk.types.plan import plain
from ftsdk.util import durations

UNKNOWN = "–"
_NAMES = {"openai": "OpenAI", "azure": "Azure", "together": "Together", "replicate": "Replicate",
          "nebius": "Nebius", "crusoe": "Crusoe", "local": "this machine", "fake": "the rehearsal"}  # fmt: skip


def provider_name(provider: str) -> str:
    """Return a provider's name in a sentence."""
    return _NAMES.get(provider, provider)


def money(amount: Decimal | None) -> str:
    """Return `$6.21`; a dash where it is not known."""
    return UNKNOWN if amount is None else f"${amount:,.2f}"


def cost_words(cost: Cost, limit: Decimal | None = None) -> str:
    """Return `$6.21 of $10.00`, `$0.47 – 0.63`, or a dash."""
    text = str(cost)
    text = UNKNOWN if text == "unknown" else text
    return text if limit is None else f"{text} of {money(limit)}"


def cost_basis(job: JobSnapshot) -> str:
    """Return how the cost is known, in a word or two."""
    if job.provider == "local" and job.cost.usd == 0:
        return "your machine"
    return "" if job.cost.basis is CostBasis.UNKNOWN else job.cost.basis.value


def limit_of(job: JobSnapshot) -> Decimal | None:
    """Return what the job may cost at most, where that was given."""
    given = job.spec.get("max_cost")
    return None if given is None else Decimal(str(given))


def left(seconds: float) -> str:
    """Return `9:12 left`, and hours as `3:10:00 left`."""
    return f"{durations.clock(seconds)} left"


def size(value: int | None) -> str:
    """Return bytes as `9.8 MB`, in powers of ten."""
    if value is None:
        return UNKNOWN
    number = float(value)
    for unit in ("B", "kB", "MB"):
        if number < 999.5:
            return (
                f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"
            )
        number /= 1000
    return f"{number:.1f} GB"


def number(value: object) -> str:
    """Return a setting as `2e-4`, `3`, `0.05`; other values as text."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if value and abs(value) < 0.01:
        mantissa, exponent = f"{value:.6e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:,.0f}"


def setting(value: object) -> str:
    """Return a setting as text: `2e-4`, `rank 16, alpha 32`."""
    return number(value) if isinstance(value, int | float) else plain(value)


def date_words(day: dt.date) -> str:
    """Return `14 Jan 2027`."""
    return f"{day.day} {day:%b %Y}"


def in_days(days: int) -> str:
    """Return `in 46 days`, `tomorrow`, `today`, or `3 days ago`."""
    if days == 0:
        return "today"
    if days in (1, -1):
        return "tomorrow" if days == 1 else "yesterday"
    return f"in {days} days" if days > 0 else f"{-days} days ago"


def when(moment: dt.datetime, now: dt.datetime) -> Html:
    """Return `21:31` today, `24 Nov` this year, `24 Nov 2025` before, in this machine's time."""
    local, today = moment.astimezone(), now.astimezone()
    if local.date() == today.date():
        text = f"{local:%H:%M}"
    elif local.year == today.year:
        text = f"{local.day} {local:%b}"
    else:
        text = date_words(local.date())
    exact = f"{local.day} {local:%b %Y %H:%M:%S}"
    return el("time", text, datetime=moment.isoformat(), title=exact)


def clock(moment: dt.datetime) -> str:
    """Return `21:44:10`, in this machine's time."""
    return f"{moment.astimezone():%H:%M:%S}"


def took(job: JobSnapshot) -> str:
    """Return how long an ended job ran, as far as that is known."""
    begun = job.started_at or job.submitted_at or job.created_at
    return (
        ""
        if job.finished_at is None
        else durations.duration((job.finished_at - begun).total_seconds())
    )


def kind_of(job: JobSnapshot) -> str:
    """Return how a job trains, in a few words: `LoRA r16`, `QLoRA r16`, `full`, and its method."""
    adapter = job.spec.get("adapter")
    method = "" if job.method == "sft" else f"{job.method.upper()} "
    if not job.spec:
        return method.strip()
    if not adapter:
        return f"{method}full" if job.provider == "local" else method.strip()
    name = "QLoRA" if adapter.get("quantize") else "LoRA"
    return f"{method}{name} r{adapter.get('rank')}"


def where_of(job: JobSnapshot) -> str:
    """Return `together · Qwen3.5-9B · LoRA r16`."""
    return " · ".join(part for part in (job.provider, job.model, kind_of(job)) if part)


def title_of(job: JobSnapshot) -> str:
    """Return the name of a job, or its id."""
    return job.name or job.id
