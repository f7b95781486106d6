"""The dataset object: rows, hash, splits that stay, files that read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.dataset import Dataset, validate
from ftsdk.dataset.validation.validate import validate_for_job
from ftsdk.errors import DatasetError, UsageError


def chat(asked: str, answer: str = "yes", **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}],
        **more,
    }


ROWS = [chat(f"question {i}", f"answer {i}") for i in range(400)]


def test_the_hash_is_of_the_content_not_of_the_spelling(tmp_path: Path) -> None:
    loose = tmp_path / "loose.jsonl"
    loose.write_text("\r\n".join(json.dumps(r, indent=None, ensure_ascii=True) for r in ROWS))
    assert Dataset.load(loose).sha256 == Dataset.load(ROWS).sha256
    tight = Dataset.load(ROWS).write_jsonl(tmp_path / "tight.jsonl")
    assert Dataset.load(tight).sha256 == Dataset.load(ROWS).sha256
    assert (
        tight.read_bytes().count(b"\n")
        == len(ROWS)
        == Dataset.load(tight).rows
        == len(Dataset.load(tight))
    )
    assert Dataset.load(ROWS[::-1]).sha256 != Dataset.load(ROWS).sha256


def test_rows_are_copied_and_iterables_read_once() -> None:
    rows = [chat("a")]
    dataset = Dataset.load(rows)
    rows[0]["messages"][0]["content"] = "changed"
    assert next(iter(dataset))["messages"][0]["content"] == "a"
    once = Dataset.load(r for r in ROWS)
    assert list(once) == list(once) == ROWS
    assert Dataset.load(once) is once
    assert Dataset.load(once, name="other").name == "rows"


def test_splits_stay_when_rows_come_and_go() -> None:
    train, check = Dataset.load(ROWS).split(0.2, seed=3)
    assert 50 < check.rows < 110
    assert train.rows + check.rows == len(ROWS)
    held = {r["messages"][0]["content"] for r in check}
    more = [chat(f"new {i}") for i in range(300)] + ROWS[::-1]
    _, later = Dataset.load(more).split(0.2, seed=3)
    assert {
        r["messages"][0]["content"] for r in later if "question" in r["messages"][0]["content"]
    } == held
    _, other = Dataset.load(ROWS).split(0.2, seed=4)
    assert {r["messages"][0]["content"] for r in other} != held
    assert [r["messages"] for r in check] == [r["messages"] for r in check]


def test_groups_stay_together_and_equal_rows_too() -> None:
    rows = [chat(f"q{i}", metadata={"customer": f"c{i % 20}"}) for i in range(200)]
    train, check = Dataset.load(rows).split(0.3, group_by="metadata.customer")
    sides = [{r["metadata"]["customer"] for r in side} for side in (train, check)]
    assert sides[0].isdisjoint(sides[1])
    by_function = Dataset.load(rows).split(0.3, group_by=lambda r: r["metadata"]["customer"])[1]
    assert [r["messages"] for r in by_function] == [r["messages"] for r in check]
    twice = Dataset.load(ROWS + ROWS).split(0.2)
    assert {json.dumps(r) for r in twice[0]}.isdisjoint(json.dumps(r) for r in twice[1])
    with pytest.raises(UsageError, match="no value for the group"):
        Dataset.load(ROWS).split(0.2, group_by="metadata.customer")


def test_a_stratified_split_has_its_share_of_each_value() -> None:
    labels = ["common"] * 300 + ["rare"] * 20 + ["pair"] * 2 + ["once"]
    rows = [chat(f"q{i}", label, language=f"l{i % 3}") for i, label in enumerate(labels)]
    for key in ("messages.-1.content", "messages.1.content"):
        train, check = Dataset.load(rows).split(0.1, seed=2, stratify=key)
        held = [row["messages"][-1]["content"] for row in check]
        assert [held.count(name) for name in ("common", "rare", "pair")] == [30, 2, 1]
        assert train.rows + check.rows == len(rows)
    _, by_key = Dataset.load(rows).split(0.1, stratify="language")
    assert [sum(r["language"] == f"l{n}" for r in by_key) for n in range(3)] == [11, 11, 11]
    _, again = Dataset.load(rows[::-1]).split(0.1, stratify=lambda row: row["language"])
    assert {json.dumps(row) for row in again} == {json.dumps(row) for row in by_key}
    with pytest.raises(UsageError, match="no value for the stratum 'topic'") as caught:
        Dataset.load(rows).split(0.1, stratify="topic")
    assert "line 1" in str(caught.value)


def test_strata_never_part_a_prompt_or_a_group() -> None:
    rows = [chat(f"q{i % 50}", f"a{i % 4}", who=f"w{i % 10}") for i in range(400)]
    train, check = Dataset.load(rows).split(0.2, stratify="messages.-1.content")
    assert prompts(train).isdisjoint(prompts(check))
    assert min(train.rows, check.rows) > 0
    _, again = Dataset.load(rows[::-1]).split(0.2, stratify="messages.-1.content")
    assert prompts(again) == prompts(check)
    train, check = Dataset.load(rows).split(0.2, group_by="who", stratify="messages.-1.content")
    assert {r["who"] for r in train}.isdisjoint(r["who"] for r in check)
    every_value_once = [chat(f"q{i}", f"a{i}") for i in range(3)]
    for seed in range(20):
        sides = Dataset.load(every_value_once).split(0.01, seed, stratify="messages.-1.content")
        assert [side.rows for side in sides] == [2, 1]


def test_a_prompt_with_several_values_is_in_one_stratum_whatever_the_order() -> None:
    rows = [chat(f"q{i}", "alpha") for i in range(60)]
    rows += [chat(f"q{i}", f"beta {i % 3}") for i in range(60)]
    _, check = Dataset.load(rows).split(0.2, stratify="messages.-1.content")
    for order in (rows[::-1], rows[60:] + rows[:60], sorted(rows, key=json.dumps)):
        _, again = Dataset.load(order).split(0.2, stratify="messages.-1.content")
        assert prompts(again) == prompts(check)


def prompts(dataset: Dataset) -> set[str]:
    return {" ".join(row["messages"][0]["content"].casefold().split()) for row in dataset}


def test_rows_with_one_prompt_are_on_one_side() -> None:
    rows = [chat(f"question {i % 60}", f"answer {i}", weight=i % 2) for i in range(300)]
    rows += [chat(f"  QUESTION\n{i}", "loud") for i in range(60)]
    train, check = Dataset.load(rows).split(0.2, seed=1)
    assert (train.rows + check.rows, len(prompts(check))) == (360, 60 - len(prompts(train)))
    assert prompts(train).isdisjoint(prompts(check))
    report = validate(train, validation=check, near_duplicates=False)
    assert "FT314" not in report.row_counts


def pair(asked: str, answer: str) -> dict[str, Any]:
    say = {"role": "assistant", "content": answer}
    return {"input": {"messages": chat(asked)["messages"][:1]}, "preferred_output": [say],
            "non_preferred_output": [{"role": "assistant", "content": "no"}]}  # fmt: skip


def test_prompts_of_other_shapes_stay_together_too() -> None:
    pairs = [pair(f"q{i % 40}", f"a{i}") for i in range(200)]
    sides = Dataset.load(pairs).split(0.3)
    asked = [{json.dumps(row["input"]) for row in side} for side in sides]
    assert asked[0].isdisjoint(asked[1])
    ids = [
        {"input_ids": [i % 40, 7, 100 + i], "attention_mask": [1] * 3, "labels": [-100, -100, 1]}
        for i in range(200)
    ]
    starts = [{row["input_ids"][0] for row in side} for side in Dataset.load(ids).split(0.3)]
    assert starts[0].isdisjoint(starts[1])


def test_rows_without_a_prompt_or_with_the_same_one_go_by_content() -> None:
    system = {"role": "system", "content": "be kind"}
    for rows in (
        [chat("write a poem", f"poem {i}") for i in range(200)],
        [{"messages": [system, {"role": "assistant", "content": f"a{i}"}]} for i in range(200)],
        [{"text": f"t{i}"} for i in range(200)],
    ):
        train, check = Dataset.load(rows).split(0.2)
        assert 20 < check.rows < 60
        assert train.rows + check.rows == 200


def test_groups_are_keys_of_the_file_itself(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"do {i % 20}", "input": f"with {i}", "output": "done"} for i in range(200)
    ]
    path = tmp_path / "alpaca.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sides = Dataset.load(path).split(0.3, group_by="instruction")
    done = [{row["messages"][0]["content"].split("\n")[0] for row in side} for side in sides]
    assert all(done)
    assert done[0].isdisjoint(done[1])
    copied = validate_for_job(Dataset.load(path), None, folder=tmp_path).train
    assert copied.has_copy
    again = copied.split(0.3, group_by="instruction")
    assert [side.sha256 for side in again] == [side.sha256 for side in sides]


@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=12),
    st.floats(0.01, 0.99),
    st.integers(0, 50),
)
def test_no_side_is_ever_empty(words: set[str], fraction: float, seed: int) -> None:
    train, check = Dataset.load([chat(w) for w in words]).split(fraction, seed=seed)
    assert train.rows >= 1
    assert check.rows >= 1
    assert train.rows + check.rows == len(words)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_is_a_fraction(fraction: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        Dataset.load(ROWS).split(fraction)


COLUMNS = {"prompt": ["a", "b"], "completion": ["c", "d"]}
COLUMN_ROWS = [chat("a", "c"), chat("b", "d")]


def test_a_pandas_frame() -> None:
    pandas = pytest.importorskip("pandas", reason="frames of pandas need pandas")
    assert list(Dataset.load(pandas.DataFrame(COLUMNS))) == COLUMN_ROWS


def test_nested_cells_of_arrays_lose_their_nulls_too(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="frames of pandas need pandas")
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    rows = [
        {"messages": [{"role": "user", "content": "a"},
                      {"role": "assistant", "tool_calls": [call], "weight": 0},
                      {"role": "tool", "tool_call_id": "c", "content": "r"},
                      {"role": "assistant", "content": "b", "weight": 1}]}
    ]  # fmt: skip
    pandas.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    frame = pandas.read_parquet(tmp_path / "rows.parquet")  # its cells are arrays of numpy
    assert list(Dataset.load(frame)) == rows
    assert "1.0" not in str(list(Dataset.load(frame)))


def test_tables_of_pyarrow_and_formatted_datasets() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="tables need pyarrow")
    hugging = pytest.importorskip("datasets", reason="datasets objects need datasets")
    rows = [
        {"messages": [{"role": "user", "content": f"a {i}"}, {"role": "assistant", "content": "b", "weight": i % 2}]}
        for i in range(4)
    ]  # fmt: skip
    assert list(Dataset.load(pyarrow.Table.from_pylist(rows))) == rows
    made = hugging.Dataset.from_list(rows)
    for name in ("numpy", "pandas", "arrow", None):
        assert list(Dataset.load(made.with_format(name))) == rows, name


def test_a_lazy_frame_says_what_to_do() -> None:
    polars = pytest.importorskip("polars", reason="frames of polars need polars")
    (fault,) = validate(polars.LazyFrame({"text": ["a"]})).faults
    assert fault.hint == "pass frame.collect()"


def test_a_polars_frame() -> None:
    polars = pytest.importorskip("polars", reason="frames of polars need polars")
    assert list(Dataset.load(polars.DataFrame(COLUMNS))) == COLUMN_ROWS


def test_datasets_of_hugging_face(tmp_path: Path) -> None:
    hugging = pytest.importorskip("datasets", reason="datasets objects need datasets")
    assert list(Dataset.load(hugging.Dataset.from_dict(COLUMNS))) == COLUMN_ROWS
    streamed = hugging.Dataset.from_dict(COLUMNS).to_iterable_dataset()
    assert list(Dataset.load(streamed)) == COLUMN_ROWS
    nested = hugging.Dataset.from_list(ROWS[:2])
    assert list(Dataset.load(nested)) == ROWS[:2]


ALIKE = [
    {
        "messages": [
            {"role": "user", "content": "how is the weather?"},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
                "function": {"name": "look", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "fine"},
            {"role": "assistant", "content": "It is fine.", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "look"}}],
    },
    chat("hello", "good day"),
]  # fmt: skip
"""Rows of which one has what the other has not."""


@pytest.mark.parametrize("kind", ["pandas", "polars", "datasets", "parquet"])
def test_what_a_table_has_no_value_for_is_not_there(kind: str, tmp_path: Path) -> None:
    library = pytest.importorskip("pyarrow" if kind == "parquet" else kind)
    if kind == "parquet":
        import pyarrow.parquet as pq

        held: Any = tmp_path / "rows.parquet"
        pq.write_table(library.Table.from_pylist(ALIKE), held)
    elif kind == "datasets":
        held = library.Dataset.from_list(ALIKE)
    else:
        held = library.DataFrame(ALIKE)
    assert list(Dataset.load(held)) == ALIKE
    assert validate(held, near_duplicates=False).counts == {}


def test_a_missing_cell_of_pandas_is_no_number() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"prompt": ["a", "b"], "completion": ["c", float("nan")]})
    (fault,) = validate(frame, near_duplicates=False).faults
    assert (fault.code, fault.line, fault.field) == ("FT100", 2, "")


def test_several_datasets_at_once_are_refused_with_their_names() -> None:
    hugging = pytest.importorskip("datasets")
    parts = hugging.DatasetDict({"train": hugging.Dataset.from_dict(COLUMNS)})
    (fault,) = validate(parts).faults
    assert "'train'" in fault.message
    assert "data['train']" in fault.hint


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(
        arrow.Table.from_pylist([{**ROWS[0], "tools": None}, ROWS[1]]), tmp_path / "rows.parquet"
    )
    assert list(Dataset.load(tmp_path / "rows.parquet")) == ROWS[:2]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(DatasetError) as caught:
        list(Dataset.load(tmp_path / "bad.parquet"))
    assert caught.value.report.faults[0].code == "FT025"


def test_zstd(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    data = b"".join(json.dumps(r).encode() + b"\n" for r in ROWS)
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(zstandard.compress(data))
    assert list(Dataset.load(path)) == ROWS
    path.write_bytes(zstandard.compress(data)[:-20])
    with pytest.raises(DatasetError):
        list(Dataset.load(path))
    path.write_bytes(zstandard.compress((b" " * 1023 + b"\n") * 100_000))
    with pytest.raises(DatasetError) as caught:
        list(Dataset.load(path))
    assert caught.value.report.faults[0].code == "FT006"
