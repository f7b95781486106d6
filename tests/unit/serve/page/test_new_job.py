"""A new job from the form: plan and budget before the button, and one job for one key."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from ftsdk.serve.page.create_form import Asked
from tests.unit.serve.page.conftest import ROWS, Site, words

OWN = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
GIVEN = {"provider": "fake", "model": "fake-1", "method": "sft", "adapter": "lora", "rank": "8",
         "epochs": "2", "name": "<i>from the form", "validation": "0.2"}  # fmt: skip
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("new"))
    made.sign_in()
    yield made
    anyio.run(made.close)


def plan(site: Site, content: str = LINES, **given: str) -> Any:
    """The answer to the form, with a file."""
    data = {"form_token": site.form_token(), **GIVEN, **given}
    files = {"upload": ("<b>rows.jsonl", content.encode())}
    return site.ask("POST", "/new/plan", headers=OWN, data=data, files=files)


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the first form to /new."""
    inside = re.search(r'<form method="post" action="/new">(.*?)</form>', page)
    assert inside is not None
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', inside[1])
    return {name: html.unescape(value) for name, value in found}


def test_the_plan_comes_before_the_button_and_a_double_press_makes_one_job(fresh: Site) -> None:
    answer = plan(fresh)
    text = words(answer.text)
    assert answer.status_code == 200, text
    for part in ("Asked → sent", "epochs", "rank", "$0.00", "Nothing was sent yet", "Create the job"):  # fmt: skip
        assert part in text, part
    assert not fresh.client.list_jobs()
    fields = hidden(answer.text)
    first, second = fresh.post("/new", **fields), fresh.post("/new", **fields)
    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    [job] = fresh.client.list_jobs()
    assert (job.name, job.snapshot.spec["hyperparameters"]["epochs"]) == ("<i>from the form", 2)
    assert job.snapshot.spec["adapter"]["rank"] == 8
    assert job.snapshot.dataset["name"] == "<b>rows.jsonl"
    again = fresh.text(f"/new?like={job.id}")
    assert "the rows of <i>from the form" in again
    edited = fresh.post("/new/edit", **fields)
    assert 'value="&lt;i&gt;from the form"' in edited.text


def test_the_form_says_what_is_wrong_and_keeps_its_values(fresh: Site) -> None:
    broken = plan(fresh, content='{"messages": []}\n')
    assert broken.status_code == 400
    assert "<b>rows.jsonl" in words(broken.text)
    assert 'value="&lt;i&gt;from the form"' in broken.text
    for given, said in (
        ({"epochs": "many"}, "epochs is a number"), ({"rank": "1.5"}, "rank is a whole number"),
        ({"learning_rate": "1", "learning_rate_multiplier": "1"}, "learning_rate"),
        ({"provider": "nowhere"}, "nowhere"), ({"max_cost": "x"}, "max_cost"),
    ):  # fmt: skip
        answer = plan(fresh, **given)
        assert answer.status_code == 400, given
        assert said in words(answer.text), given
    none = fresh.post("/new/plan", **GIVEN)
    assert "No rows were chosen" in words(none.text)
    assert "There is no file" in words(fresh.post("/new/plan", **GIVEN, rows="file-../x").text)
    assert fresh.post("/new", **GIVEN).status_code == 400
    assert not fresh.client.list_jobs()


def test_the_values_of_the_form_are_the_options_of_a_job() -> None:
    assert Asked(provider="local", model="m", adapter="full").options()["adapter"] is None
    assert Asked(adapter="nf4", rank="4").options()["adapter"] == {"rank": 4, "quantize": "nf4"}
    assert Asked(adapter="default").options()["adapter"] == "default"
    found = Asked(max_cost="$5", seed="3", allow_findings="yes").options()
    assert (found["max_cost"], found["seed"], found["allow_findings"]) == ("5", 3, True)
    assert "name" not in found
