"""Many questions are answered by one process, and one that kills it does not take the others with it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from ftsdk.backends.local.runs import ask_many as many
from ftsdk.backends.local.runs.ask_stack import NoAnswer

PROGRAM = """
import json, os, sys, time
assert sys.argv[1:] == ["--each"]
for line in sys.stdin:
    asked = json.loads(line)
    if asked == "die":
        print("it is broken", file=sys.stderr)
        os._exit(3)
    if asked == "hang":
        time.sleep(600)
    print(json.dumps({"asked": asked, "by": os.getpid()}), flush=True)
"""


@pytest.fixture(autouse=True)
def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answers_here.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_one_process_answers_in_order() -> None:
    found = list(many.ask_many("answers_here", [1, "two", {"three": 3}]))  # type: ignore[list-item]  # any JSON
    assert [one["asked"] for one in found] == [1, "two", {"three": 3}]  # type: ignore[index]
    assert len({one["by"] for one in found}) == 1  # type: ignore[index]
    assert list(many.ask_many("answers_here", [])) == []


def test_answers_come_one_by_one() -> None:
    answers = many.ask_many("answers_here", [1, "hang"])  # type: ignore[list-item]  # any JSON
    begun = time.monotonic()
    assert next(answers)["asked"] == 1  # type: ignore[index]
    answers.close()  # type: ignore[attr-defined]  # a generator; it ends the process
    assert time.monotonic() - begun < 60


def test_a_question_that_ends_the_process_has_no_answer_and_the_next_one_has() -> None:
    found = list(many.ask_many("answers_here", [1, "die", 2, 3, "die"]))  # type: ignore[list-item]  # any JSON
    assert [isinstance(one, NoAnswer) for one in found] == [False, True, False, False, True]
    assert str(found[1]) == "exit code 3: it is broken"
    assert found[2]["by"] == found[3]["by"] != found[0]["by"]  # type: ignore[index]


def test_a_question_that_takes_too_long_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_TIMEOUT_S", 5.0)
    found = list(itertools.islice(many.ask_many("answers_here", ["hang", 2]), 2))  # type: ignore[list-item]  # any JSON
    assert "took over 5 s" in str(found[0])
    assert found[1]["asked"] == 2  # type: ignore[index]


def test_a_program_that_is_not_there_has_no_answer() -> None:
    (found,) = many.ask_many("no_such_program", [{}])
    assert "No module named" in str(found)
