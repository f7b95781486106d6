"""The page of one job: status, curve, cost, settings, events, chat, and what can be done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from ftsdk.errors import Unavailable
from ftsdk.serve.page.job_extras import verdicts
from ftsdk.types.portability import Portability, PortabilityProblem
from tests.unit.serve.page.conftest import ROWS, SECRET, Site, words
from tests.unit.serve.page.test_jobs_page import add, events_of, job_of

HOSTILE = "<script>alert(1)</script>"
LONG = [["running", 0], ["succeeded", 10_000]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("job"))
    made.sign_in()
    yield made
    anyio.run(made.close)


@pytest.fixture(scope="module")
def done(served: Site) -> Any:
    """A job that has ended, with hostile texts wherever a user can put them."""
    path = served.client.home / f"{HOSTILE.replace('/', '-')}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    timeline = [["running", 0], ["succeeded", 0]]
    job = served.client.create_job(
        path, name=HOSTILE, validation=0.2, epochs=4, tags={HOSTILE: f"a {SECRET}"},
        provider_options={"timeline": timeline},
    )  # fmt: skip
    job.refresh()
    return job


def test_a_finished_job_shows_its_course_and_escapes_every_text(served: Site, done: Any) -> None:
    page = served.get(f"/jobs/{done.id}").text
    text = words(page)
    for part in ("succeeded", "Loss", "training loss", "Cost", "Asked → sent", "epochs", "4",
                 "Events", "What you own", "checkpoint, step", "Base and tuned", "Where it can go"):  # fmt: skip
        assert part in text, part
    assert HOSTILE in text
    assert "<script>alert" not in page
    assert SECRET not in page
    assert " style=" not in page
    assert not re.search(r"\son[a-z]+=", page)
    chart = re.search(r'data-chart="([^"]*)"', page)
    assert chart is not None
    assert page.count("<svg") > 3


def test_a_running_job_is_live_and_can_be_stopped(served: Site) -> None:
    job = served.client.create_job(ROWS, provider_options={"timeline": LONG}, again=True)
    text = served.text(f"/jobs/{job.id}")
    assert "Cancel job…" in text
    assert "Training stops. What was spent so far stays spent." in text
    assert served.post(f"/jobs/{job.id}/pause").headers["location"] == f"/jobs/{job.id}"
    assert "Resume…" in served.text(f"/jobs/{job.id}")
    served.post(f"/jobs/{job.id}/cancel")
    found = {one["id"]: one["html"] for one in events_of(served.get(f"/live/jobs/{job.id}")) if "id" in one}  # fmt: skip
    assert "cancelled" in found["status"]
    assert "Cancel job" not in found["acts"]
    assert {"curve", "cost", "events", "owned", "progress"} <= set(found)
    assert "event: end" in served.get(f"/live/jobs/{job.id}").text


def test_progress_is_shown_that_the_journal_does_not_keep(served: Site) -> None:
    timeline = [["running", 0], ["finalizing", 0.5], ["succeeded", 10_000]]
    job = served.client.create_job(ROWS, name="half", provider_options={"timeline": timeline}, again=True)  # fmt: skip
    path = served.client.home / "fake" / f"{job.provider_job_id}.json"
    stored = json.loads(path.read_bytes())
    path.write_text(json.dumps({**stored, "timeline": [["running", -50], ["succeeded", 50]]}))
    served.post("/ask", provider="fake")
    assert served.client.get_job(job.id).progress.fraction < 0.4
    for page in (f"/jobs/{job.id}", "/"):
        assert re.search(r"5\d % · \d+ of", served.text(page)), page


def test_both_models_answer_and_an_error_is_a_note(
    served: Site, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask() -> dict[str, str]:
        said = {"base": "", "tuned": "", "note-base": "", "note-tuned": ""}
        for one in events_of(served.post(f"/jobs/{done.id}/chat", message="say 3")):
            said[one["who"]] += one.get("text", "")
            said[f"note-{one['who']}"] += one.get("note", "")
        return said

    both = ask()
    assert both["tuned"] == "3!"
    assert "untuned" in both["base"]
    assert both["note-tuned"].endswith(" s")

    def fails(*_: Any, **__: Any) -> Any:
        raise Unavailable(f"no answer, {SECRET}", where="fake", hint="ask later")

    monkeypatch.setattr(type(served.client.backend("fake")), "chat_base", fails)
    answer = served.post(f"/jobs/{done.id}/chat", message="say 3")
    assert "ask later" in answer.text
    assert SECRET not in answer.text
    assert served.post(f"/jobs/{done.id}/chat", message=" ").status_code == 400


def test_a_job_in_doubt_is_decided(served: Site) -> None:
    add(served, job_of(900, provider="fake", status="in_doubt", provider_job_id=None, name="lost"))
    job = next(one for one in served.client.list_jobs() if one.name == "lost")
    text = served.text(f"/jobs/{job.id}")
    assert "Needs a decision" in text
    assert "It may then exist twice" in text
    assert served.post(f"/jobs/{job.id}/resolve").status_code == 400
    assert served.post(f"/jobs/{job.id}/resolve", how="give-up").status_code == 303
    assert "failed" in served.text(f"/jobs/{job.id}") or "cancelled" in served.text(f"/jobs/{job.id}")  # fmt: skip


def test_parts_that_are_fetched_later(served: Site, done: Any) -> None:
    part = served.get(f"/jobs/{done.id}/portability", headers={"sec-fetch-dest": "empty"}).text
    assert "<html" not in part
    assert "cannot be exported" in part
    whole = served.get(f"/jobs/{done.id}/rows?at=x")
    assert "<html" in whole.text
    assert "rows, 6 kept apart" in words(whole.text)
    assert "<script>alert" not in whole.text


def test_where_a_model_can_go_is_a_table_and_each_remark_is_there_once() -> None:
    refused = (PortabilityProblem(what="<DoRA>", fix="merge it"),)
    found = [
        Portability(target="vllm", form="adapter", problems=refused),
        Portability(target="sglang", form="adapter", problems=refused),
        Portability(target="vllm", form="merged", notes=("name the template",)),
    ]
    shown = verdicts(found)
    assert words(shown).split("For")[1].split() == [
        "adapter",
        "merged",
        "vllm",
        "✗",
        "no",
        "✓",
        "yes",
        "sglang",
        "✗",
        "no",
        "–",
        "vllm,",
        "sglang",
        ":",
        "<DoRA>;",
        "merge",
        "it",
        "vllm",
        ":",
        "name",
        "the",
        "template",
    ]
    assert "<DoRA>" not in shown


def test_the_row_as_the_model_saw_it_is_escaped() -> None:
    from ftsdk.dataset.inspection.rows import InspectedRow, Piece
    from ftsdk.serve.page.job_extras import _text

    pieces = (Piece("<|im_start|>", (1,), False, True), Piece("<b>", (2,), True, False))
    shown = _text(InspectedRow(1, 1, 1, "", 2, 1, (), pieces))
    assert '<span class="special">&lt;|im_start|&gt;</span><mark>&lt;b&gt;</mark>' in shown


@pytest.mark.parametrize("job_id", ["ftj_0", "ftj_00000000000000000000000000", "x" * 300])
def test_an_unknown_job_is_a_page_that_says_so(job_id: str, served: Site) -> None:
    answer = served.get(f"/jobs/{job_id}")
    assert answer.status_code == 404
    assert "Traceback" not in answer.text
