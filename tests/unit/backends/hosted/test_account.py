"""An account is a project, or a hash of the key that does not reveal it."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.base import Context
from ftsdk.backends.hosted.account import account_secret
from ftsdk.backends.openai.backend import AzureBackend, OpenAIBackend
from ftsdk.backends.together.backend import TogetherBackend
from ftsdk.errors import StoreError
from ftsdk.types.account import account_name, may_be_same

KEY = {"OPENAI_API_KEY": "sk-one-0000000000000000"}
OTHER = {"OPENAI_API_KEY": "sk-two-0000000000000000"}


def account(home: Path, env: dict[str, str], **more: Any) -> str:
    found = OpenAIBackend(Context(home=home, env=env, **more)).account()
    assert found is not None
    return found


def test_two_keys_are_two_accounts_and_neither_is_revealed(home: Path) -> None:
    first, second = account(home, KEY), account(home, OTHER)
    assert first == account(home, KEY)
    assert not may_be_same(first, second)
    assert "sk-one" not in first
    assert account_name(first) in first
    secret = home / "account.secret"
    assert len(secret.read_bytes()) == 32
    assert secret.read_bytes().hex() not in first
    if os.name != "nt":
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_the_same_key_has_another_hash_in_another_home(home: Path, tmp_path: Path) -> None:
    """So that a list of likely keys, hashed once, says nothing about any journal."""
    here, there = account(home, KEY), account(tmp_path / "other", KEY)
    assert here.rpartition(":")[2] != there.rpartition(":")[2]
    assert may_be_same(here, there)  # neither can be excluded


def test_a_project_is_the_account_at_the_providers_own_host(home: Path) -> None:
    project = {"OPENAI_PROJECT_ID": "proj_a"}
    assert account(home, {**KEY, **project}) == "project:proj_a"
    assert account(home, {**OTHER, **project}) == "project:proj_a"
    assert account_name("project:proj_a") == "proj_a"
    assert not may_be_same("project:proj_a", "project:proj_b")
    assert not may_be_same("project:proj_a", account(home, KEY))


def test_elsewhere_a_project_cannot_be_relied_on(home: Path) -> None:
    """A gateway may ignore the header, so the key counts, too."""
    gateway = {"OPENAI_BASE_URL": "https://gateway.example/v1", "OPENAI_PROJECT_ID": "proj_a"}
    first, second = account(home, {**KEY, **gateway}), account(home, {**OTHER, **gateway})
    assert not may_be_same(first, second)
    other = {**gateway, "OPENAI_PROJECT_ID": "proj_b"}
    assert not may_be_same(first, account(home, {**KEY, **other}))


def test_an_organisation_and_headers_that_choose_an_account_count(home: Path) -> None:
    plain = account(home, KEY)
    in_org = account(home, {**KEY, "OPENAI_ORG_ID": "org-a"})
    assert not may_be_same(plain, in_org)
    assert not may_be_same(in_org, account(home, {**KEY, "OPENAI_ORG_ID": "org-b"}))
    virtual = {"OPENAI_CUSTOM_HEADERS": "x-portkey-virtual-key: acme-1"}
    assert not may_be_same(plain, account(home, {**KEY, **virtual}))
    per_run = {"OPENAI_CUSTOM_HEADERS": "x-request-id: 7"}
    assert plain == account(home, {**KEY, **per_run})


def test_the_address_is_not_part_of_it(home: Path) -> None:
    """One account has several hosts, and a lab may come back at another port."""
    at = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    assert account(home, KEY) == account(home, {**KEY, **at})


def test_together_has_accounts_too(home: Path) -> None:
    one, two = (
        TogetherBackend(Context(home=home, env={"TOGETHER_API_KEY": key})).account()
        for key in ("key-one-000000000000", "key-two-000000000000")
    )
    assert not may_be_same(one, two)


def test_an_unrecorded_account_may_be_any() -> None:
    assert may_be_same(None, "project:a")
    assert may_be_same("key:ab:cd", None)
    assert account_name(None) == "unknown"


def _secret(home: Path, results: Any) -> None:
    results.put(account_secret(home))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts many processes quickly")
def test_processes_that_start_at_once_share_one_secret(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_secret, args=(home, results)) for _ in range(12)]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(30)
    assert found == {(home / "account.secret").read_bytes()}
    assert [path.name for path in home.iterdir()] == ["account.secret"]


def test_a_secret_that_others_can_read_is_made_private(home: Path) -> None:
    secret = account_secret(home)
    path = home / "account.secret"
    path.chmod(0o644)
    assert account_secret(home) == secret
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_an_error(home: Path, content: bytes) -> None:
    account_secret(home)
    (home / "account.secret").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        account(home, KEY)
    assert caught.value.where.endswith("account.secret")
    assert f"{len(content)} bytes" in caught.value.what


def test_all_keys_of_an_azure_resource_are_one_account(home: Path) -> None:
    """A resource has two keys, so that one can be replaced; tokens of Entra last an hour."""

    def at(host: str, key: str) -> str | None:
        env = {"AZURE_OPENAI_ENDPOINT": f"https://{host}", "AZURE_OPENAI_API_KEY": key}
        return AzureBackend(Context(home=home, env=env)).account()

    first = at("acme.openai.azure.com", "key-1-000000000000000")
    assert first == "resource:acme.openai.azure.com"
    assert at("acme.openai.azure.com", "key-2-000000000000000") == first
    assert not may_be_same(at("other.openai.azure.com", "key-1-000000000000000"), first)
    at_gateway = at("gateway.example", "key-1-000000000000000")
    assert at_gateway is not None
    assert at_gateway.startswith("key:")


def test_an_account_can_be_named(home: Path) -> None:
    """Where keys last an hour, for instance at a gateway."""
    named = account(home, KEY, account="acme")
    assert named == account(home, OTHER, account="acme") == "named:acme"
    assert account_name(named) == "acme"
    assert not may_be_same(named, account(home, KEY))
