from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

GOOD = '{"messages": [{"role": "user", "content": "a %d"}, {"role": "assistant", "content": "the answer is %d"}]}\n'


def write(name: str, rows: int = 12, extra: str = "") -> Path:
    path = Path(name)
    path.write_text("".join(GOOD % (i, i) for i in range(rows)) + extra)
    return path


def test_validate_several_files_and_strict(cli):
    good, bad = write("good.jsonl"), write("bad.jsonl", extra='{"messages": []}\n')
    noted = write("noted.jsonl", extra=GOOD % (1, 1))
    assert cli("validate", good).code == 0
    assert cli("validate", noted).code == 0
    assert cli("validate", noted, "--strict").code == 3
    ran = cli("validate", good, bad, "--json")
    assert ran.code == 3
    assert [r["ok"] for r in ran.json["reports"]] == [True, False]
    one = cli("validate", bad, "--json")
    assert [(f["code"], f["line"]) for f in one.json["faults"]] == [("FT102", 13)]
    assert cli("validate", good, "--provider", "openai").code == 0
    assert cli("validate", write("few.jsonl", 9), "--provider", "openai").code == 3


def test_fix_writes_a_copy_and_says_so(cli):
    data = write(
        "in.jsonl",
        extra='{"messages": [{"role": "User", "content": "x"}, {"role": "assistant", "content": "yes, it is"}]}\n',
    )
    ran = cli("validate", data, "--fix", "out.jsonl")
    assert "FT104" in ran.out
    document = cli("validate", data, "--fix", "twice.jsonl", "--json").json
    assert document["fix"]["counts"] == {"FT104": 1}
    assert document["fix"]["changes"][0]["line"] == 13
    assert document["fix"]["mends"] == document["fix"]["changes"]
    assert "--fix" in cli("validate", data).out
    assert "--fix FILE" not in ran.out
    assert cli.ok("validate", "out.jsonl").code == 0
    document = cli.ok("fix", data, "-o", "again.jsonl", "--json").json
    assert document["counts"] == {"FT104": 1}
    assert cli.error(2, "fix", data, "-o", data)["code"] == "usage"


def test_convert_refuses_by_name(cli):
    data = write("in.jsonl")
    assert cli.ok("convert", data, "--to", "gemini", "-o", "g.jsonl", "--json").json["rows"] == 12
    assert "contents" in json.loads(Path("g.jsonl").read_text().split("\n")[0])
    assert cli.ok("convert", "g.jsonl", "--to", "chat", "-o", "c.jsonl").code == 0
    named = write(
        "named.jsonl",
        1,
        '{"messages": [{"role": "user", "content": "x", "name": "Ann"}, {"role": "assistant", "content": "y"}]}\n',
    )
    ran = cli("convert", named, "--to", "gemini", "-o", "n.jsonl")
    assert ran.code == 3
    assert "FT216" in ran.out + ran.err
    assert not Path("n.jsonl").exists()
    assert cli("convert", data, "--to", "gemin", "-o", "n.jsonl").code == 2


def test_split_by_content(cli):
    data = write("rows.jsonl", 200)
    document = cli.ok("split", data, "--fraction", "0.2", "-o", "parts", "--json").json
    assert document["train"]["rows"] + document["validation"]["rows"] == 200
    assert Path(document["train"]["path"]) == Path("parts/rows.train.jsonl")


def test_inspect_of_a_model_whose_tokens_are_not_visible(cli):
    data = write("rows.jsonl")
    ran = cli.ok("inspect", data, "--provider", "openai", "--model", "gpt-4.1-mini")
    assert "not visible" in ran.out
    document = cli.ok("inspect", data, "--model", "gpt-4.1-mini", "--html", "x.html", "--json").json
    assert document["visible"] is False
    assert Path("x.html").read_text().startswith("<!doctype html>")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("tokenizers", reason="needs ftsdk[local]")
    from tests.train import tiny

    place = tmp_path / "tiny"
    place.mkdir()
    tiny.write_tokenizer(place)
    (place / "config.json").write_text("{}")
    return place


