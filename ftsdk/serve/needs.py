"""What each request needs before it is answered: one table of every method and path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from starlette.routing import compile_path

Need = Literal["open", "token", "page", "form"]
"""`open`: nothing. `token`: the server's token as the API key. `page`: a session. `form`: a session, a
form of this server, and its token."""


class Needs:
    """The needs of all routes; a request that fits none needs the token."""

    def __init__(self, rows: Iterable[tuple[str, str, Need]]) -> None:
        self.table: Mapping[tuple[str, str], Need] = {
            (method, path): need for method, path, need in rows
        }
        self._patterns: list[tuple[re.Pattern[str], str, Need]] = [
            (compile_path(path)[0], method, need) for (method, path), need in self.table.items()
        ]

    def of(self, method: str, path: str) -> Need:
        """Return what this request needs."""
        wanted = "GET" if method == "HEAD" else method
        for pattern, one, need in self._patterns:
            if one == wanted and pattern.match(path):
                return need
        return "token"

    def is_page(self, path: str) -> bool:
        """Return whether the path belongs to the page, by whatever method."""
        return any(
            need in ("page", "form") and pattern.match(path) for pattern, _, need in self._patterns
        )
