"""Files as people bring them: each is read, hinted at, or refused with the true cause.

The files lie in `shared/cases`, which is not part of the project. Each has its right answer here: the
format, and every code that the report has.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ftsdk
from ftsdk.dataset import RULES, Dataset, convert, fix, validate
from ftsdk.dataset.row import canonical_bytes
from ftsdk.errors import DatasetError
from tests.shared_files import shared_folder
from tests.slow_way import take_no_short_way

CASES = shared_folder("cases")
RIGHT: dict[str, tuple[str | None, dict[str, int]]] = {
    "plain.jsonl": ("chat", {}),
    "01-pandas-column-json/agent.json": (None, {"FT027": 1}),
    "01-pandas-column-json/agent_rows.jsonl": ("sharegpt", {"FT120": 12, "FT026": 1}),
    "02-alpaca-object-output/invoices.json": ("instruction", {"FT105": 12}),
    "03-csv-blank-cells/blank.csv": ("instruction", {"FT109": 1, "FT026": 1}),
    "03-csv-blank-cells/blank_index.csv": ("instruction", {"FT109": 1, "FT026": 1}),
    "03-csv-blank-cells/blank_lower.csv": ("instruction", {"FT109": 1}),
    "03-csv-blank-cells/blank_nanstr.csv": ("instruction", {"FT109": 1}),
    "03-csv-blank-cells/blank_records.jsonl": ("instruction", {"FT109": 1}),
    "03-csv-blank-cells/blank_semicolon.csv": ("instruction", {"FT109": 1}),
    "04-thinking-key/inline.jsonl": ("chat", {}),
    "04-thinking-key/thinking.jsonl": ("chat", {}),
    "06-tools-column-named-otherwise/mixed_columns.jsonl": ("chat", {"FT026": 1}),
    "06-tools-column-named-otherwise/noCalls_functions.jsonl": ("chat", {"FT132": 12}),
    "06-tools-column-named-otherwise/tools_as_string.jsonl": ("chat", {"FT026": 1}),
    "07-preference-json-strings/hh.jsonl": ("chosen", {"FT026": 1}),
    "07-preference-json-strings/hh_prompt.jsonl": ("chosen", {"FT026": 1}),
    "07-preference-json-strings/pairs.jsonl": ("chosen", {"FT117": 12, "FT026": 1}),
    "08-swift-rows/image_marker.jsonl": ("chat", {"FT130": 12}),
    "08-swift-rows/rejected_response.jsonl": ("chosen", {"FT026": 1}),
    "08-swift-rows/tool_roles.jsonl": ("chat", {"FT026": 1}),
    "09-call-then-text/call_then_text.jsonl": ("chat", {"FT115": 12}),
    "10-legacy-function-call/declared_not_called.jsonl": ("chat", {}),
    "10-legacy-function-call/legacy.jsonl": ("chat", {"FT132": 24}),
    "10-legacy-function-call/legacy_multi.jsonl": ("chat", {"FT132": 36}),
    "10-legacy-function-call/legacy_with_text.jsonl": ("chat", {"FT132": 24}),
    "11-json-containers/array.json": ("chat", {}),
    "11-json-containers/array_named.jsonl": (None, {"FT005": 1}),
    "11-json-containers/commas.jsonl": ("chat", {"FT017": 11}),
    "11-json-containers/cp1252.csv": (None, {"FT011": 1}),
    "11-json-containers/messages_repr.csv": (None, {"FT010": 12}),
    "11-json-containers/nan.csv": ("completion", {"FT306": 2}),
    "11-json-containers/pretty.jsonl": (None, {"FT005": 1}),
    "11-json-containers/pyrepr.jsonl": (None, {"FT010": 12}),
    "11-json-containers/semicolon.csv": ("completion", {}),
    "11-json-containers/smart.jsonl": (None, {"FT010": 12}),
    "11-json-containers/utf16.jsonl": (None, {"FT007": 1}),
    "11-json-containers/wrapped.json": (None, {"FT027": 1}),
    "12-column-names/instruction_chosen.jsonl": ("chosen", {}),
    "12-column-names/query_response.jsonl": ("completion", {"FT026": 1}),
    "12-column-names/question_answer.jsonl": ("completion", {"FT026": 1}),
    "12-column-names/system_prompt_completion.jsonl": ("completion", {}),
    "12-column-names/system_question_chosen.jsonl": ("chosen", {"FT026": 1}),
    "19-system-column-in-pairs/prompt_system_chosen.jsonl": ("chosen", {}),
    "30-shapes/arr.json": ("chat", {"FT104": 1}),
    "30-shapes/arr.json.gz": ("chat", {"FT104": 1}),
    "30-shapes/assistant_first.jsonl": ("chat", {}),
    "30-shapes/assistant_only.jsonl": ("chat", {}),
    "30-shapes/azure_functions.jsonl": ("chat", {"FT132": 24}),
    "30-shapes/blank.jsonl": (None, {"FT004": 1}),
    "30-shapes/conversations_openai.jsonl": ("sharegpt", {}),
    "30-shapes/dolly.jsonl": ("instruction", {"FT120": 12, "FT026": 1}),
    "30-shapes/double_json.jsonl": ("chat", {"FT026": 1}),
    "30-shapes/empty.jsonl": (None, {"FT004": 1}),
    "30-shapes/en_near.jsonl": ("chat", {"FT301": 1}),
    "30-shapes/excel.csv": (None, {"FT011": 1}),
    "30-shapes/hermes.jsonl": ("sharegpt", {"FT120": 12, "FT026": 1}),
    "30-shapes/html_entities.jsonl": ("chat", {"FT318": 12}),
    "30-shapes/input_output.jsonl": ("completion", {"FT026": 1}),
    "30-shapes/input_text_output_text.jsonl": ("completion", {"FT026": 1}),
    "30-shapes/kto_trl.jsonl": ("kto", {"FT131": 12}),
    "30-shapes/loop.jsonl": ("chat", {"FT315": 1}),
    "30-shapes/mail.jsonl": ("chat", {}),
    "30-shapes/ml.csv": ("completion", {}),
    "30-shapes/mojibake.jsonl": ("chat", {"FT317": 12}),
    "30-shapes/openai_rft_like.jsonl": ("chat", {"FT108": 12, "FT120": 12}),
    "30-shapes/placeholder.jsonl": ("chat", {"FT316": 12}),
    "30-shapes/prefilter.jsonl": ("chat", {"FT407": 1, "FT408": 1}),
    "30-shapes/pretty.jsonl": (None, {"FT005": 1}),
    "30-shapes/prompt_leak.jsonl": ("chat", {"FT320": 12}),
    "30-shapes/prompt_response.jsonl": ("completion", {"FT026": 1}),
    "30-shapes/query_response.jsonl": ("completion", {"FT026": 1}),
    "30-shapes/refusal.jsonl": ("chat", {}),
    "30-shapes/replacement.jsonl": ("chat", {"FT317": 12}),
    "30-shapes/semicolon.csv": ("completion", {}),
    "30-shapes/system_in_middle.jsonl": ("chat", {"FT124": 12}),
    "30-shapes/tabs.tsv": ("completion", {}),
    "30-shapes/trl_prompt_only.jsonl": (None, {"FT100": 12}),
    "30-shapes/trl_toolargs_obj.jsonl": ("chat", {"FT026": 1}),
    "30-shapes/truncated.jsonl": ("chat", {}),
    "30-shapes/user_echo.jsonl": ("chat", {"FT319": 12}),
    "30-shapes/utf16.jsonl": (None, {"FT007": 1}),
    "30-shapes/wrapped.json": (None, {"FT027": 1}),
    "30-shapes/wrong_case_role.jsonl": ("chat", {"FT104": 24}),
    "30-shapes/ws.jsonl": ("chat", {}),
    "30-shapes/xlam.jsonl": ("xlam", {"FT120": 12, "FT026": 1}),
}
SAID = {
    "01-pandas-column-json/agent_rows.jsonl": "loss of a message says whether it is learned",
    "03-csv-blank-cells/blank.csv": "Output as output",
    "03-csv-blank-cells/blank_index.csv": "index column",
    "06-tools-column-named-otherwise/mixed_columns.jsonl": "tool_defs is read as tools",
    "08-swift-rows/rejected_response.jsonl": "rejected_response is read as the rejected answer",
    "12-column-names/question_answer.jsonl": "question as prompt, answer as completion",
    "30-shapes/dolly.jsonl": "response as output",
    "30-shapes/hermes.jsonl": "<tool_call> is read as tool_calls",
    "30-shapes/trl_toolargs_obj.jsonl": "ids, and results follow them in order",
}
HINTS = {
    "01-pandas-column-json/agent.json": 'orient="records"',
    "11-json-containers/commas.jsonl": "without a comma",
    "11-json-containers/cp1252.csv": "CSV UTF-8",
    "11-json-containers/messages_repr.csv": "json.dumps",
    "11-json-containers/pyrepr.jsonl": "json.dumps",
    "11-json-containers/smart.jsonl": "curly quotes",
    "11-json-containers/wrapped.json": "jq .data",
    "08-swift-rows/image_marker.jsonl": "--drop images",
    "30-shapes/trl_prompt_only.jsonl": '"completion"',
}
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
READABLE = [name for name, (row_format, codes) in RIGHT.items()
            if row_format is not None and "FT017" not in codes]  # fmt: skip


def test_every_file_has_its_right_answer() -> None:
    files = {p.relative_to(CASES).as_posix() for p in CASES.rglob("*") if p.is_file()}
    assert files - {"README.md"} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_report_of_a_case(name: str) -> None:
    report = validate(CASES / name, near_duplicates=False)
    assert (report.format, report.counts) == RIGHT[name]
    if name in SAID:
        assert any(SAID[name] in f.message for f in report.notices if f.code == "FT026")
    if name in HINTS:
        assert HINTS[name] in report.faults[0].hint


@pytest.mark.parametrize("name", READABLE)
def test_the_fast_path_gives_the_report_of_the_slow_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = validate(CASES / name, near_duplicates=False)
    take_no_short_way(monkeypatch)
    assert validate(CASES / name, near_duplicates=False).to_dict() == fast.to_dict()


@pytest.mark.parametrize("name", READABLE)
def test_a_case_read_again_is_the_same(name: str, tmp_path: Path) -> None:
    rows = list(Dataset.load(CASES / name))
    again = Dataset.load(Dataset.load(CASES / name).write_jsonl(tmp_path / "rows.jsonl"))
    assert [canonical_bytes(row) for row in again] == [canonical_bytes(row) for row in rows]


FILES = ("FT004", "FT005", "FT007", "FT011", "FT027")
"""Faults of a file as a whole, which has no rows to fix."""


@pytest.mark.parametrize("name", RIGHT)
def test_a_fixed_case_has_no_new_fault_and_none_that_was_fixed(name: str, tmp_path: Path) -> None:
    before = validate(CASES / name, near_duplicates=False)
    in_table = name.endswith("csv") and before.format is None
    if in_table or not before.counts.keys().isdisjoint(FILES):
        with pytest.raises(DatasetError) as caught:
            fix(CASES / name, tmp_path / "fixed.jsonl")
        assert caught.value.report.counts.keys() == before.counts.keys()
        assert list(tmp_path.iterdir()) == []
        return
    report = fix(CASES / name, tmp_path / "fixed.jsonl")
    after = validate(report.path, near_duplicates=False)
    assert after.rows == before.rows
    assert after.counts.keys() <= before.counts.keys()
    assert not after.counts.keys() & (report.counts.keys() - {"FT026"})
    left = [one.message for one in after.notices if one.code == "FT026"]
    assert [c.done for c in report.changes if any(c.done.endswith(m) for m in left)] == []
    assert fix(report.path, tmp_path / "again.jsonl").counts == {}
    fixed = {code for code in RIGHT[name][1] if code in RULES and RULES[code].fixable}
    assert fixed - {"FT026"} <= report.counts.keys()


@pytest.mark.parametrize("name", READABLE)
def test_a_fixed_case_has_the_rows_of_the_case(name: str, tmp_path: Path) -> None:
    report = fix(CASES / name, tmp_path / "fixed.jsonl")
    if report.counts.keys() <= {"FT026"}:
        read, again = Dataset.load(CASES / name), Dataset.load(report.path)
        assert list(map(canonical_bytes, again)) == list(map(canonical_bytes, read))


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize(
    "to", ["chat", "chosen", "preference", "sharegpt", "gemini", "converse", "openai", "together"]
)
def test_a_case_is_converted_whole_or_refused_by_name(name: str, to: str, tmp_path: Path) -> None:
    target, refused = tmp_path / "rows.jsonl", None
    try:
        count = convert(CASES / name, to, target)
    except DatasetError as error:
        refused = error
    if refused is not None:
        assert refused.report.faults
        assert not target.exists()
        return
    assert count == validate(CASES / name, near_duplicates=False).rows
    assert len(list(Dataset.load(target))) == count
    assert all(json.loads(line) for line in target.read_bytes().splitlines())


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("provider", ["fake", "openai"])
def test_a_plan_has_every_notice_of_a_case_or_names_its_faults(
    name: str, provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    model = "gpt-4.1-mini-2025-04-14" if provider == "openai" else "fake-1"
    client = ftsdk.Client(home=tmp_path)
    report = client.validate(CASES / name, provider=provider, model=model, method="sft")
    if report.ok:
        plan = client.plan(CASES / name, provider=provider, model=model)
        assert plan.rows == report.rows
        assert [one.code for one in plan.data if one.code not in report.counts] == []
        assert {f.code for f in report.notices} == {one.code for one in plan.data}
        return
    with pytest.raises(DatasetError) as caught:
        client.plan(CASES / name, provider=provider, model=model)
    assert {f.code for f in caught.value.report.faults} == {f.code for f in report.faults}
