"""`inspect` shows what the trainer trains on, token by token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")

from ftsdk.backends.local.training.batches import PackedBatch, micro_batches  # noqa: E402
from ftsdk.backends.local.training.encode_rows import load_rows  # noqa: E402
from ftsdk.dataset import Dataset, inspect, validate  # noqa: E402
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer  # noqa: E402
from tests.train.tiny import rows, write_tokenizer  # noqa: E402


def chats() -> list[dict[str, Any]]:
    made = rows(40, seed=5)
    made.append(
        {
            "messages": [
                {"role": "system", "content": "Be odd: é 🙂 日本"},
                *made[0]["messages"],
                *made[1]["messages"],
            ]
        }
    )
    made.append(
        {
            "messages": [
                *made[2]["messages"][:1],
                {"role": "assistant", "content": "no", "weight": 0},
                *made[3]["messages"],
            ]
        }
    )
    return made


def test_the_batches_are_what_inspect_shows(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tok")
    path = Dataset.load(chats()).write_jsonl(tmp_path / "rows.jsonl")
    tokenizer = ChatTokenizer.from_folder(tmp_path / "tok")
    loaded = load_rows(path, tokenizer, max_length=512, truncate=False)
    seen = inspect(path, tokenizer=tokenizer, rows=100)
    shown: dict[tuple[int, ...], tuple[int, ...]] = {}
    for row in seen.shown:
        ids = tuple(i for p in row.pieces for i in p.ids)
        shown[ids] = tuple(int(p.trained) for p in row.pieces for _ in p.ids)
        assert "".join(p.text for p in row.pieces) == tokenizer.decode(list(ids))
    count = trained = 0
    for batch in micro_batches(loaded, most_rows=8, token_budget=2048):
        packed = PackedBatch.of(batch, torch.device("cpu"))
        ids, predicting = packed.ids[0].tolist(), set(packed.loss_positions.tolist())
        at = 0
        for length in packed.lengths:
            mine = tuple(ids[at : at + length])
            # a token is predicted at the position before it
            mask = tuple(int(at + k - 1 in predicting and k > 0) for k in range(length))
            assert shown[mine] == mask
            count, trained = count + 1, trained + sum(mask)
            at += length
        assert packed.targets.tolist() == [ids[k + 1] for k in packed.loss_positions.tolist()]
    assert count == len(seen.lengths) == 42
    assert trained == seen.summary.trained == sum(seen.learned)
    counted = validate(path, tokenizer=tokenizer, near_duplicates=False).tokens
    assert (counted.total, counted.trained) == (seen.summary.total, seen.summary.trained)
    assert counted.trained == trained
    json.dumps(seen.to_dict())


def test_rows_written_to_a_page_are_not_printed(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from ftsdk.cli.app import app

    write_tokenizer(tmp_path / "tok")
    data = Dataset.load(chats()).write_jsonl(tmp_path / "rows.jsonl")
    page = tmp_path / "page.html"
    ran = CliRunner().invoke(
        app,
        [
            "inspect",
            str(data),
            "--model",
            str(tmp_path / "tok"),
            "--html",
            str(page),
            "--rows",
            "9",
        ],
    )
    assert ran.exit_code == 0, ran.output
    assert "9 rows; open it in a browser" in ran.stdout
    assert "line 1 " not in ran.stdout
    assert page.stat().st_mode & 0o077 == 0  # the rows are in it
    assert "Be odd" not in page.read_text(encoding="utf-8")  # the row at line 41 is not in it
