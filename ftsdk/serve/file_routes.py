"""`/v1/files`: the rows that jobs are created from."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from ftsdk.serve.documents import page
from ftsdk.serve.problems import Problem
from ftsdk.serve.requests import known_query, whole_number
from ftsdk.serve.state import ServerState

_PIECE = 1 << 20


class FileRoutes:
    """The routes of files."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def create(self, request: Request) -> Response:
        """`POST /v1/files`: multipart, with `purpose` and `file`."""
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise Problem(400, "Send multipart/form-data with purpose and file.", param="file")
        async with request.form(max_files=1, max_fields=10) as form:
            upload, purpose = form.get("file"), form.get("purpose")
            if not isinstance(upload, UploadFile):
                raise Problem(400, "There is no file in the form.", param="file")
            if purpose != "fine-tune":
                raise Problem(400, "The purpose is fine-tune here.", param="purpose")
            name = (upload.filename or "rows.jsonl").rpartition("/")[2]
            document = await self._state.uploads.keep(name, "fine-tune", _pieces(upload))
        return JSONResponse(document)

    async def list(self, request: Request) -> Response:
        """`GET /v1/files`, newest first, or oldest first with `order=asc`."""
        known_query(request, "limit", "after", "order", "purpose")
        order = request.query_params.get("order", "desc")
        if order not in ("asc", "desc"):
            raise Problem(400, "order is asc or desc.", param="order")
        limit = whole_number(request, "limit", 10_000, high=10_000)
        found = list(self._state.uploads.list())
        if (purpose := request.query_params.get("purpose")) is not None:
            found = [one for one in found if one["purpose"] == purpose]
        if order == "asc":
            found.reverse()
        after = request.query_params.get("after")
        return JSONResponse(page(found, dict, lambda one: str(one["id"]), after=after, limit=limit))

    async def get(self, request: Request) -> Response:
        """`GET /v1/files/{file_id}`."""
        return JSONResponse(self._state.uploads.get(request.path_params["file_id"]))

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/files/{file_id}`; jobs keep their own copy of the rows."""
        file_id = request.path_params["file_id"]
        self._state.uploads.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})

    async def content(self, request: Request) -> Response:
        """`GET /v1/files/{file_id}/content`."""
        path = self._state.uploads.path(request.path_params["file_id"])
        return FileResponse(path, media_type="application/octet-stream")


async def _pieces(upload: UploadFile) -> AsyncIterator[bytes]:
    while piece := await upload.read(_PIECE):
        yield piece
