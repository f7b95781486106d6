"""The routes of a new job: form, plan, create. Planning and sending are the client's own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response

from ftsdk.errors import FtsdkError, UsageError
from ftsdk.serve.page.create_form import (
    Asked,
    asked_like,
    asked_of,
    rows_of,
    validation_of,
    with_rows,
)
from ftsdk.serve.page.create_page import Files, form_page, plan_page
from ftsdk.serve.page.html import Html
from ftsdk.serve.page.route_base import RouteBase, redirect
from ftsdk.serve.problems import Problem, problem_of

_PIECE = 1 << 20
_MOST_FILES = 50


class CreateRoutes(RouteBase):
    """A new job."""

    async def new(self, request: Request) -> Response:
        """`GET /new`: the form; `?like=JOB` fills it with an earlier job's values."""
        return self._html(await self._run(self._new, request))

    def _new(self, request: Request) -> Html:
        like = request.query_params.get("like")
        if like is not None:
            asked = asked_like(self._session.journal.get(like))
        else:
            asked = asked_of({**self._configured(), **request.query_params})
        return form_page(self._view(request), self._session, asked, self._files(asked))

    def _configured(self) -> dict[str, str]:
        names = ("provider", "model", "method")
        found = {name: self._session.config.setting(name) for name in names}
        return {name: str(one.value) for name, one in found.items() if one is not None}

    def _files(self, asked: Asked) -> Files:
        found = list(self._state.uploads.list())[:_MOST_FILES]
        files = [(str(one["id"]), f"{one['filename']}, {one['bytes']:,} bytes") for one in found]
        if asked.rows.startswith("kept:"):
            job = self._session.journal.get(asked.rows.removeprefix("kept:"))
            files.insert(0, (asked.rows, f"the rows of {job.name or job.id}"))
        return files

    async def plan(self, request: Request, form: FormData) -> Response:
        """`POST /new/plan`: keep an uploaded file, and show the plan; nothing is sent."""
        asked = asked_of(form)
        upload = form.get("upload")
        if isinstance(upload, UploadFile) and upload.filename:
            name = upload.filename.replace("\\", "/").rpartition("/")[2]
            kept = await self._state.uploads.keep(name, "fine-tune", _pieces(upload))
            asked = with_rows(asked, str(kept["id"]))
        try:
            options = await self._run(self._options, asked)
            plan = await self._state.client.plan(options.pop("dataset"), **options)
        except (FtsdkError, Problem) as error:
            return await self._again(request, asked, error)
        view = await self._run(self._view, request)
        return self._html(plan_page(view, asked, plan, f"page-{secrets.token_hex(16)}"))

    async def edit(self, request: Request, form: FormData) -> Response:
        """`POST /new/edit`: the form again, with its values."""
        return await self._again(request, asked_of(form), None)

    async def create(self, request: Request, form: FormData) -> Response:
        """`POST /new`: create the job; a second press with the same key leads to the same job."""
        asked, key = asked_of(form), str(form.get("key", ""))
        if not key.startswith("page-"):
            raise UsageError("This form has no key", where="the form", hint="open the plan again")
        try:
            options = await self._run(self._options, asked)
            job = await self._state.client.create_job(options.pop("dataset"), key=key, **options)
        except (FtsdkError, Problem) as error:
            return await self._again(request, asked, error)
        if asked.rows.startswith("file-"):
            await self._run(self._state.remember_files, job.id, {"training_file": asked.rows})
        return redirect(f"/jobs/{job.id}")

    def _options(self, asked: Asked) -> dict[str, Any]:
        options, uploads = asked.options(), self._state.uploads
        options["dataset"] = rows_of(self._session, uploads, asked.rows)
        options["validation"] = validation_of(self._session, uploads, asked.validation)
        return options

    async def _again(
        self, request: Request, asked: Asked, error: FtsdkError | Problem | None
    ) -> Response:
        """Return the form with its values, and what was wrong."""
        shown = UsageError(error.message, where="the form") if isinstance(error, Problem) else error
        view = await self._run(self._view, request)
        files = await self._run(self._files, asked)
        status = 200 if shown is None else problem_of(shown).status
        return self._html(form_page(view, self._session, asked, files, shown), status)


async def _pieces(upload: UploadFile) -> AsyncIterator[bytes]:
    while piece := await upload.read(_PIECE):
        yield piece
