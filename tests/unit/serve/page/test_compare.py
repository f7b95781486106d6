"""Jobs side by side: what differs, and no curve where losses mean different things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from tests.unit.serve.page.conftest import ROWS, Site, words

QUICK = {"timeline": [["running", 0], ["succeeded", 0]]}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("compare"))
    made.sign_in()
    yield made
    anyio.run(made.close)


@pytest.fixture(scope="module")
def jobs(served: Site) -> list[Any]:
    def make(name: str, **given: Any) -> Any:
        options = {"validation": 0.2, "provider_options": QUICK, "epochs": 3, **given}
        return served.client.create_job(ROWS, name=name, **options).refresh()

    return [
        make("slow", learning_rate=1e-4), make("<b>fast", learning_rate=1e-3),
        make("other", model="fake-2"), make("split", seed=9),
    ]  # fmt: skip


def page(site: Site, jobs: list[Any], more: str = "") -> str:
    return str(site.get("/compare?" + "&".join(f"job={job.id}" for job in jobs) + more).text)


def test_only_what_differs_is_shown(served: Site, jobs: list[Any]) -> None:
    shown = page(served, jobs[:2])
    text = words(shown)
    part = text[text.index("What differs") : text.index("What came of it")]
    assert "learning_rate 1e-4 1e-3" in part
    assert "epochs" not in part
    assert "1 of " in part
    assert "same tokenizer, same validation rows: these may be compared" in text
    assert "<b>fast" in text
    assert "<b>fast" not in shown
    assert shown.count("<polyline") >= 2
    assert "Lowest validation loss" in text


def test_losses_of_other_tokenizers_and_rows_are_not_drawn(served: Site, jobs: list[Any]) -> None:
    text = words(page(served, [jobs[0], jobs[2], jobs[3]]))
    assert "other is not drawn: its tokenizer differs" in text
    assert "split is not drawn: its validation rows differ" in text
    train = words(page(served, [jobs[0], jobs[3]], "&loss=train"))
    assert "not drawn" not in train
    assert "Training loss" in train


def test_a_colour_belongs_to_a_job(served: Site, jobs: list[Any]) -> None:
    from ftsdk.serve.page.compare_page import _looks

    all_, fewer = _looks([one.snapshot for one in jobs]), _looks([jobs[0].snapshot])
    assert len(set(all_.values())) == 4
    assert _looks([one.snapshot for one in jobs[::-1]]) == all_
    assert fewer[jobs[0].id] == all_[jobs[0].id]


def test_what_cannot_be_compared_says_so(served: Site, jobs: list[Any]) -> None:
    assert "Pick up to six jobs" in served.text("/compare")
    assert served.get("/compare?job=ftj_nowhere").status_code == 404
    many = "&".join(f"job=ftj_{n}" for n in range(7))
    assert served.get(f"/compare?{many}").status_code == 400
    assert served.get(f"/compare?job={jobs[0].id}&loss=x").status_code == 400
