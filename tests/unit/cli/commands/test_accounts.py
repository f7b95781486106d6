"""Two accounts on the command line: refused by name, listed, declared, and side by side by profile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.testing.lab import Lab
from tests.unit.cli.conftest import Cli

pytest.importorskip("openai")
A, B, NEW = "key-of-account-a-00000", "key-of-account-b-00000", "new-key-of-account-a-0"
MODEL = "gpt-4.1-mini-2025-04-14"
TOML = """
[profiles.support]
provider = "openai"
model = "gpt-4.1-mini-2025-04-14"
key_variable = "SUPPORT_OPENAI_KEY"

[profiles.sales]
provider = "openai"
model = "gpt-4.1-mini-2025-04-14"
key_variable = "SALES_OPENAI_KEY"
"""


@pytest.fixture
def double(clock: Any, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with Lab("openai", clock=clock, keys=[A, B, NEW]) as lab:
        made = lab["openai"]
        made.new_keys[NEW] = A
        for name, value in made.variables().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("FTSDK_PROVIDER", "openai")
        monkeypatch.setenv("FTSDK_MODEL", MODEL)
        yield made


@pytest.fixture
def use(double: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda key: monkeypatch.setenv("OPENAI_API_KEY", key)


def created(cli: Cli, data: Path, *more: object) -> str:
    return str(cli.ok("create", data, "--yes", "--json", "--detach", *more).json["id"])


def lost(cli: Cli, data: Path, double: Any) -> str:
    """A job whose answer was lost."""
    double.faults.add("close", method="POST", path="/fine_tuning/jobs$", acted=True)
    double.lists_before_visible = 99
    error = cli.error(4, "create", data, "--yes", "--detach")
    double.lists_before_visible = 0
    for job in double.jobs.values():
        job.visible_after_lists = 0
    return str(error["job_id"])


def test_a_job_in_doubt_under_another_key(
    cli: Cli, data: Path, double: Any, use: Any, clock: Any
) -> None:
    use(A)
    job = lost(cli, data, double)
    use(B)
    clock.advance(3600)
    before = len(double.requests)
    for words in (["reconcile", job], ["cancel", job], ["resolve", job, "--send-again", "--yes"]):
        error = cli.error(2, *words)
        assert error["code"] == "wrong_account"
        assert error["job_id"] == job
        assert "--send-again" not in error["hint"]
    ran = cli.ok("list")
    assert "whose key is not here" in ran.out
    assert "--send-again" not in ran.out + ran.err
    assert len(double.requests) == before
    use(A)
    assert cli.ok("reconcile", job, "--json").json["jobs"][0]["provider_job_id"]


def test_another_accounts_job_is_shown_as_the_journal_has_it(
    cli: Cli, data: Path, double: Any, use: Any
) -> None:
    use(A)
    job = created(cli, data)
    use(B)
    ran = cli.ok("show", job)
    assert "of another account of OpenAI" in ran.err
    assert "account" in ran.out
    assert cli.ok("list").err.startswith(f"{job}  use a key of that account")
    assert cli.ok("list", "--json").json["jobs"][0]["not_asked"]["code"] == "wrong_account"
    assert cli("watch", job).code == 2
    assert cli.error(2, "wait", job)["code"] == "wrong_account"


def test_accounts_are_listed_and_a_new_key_is_declared(
    cli: Cli, data: Path, double: Any, use: Any
) -> None:
    assert "No job has an account" in cli.ok("accounts").out
    use(A)
    job = created(cli, data)
    (known,) = cli.ok("accounts", "--json").json["accounts"]
    assert (known["jobs"], known["has_key"], known["key_variable"]) == (1, True, None)
    assert "the usual key" in cli.ok("accounts").out
    assert A not in json.dumps(known)
    use(NEW)
    assert "no key of it here" in cli.ok("accounts").out
    hint = cli.error(2, "wait", job)["hint"]
    command = hint.partition("ftsdk ")[2].split()
    use(B)
    error = cli.error(2, *command)
    assert "cannot read the jobs" in error["what"]
    use(NEW)
    ran = cli.ok(*command)
    assert f"can read {job}" in ran.out
    assert cli.ok("show", job).err == ""
    assert "same as" in cli.ok("accounts").out


def test_a_declaration_that_makes_no_sense_is_refused(
    cli: Cli, data: Path, double: Any, use: Any
) -> None:
    use(A)
    job = created(cli, data)
    assert "already" in cli.error(2, "accounts", "--same", job)["what"]
    assert "No account is called" in cli.error(2, "accounts", "--same", "nobody")["what"]
    assert cli.error(2, "accounts", "--unchecked")["hint"].endswith("--unchecked")


def test_two_profiles_side_by_side(
    cli: Cli, data: Path, double: Any, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    Path("ftsdk.toml").write_text(TOML)
    monkeypatch.delenv("OPENAI_API_KEY")
    for name in ("FTSDK_PROVIDER", "FTSDK_MODEL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("SUPPORT_OPENAI_KEY", A)
    monkeypatch.setenv("SALES_OPENAI_KEY", B)
    plan = cli.ok("plan", data, "--profile", "support").out
    assert "for the account of the key in SUPPORT_OPENAI_KEY" in plan
    jobs = {created(cli, data, "--profile", name) for name in ("support", "sales")}
    assert len(double.in_account(A)["jobs"]) == len(double.in_account(B)["jobs"]) == 1
    clock.advance(1)
    for profile in (["--profile", "support"], ["--profile", "sales"], []):
        listed = cli.ok("list", "--json", *profile).json["jobs"]
        assert {job["id"] for job in listed} == jobs
        assert [job["not_asked"] for job in listed] == [None, None]
    out = cli.ok("accounts").out
    assert "SUPPORT_OPENAI_KEY of profile support" in out
    assert "SALES_OPENAI_KEY of profile sales" in out
    checks = cli("doctor", "--json").json["checks"]
    assert {c["name"]: c["found"] for c in checks}["key of profile sales"].endswith("is set")
    monkeypatch.delenv("SALES_OPENAI_KEY")
    ran = cli.ok("list", "--json").json["jobs"]
    errors = {job["profile"]: job["not_asked"] for job in ran}
    assert errors["support"] is None
    assert "the variable SALES_OPENAI_KEY" in errors["sales"]["where"]
    assert errors["sales"]["what"] == "No key for openai was found"
    sales = next(job["id"] for job in ran if job["profile"] == "sales")
    assert "not asked" in cli.ok("show", sales).err
    monkeypatch.setenv("SALES_OPENAI_KEY", B)
    clock.advance(60)
    watched = cli("watch", *jobs, "--profile", "sales", "--json")
    assert watched.code == 0, watched


def test_a_key_that_was_never_used_goes_to_the_corrected_address(
    cli: Cli, data: Path, double: Any, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(A)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    first = cli.error(4, "create", data, "--yes", "--detach", "--key", "nightly")
    monkeypatch.setenv("OPENAI_BASE_URL", double.base_url)
    again = cli.ok("create", data, "--yes", "--detach", "--key", "nightly", "--json")
    assert again.json["id"] == first["job_id"]
    assert again.json["provider_job_id"] in double.jobs
