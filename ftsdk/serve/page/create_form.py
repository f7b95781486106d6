"""A new job: what the form says, as the options of `create_job`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.datastructures import FormData

from ftsdk.dataset import Dataset
from ftsdk.errors import UsageError
from ftsdk.serve.uploads import Uploads
from ftsdk.session import Session
from ftsdk.types.job import JobSnapshot

NUMBERS = ("epochs", "learning_rate", "learning_rate_multiplier", "batch_size", "max_length")
"""The hyperparameters of the form; what a provider does not take is refused by name."""
_WHOLE = frozenset({"batch_size", "max_length"})
_KEPT = "kept:"


@dataclass(frozen=True)
class Asked:
    """The values of the form, as they were written. An empty one is the provider's own default.

    `rows` and `validation` are the ids of uploaded files, or `kept:JOB` for the rows of an earlier job;
    `validation` may also be a share of the rows.
    """

    provider: str = ""
    model: str = ""
    method: str = "sft"
    rows: str = ""
    validation: str = ""
    adapter: str = "lora"
    rank: str = ""
    name: str = ""
    seed: str = ""
    max_cost: str = ""
    allow_findings: str = ""
    numbers: Mapping[str, str] | None = None

    def values(self) -> dict[str, str]:
        """Return all values by the names of their fields."""
        own = {name: value for name, value in vars(self).items() if name != "numbers"}
        return {**own, **{name: (self.numbers or {}).get(name, "") for name in NUMBERS}}

    def options(self) -> dict[str, Any]:
        """Return the options of `create_job`. Raises `UsageError`, which names the field that is wrong."""
        found: dict[str, Any] = {
            "provider": self.provider,
            "model": self.model,
            "method": self.method,
        }
        given = {name: self.values()[name].strip() for name in NUMBERS}
        found["hyperparameters"] = {
            name: _number(name, text, whole=name in _WHOLE) for name, text in given.items() if text
        }
        found["adapter"] = self._adapter()
        for name in ("name", "max_cost"):
            if value := getattr(self, name).strip():
                found[name] = value.removeprefix("$") if name == "max_cost" else value
        if self.seed.strip():
            found["seed"] = _number("seed", self.seed.strip(), whole=True)
        if self.allow_findings:
            found["allow_findings"] = True
        return found

    def _adapter(self) -> Any:
        if self.adapter == "full":
            return None
        rank = self.rank.strip()
        if self.adapter == "default" and not rank:
            return "default"
        settings: dict[str, Any] = {"rank": _number("rank", rank, whole=True)} if rank else {}
        return {**settings, "quantize": "nf4"} if self.adapter == "nf4" else settings


def _number(name: str, text: str, *, whole: bool) -> float | int:
    try:
        return int(text) if whole else float(text)
    except ValueError as error:
        kind = "a whole number" if whole else "a number"
        raise UsageError(
            f"{name} is {kind}, not {text[:40]!r}",
            where="the form",
            hint="leave it empty for the default",
        ) from error


def asked_of(form: Mapping[str, Any] | FormData) -> Asked:
    """Return what a form says; fields that are missing are empty."""

    def text(name: str) -> str:
        value = form.get(name)
        return value[:500] if isinstance(value, str) else ""

    names = [name for name in vars(Asked()) if name != "numbers"]
    return Asked(
        **{name: text(name) for name in names}, numbers={name: text(name) for name in NUMBERS}
    )


def asked_like(job: JobSnapshot) -> Asked:
    """Return the values of an earlier job, to train again."""
    spec = dict(job.spec)
    given, adapter = spec.get("hyperparameters") or {}, spec.get("adapter")
    kind = "full" if not adapter else "nf4" if adapter.get("quantize") else "lora"
    texts = {name: f"{value:g}" for name in NUMBERS if (value := given.get(name)) is not None}
    return Asked(
        provider=job.provider,
        model=job.model,
        method=job.method,
        rows=f"{_KEPT}{job.id}" if "kept" in job.dataset else "",
        adapter=kind,
        rank=str(adapter["rank"]) if adapter else "",
        name=job.name or "",
        seed=str(spec.get("seed") or ""),
        max_cost=str(spec.get("max_cost") or ""),
        numbers=texts,
    )


def rows_of(session: Session, uploads: Uploads, place: str) -> Dataset:
    """Return the rows that a field of the form names. Raises `UsageError`, `UnknownJob`, `Problem`."""
    if not place:
        raise UsageError(
            "No rows were chosen", where="the form", hint="upload a file, or choose one"
        )
    if place.startswith(_KEPT):
        job = session.journal.get(place.removeprefix(_KEPT))
        path = session.home / "datasets" / Path(str(job.dataset.get("kept", "none"))).name
        return Dataset.load(path, name=job.dataset.get("name"))
    name = str(uploads.get(place)["filename"])
    return Dataset.load(uploads.path(place, param="rows"), name=Path(name).name)


def validation_of(session: Session, uploads: Uploads, place: str) -> Any:
    """Return the validation rows: a share, a file, or None."""
    if not place.strip():
        return None
    if place.startswith(("file-", _KEPT)):
        return rows_of(session, uploads, place)
    return _number("validation", place.strip(), whole=False)


def with_rows(asked: Asked, file_id: str) -> Asked:
    """Return the form's values with another file for the rows."""
    return replace(asked, rows=file_id)
