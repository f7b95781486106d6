"""Every case through `convert` to each target and through plans, local and at a provider.

What is right is written down for each: the targets that refuse it with their codes, and the notices of
its plans. Files as people have them lie in `shared/cases`, which is not part of the project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")

import ftsdk  # noqa: E402
from ftsdk.dataset import convert, fix, validate  # noqa: E402
from ftsdk.dataset.conversion.convert import targets  # noqa: E402
from ftsdk.errors import DatasetError  # noqa: E402
from tests.train import tiny  # noqa: E402
from tests.unit.dataset.test_cases import CASES, RIGHT  # noqa: E402

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
Refused = dict[str, str]
"""The targets that refuse a file, by the codes that they refuse it with."""


def none(code: str) -> Refused:
    """A file that no target takes."""
    return {code: " ".join(targets())}


TEXTS = {"FT216": "preference chosen text"}
PAIRS = {
    "FT216": "chat sharegpt instruction completion gemini converse claude text tokenized bedrock bedrock-claude replicate vertex"
}
BLANK = {"FT216": "preference chosen text", "FT109": "tokenized"}
FUNCTIONS = {
    "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
    "FT206": "tokenized crusoe fireworks local mistral nebius together",
    "FT206 FT216": "bedrock bedrock-claude replicate vertex",
}
MORE_KEYS = {
    "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
    "FT206": "azure crusoe fireworks mistral nebius openai together",
    "FT206 FT216": "bedrock bedrock-claude replicate vertex",
}
TOOLS = {
    "FT216": "preference chosen sharegpt instruction completion claude text",
    "FT206": "bedrock",
    "FT206 FT216": "bedrock-claude replicate",
    "FT213": "mistral",
}
TOOLS_AND_KEYS = {
    "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
    "FT206": "azure crusoe fireworks nebius openai together",
    "FT206 FT216": "bedrock bedrock-claude replicate vertex",
    "FT206 FT213": "mistral",
}
CAPITALS = {
    "FT216": "chat preference chosen sharegpt instruction completion gemini converse claude text azure crusoe fake fireworks local mistral nebius openai replicate vertex",
    "FT104": "tokenized",
    "FT214 FT216": "bedrock bedrock-claude together",
}
ANSWER_FIRST = {
    "FT216": "preference chosen instruction completion text replicate",
    "FT509": "tokenized",
    "FT214": "bedrock bedrock-claude together",
}
ANSWERS: dict[str, tuple[Refused, str, str]] = {
    "plain.jsonl": (TEXTS, "", ""),
    "01-pandas-column-json/agent.json": (none("FT027"), "!FT027", "!FT027"),
    "01-pandas-column-json/agent_rows.jsonl": (MORE_KEYS, "FT026 FT120", "!FT206"),
    "02-alpaca-object-output/invoices.json": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text bedrock bedrock-claude replicate vertex",
            "FT105": "tokenized",
        },
        "!FT105",
        "!FT105",
    ),
    "03-csv-blank-cells/blank.csv": (BLANK, "!FT109", "!FT109"),
    "03-csv-blank-cells/blank_index.csv": (BLANK, "!FT109", "!FT109"),
    "03-csv-blank-cells/blank_lower.csv": (BLANK, "!FT109", "!FT109"),
    "03-csv-blank-cells/blank_nanstr.csv": (BLANK, "!FT109", "!FT109"),
    "03-csv-blank-cells/blank_records.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text bedrock bedrock-claude replicate vertex",
            "FT109": "tokenized",
        },
        "!FT109",
        "!FT109",
    ),
    "03-csv-blank-cells/blank_semicolon.csv": (BLANK, "!FT109", "!FT109"),
    "04-thinking-key/inline.jsonl": (
        {"FT216": "preference chosen completion text replicate"},
        "",
        "",
    ),
    "04-thinking-key/thinking.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
            "FT206": "azure crusoe mistral nebius openai",
            "FT206 FT216": "bedrock bedrock-claude replicate vertex",
        },
        "FT511",
        "!FT206",
    ),
    "06-tools-column-named-otherwise/mixed_columns.jsonl": (TOOLS, "FT026", "FT026"),
    "06-tools-column-named-otherwise/noCalls_functions.jsonl": (FUNCTIONS, "!FT206", "FT132"),
    "06-tools-column-named-otherwise/tools_as_string.jsonl": (
        TOOLS,
        "FT026",
        "FT026",
    ),
    "07-preference-json-strings/hh.jsonl": (PAIRS, "!FT205", "!FT205"),
    "07-preference-json-strings/hh_prompt.jsonl": (PAIRS, "!FT205", "!FT205"),
    "07-preference-json-strings/pairs.jsonl": (
        {
            "FT216": "chat sharegpt instruction completion gemini converse claude text tokenized vertex",
            "FT206 FT216": "bedrock bedrock-claude replicate",
        },
        "!FT117 FT205",
        "!FT117 FT205",
    ),
    "08-swift-rows/image_marker.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
            "FT130": "tokenized",
            "FT206": "azure crusoe fireworks mistral nebius openai together",
            "FT206 FT211 FT216": "bedrock",
            "FT206 FT216": "bedrock-claude replicate vertex",
        },
        "!FT130",
        "!FT130 FT206",
    ),
    "08-swift-rows/rejected_response.jsonl": (PAIRS, "!FT205", "!FT205"),
    "08-swift-rows/tool_roles.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion claude text",
            "FT206 FT212": "bedrock",
            "FT206 FT212 FT216": "bedrock-claude replicate",
            "FT213": "mistral",
        },
        "FT026",
        "FT026",
    ),
    "09-call-then-text/call_then_text.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion claude text",
            "FT115": "tokenized",
            "FT206 FT214": "bedrock",
            "FT206 FT214 FT216": "bedrock-claude",
            "FT213": "mistral",
            "FT206 FT216": "replicate",
            "FT214": "together",
        },
        "!FT115",
        "!FT115",
    ),
    "10-legacy-function-call/declared_not_called.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion claude text",
            "FT206": "bedrock",
            "FT206 FT216": "bedrock-claude replicate",
        },
        "",
        "",
    ),
    "10-legacy-function-call/legacy.jsonl": (FUNCTIONS, "!FT206", "FT132"),
    "10-legacy-function-call/legacy_multi.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
            "FT206": "tokenized crusoe fireworks local mistral nebius",
            "FT206 FT214 FT216": "bedrock bedrock-claude",
            "FT206 FT216": "replicate vertex",
            "FT206 FT214": "together",
        },
        "!FT206",
        "FT132",
    ),
    "10-legacy-function-call/legacy_with_text.jsonl": (FUNCTIONS, "!FT206", "FT132"),
    "11-json-containers/array.json": (TEXTS, "", ""),
    "11-json-containers/array_named.jsonl": (none("FT005"), "!FT005", "!FT005"),
    "11-json-containers/commas.jsonl": (none("FT017"), "!FT017", "!FT017"),
    "11-json-containers/cp1252.csv": (none("FT011"), "!FT011", "!FT011"),
    "11-json-containers/messages_repr.csv": (none("FT010"), "!FT010", "!FT010"),
    "11-json-containers/nan.csv": (TEXTS, "FT306", "FT306"),
    "11-json-containers/pretty.jsonl": (none("FT005"), "!FT005", "!FT005"),
    "11-json-containers/pyrepr.jsonl": (none("FT010"), "!FT010", "!FT010"),
    "11-json-containers/semicolon.csv": (TEXTS, "", ""),
    "11-json-containers/smart.jsonl": (none("FT010"), "!FT010", "!FT010"),
    "11-json-containers/utf16.jsonl": (none("FT007"), "!FT007", "!FT007"),
    "11-json-containers/wrapped.json": (none("FT027"), "!FT027", "!FT027"),
    "12-column-names/instruction_chosen.jsonl": (PAIRS, "!FT205", "!FT205"),
    "12-column-names/query_response.jsonl": (TEXTS, "FT026", "FT026"),
    "12-column-names/question_answer.jsonl": (TEXTS, "FT026", "FT026"),
    "12-column-names/system_prompt_completion.jsonl": (
        {"FT216": "preference chosen completion text", "FT212 FT216": "replicate"},
        "",
        "",
    ),
    "12-column-names/system_question_chosen.jsonl": (PAIRS, "!FT205", "!FT205"),
    "19-system-column-in-pairs/prompt_system_chosen.jsonl": (PAIRS, "!FT205", "!FT205"),
    "30-shapes/arr.json": (CAPITALS, "!FT104", "!FT104 FT201"),
    "30-shapes/arr.json.gz": (CAPITALS, "!FT104", "!FT104 FT201"),
    "30-shapes/assistant_first.jsonl": (ANSWER_FIRST, "!FT509", ""),
    "30-shapes/assistant_only.jsonl": (ANSWER_FIRST, "!FT509", "FT303"),
    "30-shapes/azure_functions.jsonl": (FUNCTIONS, "!FT206", "FT132"),
    "30-shapes/blank.jsonl": (none("FT004"), "!FT004", "!FT004"),
    "30-shapes/conversations_openai.jsonl": (TEXTS, "", ""),
    "30-shapes/dolly.jsonl": (MORE_KEYS, "FT026 FT120", "!FT206"),
    "30-shapes/double_json.jsonl": (TEXTS, "FT026", "FT026"),
    "30-shapes/empty.jsonl": (none("FT004"), "!FT004", "!FT004"),
    "30-shapes/en_near.jsonl": (TEXTS, "FT301 FT303", "!FT201"),
    "30-shapes/excel.csv": (none("FT011"), "!FT011", "!FT011"),
    "30-shapes/hermes.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
            "FT206": "azure crusoe fireworks nebius openai together",
            "FT206 FT212 FT216": "bedrock bedrock-claude replicate",
            "FT206 FT213": "mistral",
            "FT206 FT216": "vertex",
        },
        "FT026 FT120",
        "!FT206",
    ),
    "30-shapes/html_entities.jsonl": (TEXTS, "FT318", "FT318"),
    "30-shapes/input_output.jsonl": (TEXTS, "FT026", "FT026"),
    "30-shapes/input_text_output_text.jsonl": (TEXTS, "FT026", "FT026"),
    "30-shapes/kto_trl.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
            "FT131": "tokenized",
            "FT206": "azure crusoe fireworks mistral nebius openai together",
            "FT206 FT216": "bedrock bedrock-claude replicate vertex",
        },
        "!FT131",
        "!FT131 FT206",
    ),
    "30-shapes/loop.jsonl": (TEXTS, "!FT502", "FT315"),
    "30-shapes/mail.jsonl": (TEXTS, "", ""),
    "30-shapes/ml.csv": (TEXTS, "", "!FT201"),
    "30-shapes/mojibake.jsonl": (TEXTS, "FT317", "FT317"),
    "30-shapes/openai_rft_like.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion gemini converse claude text",
            "FT108": "tokenized",
            "FT206": "azure crusoe fireworks mistral nebius openai together",
            "FT206 FT216": "bedrock bedrock-claude replicate vertex",
        },
        "!FT108",
        "!FT108 FT206",
    ),
    "30-shapes/placeholder.jsonl": (TEXTS, "FT316", "FT316"),
    "30-shapes/prefilter.jsonl": (TEXTS, "FT407 FT408", "!FT201"),
    "30-shapes/pretty.jsonl": (none("FT005"), "!FT005", "!FT005"),
    "30-shapes/prompt_leak.jsonl": (
        {"FT216": "preference chosen text", "FT211": "bedrock"},
        "FT320",
        "FT320",
    ),
    "30-shapes/prompt_response.jsonl": (TEXTS, "FT026", "FT026"),
    "30-shapes/query_response.jsonl": (TEXTS, "FT026", "FT026"),
    "30-shapes/refusal.jsonl": (TEXTS, "FT303", "FT303"),
    "30-shapes/replacement.jsonl": (TEXTS, "FT317", "FT317"),
    "30-shapes/semicolon.csv": (TEXTS, "", "!FT201"),
    "30-shapes/system_in_middle.jsonl": (
        {
            "FT216": "preference chosen instruction completion gemini converse claude text vertex",
            "FT214 FT216": "bedrock bedrock-claude",
            "FT212 FT216": "replicate",
            "FT214": "together",
        },
        "FT124",
        "FT124",
    ),
    "30-shapes/tabs.tsv": (TEXTS, "", "!FT201"),
    "30-shapes/trl_prompt_only.jsonl": (none("FT100"), "!FT100", "!FT100"),
    "30-shapes/trl_toolargs_obj.jsonl": (
        {
            "FT216": "preference chosen sharegpt instruction completion converse claude text",
            "FT206 FT212 FT216": "bedrock bedrock-claude replicate",
            "FT213": "mistral",
        },
        "FT026",
        "FT026",
    ),
    "30-shapes/truncated.jsonl": (TEXTS, "FT303", "FT303"),
    "30-shapes/user_echo.jsonl": (TEXTS, "FT319", "FT319"),
    "30-shapes/utf16.jsonl": (none("FT007"), "!FT007", "!FT007"),
    "30-shapes/wrapped.json": (none("FT027"), "!FT027", "!FT027"),
    "30-shapes/wrong_case_role.jsonl": (
        {
            "FT216": "chat preference chosen sharegpt instruction completion gemini converse claude text azure bedrock bedrock-claude crusoe fake fireworks local mistral nebius openai replicate together vertex",
            "FT104": "tokenized",
        },
        "!FT104",
        "!FT104",
    ),
    "30-shapes/ws.jsonl": (TEXTS, "", ""),
    "30-shapes/xlam.jsonl": (TOOLS_AND_KEYS, "FT026 FT120", "!FT206"),
}
"""For each file: who refuses it, the codes of its local plan, and of its plan at OpenAI; `!` is a fault."""
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}"
    "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Shows tools and their calls, as the templates of tuned models do."""
