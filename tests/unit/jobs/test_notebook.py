"""A notebook that trains on `fake`, executed by a real kernel: the live card, the plan, the lists."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra `test`")
nbclient = pytest.importorskip("nbclient", reason="needs the extra `test`")
pytest.importorskip("ipykernel", reason="needs the extra `test`")

CELLS = (
    """\
import ftsdk
from ftsdk.backends.fake import FakeBackend
rows = [{"messages": [{"role": "user", "content": f"{n} + {n}"},
                      {"role": "assistant", "content": str(2 * n)}]} for n in range(40)]
ftsdk.plan(rows, epochs=3)""",
    "job = ftsdk.create_job(rows, epochs=3, validation=0.2, name='adds')\njob.wait();",
    "job.metrics()",
    "ftsdk.list_jobs()",
    "job.result()",
    "ftsdk.validate(rows)",
    "ftsdk.inspect(rows)",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[str]]:
    """The notebook after it ran, and every HTML that its second cell showed, oldest first."""
    folder = tmp_path_factory.mktemp("notebook")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    client = nbclient.NotebookClient(
        book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    env = {"FTSDK_HOME": str(folder / "home"), "FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "any"}
    env |= {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "JUPYTER_PLATFORM_DIRS": "1"}
    shown: list[str] = []
    plain = client.process_message

    def watched(message: Any, cell: Any, index: int) -> Any:
        if index == 1 and message["msg_type"] in ("display_data", "update_display_data"):
            shown.append(message["content"]["data"]["text/html"])
        return plain(message, cell, index)

    client.process_message = watched
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        client.execute()
    return book, shown


def html_of(cell: Any) -> list[str]:
    return [
        out["data"]["text/html"] for out in cell["outputs"] if "text/html" in out.get("data", {})
    ]


def test_wait_shows_one_card_and_replaces_it(executed: tuple[Any, list[str]]) -> None:
    book, shown = executed
    assert len(shown) > 2, "the card is replaced while the job runs"
    assert any("running" in html and "step" in html for html in shown)
    (card,) = html_of(book.cells[1])
    assert card == shown[-1]
    assert "✓ succeeded" in card
    assert "<polyline" in card
    assert [out["output_type"] for out in book.cells[1]["outputs"]] == ["display_data"]


def test_results_are_cards(executed: tuple[Any, list[str]]) -> None:
    book, _ = executed
    plan, metrics, jobs, model, report, rows = (
        html_of(book.cells[n])[0] for n in (0, 2, 3, 4, 5, 6)
    )
    assert "Plan: sft of any at fake" in plan
    assert "training loss" in metrics
    assert "1 job" in jobs
    assert "hosted model at fake" in model
    assert "40 rows" in report
    assert "<iframe" in rows


def browser() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.mark.browser
@pytest.mark.skipif(browser() is None, reason="there is no headless browser here")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_saved_notebook_is_drawn_in_the_theme_of_its_reader(
    executed: tuple[Any, list[str]], tmp_path: Path, theme: str
) -> None:
    book, _ = executed
    page = tmp_path / "notebook.html"
    measure = (
        "<script>const card=document.querySelector('div.ftsdk');"
        "document.title=getComputedStyle(card).backgroundColor+' '+"
        "(document.documentElement.scrollWidth<=innerWidth)</script>"
    )
    body = "".join(html for cell in book.cells[:5] for html in html_of(cell))
    light = str(theme == "light").lower()
    page.write_text(f'<!doctype html><meta charset=utf-8><body data-jp-theme-light="{light}">{body}{measure}')  # fmt: skip
    done = subprocess.run(
        [browser() or "", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=800,2000",
         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    expected = {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 28, 26)"}[theme]
    assert f"<title>{expected} true</title>" in done.stdout
