"""One job: its status, curve and cost, live; what was asked and sent, events, answers, what you own."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ftsdk.errors import FtsdkError
from ftsdk.serve.page import job_cards, words
from ftsdk.serve.page.html import Child, Html, el
from ftsdk.serve.page.job_rows import RowFacts, detail, sentence
from ftsdk.serve.page.layout import (
    View,
    card,
    confirmed,
    document,
    dots,
    form,
    heading,
    link_button,
    live,
)
from ftsdk.serve.page.live import Update, version
from ftsdk.serve.page.marks import status_mark
from ftsdk.serve.page.watch import Course, Silence
from ftsdk.session import Session
from ftsdk.spending.ledger import line_of
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus


@dataclass(frozen=True)
class JobFacts:
    """What the page of a job shows beside its snapshot and its course."""

    session: Session
    view: View
    needs_decision: bool = False
    silence: Silence | None = None
    per_hour: Decimal | None = None
    hosted: Decimal | None = None


def job_page(job: JobSnapshot, course: Course, facts: JobFacts) -> Html:
    """Return the page of one job."""
    parts = {name: live(name, content, data_v=version(content)) for name, content in job_parts(job, course, facts).items()}  # fmt: skip
    crumbs = el("nav", el("a", "Jobs", href="/"), " / ", el("code", job.id), aria_label="Where you are", class_="soft")  # fmt: skip
    return document(
        facts.view,
        words.title_of(job),
        crumbs,
        heading(words.title_of(job), parts["status"], acts=parts["acts"]),
        parts["facts"],
        job_cards.decide_card(facts.view, job) if facts.needs_decision else None,
        el("div", el("div", parts["progress"], parts["curve"]), parts["cost"], class_="cards"),
        parts["chat"],
        _rows(job),
        el(
            "div",
            job_cards.settings_card(facts.session, job),
            parts["events"],
            class_="cards halves",
        ),
        el("div", parts["owned"], parts["goes"], class_="cards"),
        live_at=f"/live/jobs/{job.id}",
    )


def job_parts(job: JobSnapshot, course: Course, facts: JobFacts) -> dict[str, Html]:
    """Return the live parts of a job's page, by their id."""
    line = line_of(facts.session, job)
    return {
        "status": _status(job, facts),
        "acts": el("div", _acts(job, facts), class_="acts"),
        "facts": _facts(job, facts),
        "progress": _progress(job, course, facts),
        "curve": job_cards.loss_card(course),
        "cost": job_cards.cost_card(job, line, facts.per_hour, facts.hosted),
        "goes": _portability(job),
        "chat": _chat(job, facts),
        "events": job_cards.events_card(course),
        "owned": job_cards.owned_card(job, course),
    }


def job_update(job: JobSnapshot, course: Course, facts: JobFacts, before: JobStatus) -> Update:
    """Return what the stream of a job's page sends now."""
    update = Update(dict(job_parts(job, course, facts)))
    if job.status is not before:
        update.said.append(f"{words.title_of(job)}: {job.status.replace('_', ' ')}")
    ended = job.finished_at or job.updated_at
    read = course.asked_at is not None and course.asked_at > ended and course.is_whole
    update.is_last = job.status.is_final and (read or course.error is not None)
    return update


def _status(job: JobSnapshot, facts: JobFacts) -> Html:
    raw = job.raw_status
    theirs = None
    if raw and raw != job.status.value:
        theirs = el("span", f"{job.provider} says “{raw}”", class_="chip")
    return el("span", status_mark(job, needs_decision=facts.needs_decision), " ", theirs)


def _facts(job: JobSnapshot, facts: JobFacts) -> Html:
    began = job.started_at or job.submitted_at or job.created_at
    took = words.took(job)
    tags = ", ".join(f"{name}={value}" for name, value in job.tags.items())
    shown = dots(
        words.where_of(job),
        el("span", "began ", words.when(began, facts.view.now)),
        f"took {took}" if took else "",
        f"{words.cost_words(job.cost)} {words.cost_basis(job)}".strip(),
        f"tags {tags}" if tags else "",
        f"there {job.provider_job_id}"
        if job.provider_job_id and job.provider_job_id != job.id
        else "",
    )
    return el("p", shown, class_="soft")


