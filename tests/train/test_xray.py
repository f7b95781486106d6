"""What the X-ray shows is what the trainer trains on, token by token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")

from ftsdk.backends.local.training.batches import FlatBatch, micro_batches  # noqa: E402
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


def test_the_batches_are_the_xray(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tok")
    path = Dataset.load(chats()).write_jsonl(tmp_path / "rows.jsonl")
    tokenizer = ChatTokenizer.from_folder(tmp_path / "tok")
    loaded = load_rows(
        path, tokenizer, {"hyperparameters": {"max_length": 512}, "options": {"truncate": False}}
    )
    seen = inspect(path, tokenizer=tokenizer, rows=100)
    shown: dict[tuple[int, ...], tuple[int, ...]] = {}
    for row in seen.shown:
        ids = tuple(i for p in row.pieces for i in p.ids)
        shown[ids] = tuple(int(p.trained) for p in row.pieces for _ in p.ids)
        assert "".join(p.text for p in row.pieces) == tokenizer.decode(list(ids))
    count = trained = 0
    for batch in micro_batches(loaded, batch_size=8, token_budget=2048):
        flat = FlatBatch.of(batch, torch.device("cpu"))
        ids, keep = flat.ids[0].tolist(), set(flat.keep.tolist())
        at = 0
        for length in flat.lengths:
            mine = tuple(ids[at : at + length])
            # the trainer keeps the place before each token that it predicts
            mask = tuple(int(at + k - 1 in keep and k > 0) for k in range(length))
            assert shown[mine] == mask
            count, trained = count + 1, trained + sum(mask)
            at += length
        assert flat.targets.tolist() == [ids[k + 1] for k in flat.keep.tolist()]
    assert count == len(seen.lengths) == 42
    assert trained == seen.summary.trained == sum(seen.learned)
    counted = validate(path, tokenizer=tokenizer, near_duplicates=False).tokens
    assert (counted.total, counted.trained) == (seen.summary.total, seen.summary.trained)
    assert counted.trained == trained
    json.dumps(seen.to_dict())


def test_rows_for_a_page_do_not_flood_the_terminal(tmp_path: Path) -> None:
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
