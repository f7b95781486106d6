"""`show`: one job on one screen: data, settings, loss, model, next steps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from ftsdk.cli.context import newest, open_client, refreshed
from ftsdk.cli.options import Json, MaybeJob, Profile
from ftsdk.cli.view.cost_line import cost_figures, cost_figures_document
from ftsdk.cli.view.formatting import (
    clean,
    cost_text,
    count,
    duration,
    number,
    redact,
    size,
    status_style,
)
from ftsdk.cli.view.jobs import job_document, short_id, status_label
from ftsdk.cli.view.next_steps import next_steps, steps
from ftsdk.cli.view.output import emit, labelled, note, say
from ftsdk.cli.view.plan_view import adapter_text, training_texts
from ftsdk.client import Client
from ftsdk.errors import BackendError, FtsdkError, UsageError
from ftsdk.jobs.job import FineTuneJob
from ftsdk.spending.ledger import line_of
from ftsdk.types.account import account_name
from ftsdk.types.events import MetricPoint
from ftsdk.types.model import ModelHandle
from ftsdk.types.plan import plain
from ftsdk.types.spec import JobSpec
from ftsdk.types.status import JobStatus
from ftsdk.util.durations import percent
from ftsdk.util.names import plural

Offline = Annotated[
    bool, typer.Option("--offline", help="Show what the journal has; ask no provider.")
]


def show(
    job: MaybeJob = None, offline: Offline = False, profile: Profile = None, as_json: Json = False
) -> None:
    """Show one job: data, settings, loss, model, next steps."""
    client = open_client(profile)
    target = newest(client, job)
    unreached: FtsdkError | None = None
    points: Sequence[MetricPoint] = ()
    handle: ModelHandle | None = None
    if not offline:
        [target], failed = refreshed(client.session, [target])
        unreached = failed.get(target.id)
        try:
            points, handle = _points(client, target), _handle(target)
        except (BackendError, UsageError) as error:
            unreached = unreached or error
    if as_json:
        figures = cost_figures_document(line_of(client.session, target.snapshot))
        emit(job_document(target.snapshot, **_more(points, handle, unreached), figures=figures))
        return
    _print(client, target, points, handle)
    if unreached is not None:
        note(("not asked  ", "yellow"), clean(unreached.what))
        if unreached.hint:
            note(("  hint   ", "dim"), clean(unreached.hint))


def _points(client: Client, job: FineTuneJob) -> Sequence[MetricPoint]:
    able = client.session.backend_for(job.snapshot).capabilities
    return job.metrics() if able.has_metrics and job.provider_job_id else ()


def _handle(job: FineTuneJob) -> ModelHandle | None:
    return job.result() if job.status is JobStatus.SUCCEEDED else None


def _first_and_last(points: Sequence[MetricPoint], name: str) -> list[float] | None:
    values = [v for p in points if (v := getattr(p, name)) is not None]
    return [values[0], values[-1]] if values else None


def _more(
    points: Sequence[MetricPoint], handle: ModelHandle | None, unreached: FtsdkError | None
) -> dict[str, Any]:
    return {
        "loss": {
            "train": _first_and_last(points, "train_loss"),
            "validation": _first_and_last(points, "validation_loss"),
        },
        "result": handle,
        "not_asked": None if unreached is None else unreached.to_dict(),
    }


def _print(
    client: Client, job: FineTuneJob, points: Sequence[MetricPoint], handle: ModelHandle | None
) -> None:
    snapshot = job.snapshot
    short = short_id(client.journal, job.id) if sys.stdout.isatty() else job.id
    head = [(short, "bold"), "  "]
    if snapshot.name:
        head += [clean(snapshot.name, 60), "   "]
    raw = snapshot.raw_status
    theirs = f" ({clean(raw, 40)})" if raw and raw != snapshot.status else ""
    say(
        *head, (status_label(job.snapshot, needs_decision=job.needs_decision), status_style(job.status)), (theirs, "dim"),
        f"   {clean(snapshot.provider)} · {clean(snapshot.model)}{_took(job)}   "
        f"{cost_text(snapshot.cost)}",
    )  # fmt: skip
    labelled([*_facts(job, points, handle), ("next", [*steps(next_steps(job, handle), short)])])


def _took(job: FineTuneJob) -> str:
    snapshot = job.snapshot
    if snapshot.finished_at is None:
        return ""
    begun = snapshot.submitted_at or snapshot.created_at
    return f"   {duration((snapshot.finished_at - begun).total_seconds())}"


def _facts(
    job: FineTuneJob, points: Sequence[MetricPoint], handle: ModelHandle | None
) -> Iterator[tuple[str, Any]]:
    snapshot = job.snapshot
    if data := _data(job):
        yield "data", data
    if noticed := _noticed(job):
        yield "", (noticed, "yellow")
    if sent := _sent(job):
        yield "sent", sent
    if cost := cost_figures(line_of(job.session, snapshot)):
        yield "cost", cost
    progress = snapshot.progress
    if not job.is_final and progress is not None and progress.fraction is not None:
        step = f" · step {progress.step}/{progress.total_steps}" if progress.total_steps else ""
        yield "progress", f"{percent(progress.fraction)}{step}"
    if loss := _loss(points):
        yield "loss", loss
    if handle is not None:
        yield "model", _model(handle)
        if handle.path is not None:
            yield "", (clean(handle.path), "dim")
            yield from _usable(job)
    if snapshot.provider_job_id and snapshot.provider_job_id != job.id:
        before = f"   before: {', '.join(snapshot.earlier_ids)}" if snapshot.earlier_ids else ""
        yield "remote", clean(snapshot.provider_job_id + before)
    if snapshot.account is not None:
        yield "account", clean(account_name(snapshot.account))
    if snapshot.tags:
        yield "tags", clean(", ".join(f"{k}={v}" for k, v in snapshot.tags.items()))
    if snapshot.message:
        style = status_style(job.status) if job.is_final else ""
        yield "message", (clean(redact(snapshot.message)), style)
        hint = (snapshot.error or {}).get("hint")
        if hint:
            yield "hint", clean(hint)


def _usable(job: FineTuneJob) -> Iterator[tuple[str, Any]]:
    """The programs and providers that take the model as an adapter, and those that take it merged."""
    try:
        verdicts = job.check_portability()
    except FtsdkError as error:
        yield "usable", (clean(error.what), "dim")
        return
    label = "usable"
    for form in ("adapter", "merged"):
        found = [one for one in verdicts if one.form == form]
        takes = [one.target for one in found if one.ok]
        if found:
            yield label, f"{form}: {', '.join(takes) if takes else 'nowhere'}"
            label = ""
    if not all(one.ok for one in verdicts):
        yield "", (f"why not the others: ftsdk export {job.id} --check", "dim")


def _data(job: FineTuneJob) -> str:
    data = job.snapshot.dataset
    if "sha256" in data:
        name, rows = clean(data.get("name", "rows"), 60), int(data.get("rows") or 0)
        parts = [f"{name}  sha256 {data['sha256'][:8]}…", plural(rows, "row")]
    else:
        parts = ["unknown: the job was created elsewhere"]
    if data.get("validation_rows"):
        parts.append(f"{count(data['validation_rows'])} held out")
    if job.snapshot.trained_tokens:
        parts.append(f"{count(job.snapshot.trained_tokens)} tokens trained on")
    return "   ".join(parts)


def _noticed(job: FineTuneJob) -> str:
    """The notices about the rows when the job was created, what costs most first."""
    found = job.snapshot.dataset.get("data_notices") or ()
    return " · ".join(f"{one['code']} {plural(one['rows'], 'row')}" for one in found)


def _sent(job: FineTuneJob) -> str:
    snapshot = job.snapshot
    if not snapshot.spec:
        return ""  # an adopted job: its settings are not known
    spec = JobSpec.build(**snapshot.spec)
    able = job.session.backend_for(snapshot).capabilities
    sent = {name: allowed.default for name, allowed in able.hyperparameters.items()}
    sent |= spec.hyperparameters.given()
    if spec.hyperparameters.learning_rate_multiplier is not None:
        sent["learning_rate"] = None
    backend = job.session.backend_for(snapshot)
    adapter = "adapter set by the service" if backend.sets_adapter else adapter_text(spec.adapter)
    parts = [*training_texts(sent), adapter]
    shown = ("epochs", "max_steps", "batch_size", "learning_rate", "learning_rate_multiplier")
    others = {n: v for n, v in spec.hyperparameters.given().items() if n not in shown}
    parts += [f"{name} {number(value)}" for name, value in others.items()]
    parts.append(f"seed {spec.seed}")
    parts += [
        f"{k} {clean(plain(redact({k: v})[k]), 40)}" for k, v in spec.provider_options.items()
    ]
    return " · ".join(parts)


def _loss(points: Sequence[MetricPoint]) -> list[Any]:
    parts: list[Any] = []
    for name, label in (("train_loss", "train"), ("validation_loss", "validation")):
        if ends := _first_and_last(points, name):
            space = "   " if parts else ""
            parts += [f"{space}{label} ", (f"{ends[0]:.2f} → {ends[1]:.2f}", "bold")]
    return parts


def _model(handle: ModelHandle) -> str:
    parts = [handle.kind.replace("_", " ")]
    if handle.size_bytes is not None:
        parts[0] += f", {size(handle.size_bytes)}"
    parts.append("callable now" if handle.callable_now else "not callable now")
    if handle.retires_on is not None:
        parts.append(f"until {handle.retires_on}")
    if handle.chat_template_sha256:
        parts.append(f"template sha256 {handle.chat_template_sha256[:4]}…")
    if handle.path is None:
        parts.insert(0, clean(handle.id, 80))
    return "   ".join(parts)
