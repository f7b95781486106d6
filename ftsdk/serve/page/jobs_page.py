"""The list of jobs: what needs you, what runs, then all that ended, newest first; filtered and in pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from ftsdk.jobs.submit import submitter_for
from ftsdk.serve.page import words
from ftsdk.serve.page.html import Child, Html, el
from ftsdk.serve.page.job_rows import COLUMNS, RowFacts, job_row
from ftsdk.serve.page.layout import View, document, form, heading, link_button
from ftsdk.serve.page.marks import warning_mark
from ftsdk.serve.page.watch import OPEN, Silence, Watch
from ftsdk.session import Session
from ftsdk.store.job_overview import job_counts
from ftsdk.types.job import JobSnapshot
from ftsdk.types.status import JobStatus
from ftsdk.util.names import plural

PAGE_ROWS = 50
_MOST_OPEN = 200
_NEEDS_YOU = frozenset({JobStatus.CREATED, JobStatus.PAUSED, JobStatus.UNKNOWN})
_ENDED = frozenset(JobStatus) - OPEN
TABS: tuple[tuple[str, str, frozenset[JobStatus]], ...] = (
    ("", "All", frozenset(JobStatus)),
    ("needs-you", "Needs you", _NEEDS_YOU | {JobStatus.IN_DOUBT}),
    ("active", "Active", OPEN - _NEEDS_YOU),
    ("succeeded", "Succeeded", frozenset({JobStatus.SUCCEEDED})),
    ("failed", "Failed", frozenset({JobStatus.FAILED})),
    ("cancelled", "Cancelled", frozenset({JobStatus.CANCELLED})),
)
_BY_TAB = {name: statuses for name, _, statuses in TABS}


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to, as the address has it."""

    tab: str = ""
    provider: str = ""
    text: str = ""
    after: str = ""

    @property
    def is_on(self) -> bool:
        """Whether anything is left out."""
        return bool(self.tab or self.provider or self.text)

    def address(self, **changes: str) -> str:
        """Return the address of the list with other values."""
        given = {"tab": self.tab, "provider": self.provider, "text": self.text, **changes}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/?{query}" if query else "/"


@dataclass(frozen=True)
class Listing:
    """The jobs of one page: those that have not ended, and those that have; `more` behind the last."""

    open_: Sequence[JobSnapshot]
    ended: Sequence[JobSnapshot]
    more: bool
    counts: Counter[tuple[str, JobStatus]]
    undecided: frozenset[str]

    @property
    def jobs(self) -> list[JobSnapshot]:
        """All rows, in their order."""
        return [*self.open_, *self.ended]

    def count(self, statuses: frozenset[JobStatus], provider: str = "") -> int:
        """Return how many jobs of the journal have one of the statuses."""
        return sum(
            number
            for (name, status), number in self.counts.items()
            if status in statuses and provider in ("", name)
        )


def list_jobs(session: Session, wanted: Filter) -> Listing:
    """Read one page of the list from the journal; nobody is asked.

    Raises `UnknownJob` where the page before ended with a job that is gone.
    """
    statuses = _BY_TAB.get(wanted.tab, _BY_TAB[""])
    find = partial(session.journal.list, provider=wanted.provider or None, text=wanted.text or None)
    found: list[JobSnapshot] = []
    if statuses & OPEN and not wanted.after:
        found = find(status=statuses & OPEN, limit=_MOST_OPEN)
    ended: list[JobSnapshot] = []
    if statuses & _ENDED:
        ended = find(status=statuses & _ENDED, after=wanted.after or None, limit=PAGE_ROWS + 1)
    undecided = frozenset(job.id for job in found if needs_decision(session, job))
    more = len(ended) > PAGE_ROWS
    return Listing(found, ended[:PAGE_ROWS], more, job_counts(session.journal), undecided)


def needs_decision(session: Session, job: JobSnapshot) -> bool:
    """Return whether the create call got no answer and the job was not found in time."""
    in_doubt = job.status is JobStatus.IN_DOUBT
    return in_doubt and submitter_for(session).is_past_horizon(job)


def jobs_page(view: View, listing: Listing, wanted: Filter, watch: Watch, facts: RowFacts) -> Html:
    """Return the page of the list."""
    body: Child
    if not sum(listing.counts.values()):
        body = _no_job()
    elif not listing.jobs:
        body = el("section", _tabs(listing, wanted), _no_match(listing, wanted), class_="card list")
    else:
        silent = [_silence(view, name, one) for name, one in sorted(facts.silent.items())]
        body = el(
            "section",
            _tabs(listing, wanted),
            el("div", silent, id="silent"),
            _rows(listing, watch, facts),
            _more(listing, wanted),
            class_="card list",
        )
    title = heading(
        "Jobs",
        el("span", live_words(watch), class_="live-dot off", id="live"),
        el("span", id="new-jobs"),
        acts=[_search(listing, wanted), link_button("New job", "/new", "main")],
    )
    return document(
        view, "Jobs", title, body, _keys(), live_at=f"/live/jobs{wanted.address()[1:]}"
    )  # fmt: skip