def _progress(job: JobSnapshot, course: Course, facts: JobFacts) -> Html:
    silent = {} if facts.silence is None else {job.provider: facts.silence}
    said: Child
    if job.status.is_final and job.status is not JobStatus.FAILED:
        return Html()
    if job.status is JobStatus.FAILED:
        return job_cards.error_card(job) or card("", el("p", sentence(job, course)))
    said = detail(job, course, RowFacts(facts.view.now, silent=silent))
    return card("", said, class_="card state")


def _acts(job: JobSnapshot, facts: JobFacts) -> list[Child]:
    """Return what can be done with a job now, by what its provider can."""
    able = facts.session.capabilities_of(job.provider)
    if able is None:
        return []
    acts: list[Child] = []
    base, view, status = f"/jobs/{job.id}", facts.view, job.status
    if status is JobStatus.SUCCEEDED and able.can_chat:
        acts.append(link_button("Chat", "#chat", "main"))
    is_ended = status in (JobStatus.FAILED, JobStatus.CANCELLED)
    may_resume = status is JobStatus.PAUSED or (is_ended and able.resumes_ended)
    if able.can_resume and may_resume and job.provider_job_id:
        acts.append(
            confirmed(
                view,
                "Resume",
                "It goes on where it stopped, and may cost money again.",
                f"{base}/resume",
                "Resume it",
            )
        )
    if able.can_pause and status in (JobStatus.QUEUED, JobStatus.RUNNING):
        acts.append(
            confirmed(
                view,
                "Pause",
                "It stops at its next checkpoint; resume continues it.",
                f"{base}/pause",
                "Pause it",
            )
        )
    if not status.is_final and status is not JobStatus.CANCELLING and (able.can_cancel or status is JobStatus.CREATED):  # fmt: skip
        acts.append(
            confirmed(
                view,
                "Cancel job",
                "Training stops. What was spent so far stays spent.",
                f"{base}/cancel",
                "Cancel the job",
                kind="danger",
            )
        )
    acts.append(link_button("Compare", f"/compare?job={job.id}"))
    acts.append(link_button("Train again…", f"/new?like={job.id}"))
    return acts


def _portability(job: JobSnapshot) -> Html:
    return card("Where it can go", _loading(f"/jobs/{job.id}/portability?status={job.status}"))


def _rows(job: JobSnapshot) -> Html:
    data = job.dataset
    if "kept" not in data:
        return card("Data", el("p", "The rows are not known here: the job was created elsewhere.", class_="soft"))  # fmt: skip
    name = f"{data.get('name', 'rows')} · sha256 {str(data.get('sha256', ''))[:8]}…"
    more = el("p", el("a", "Data report", href=f"/jobs/{job.id}/data"))
    return card("Data", _loading(f"/jobs/{job.id}/rows"), more, beside=name)


def _loading(address: str) -> Html:
    """Return still shapes in place of a part that is fetched when the page is there."""
    bones = [el("div", class_="bone") for _ in range(3)]
    plain = el("noscript", el("a", "Show", href=address))
    return el("div", bones, plain, data_load=address)


def _chat(job: JobSnapshot, facts: JobFacts) -> Html:
    able = facts.session.capabilities_of(job.provider)
    if job.status is not JobStatus.SUCCEEDED or able is None or not able.can_chat:
        return Html()

    def side(who: str, name: str) -> Html:
        head = el("div", el("b", who, class_="learn" if who == "tuned" else None), " ", el("span", name, class_="soft small"))  # fmt: skip
        note = el("div", class_="soft small", id=f"note-{who}")
        return el("div", head, el("output", id=f"answer-{who}", form="ask"), note)

    ask = form(
        facts.view, f"/jobs/{job.id}/chat",
        el("input", name="message", placeholder="Ask both", aria_label="Ask both models", required=True, autocomplete="off"),
        el("button", "Send", class_="main"), id="ask", class_="ask",
    )  # fmt: skip
    return card(
        "Base and tuned",
        el("p", id="asked", class_="asked"),
        el("div", side("base", job.model), side("tuned", words.title_of(job)), class_="answers"),
        ask,
        el("noscript", el("p", "Asking from the page needs its script; `ftsdk chat` does not.")),
        beside="same prompt, temperature 0",
        id="chat",
    )


def unreadable(error: FtsdkError) -> Html:
    """Return an error in place of a part of the page."""
    hint = f" {error.hint}" if error.hint else ""
    return el("p", f"{error.what}.{hint}", class_="soft")
