"""Folders of base models: digests, and the refusal of unsafe or incomplete ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ftsdk.backends.local.models import model_folder
from ftsdk.backends.local.models.resolve import is_pulled, resolve_model
from ftsdk.errors import (
    Unsupported,
)
from ftsdk.util.files import sha256_file
from tests.unit.backends.local.models.model_files import (
    TEMPLATE,
    make_model,
    safetensors,
)


def test_a_folder_is_resolved_with_its_digests(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    found = resolve_model(str(folder), home=home)
    assert (found.path, found.source, found.revision) == (folder, "folder", None)
    assert found.sha256 == hashlib.sha256(safetensors()).hexdigest()
    assert found.chat_template_sha256 == hashlib.sha256(TEMPLATE.encode()).hexdigest()
    assert is_pulled(str(folder), home=home)


def test_the_users_folder_is_not_changed(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    before = sorted(folder.iterdir())
    resolve_model(str(folder), home=home)
    assert sorted(folder.iterdir()) == before


def test_weights_are_read_once_until_they_change(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "mine")
    first = resolve_model(str(folder), home=home)
    read: list[Path] = []
    real = sha256_file

    def reading(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(model_folder, "sha256_file", reading)
    assert resolve_model(str(folder), home=home) == first
    assert read == []
    (folder / "model.safetensors").write_bytes(safetensors(1) + b"\0")
    assert resolve_model(str(folder), home=home).sha256 != first.sha256
    assert len(read) == 1


def test_a_damaged_cache_of_digests_is_written_again(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    first = resolve_model(str(folder), home=home)
    (kept,) = (home / "models" / ".facts").iterdir()
    kept.write_text("{half")
    assert resolve_model(str(folder), home=home) == first


def test_several_weight_files_have_one_digest(tmp_path: Path, home: Path) -> None:
    folder = make_model(tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for value, name in enumerate(names):
        (folder / name).write_bytes(safetensors(value))
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    lines = "".join(
        f"{hashlib.sha256(safetensors(value)).hexdigest()}  {name}\n"
        for value, name in enumerate(names)
    )
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert resolve_model(str(folder), home=home).sha256 == expected
    (folder / names[1]).unlink()
    with pytest.raises(Unsupported, match="not complete"):
        resolve_model(str(folder), home=home)


def test_of_several_templates_the_default_is_used(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "mine")
    (folder / "chat_template.jinja").unlink()
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert model_folder.chat_template_of(folder) == "D"


def _only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    )


def _cut(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(safetensors()[:20])


def _adapter(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def _escape(folder: Path) -> None:
    index = {"weight_map": {"a": "../other/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_only_pickle, r"only pickle weights \(pytorch_model.bin\).*safetensors only"),
        (_pointer, "Git LFS pointer"),
        (_cut, "not a safetensors file"),
        (_adapter, "adapter, not a base model"),
        (_escape, "not complete"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer"),
    ],
)
def test_a_folder_that_is_no_safe_model_is_refused_with_the_reason(
    spoil: Callable[[Path], object], says: str, tmp_path: Path, home: Path
) -> None:
    folder = make_model(tmp_path / "mine")
    spoil(folder)
    with pytest.raises(Unsupported, match=says) as caught:
        resolve_model(str(folder), home=home)
    assert str(folder) in caught.value.where
    assert caught.value.hint
    assert not is_pulled(str(folder), home=home)


def test_a_file_is_not_a_model(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors())
    with pytest.raises(Unsupported, match="is a file; a model is a folder"):
        resolve_model(str(path), home=home)
