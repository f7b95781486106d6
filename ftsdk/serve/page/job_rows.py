"""One row of the list of jobs, and the one fact that it says about its state."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from ftsdk.jobs.html import losses_of
from ftsdk.serve.page import words
from ftsdk.serve.page.html import Child, Html, el, join, svg
from ftsdk.serve.page.layout import link_button
from ftsdk.serve.page.live import version
from ftsdk.serve.page.marks import status_mark
from ftsdk.serve.page.meters import money_bar, progress_bar
from ftsdk.serve.page.watch import Course, Silence
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.chart import spark
from ftsdk.util.durations import percent

COLUMNS = ("Status", "Job", "Loss", "Progress", "Cost", "Model ends", "Began")


class RowFacts:
    """What all rows of a list share: the time, silent providers, end dates, prices of deployments."""

    def __init__(
        self,
        now: dt.datetime,
        *,
        silent: dict[str, Silence] | None = None,
        ends: dict[tuple[str, str], dt.date] | None = None,
        per_hour: dict[str, Decimal | None] | None = None,
        undecided: frozenset[str] = frozenset(),
    ) -> None:
        self.now, self.silent = now, silent or {}
        self.ends, self.per_hour, self.undecided = ends or {}, per_hour or {}, undecided


def job_row(job: JobSnapshot, course: Course, facts: RowFacts) -> Html:
    """Return the row of a job; its cells may be replaced while the page is open."""
    cells = row_cells(job, course, facts)
    now = version(cells)
    return el("tr", cells, role="row", class_="job", id=f"row-{job.id}", data_v=now)


def row_cells(job: JobSnapshot, course: Course, facts: RowFacts) -> Html:
    """Return the cells of a job's row."""
    undecided = job.id in facts.undecided
    cells = (
        ("status-cell", status_mark(job, needs_decision=undecided)),
        ("job-cell", _name(job, facts)),
        ("loss-cell", _loss(course)),
        ("detail", detail(job, course, facts)),
        ("cost", _cost(job)),
        ("ends", _ends(job, facts)),
        ("began n", words.when(job.created_at, facts.now)),
    )
    return join(el("td", value, role="cell", class_=look) for look, value in cells)


def _name(job: JobSnapshot, facts: RowFacts) -> list[Child]:
    price = facts.per_hour.get(job.id)
    chip = (
        el("span", f"{words.money(price)}/h now", class_="chip loud") if price is not None else None
    )
    link = el("a", words.title_of(job), href=f"/jobs/{job.id}", class_="name")
    return [
        el("div", link, chip, class_="name-line"),
        el("div", words.where_of(job), class_="sub"),
    ]


def _loss(course: Course) -> Html | None:
    train, validation = losses_of(course.points)
    if not train and not validation:
        return None
    last, kind = (validation[-1][1], "val") if validation else (train[-1][1], "train")
    value = el("div", f"{last:.2f}", el("div", kind, class_="sub"))
    return el("div", svg(spark(train, validation)), value, class_="loss")


def _cost(job: JobSnapshot) -> list[Child]:
    limit = words.limit_of(job)
    basis = el("span", words.cost_basis(job), class_="sub")
    return [
        el("div", el("span", words.cost_words(job.cost, limit)), basis, class_="pair"),
        money_bar(job.cost, limit),
    ]


def _ends(job: JobSnapshot, facts: RowFacts) -> list[Child] | None:
    day = facts.ends.get((job.provider, job.model))
    if day is None or job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        return None
    days = (day - facts.now.date()).days
    return [
        el("div", f"! {words.date_words(day)}", class_="warn"),
        el("div", words.in_days(days), class_="sub"),
    ]


# --- one fact for each state ---


def detail(job: JobSnapshot, course: Course, facts: RowFacts) -> Child:
    """Return what a row says of its state, and what can be done."""
    silence = facts.silent.get(job.provider)
    is_undecided = job.id in facts.undecided
    if silence is not None and not job.status.is_final and not is_undecided:
        asked = f"as of {words.clock(job.updated_at)}, not asked"
        return el("div", el("b", "! ", class_="warn"), asked)
    if job.status is JobStatus.RUNNING:
        return _running(job)
    text = sentence(job, course, needs_decision=is_undecided)
    act = None
    if is_undecided:
        act = link_button("Decide…", f"/jobs/{job.id}#decide")
    return el("div", el("span", text, class_="clip", title=text), act, class_="pair")


def _running(job: JobSnapshot) -> Child:
    progress = job.progress
    if progress is None or progress.fraction is None:
        return f"Training since {words.clock(job.started_at or job.updated_at)}."
    steps = f" · {progress.step:,} of {progress.total_steps:,}" if progress.total_steps else ""
    speed = f"{progress.tokens_per_s:,.0f} tokens/s" if progress.tokens_per_s else ""
    left = words.left(progress.eta_s) if progress.eta_s is not None else speed
    share = el("span", el("b", percent(progress.fraction)), steps)
    return [el("div", share, el("span", left), class_="pair"), progress_bar(progress.fraction)]


def sentence(job: JobSnapshot, course: Course, *, needs_decision: bool = False) -> str:
    """Return one short sentence about the state of a job."""
    at, since = words.provider_name(job.provider), words.clock(job.updated_at)
    if needs_decision:
        return f"The create call got no answer, and {at} shows no such job."
    match job.status:
        case JobStatus.CREATED:
            refused = (job.error or {}).get("message")
            return f"Nothing was sent. {refused}" if refused else "Journaled; nothing was sent."
        case JobStatus.SUBMITTING:
            return f"Being sent to {at} since {since}."
        case JobStatus.IN_DOUBT:
            sent = words.clock(job.submitted_at or job.created_at)
            return f"Sent {sent}, no answer yet. It is never sent twice by itself."
        case JobStatus.VALIDATING:
            return f"{at[0].upper()}{at[1:]} is checking the rows since {since}."
        case JobStatus.QUEUED:
            return f"Waiting at {at} since {since}."
        case JobStatus.FINALIZING:
            return "Trained. The result is being packed."
        case JobStatus.CANCELLING:
            return "Asked to stop; it has not stopped yet."
        case JobStatus.UNKNOWN:
            return f"{at[0].upper()}{at[1:]} says “{job.raw_status}”, which ftsdk does not know."
        case JobStatus.FAILED:
            return job.message or str((job.error or {}).get("message") or "It gave no reason.")
    return _stopped(job, course)


def _stopped(job: JobSnapshot, course: Course) -> str:
    share = None if job.progress is None else job.progress.fraction
    at = "" if share is None else f" at {percent(share)}"
    if job.status is JobStatus.PAUSED:
        return f"Paused{at}. Resume continues it."
    if job.status is JobStatus.CANCELLED:
        return f"Cancelled{at}." if job.submitted_at else "Cancelled before it was sent."
    train, validation = losses_of(course.points)
    ends = validation or train
    took = words.took(job)
    time = f" in {took}" if took else ""
    return f"{ends[0][1]:.2f} → {ends[-1][1]:.2f}{time}" if ends else f"Done{time}."
