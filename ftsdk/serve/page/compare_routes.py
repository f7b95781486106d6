"""The route of the comparison of jobs."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ftsdk.errors import UsageError
from ftsdk.serve.page.compare_page import MOST, compare_page
from ftsdk.serve.page.html import Html
from ftsdk.serve.page.route_base import RouteBase

_RECENT = 50
_WAIT_S = 1.0


class CompareRoutes(RouteBase):
    """Jobs side by side."""

    async def compare(self, request: Request) -> Response:
        """`GET /compare?job=…&job=…`."""
        return self._html(await self._run(self._compare, request))

    def _compare(self, request: Request) -> Html:
        ids = list(dict.fromkeys(request.query_params.getlist("job")))
        if len(ids) > MOST:
            raise UsageError(
                f"{len(ids)} jobs are too many", where="/compare", hint=f"pick up to {MOST}"
            )
        loss = request.query_params.get("loss", "validation")
        if loss not in ("validation", "train"):
            raise UsageError("loss is validation or train", where="/compare")
        journal = self._session.journal
        jobs = [journal.get(one) for one in ids]
        compared = [(job, self._watch.course(job, wait_s=_WAIT_S)) for job in jobs]
        recent = journal.list(limit=_RECENT)
        return compare_page(self._view(request), self._session, compared, recent, loss)