def live_words(watch: Watch) -> str:
    """Return when the providers were asked last."""
    asked = watch.asked_at
    return "from the journal, nobody asked yet" if asked is None else f"asked {words.clock(asked)}"


def _tabs(listing: Listing, wanted: Filter) -> Html:
    tabs = [
        el(
            "li",
            el(
                "a",
                name,
                " ",
                el(
                    "span",
                    f"{listing.count(statuses, wanted.provider):,}",
                    id=f"count-{tab or 'all'}",
                ),
                href=wanted.address(tab=tab),
                aria_current="page" if wanted.tab == tab else None,
            ),
        )
        for tab, name, statuses in TABS
    ]
    return el("ul", tabs, class_="tabs", aria_label="Jobs by status")


def _rows(listing: Listing, watch: Watch, facts: RowFacts) -> Html:
    need = [job for job in listing.open_ if job.status in _NEEDS_YOU or job.id in listing.undecided]
    needed = {job.id for job in need}
    active = [job for job in listing.open_ if job.id not in needed]
    groups = (
        ("Needs you", need, f"{len(need):,}"),
        ("Active", active, f"{len(active):,}"),
        ("Ended", listing.ended, "newest first"),
    )
    head = el("tr", [el("th", name, scope="col", role="columnheader", class_="n" if name == "Began" else None) for name in COLUMNS], role="row")  # fmt: skip
    parts = []
    for name, jobs, beside in groups:
        if jobs:
            top = el("th", name, el("span", beside), colspan=len(COLUMNS), scope="rowgroup", role="rowheader")  # fmt: skip
            rows = [job_row(watch.current(job), watch.known_course(job.id), facts) for job in jobs]
            parts.append(el("tbody", el("tr", top, class_="group", role="row"), rows, role="rowgroup", data_group=name))  # fmt: skip
    columns = el("colgroup", [el("col", class_=f"c{k}") for k in range(1, len(COLUMNS) + 1)])
    return el("table", columns, el("thead", head, role="rowgroup"), parts, class_="jobs", role="table", aria_label="Jobs")  # fmt: skip


def _more(listing: Listing, wanted: Filter) -> Html | None:
    if not listing.more:
        return None
    last = listing.ended[-1].id
    link = el("a", f"Show {PAGE_ROWS} more", href=wanted.address(after=last), id="more")
    return el("div", link, class_="more-row")


def _search(listing: Listing, wanted: Filter) -> Html:
    providers = sorted({name for name, _ in listing.counts})
    options = [el("option", "Any provider", value="")]
    options += [el("option", one, value=one, selected=one == wanted.provider) for one in providers]
    return el(
        "form",
        el("input", type="search", name="text", value=wanted.text, placeholder="Name, id, model, tag",
           aria_label="Find jobs by name, id, model or tag", id="find"),
        el("select", options, name="provider", aria_label="Provider"),
        el("input", type="hidden", name="tab", value=wanted.tab) if wanted.tab else None,
        el("button", "Find"),
        method="get", action="/", role="search", class_="search",
    )  # fmt: skip


def _no_match(listing: Listing, wanted: Filter) -> Html:
    everything = plural(listing.count(frozenset(JobStatus)), "job")
    said = [
        f"with “{wanted.text}”" if wanted.text else "",
        f"at {words.provider_name(wanted.provider)}" if wanted.provider else "",
        next((f"under “{name}”" for tab, name, _ in TABS if tab == wanted.tab and tab), ""),
    ]
    text = f"{everything}, none {' '.join(part for part in said if part)}."
    clear = link_button("Clear the filter", "/")
    return el("div", el("h2", "No job fits"), el("p", text), el("div", clear, class_="acts"), class_="empty")  # fmt: skip


def _no_job() -> Html:
    def command(text: str) -> Html:
        copy = el("button", "Copy", type="button", class_="link", data_copy=text)
        return el("div", el("code", "$ ", text), copy, class_="command")

    return el(
        "section",
        el("h2", "No job yet"),
        el("p", "This page shows every job of this journal, wherever it runs. Start one here or in a "
           "terminal; it appears by itself."),
        command("ftsdk create rows.jsonl"),
        command("ftsdk adopt openai ftjob-…"),
        el("div", link_button("New job", "/new", "main"),
           link_button("Rehearse without a key", "/new?provider=fake"), class_="acts"),
        class_="card empty",
    )  # fmt: skip


def _silence(view: View, provider: str, silence: Silence) -> Html:
    again = words.clock(silence.again_at)
    text = f" ({silence.error.what}) since {words.clock(silence.since)}; jobs there go on. Next try at {again}."
    named = el("input", type="hidden", name="provider", value=provider)
    ask = form(view, "/ask", named, el("button", "Ask now", class_="link"))
    say = el("div", el("b", f"{words.provider_name(provider)} does not answer"), text, " ", ask)
    return el("div", warning_mark(), say, class_="dates")


def _keys() -> Html:
    known = (
        ("j k", "move"),
        ("↵", "open"),
        ("x", "pick to compare"),
        ("c", "compare"),
        ("/", "find"),
    )
    shown = [
        el("span", [el("kbd", one) for one in keys.split()], f" {what}") for keys, what in known
    ]
    return el("div", shown, class_="keys")
