"""The page in a real browser: its policy is kept, its script runs, nothing is asked of another host.

The first test needs Chromium alone. The second also needs `playwright` and `axe-playwright-python` (the extra
`browser`): it creates a job, watches it, asks both models, compares, by keyboard, and looks for faults of
accessibility.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

uvicorn = pytest.importorskip("uvicorn", reason="needs ftsdk[serve]; not installed: uvicorn")
pytest.importorskip("starlette", reason="needs ftsdk[serve]; not installed: starlette")
pytest.importorskip("python_multipart", reason="needs ftsdk[serve]")

import ftsdk  # noqa: E402  # after the skips
from ftsdk.cli.serve_address import serve_address  # noqa: E402  # as above
from ftsdk.config import Config  # noqa: E402  # as above
from ftsdk.serve.app import serve_app  # noqa: E402  # as above
from ftsdk.serve.settings import ServeSettings  # noqa: E402  # as above

TOKEN = "a-token-of-this-test"
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"say {n}"},
            {"role": "assistant", "content": f"{n}!"},
        ]
    }
    for n in range(40)
]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
    None,
)  # fmt: skip
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no headless browser here"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """A running server with a few jobs: its application, and its address."""
    home = tmp_path_factory.mktemp("browser")
    config = Config(data={"provider": "fake", "model": "fake-1"})
    client = ftsdk.AsyncClient(home=home / "home", env={}, config=config)
    jobs = client._sync
    for name in ("first", "<script>document.title='broken'</script>"):
        jobs.create_job(ROWS, name=name, validation=0.2, again=True)
    listener = serve_address("127.0.0.1").listen(0)
    port = listener.getsockname()[1]
    running: list[Any] = []
    settings = ServeSettings(TOKEN, home / "serve", port=port)
    app = serve_app(client, settings, is_closing=lambda: running[0].should_exit)
    running.append(uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)))
    thread = threading.Thread(target=running[0].run, kwargs={"sockets": [listener]})
    thread.start()
    yield app, f"http://127.0.0.1:{port}"
    running[0].should_exit = True
    thread.join(20)
    assert not thread.is_alive(), "the server does not end while a page was open"


def test_the_page_is_drawn_and_its_script_runs(served: tuple[Any, str], tmp_path: Path) -> None:
    app, address = served
    done = subprocess.run(
        [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
         f"--user-data-dir={tmp_path / 'profile'}", "--timeout=4000", "--dump-dom",
         f"{address}/sign-in?code={app.access.new_link()}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "<title>Jobs · ftsdk</title>" in done.stdout
    assert 'data-ready="yes"' in done.stdout, "the script did not run to its end"
    assert "Content Security Policy" not in done.stderr
    assert "Uncaught" not in done.stderr


@pytest.mark.timeout(180)
def test_a_job_from_the_form_to_the_comparison(served: tuple[Any, str], tmp_path: Path) -> None:
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs the extra browser: playwright"
    )
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs the extra browser: axe"
    )
    app, address = served
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
            size = {"width": width, "height": 900}
            context = chromium.new_context(viewport=size, color_scheme=scheme)
            page = context.new_page()
            page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
            page.on("pageerror", lambda one: said.append(str(one)))
            page.on(
                "request",
                lambda one: said.append(one.url) if not one.url.startswith(address) else None,
            )
            page.goto(f"{address}/sign-in?code={app.access.new_link()}")
            _walk(page, axe.Axe(), address, rows)
            context.close()
        chromium.close()
    assert said == []


def _walk(page: Any, axe: Any, address: str, rows: Path) -> None:
    """Create a job, ask both models, compare it with another; every page is checked."""

    def check() -> None:
        found = axe.run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert page.title() != "broken"

    check()
    page.goto(f"{address}/new")
    page.select_option("select[name=provider]", "fake")
    page.fill("input[name=model]", "fake-1")
    page.fill("input[name=validation]", "0.2")
    page.set_input_files("input[name=upload]", rows)
    check()
    page.click("button:has-text('Show the plan')")
    page.wait_for_selector("h1:has-text('Plan')")
    check()
    page.keyboard.press("Escape")
    page.focus("button:has-text('Create the job')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#chat")  # it appears without reloading when the job has ended
    page.fill("input[name=message]", "say 7")
    page.keyboard.press("Enter")
    page.wait_for_selector("#note-base:has-text(' s')")
    assert str(page.text_content("#answer-tuned")).endswith("!")
    page.focus(".chart")
    page.keyboard.press("ArrowLeft")
    assert "training" in page.get_attribute(".chart", "aria-valuetext")
    check()
    page.goto(address)
    page.wait_for_selector("tr.job")
    for key in ("j", "x", "j", "x", "c"):
        page.keyboard.press(key)
    page.wait_for_url("**/compare*")
    page.wait_for_selector("h2:has-text('What came of it')")
    check()
