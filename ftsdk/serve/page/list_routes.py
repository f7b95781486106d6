"""The routes of the list of jobs and of what its bars can do."""

from __future__ import annotations

import functools

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ftsdk.deployments.deploy import undeploy
from ftsdk.serve.page import bars
from ftsdk.serve.page.html import Html, el
from ftsdk.serve.page.job_rows import RowFacts, row_cells
from ftsdk.serve.page.jobs_page import (
    TABS,
    Filter,
    jobs_page,
    list_jobs,
    live_words,
    needs_decision,
)
from ftsdk.serve.page.live import Update, stream
from ftsdk.serve.page.marks import status_word
from ftsdk.serve.page.route_base import RouteBase, redirect, streamed
from ftsdk.store.job_overview import job_counts
from ftsdk.types.job import JobSnapshot
from ftsdk.util.names import plural


class ListRoutes(RouteBase):
    """The list of jobs."""

    async def jobs(self, request: Request) -> Response:
        """`GET /`."""
        return self._html(await self._run(self._jobs, request))

    def _jobs(self, request: Request) -> Html:
        wanted = _filter(request)
        listing = list_jobs(self._session, wanted)
        facts = self._row_facts(listing.undecided)
        return jobs_page(self._view(request), listing, wanted, self._watch, facts)

    def _row_facts(self, undecided: frozenset[str]) -> RowFacts:
        leases = bars.running_leases(self._session)
        return RowFacts(
            self._state.clock.now(),
            silent=self._watch.silent,
            ends=self._slow.get().ends,
            per_hour={one.job_id: one.usd_per_hour for one in leases if one.job_id is not None},
            undecided=undecided,
        )

    async def live_jobs(self, request: Request) -> Response:
        """`GET /live/jobs`: the rows of the list as they change."""
        wanted = _filter(request)
        first = await self._run(list_jobs, self._session, wanted)
        shown, before = [job.id for job in first.jobs], sum(first.counts.values())
        words = {job.id: status_word(job) for job in first.jobs}

        def read() -> Update:
            self._watch.ask()
            jobs = [self._watch.current(self._session.journal.get(one)) for one in shown]
            self._watch.fill(jobs)
            return self._list_update(jobs, words, before, wanted)

        return streamed(stream(read, self._is_closing))

    def _list_update(
        self, jobs: list[JobSnapshot], words: dict[str, str], before: int, wanted: Filter
    ) -> Update:
        doubt = frozenset(job.id for job in jobs if needs_decision(self._session, job))
        facts = self._row_facts(doubt)
        update = Update({"live": Html(live_words(self._watch))})
        for job in jobs:
            course = self._watch.known_course(job.id)
            update.parts[f"row-{job.id}"] = row_cells(job, course, facts)
            if words[job.id] != status_word(job):
                words[job.id] = status_word(job)
                update.said.append(f"{job.name or job.id}: {words[job.id]}")
        counts = job_counts(self._session.journal)
        for tab, _, statuses in TABS:
            number = sum(
                count
                for (provider, status), count in counts.items()
                if status in statuses and wanted.provider in ("", provider)
            )
            update.parts[f"count-{tab or 'all'}"] = Html(f"{number:,}")
        new = sum(counts.values()) - before
        link = (
            el("a", f"{plural(new, 'new job')}: show", href=wanted.address()) if new > 0 else Html()
        )
        update.parts["new-jobs"] = link
        return update

    async def ask(self, _: Request, form: FormData) -> Response:
        """`POST /ask`: ask a provider that did not answer again, now."""
        provider = str(form.get("provider", ""))
        await self._run(functools.partial(self._watch.ask, provider, wait_s=3.0))
        return redirect("/")

    async def end_deployment(self, request: Request, _: FormData) -> Response:
        """`POST /deployments/{lease_id}/end`: end a deployment, and with it its cost."""
        lease = request.path_params["lease_id"]
        await self._run(undeploy, self._session, lease, "ended on the page")
        return redirect("/")


def _filter(request: Request) -> Filter:
    given = request.query_params
    text = given.get("text", "")[:200]
    return Filter(given.get("tab", ""), given.get("provider", ""), text, given.get("after", ""))
