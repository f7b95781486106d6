"""A server's page over the fake backend, and a browser's part: cookie, forms, what a page says."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")
httpx = pytest.importorskip("httpx", reason="needs ftsdk[openai]; not installed: httpx")

import ftsdk  # noqa: E402  # after the skips
from ftsdk.config import Config  # noqa: E402  # as above
from ftsdk.serve.app import serve_app  # noqa: E402  # as above
from ftsdk.serve.settings import ServeSettings  # noqa: E402  # as above

TOKEN = "a-token-of-this-test"
SECRET = "sk-planted-secret-0123456789"
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"say {n}"},
            {"role": "assistant", "content": f"{n}!"},
        ]
    }
    for n in range(20)
]


class Site:
    """One server's page, as a browser of this machine sees it."""

    def __init__(self, home: Path) -> None:
        config = Config(data={"provider": "fake", "model": "fake-1"})
        client = ftsdk.AsyncClient(home=home, env={"OPENAI_API_KEY": SECRET}, config=config)
        self.client: Any = client._sync
        self.closing = True  # a stream ends after its first pass
        settings = ServeSettings(TOKEN, home / "serve", port=8765)
        self.app = serve_app(client, settings, is_closing=lambda: self.closing)
        self.cookies: dict[str, str] = {}
        self.close = client.close

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """The answer to one request."""
        base = given.pop("base", "http://127.0.0.1:8765")
        headers = {"accept": "text/html", **given.pop("headers", {})}

        async def run() -> Any:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url=base, cookies=self.cookies
            ) as client:
                return await client.request(method, path, headers=headers, **given)

        return anyio.run(run)

    def get(self, path: str, **given: Any) -> Any:
        """A page."""
        return self.ask("GET", path, **given)

    def post(self, path: str, **fields: Any) -> Any:
        """What a form of a page sends, with its token."""
        own = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
        return self.ask("POST", path, headers=own, data={"form_token": self.form_token(), **fields})

    def form_token(self) -> str:
        """The token in the forms of this session."""
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.get("/").text)
        return "" if found is None else found[1]

    def sign_in(self) -> None:
        """Sign in with the server's token."""
        own = {"origin": "http://127.0.0.1:8765"}
        answer = self.ask("POST", "/sign-in", headers=own, data={"token": TOKEN})
        assert answer.status_code == 303
        self.cookies = dict(answer.cookies)

    def text(self, path: str) -> str:
        """What a page says, without its elements."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return words(answer.text)


def words(page: str) -> str:
    """The text of HTML, in one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page whose journal is empty at first; who uses it is signed in."""
    made = Site(tmp_path_factory.mktemp("page"))
    made.sign_in()
    yield made
    anyio.run(made.close)
