"""Pushes of an export to a hub on loopback: private, whole, resumed, compared, and never too much."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftsdk.errors import (
    AuthError,
    FtsdkError,
    Rejected,
    Unavailable,
    UnexpectedResponse,
    UsageError,
)
from ftsdk.exporting.push import check_access, push
from ftsdk.jobs import exporting
from tests.unit.cli.conftest import Cli
from tests.unit.exporting.hub_double import KEY, PushHub

pytest.importorskip("huggingface_hub")
# The hub's library calls httpx in a way that httpx is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "me/support"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[PushHub]:
    from huggingface_hub import _commit_api, constants

    double = PushHub()
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # The double has the older of the hub's two storages.
    monkeypatch.setattr(_commit_api, "is_xet_available", lambda: False)
    monkeypatch.setenv("HF_ENDPOINT", double.url)
    monkeypatch.setenv("HF_TOKEN", KEY)
    yield double
    double.close()


def exported(
    folder: Path, target: str = "merged", license_: str | None = "apache-2.0", **files: bytes
) -> Path:
    """A folder as an export leaves it, and beside it a file that is not of the export."""
    folder.mkdir(parents=True)
    named = {name.replace("_", ".", 1): content for name, content in files.items()}
    content = {"model.safetensors": b"weights" * 99, "config.json": b"{}", **named}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    passport = {
        "format": 1,
        "base_model": {"license": license_},
        "export": {"target": target, "files": digests},
    }
    (folder / "ftsdk.json").write_text(json.dumps(passport))
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n\n# support\n")
    (folder / "notes.txt").write_text("mine alone")
    return folder


EXPORT = ("README.md", "config.json", "ftsdk.json", "model.safetensors")


def test_a_new_repository_is_private_and_has_the_export_alone(hub: PushHub, tmp_path: Path) -> None:
    steps: list[str] = []
    done = push(exported(tmp_path / "out"), REPO, on_step=steps.append)
    there = hub.repositories[REPO]
    assert there.private
    assert done.private
    assert done.commit == there.head
    assert sorted(there.files) == sorted(done.sent) == sorted(EXPORT)
    assert all(there.files[name] == (tmp_path / "out" / name).read_bytes() for name in EXPORT)
    assert len(there.commits) == 2, "one commit has all of it"
    assert done.url == f"{hub.url}/{REPO}"
    assert [step.split()[0] for step in steps] == ["checking", "creating", *["sending"] * 4, "committing", "comparing"]  # fmt: skip


def test_pushing_the_same_again_sends_nothing(hub: PushHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "out")
    push(folder, REPO)
    again = push(folder, REPO)
    assert again.sent == ()
    assert sorted(again.unchanged) == sorted(EXPORT)
    assert len(hub.repositories[REPO].commits) == 2
    assert len(hub.uploads) == 1


def test_an_interrupted_push_shows_nothing_and_goes_on(hub: PushHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "out", model2_safetensors=b"more" * 50)
    hub.drop_uploads = {2}
    with pytest.raises(FtsdkError, match="hub"):
        push(folder, REPO)
    assert hub.repositories[REPO].files == {}
    assert len(hub.stored) == 1
    push(folder, REPO)
    assert len(hub.uploads) == 3, "what had arrived is not sent again"
    assert "model2.safetensors" in hub.repositories[REPO].files


def test_a_changed_file_is_not_pushed(hub: PushHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "out")
    (folder / "model.safetensors").write_bytes(b"other")
    (folder / "config.json").unlink()
    with pytest.raises(UsageError, match=r"2 files changed .*model\.safetensors, config\.json"):
        push(folder, REPO)
    assert hub.repositories == {}


@pytest.mark.parametrize("case", ["made public", "was public"])
def test_nothing_is_sent_to_a_public_repository_unasked(
    case: str, hub: PushHub, tmp_path: Path
) -> None:
    folder = exported(tmp_path / "out")
    if case == "was public":
        push(folder, REPO, public=True)
        (folder / "README.md").write_text("---\n---\nanother card\n")
    hub.makes_public = True
    before = len(hub.stored)
    with pytest.raises(UsageError, match="is public") as caught:
        push(folder, REPO)
    assert "--public" in str(caught.value.hint)
    assert len(hub.stored) == before


def test_public_is_possible_and_an_unknown_licence_is_said(hub: PushHub, tmp_path: Path) -> None:
    done = push(exported(tmp_path / "out", license_=None), REPO, public=True)
    assert not done.private
    assert "licence" in done.notes[0]
    assert push(exported(tmp_path / "known"), "me/known", public=True).notes == ()


def test_a_private_repository_stays_private(hub: PushHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "out")
    push(folder, REPO)
    done = push(folder, REPO, public=True)
    assert done.private
    assert "still is" in done.notes[0]


def test_files_of_an_earlier_export_go_and_others_stay(hub: PushHub, tmp_path: Path) -> None:
    push(exported(tmp_path / "first", model2_safetensors=b"shard"), REPO)
    hub.repositories[REPO].files["picture.png"] = b"by hand"
    done = push(exported(tmp_path / "second"), REPO)
    assert done.removed == ("model2.safetensors",)
    assert sorted(hub.repositories[REPO].files) == sorted([*EXPORT, "picture.png"])


def test_weights_of_somebody_else_are_not_mixed_with_ours(hub: PushHub, tmp_path: Path) -> None:
    folder = exported(tmp_path / "out")
    push(folder, REPO)
    hub.repositories[REPO].files["adapter_model.safetensors"] = b"theirs"
    with pytest.raises(UsageError, match=r"adapter_model\.safetensors") as caught:
        push(folder, REPO)
    assert "another repository" in str(caught.value.hint)
    assert hub.repositories[REPO].files["adapter_model.safetensors"] == b"theirs"


def test_what_the_hub_holds_is_compared(hub: PushHub, tmp_path: Path) -> None:
    for spoiled in ("model.safetensors", "config.json"):
        hub.spoils = spoiled
        with pytest.raises(UnexpectedResponse, match=f"does not hold what was sent: {spoiled}"):
            push(exported(tmp_path / spoiled / "out"), f"me/{spoiled}")


def test_a_commit_of_somebody_else_in_between_is_not_overwritten(
    hub: PushHub, tmp_path: Path
) -> None:
    def interfere() -> None:
        there = hub.repositories[REPO]
        if len(there.commits) == 1:
            there.commits.append({})

    hub.before_commit = interfere
    with pytest.raises(Rejected, match="another commit"):
        push(exported(tmp_path / "out"), REPO)


def test_refusals_of_the_hub_say_what_to_do(hub: PushHub, tmp_path: Path, monkeypatch: Any) -> None:
    folder = exported(tmp_path / "out")
    with pytest.raises(AuthError, match="may not write to other/support"):
        push(folder, "other/support")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "w" * 34)
    with pytest.raises(AuthError) as caught:
        push(folder, REPO)
    assert "HF_TOKEN" in str(caught.value.hint)
    assert "www" not in f"{caught.value!r}{caught.value}"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Unavailable, match="switched off"):
        push(folder, REPO)


def test_access_is_asked_before_an_export_and_makes_nothing(
    hub: PushHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_access(REPO)
    check_access("team/support", public=True)
    with pytest.raises(AuthError, match="other/support: it is of me"):
        check_access("other/support")
    hub.role = "read"
    with pytest.raises(AuthError, match="it only reads"):
        check_access(REPO)
    hub.role = "fineGrained"
    push(exported(tmp_path / "out"), REPO, public=True)
    with pytest.raises(UsageError, match="is public"):
        check_access(REPO)
    assert list(hub.repositories) == [REPO]
    monkeypatch.setenv("HF_TOKEN", "hf_" + "w" * 34)
    with pytest.raises(AuthError, match="does not let you write"):
        check_access(REPO)


def test_a_job_is_exported_only_when_it_could_be_pushed(
    hub: PushHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(exporting, "export_model", lambda *_, **__: pytest.fail("exported"))
    session: Any = SimpleNamespace(home=tmp_path / "home")
    nothing: Any = None
    with pytest.raises(AuthError):
        exporting.push_model(
            session, nothing, "other/x", "adapter", nothing, snapshot=nothing, on_step=steps.append
        )
    assert steps == ["asking the hub about other/x"]


@pytest.mark.parametrize("name", ["support", "me/support@main", "../x", "me/a/b"])
def test_a_name_that_is_no_repository(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not name a repository"):
        push(exported(tmp_path / "out"), name)


def test_a_folder_that_is_no_export(tmp_path: Path) -> None:
    for content in (None, "{", "[]", '{"export": {"files": {}}}'):
        if content is not None:
            (tmp_path / "ftsdk.json").write_text(content)
        with pytest.raises(UsageError, match="not an export"):
            push(tmp_path, REPO)
    folder = exported(tmp_path / "out")
    passport = json.loads((folder / "ftsdk.json").read_text())
    passport["export"]["files"]["../secret"] = "0" * 64
    (folder / "ftsdk.json").write_text(json.dumps(passport))
    with pytest.raises(UsageError, match="outside the folder"):
        push(folder, REPO)


def test_the_command_pushes_a_folder(
    hub: PushHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "home"))
    folder, cli = exported(tmp_path / "out"), Cli()
    ran = cli.ok("push", folder, REPO)
    assert f"{hub.url}/{REPO}   private, 4 files sent" in ran.out
    assert hub.repositories[REPO].head in ran.out
    assert "it has this export already" in cli.ok("push", folder, REPO).out
    assert cli.ok("push", folder, REPO, "--json").json["private"] is True
    error = cli.error(2, "push", folder, REPO, "--form", "gguf")
    assert "as it was exported" in error["what"]
    assert cli.error(2, "push", "job", "name-alone")["code"]