def test_inspect_explains_why_a_row_cannot_be_shown(cli, folder):
    data = write("rows.jsonl", 3, '\n{"messages": [{"role": "user", "content": "x"}]}\n')
    ran = cli.ok("inspect", data, "--model", folder, "--line", "5")
    assert "FT501 line 5" in ran.out
    assert "FT501" not in cli.ok("inspect", data, "--model", folder, "--line", "1").out
    error = cli.error(2, "inspect", data, "--model", folder, "--line", "4")
    assert error["hint"] == "the last row is at line 5"


def test_inspect_marks_trained_text_beside_ids_without_colours(cli, folder):
    out = cli.ok("inspect", write("rows.jsonl"), "--model", folder, "--line", "1", "--ids").out
    learned = out.partition("⟦")[2].partition("⟧")[0]
    assert re.sub(r"·[0-9+]+ ", "", learned) == "the answer is 0<|im_end|>"


def test_inspect_compares_more_rows_than_it_shows(cli, folder):
    data = write("rows.jsonl", 40)
    ran = cli.ok("inspect", data, "--model", folder, "--against", folder, "--rows", "2", "--json")
    assert len(ran.json["rows"]) == 2
    assert len(ran.json["against"]["rows"]) == 40


def test_convert_into_a_pipe(cli):
    data = write("rows.jsonl", 12)
    ran = cli.ok("convert", data, "--to", "gemini", "-o", "-")
    assert [set(json.loads(line)) for line in ran.out.strip().split("\n")] == [{"contents"}] * 12
    assert "12 rows as gemini" in ran.err
    assert not Path("-").exists()
    assert cli("convert", data, "--to", "gemini", "-o", "-", "--json").code == 2


def test_files_that_hold_rows_are_private(cli):
    data = write("rows.jsonl", 40)
    cli.ok("convert", data, "--to", "gemini", "-o", "g.jsonl")
    cli.ok("split", data, "-o", "parts")
    cli.ok("validate", data, "--fix", "fixed.jsonl")
    made = [Path("g.jsonl"), Path("fixed.jsonl"), *Path("parts").iterdir()]
    assert len(made) == 4
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}


SQL = '{"question": "a %d", "sql": "SELECT %d", "id": %d}\n'


def test_columns_are_named_and_keys_left_out_by_every_command(cli):
    data = Path("sql.jsonl")
    data.write_text("".join(SQL % (i, i, i) for i in range(12)))
    ran = cli("validate", data)
    assert ran.code == 3
    assert "--map question=prompt,id=completion" in ran.out
    named = ["--map", "question=prompt,sql=completion", "--drop", "id"]
    assert cli.ok("validate", data, "--strict", *named).code == 0
    assert cli.ok("convert", data, "--to", "chat", "-o", "chat.jsonl", *named).code == 0
    assert (
        json.loads(Path("chat.jsonl").read_text().split("\n")[0])["messages"][1]["content"]
        == "SELECT 0"
    )
    assert cli.ok("split", data, *named).code == 0
    job = ["--provider", "fake", "--model", "fake-1", *named]
    assert cli.ok("plan", data, "--json", *job).json["rows"] == 12
    created = cli.ok("create", data, "--json", "--yes", *job).json
    assert created["dataset"]["rows"] == 12
    assert cli.error(2, "validate", data, "--map", "question=promt")["code"] == "usage"
    assert cli.error(2, "validate", data, "--map", "question")["code"] == "usage"