MODELS = {"openai": "gpt-4.1-mini-2025-04-14"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.write_model(tmp_path_factory.mktemp("model"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def test_every_file_has_its_right_answer() -> None:
    assert ANSWERS.keys() == RIGHT.keys()


def converted(source: Path, to: str, target: Path, model: Path) -> int | str:
    """The rows that were written, or the codes of the refusal."""
    more: dict[str, Any] = {"tokenizer": model} if to == "tokenized" else {}
    try:
        return convert(source, to, target, **more)
    except DatasetError as error:
        return " ".join(sorted(report_of(error).counts)) if not target.exists() else "left a file"


def report_of(error: DatasetError) -> Any:
    """The report of an error about rows."""
    return error.report


@pytest.mark.parametrize("name", ANSWERS)
def test_each_target_takes_a_case_or_refuses_it_by_name(
    name: str, tmp_path: Path, model: Path
) -> None:
    refused = {to: codes for codes, names in ANSWERS[name][0].items() for to in names.split()}
    rows = validate(CASES / name, near_duplicates=False).rows
    for to in targets():
        target = tmp_path / (f"{to}.parquet" if to == "tokenized" else f"{to}.jsonl")
        assert converted(CASES / name, to, target, model) == refused.get(to, rows), to


def planned(source: Path, home: Path, provider: str, model: str) -> str:
    """The codes of a plan's notices, or of the faults that keep it from being made."""
    try:
        plan = ftsdk.Client(home=home).plan(source, provider=provider, model=model)
    except DatasetError as error:
        return "!" + " ".join(sorted({fault.code for fault in report_of(error).faults}))
    return " ".join(notice.code for notice in plan.data)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("provider", ["local", "openai"])
def test_the_plan_of_a_case(
    name: str, provider: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    right = ANSWERS[name][1 if provider == "local" else 2]
    assert planned(CASES / name, tmp_path, provider, MODELS.get(provider, str(model))) == right


@pytest.mark.parametrize("name", [n for n, answer in ANSWERS.items() if answer[1] != answer[2]])
@pytest.mark.parametrize("provider", ["local", "openai"])
def test_a_plan_of_the_fixed_case_has_nothing_that_was_fixed(
    name: str, provider: str, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-made-up")
    report = fix(CASES / name, tmp_path / "fixed.jsonl")
    asked = MODELS.get(provider, str(model))
    before, after = (
        set(planned(path, tmp_path, provider, asked).replace("!", "").split())
        for path in (CASES / name, report.path)
    )
    assert after <= before | {"FT206"}
    assert not after & (report.counts.keys() - {"FT026"})
