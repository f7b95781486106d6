"""The routes of the pages over all jobs, and of a job's data report."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ftsdk.jobs.retirements import retirements
from ftsdk.serve.page.data_page import data_page, data_report
from ftsdk.serve.page.html import Html
from ftsdk.serve.page.overview_pages import deployments_page, reports_page, retirements_page
from ftsdk.serve.page.reports import POLICY, list_reports, read_report
from ftsdk.serve.page.route_base import RouteBase
from ftsdk.store.leases import Leases

_MOST = 200
"""Deployments that are shown; those that run come first."""


class OverviewRoutes(RouteBase):
    """Deployments, retirements, reports, data reports."""

    async def deployments(self, request: Request) -> Response:
        """`GET /deployments`."""
        return self._html(await self._run(self._deployments, request))

    def _deployments(self, request: Request) -> Html:
        leases = Leases(self._session.journal).list()
        shown = sorted(leases, key=lambda one: (one.state == "closed", -one.started_at.timestamp()))
        names = {one.job_id: self._name(one.job_id) for one in shown[:_MOST] if one.job_id}
        return deployments_page(self._view(request), shown[:_MOST], names)

    async def retirements(self, request: Request) -> Response:
        """`GET /retirements`: as the journal and the catalogue know them; no provider is asked."""
        return self._html(await self._run(self._retirements, request))

    def _retirements(self, request: Request) -> Html:
        return retirements_page(self._view(request), retirements(self._session))

    async def reports(self, request: Request) -> Response:
        """`GET /reports`."""
        return self._html(await self._run(self._reports, request))

    def _reports(self, request: Request) -> Html:
        folders = self._state.settings.report_folders
        found = list_reports(folders)
        return reports_page(self._view(request), found, [str(one) for one in folders])

    async def report(self, request: Request) -> Response:
        """`GET /reports/{report_id}`: the file as it is, under a policy by which it can do nothing."""
        folders = self._state.settings.report_folders
        content = await self._run(read_report, folders, request.path_params["report_id"])
        headers = {"content-security-policy": POLICY}
        return Response(content, media_type="text/html; charset=utf-8", headers=headers)

    async def data(self, request: Request) -> Response:
        """`GET /jobs/{job_id}/data`."""
        return self._html(await self._run(self._data, request))

    def _data(self, request: Request) -> Html:
        job = self._client.get_job(request.path_params["job_id"]).snapshot
        report = data_report(self._client, job)
        return data_page(self._view(request), job, report)