def test_the_method_and_the_format_decide_what_a_job_trains(cli):
    data = Path("both.jsonl")
    row = '{"messages": [{"role": "user", "content": "a %d"}, {"role": "assistant", "content": "b"}], '
    row += '"prompt": "a %d", "chosen": "b", "rejected": "c"}\n'
    data.write_text("".join(row % (i, i) for i in range(12)))
    assert cli.ok("validate", data, "--json", "--method", "dpo").json["format"] == "chosen"
    assert cli.ok("validate", data, "--json", "--method", "sft").json["format"] == "chat"
    assert cli("validate", data, "--json", "--format", "chosen").json["format"] == "chosen"
    plain = write("plain.jsonl")
    assert cli("validate", plain, "--method", "dpo").code == 3
    assert (
        cli.error(3, "plan", plain, "--provider", "fake", "--model", "fake-1", "--method", "dpo")[
            "code"
        ]
        == "dataset"
    )


def test_notices_are_shown_where_the_decision_is_made(cli):
    data = write("in.jsonl", extra=GOOD % (3, 3))
    shown = cli.ok("plan", data).out
    assert "FT302 · 2 rows, line 4  2 rows are the same" in shown
    assert "keep one of them" in shown
    made = cli.ok("create", data, "--yes")
    assert "FT302 · 2 rows" in made.out
    assert "FT302 2 rows" in cli.ok("show").out
    assert cli.ok("plan", data, "--json").json["data"][0]["code"] == "FT302"
    for command in ("plan", "create"):
        error = cli.error(3, command, data, "--strict")
        assert error["submitted"] == "no"
        assert "[FT302]" in error["where"]
    assert cli.ok("plan", write("fine.jsonl"), "--strict").code == 0


def test_fix_writes_the_columns_that_were_named(cli):
    Path("a.jsonl").write_text('{"asked": "a", "sql": "b", "id": 1}\n')
    names = ("--map", "asked=prompt,sql=completion", "--drop", "id")
    cli.ok("fix", "a.jsonl", "-o", "b.jsonl", *names)
    cli.ok("validate", "a.jsonl", "--fix", "c.jsonl", *names)
    for name in ("b.jsonl", "c.jsonl"):
        assert Path(name).read_text() == '{"prompt":"a","completion":"b"}\n'


def test_a_stratified_split_holds_out_some_of_each_answer(cli):
    rows = "".join(GOOD % (i, i % 4) for i in range(80))
    Path("a.jsonl").write_text(rows)
    cli.ok("split", "a.jsonl", "--stratify", "messages.-1.content")
    held = Path("a.validation.jsonl").read_text()
    assert [held.count(f"the answer is {n}") for n in range(4)] == [2, 2, 2, 2]
    ran = cli("split", "a.jsonl", "--stratify", "topic")
    assert ran.code == 2
    assert "no value for the stratum 'topic'" in ran.err
    cli.ok("validate", "a.train.jsonl", "--validation", "a.validation.jsonl", "--strict")
    Path("b.jsonl").write_text(Path("a.train.jsonl").read_text().replace("is 1", "is 7"))
    assert "FT314" in cli("validate", "b.jsonl", "--validation", "a.train.jsonl").out


def test_fix_says_what_is_left_and_how_to_see_it(cli):
    Path("a.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    ran = cli.ok("fix", "a.jsonl", "-o", "b.jsonl")
    assert "FT026 1 × wrote the row as it is read" in " ".join(ran.out.split())
    assert "(first at line 1)" in ran.out
    assert "what is left: ftsdk validate b.jsonl" in ran.err
    again = cli.ok("fix", "b.jsonl", "-o", "c.jsonl")
    assert "nothing was found that a program can correct" in again.err
    assert "--fix FILE" not in cli("validate", "a.jsonl").out


def test_pairs_for_another_method_name_it(cli):
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}
    Path("p.jsonl").write_text(
        "".join(json.dumps({**row, "prompt": str(i)}) + "\n" for i in range(12))
    )
    ran = cli("validate", "p.jsonl", "--provider", "openai")
    assert ran.code == 3
    assert "--method dpo trains preference rows" in " ".join(ran.out.split())
    assert cli("validate", "p.jsonl", "--provider", "openai", "--method", "dpo").code == 0
