"""The command `migrate`: what it prints, asks and exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftsdk.testing.lab.openai.double import OpenAIDouble
from ftsdk.util.clock import ManualClock
from tests.backends.openai_account import account_of_the_environment, rows_of, tune
from tests.unit.cli.conftest import Cli, cli

pytest.importorskip("openai", reason="needs the extra `openai`")
pytest.importorskip("scipy", reason="needs the extra `eval`")
__all__ = ["account_of_the_environment", "cli"]  # fixtures
LABELS = 3
TO = ("--to", "fake:smollm2-135m", "--margin", 20, "--no-batch")


@pytest.fixture
def tuned(tmp_path: Path, double: OpenAIDouble, clock: ManualClock) -> str:
    return tune(
        tmp_path / "other", double, clock,
        rows=rows_of("trained", 12, LABELS), validation=rows_of("held", 20, LABELS),
    )  # fmt: skip


def spent(double: OpenAIDouble) -> int:
    return double.count("POST", "chat/completions$") + double.count("POST", "batches$")


def test_a_migration_from_the_plan_to_the_report(
    cli: Cli, double: OpenAIDouble, tuned: str
) -> None:
    dry = cli.ok("migrate", "openai", *TO, "--requests", "10000/day", "--dry-run")
    assert tuned in dry.out
    assert "at 300,000 requests a month" in dry.out
    assert "fake smollm2-135m" in dry.out
    assert "prompt on gpt-6-luna" in dry.out
    assert "rights   unknown: nothing is trained until you give --rights" in dry.out
    assert "azure keeps gpt-4.1-mini-2025-04-14 until 14 October 2027" in dry.err
    unasked = cli("migrate", "openai", *TO, "--no-input")
    assert unasked.code == 7
    assert "nobody could be asked" in unasked.err
    assert spent(double) == 0
    unknown = cli("migrate", "openai", *TO, "--yes")
    assert unknown.code == 2
    assert "--rights own" in unknown.err
    done = cli("migrate", "openai", *TO, "--yes", "--rights", "own")
    assert done.code in (0, 7, 8)
    assert "report  " in done.err
    assert "Spent  $" in done.out
    paid = spent(double)
    again = cli("migrate", "openai", *TO, "--json", "--yes")
    assert json.loads(again.out)["models"][0]["model"] == tuned
    assert again.code == done.code
    assert spent(double) == paid


def private_files(*folders: Path) -> set[str]:
    """The files that have a row's text, or an answer's."""
    texts = (b"held 3, held", b"trained 3, trained")
    paths = [one for folder in folders for one in folder.rglob("*") if one.is_file()]
    return {str(one) for one in paths if any(text in one.read_bytes() for text in texts)}


def test_a_migration_is_forgotten_with_all_its_texts(
    cli: Cli, home: Path, double: OpenAIDouble, tuned: str
) -> None:
    folder = Path("migration-openai")
    cli("migrate", "openai", *TO, "--yes", "--rights", "own")
    kept = private_files(folder)
    assert len(kept) >= 6, kept
    assert private_files(home / "evaluations")
    listed = json.loads(cli.ok("forget", str(folder), "--dry-run", "--json").out)
    assert len(listed["would_remove"]) == 2
    assert str(folder) in cli.ok("forget", str(folder), "--dry-run").out
    assert private_files(folder) == kept
    mine = folder / "inventory" / "mine.txt"
    mine.write_text("mine")
    refused = cli("forget", str(folder), "--yes")
    assert refused.code == 2
    assert "mine.txt" in refused.err
    mine.unlink()
    cli.ok("forget", str(folder), "--yes")
    assert not folder.exists()
    assert not private_files(home / "evaluations")
    assert spent(double)


def test_a_migration_with_a_deployment_is_not_forgotten(cli: Cli, tuned: str) -> None:
    cli("migrate", "openai", *TO, "--yes", "--rights", "own")
    assert tuned
    record = Path("migration-openai") / "deployments.json"
    record.write_text(json.dumps({"schema_version": 1, "jobs": ["ftj_1"]}))
    refused = cli("forget", "migration-openai", "--yes")
    assert refused.code == 2
    assert "has not ended: ftj_1" in refused.err


def test_an_evaluation_is_forgotten_with_its_model(
    cli: Cli, home: Path, double: OpenAIDouble, tuned: str
) -> None:
    assert double
    rows = Path("rows.jsonl")
    rows.write_text("".join(json.dumps(row) + "\n" for row in rows_of("held", 12, LABELS)))
    cli(
        "evaluate",
        rows,
        "--model",
        tuned,
        "--reference",
        "gpt-6-luna",
        "--provider",
        "openai",
        "--yes",
    )
    assert private_files(home / "evaluations")
    cli.ok("forget", tuned, "--yes")
    assert not private_files(home / "evaluations")


def test_a_plan_as_json_is_one_document(cli: Cli, double: OpenAIDouble, tuned: str) -> None:
    plan = json.loads(cli.ok("migrate", "openai", *TO, "--dry-run", "--json").out)
    (one,) = plan["models"]
    assert one["model"] == tuned
    assert one["capture"]["to_ask"] == 40
    assert {each["kind"] for each in one["candidates"]} == {"tuned", "prompt"}
    assert spent(double) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Nothing says where to go"),
        (["--to", "local", "--requests", "many"], "--requests 300000/month"),
        (["--to", "local", "--model", "ft:nobody"], "no fine-tune ft:nobody"),
        (["--to", "local", "--rights", "cleared"], "The rights are given as"),
        (["--to", "local", "--budget", "much"], "not an amount"),
        (["--to", "local", "--set", "max_tokens=9", "--max-tokens", "5"], "both limit the answers"),
    ],
    ids=["no target", "traffic", "model", "rights", "budget", "two limits"],
)
def test_wrong_arguments_are_named(cli: Cli, tuned: str, arguments: list[str], said: str) -> None:
    assert tuned
    refused = cli("migrate", "openai", *arguments)
    assert refused.code == 2
    assert said in refused.err


def test_a_provider_whose_files_cannot_be_read_is_refused(cli: Cli) -> None:
    refused = cli("migrate", "fake", "--to", "local")
    assert refused.code == 2
    assert "does not let an account's files be read" in refused.err
