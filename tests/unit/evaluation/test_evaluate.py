"""An evaluation asks each model the same rows once, and says what the answers show."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import ftsdk
from ftsdk.backends.fake import FakeBackend
from ftsdk.client import Client
from ftsdk.errors import DatasetError, Unavailable, UsageError
from ftsdk.evaluation.answers import AnswerStore
from ftsdk.evaluation.evaluate import Evaluating
from ftsdk.evaluation.gate import GateResult
from ftsdk.evaluation.junit import junit_xml
from ftsdk.evaluation.options import options_of
from ftsdk.evaluation.participants import Prompt
from ftsdk.evaluation.report import EvaluationReport
from ftsdk.types.evaluation import Verdict
from tests.unit.cli.conftest import Cli, cli

pytest.importorskip("scipy", reason="needs the extra `eval`")
__all__ = ["cli"]  # a fixture
Messages = Sequence[Mapping[str, Any]]
LABELS = ("late", "lost", "fine")


def row(number: int, **more: Any) -> dict[str, Any]:
    asked = f"what of parcel {number * 3}, which was sent {number * number + 7} days ago?"
    return {
        "messages": [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": LABELS[number % 3]},
        ],
        **more,
    }


TEST = [row(number) for number in range(60)]
TRAIN = [
    {
        "messages": [
            {"role": "user", "content": f"training text {i} {i * i}"},
            {"role": "assistant", "content": LABELS[i % 3]},
        ]
    }
    for i in range(30)
]


def wrong_on(*numbers: int) -> Callable[[Messages], str]:
    """A model that is right, except on these rows."""
    right = {one["messages"][0]["content"]: i for i, one in enumerate(TEST)}

    def model(messages: Messages) -> str:
        number = right[messages[-1]["content"]]
        return "gone" if number in numbers else LABELS[number % 3]

    model.__name__ = f"wrong_on_{len(numbers)}_from_{min(numbers, default=0)}"
    return model


def evaluate(client: Client, *models: Any, data: Any = TEST, **options: Any) -> EvaluationReport:
    return client.evaluate(data, list(models), **options)


def test_a_better_candidate_passes(client: Client) -> None:
    found = evaluate(client, wrong_on(*range(0, 40, 2)), wrong_on(1))
    assert found.verdict == Verdict.BETTER
    assert found.result is GateResult.PASSED
    assert found.exit_code == 0
    one = found.compare()
    assert (one.wins, one.losses, one.n) == (20, 1, 60)
    assert found.metrics == {"label": "60 answers are 3 different short texts"}
    losses = found.flips()
    assert losses[0].line == 2
    assert (losses[0].expected, losses[0].reference, losses[0].candidate) == (
        "lost",
        "lost",
        "gone",
    )
    assert len(losses) == 21


def test_rows_that_ask_nothing_are_an_error_of_the_data(client: Client) -> None:
    """It has the exit code that a capture of such rows has."""
    nothing = {"messages": [{"role": "assistant", "content": "fine"}]}
    with pytest.raises(DatasetError, match="2 rows ask nothing") as caught:
        evaluate(client, wrong_on(1), wrong_on(2), data=[*TEST, nothing, nothing])
    assert caught.value.exit_code == 3
    assert "61, 62" in str(caught.value.where)


def test_a_report_is_written_as_it_is_returned(client: Client) -> None:
    found = evaluate(client, wrong_on(*range(20)), wrong_on(1))
    for texts in (True, False):
        written = b"".join(found.json_blocks(texts=texts)).decode()
        expected = json.dumps(found.to_dict(texts=texts), indent=2, ensure_ascii=False)
        assert written == expected + "\n"
    (kept,) = (client.session.home / "evaluations").glob("*/report.json")
    assert kept.read_bytes() == b"".join(found.json_blocks())


def test_a_case_that_is_asked_in_two_rows_is_one_request_and_two_rows(client: Client) -> None:
    data = [*TEST, TEST[0], TEST[3]]
    found = evaluate(client, wrong_on(*range(20)), wrong_on(3), data=data)
    assert found.rows == found.compare().n == 62
    assert [found.texts[at]["asked"] for at in (60, 61)] == [
        found.texts[at]["asked"] for at in (0, 3)
    ]
    assert {flip.line for flip in found.flips()} == {*range(1, 21), 61} - {4}


def test_parity_is_said_only_with_a_margin(client: Client) -> None:
    models = (wrong_on(1), wrong_on(1, 4))
    assert evaluate(client, *models).verdict == Verdict.INCONCLUSIVE
    found = evaluate(client, *models, margin=0.15)
    assert found.verdict == Verdict.PARITY
    assert found.exit_code == 0


def test_one_of_several_candidates_is_chosen_after_holms_correction(client: Client) -> None:
    """Each loses 22 of 400 rows and wins 16: parity at 5 points by itself, but not as the best of three."""
    data = [row(number) for number in range(400)]
    right = {one["messages"][0]["content"]: at for at, one in enumerate(data)}

    def model(name: str, wrong: range) -> Callable[[Messages], str]:
        def answer(messages: Messages) -> str:
            number = right[messages[-1]["content"]]
            return "gone" if number in wrong else LABELS[number % 3]

        answer.__name__ = name
        return answer

    names = ("first", "second", "third")
    models = [model("old", range(16)), *(model(name, range(20, 42)) for name in names)]

    def verdicts(*one_of: str) -> tuple[list[str], EvaluationReport]:
        options = dataclasses.replace(options_of({"margin": 0.05}), one_of=one_of)
        with Evaluating(client.session, data, models, options) as evaluating:
            report = evaluating.run(evaluating.plan())
        return [one.verdict for one in report.candidates], report

    assert verdicts()[0] == ["parity"] * 3
    assert verdicts("first")[0] == ["parity"] * 3
    found, report = verdicts(*names)
    assert found == ["inconclusive"] * 3
    assert report.exit_code == 7
    assert (report.compare().rows_needed or 0) > 400
    assert any("3 candidates are compared and one of them is chosen" in one for one in report.notes)
    assert "after Holm&#x27;s correction" in report.to_html()
    assert verdicts("first", "second")[0] == ["inconclusive", "inconclusive", "parity"]


def test_a_worse_candidate_fails(client: Client) -> None:
    found = evaluate(client, wrong_on(), wrong_on(*range(30)), margin=0.05)
    assert found.verdict == Verdict.WORSE
    assert found.exit_code == 8


def test_too_few_rows_are_inconclusive_with_the_number_needed(client: Client) -> None:
    found = evaluate(client, wrong_on(2), wrong_on(3), data=TEST[:20], margin=0.05)
    assert found.verdict == Verdict.INCONCLUSIVE
    assert found.exit_code == 7
    assert (found.compare().rows_needed or 0) > 20
    with pytest.raises(UsageError, match="9 rows are too few"):
        evaluate(client, wrong_on(), wrong_on(), data=TEST[:9])


def test_a_name_without_a_provider_is_refused_with_both_ways_on(client: Client) -> None:
    with pytest.raises(UsageError, match="'no-such-model' is no job here") as refused:
        evaluate(client, "no-such-model", wrong_on())
    assert "ftsdk list" in refused.value.hint
    assert "--provider" in refused.value.hint


def test_a_slice_that_is_worse_fails_the_gate(client: Client) -> None:
    data = [row(i, metadata={"lang": "de" if i < 20 else "en"}) for i in range(60)]
    found = evaluate(
        client, wrong_on(*range(40, 60)), wrong_on(*range(16)), data=data, slices=["lang"]
    )
    slices = found.candidates[0].gate.slices
    assert slices["lang=de"].verdict is Verdict.WORSE
    assert slices["lang=en"].verdict is Verdict.BETTER
    assert found.result is GateResult.FAILED
    assert "lang=de" in found.candidates[0].gate.reason


def test_errors_on_one_side_give_no_verdict(client: Client) -> None:
    def down(messages: Messages) -> str:
        if "parcel 3," in messages[-1]["content"]:
            raise Unavailable("the model does not answer")
        return "late"

    found = evaluate(client, wrong_on(*range(30)), down)
    assert found.verdict == Verdict.NOT_COMPARABLE
    assert found.exit_code == 4
    assert found.models[1].outcomes["error"] == 1
    assert "(error:" in found.texts[1]["down"]


def test_job_and_base_are_asked_once_and_stored(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Counter[str]()
    for name in ("chat", "chat_base"):
        real = getattr(FakeBackend, name)

        def counted(self: Any, handle: Any, messages: Any, options: Any, name: str = name, real: Any = real) -> Any:  # fmt: skip
            asked[name] += 1
            return real(self, handle, messages, options)

        monkeypatch.setattr(FakeBackend, name, counted)
    job = client.create_job(TRAIN)
    job.wait()
    asked.clear()
    first = evaluate(client, "base", job.id, margin=0.05)
    assert first.verdict == Verdict.BETTER  # the fake's base never answers with a label
    assert asked == {"chat": 60, "chat_base": 60}
    again = evaluate(client, "base", job.result(), margin=0.05)
    assert asked == {"chat": 60, "chat_base": 60}
    assert again.compare() == first.compare()


class Killed(BaseException):
    """The process ends here."""


def test_killed_it_continues_where_it_was(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Counter[str]()
    real, add = FakeBackend.chat, AnswerStore.add

    def counted(self: Any, handle: Any, messages: Any, options: Any) -> Any:
        asked[messages[-1]["content"]] += 1
        return real(self, handle, messages, options)

    def killed(self: AnswerStore, *answers: Any) -> int:
        added = add(self, *answers)
        if len(self) == 25:
            raise Killed
        return added

    job = client.create_job(TRAIN)
    job.wait()
    monkeypatch.setattr(FakeBackend, "chat", counted)
    monkeypatch.setattr(AnswerStore, "add", killed)
    with pytest.raises(Killed):
        evaluate(client, wrong_on(), job.id)
    monkeypatch.setattr(AnswerStore, "add", add)
    found = evaluate(client, wrong_on(), job.id)
    assert found.models[1].outcomes["answered"] == 60
    assert set(asked.values()) == {1}


def test_rows_of_the_training_file_are_left_out(client: Client) -> None:
    job = client.create_job([*TRAIN, *TEST[:5]])
    job.wait()
    found = evaluate(client, wrong_on(), job.id)
    assert found.left_out[:5] == (1, 2, 3, 4, 5)
    assert found.rows == 60 - len(found.left_out)
    kept = evaluate(client, wrong_on(), job.id, allow_overlap=True)
    assert kept.rows == 60
    assert any("not left out" in note for note in kept.notes)


def test_captured_answers_are_compared_without_asking(client: Client) -> None:
    job = client.create_job(TRAIN)
    job.wait()
    captured = client.capture(job.id, TEST, repeats=2)
    found = evaluate(client, ftsdk.Captured(captured.folder), wrong_on(*range(50)), repeats=1)
    assert found.reference == f"captured {captured.model}"
    assert found.models[0].outcomes["answered"] == 120
    assert found.models[0].noise == {"label": 0.0}
    other = [*TEST[:30], *[row(i) for i in range(60, 80)]]
    partly = evaluate(client, ftsdk.Captured(captured.folder), always_late, data=other)
    assert partly.verdict == Verdict.NOT_COMPARABLE
    assert partly.models[0].outcomes["error"] == 20


def always_late(_: Messages) -> str:
    return "late"


def test_a_prompt_shows_its_examples(client: Client) -> None:
    prompt = Prompt(system="Answer with one word.", model="m", examples=TRAIN[:2])
    [case] = _cases(TEST[:1])
    messages = prompt.messages_for(case)
    assert [one["role"] for one in messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    assert messages[-1]["content"] == TEST[0]["messages"][0]["content"]


def _cases(rows: Any) -> Any:
    from ftsdk.dataset import Dataset
    from ftsdk.evaluation.cases import cases_of

    return cases_of(Dataset.load(rows))


def test_margin_and_metric_are_written_down_before_anything_is_asked(client: Client) -> None:
    def fails(messages: Messages) -> str:
        (folder,) = (client.home / "evaluations").iterdir()
        plan = json.loads((folder / "plan.json").read_bytes())
        assert (plan["margin"], list(plan["metrics"])) == (0.05, ["label"])
        return "late"

    found = evaluate(client, wrong_on(), fails, margin=0.05)
    assert found.models[1].outcomes["error"] == 0
    (folder,) = (client.home / "evaluations").iterdir()
    assert json.loads((folder / "report.json").read_bytes())["verdict"] == "worse"


def test_the_report_as_json_and_junit(client: Client) -> None:
    found = evaluate(client, wrong_on(), wrong_on(*range(30)), slices=["length"])
    whole = json.loads(json.dumps(found.to_dict()))
    assert whole["result"] == "failed"
    assert whole["candidates"][0]["flips"][0]["candidate"] == "gone"
    bare = json.dumps(found.to_dict(texts=False))
    assert "parcel" not in bare
    assert '"gone"' not in bare
    suite = ET.fromstring(junit_xml(found))[0]
    assert suite.get("failures") == str(sum(case.find("failure") is not None for case in suite))
    failure = suite[0].find("failure")
    assert failure is not None
    assert "expected 'late'" in str(failure.text)
    assert b"parcel" not in junit_xml(found, texts=False)


class Tags(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_says_the_verdict_and_runs_nothing(client: Client) -> None:
    spoiled = [row(i) for i in range(60)]
    for one in spoiled:
        one["messages"][0]["content"] += " <script>alert(1)</script>"

    def candidate(messages: Messages) -> str:
        return "<img src=x onerror=alert(2)>" if "parcel 0," in messages[-1]["content"] else "late"

    found = evaluate(client, always_late, candidate, data=spoiled, margin=0.1, slices=["length"])
    text = found.to_html()
    assert "Parity shown" in text
    assert "You allow −10.0." in text
    assert "worse than you allow" in text
    assert text.count("<svg") >= 4
    assert "&lt;img src=x onerror=alert(2)&gt;" in text  # the changed answer is shown, as text
    assert "&lt;script&gt;" in text
    seen = Tags()
    seen.feed(text)
    assert not seen.names & {"script", "img", "iframe", "link", "object"}
    assert not {name for name in seen.attributes if name.startswith("on") or name in ("style", "src", "href")}  # fmt: skip
    assert "default-src 'none'" in text
    bare = found.to_html(texts=False)
    assert "parcel" not in bare
    assert found._repr_html_().count("<iframe") == 1


def test_the_page_of_each_verdict_has_its_own_words(client: Client) -> None:
    worse = evaluate(client, wrong_on(), wrong_on(*range(30)), margin=0.05).to_html()
    assert "<h1>" in worse
    assert "Worse" in worse
    assert "<b>30</b> got worse" in worse
    open_question = evaluate(client, wrong_on(1), wrong_on(2), data=TEST[:20], margin=0.05)
    assert "Parity not shown" in open_question.to_html()
    assert "would settle it" in open_question.to_html()
    assert "Too few rows to say" in evaluate(client, wrong_on(1), wrong_on(2)).to_html()


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ((wrong_on(),), {}, "at least two models"),
        ((wrong_on(), wrong_on()), {}, "Two models are called wrong_on_0_from_0"),
        ((wrong_on(), "base"), {}, "No model has a base"),
        ((wrong_on(), wrong_on(1)), {"margin": 3}, "no share between 0 and 1"),
        ((wrong_on(), wrong_on(1)), {"metrics": ["exakt"]}, "exakt"),
        ((wrong_on(), wrong_on(1)), {"budget": "much"}, "not an amount"),
        ((wrong_on(), wrong_on(1)), {"slices": ["colour"]}, "colour"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    client: Client, models: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate(client, *models, **options)


# --- the command ---


@pytest.fixture
def job(cli: Cli) -> str:
    write("train.jsonl", TRAIN)
    write("test.jsonl", TEST)
    cli.ok("create", "train.jsonl", "--yes")
    found: str = cli.ok("list", "--json").json["jobs"][0]["id"]
    return found


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(one) + "\n" for one in rows))


def test_the_command_prints_plan_table_and_gate(cli: Cli, job: str) -> None:
    dry = cli.ok("evaluate", "test.jsonl", "--model", job, "--margin", 3, "--dry-run").out
    assert "60 rows × 2 models" in dry
    assert "metric   label: 60 answers are 3 different short texts" in dry
    assert "margin   3 points" in dry
    assert "ask      120 requests" in dry
    ran = cli.ok(
        "evaluate", "test.jsonl", "--model", job, "--margin", 3, "--show", "flips",
        "--junit", "r.xml", "-o", "r.json", "--no-texts",
    )  # fmt: skip
    assert "Gate: passed, label: better by" in ran.out
    assert "+ line 1  what of parcel 0" in ran.out
    assert json.loads(Path("r.json").read_text())["result"] == "passed"
    assert Path("r.xml").read_text().startswith("<?xml")
    assert "parcel" not in Path("r.xml").read_text() + Path("r.json").read_text()


def test_the_command_exits_with_8_where_a_candidate_is_worse(cli: Cli, job: str) -> None:
    ran = cli("evaluate", "test.jsonl", "--model", "base", "--reference", job, "--json")
    assert ran.code == 8
    assert ran.json["verdict"] == "worse"


def test_a_captured_model_is_given_by_its_folder(cli: Cli, job: str) -> None:
    cli.ok("capture", job, "test.jsonl", "--into", "old", "--yes")
    ran = cli("evaluate", "test.jsonl", "--model", job, "--reference", "old", "--margin", 10)
    assert ran.code == 0, ran
    assert "parity (margin 10)" in ran.out


def test_a_capture_is_found_by_the_whole_request(client: Client) -> None:
    job = client.create_job(TRAIN)
    job.wait()
    tool = {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}
    rows = [{**row(i), "tools": [tool], "parallel_tool_calls": False} for i in range(20)]
    captured = client.capture(job.id, rows)
    found = evaluate(client, ftsdk.Captured(captured.folder), always_late, data=rows)
    assert found.models[0].outcomes == {"answered": 20, "cut_off": 0, "refused": 0, "error": 0}
