"""Entry points are read once, and again after an installation."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.registry import backend_names
from ftsdk.util.entry_points import entry_points

GROUP = "ftsdk.test_group"


def install(folder: Path, name: str) -> None:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {name}_module:Thing\n")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The groups that were really read from disk."""
    real, found = importlib.metadata.entry_points, list[str]()

    def counted(*, group: str) -> Any:
        found.append(group)
        return real(group=group)

    monkeypatch.setattr(importlib.metadata, "entry_points", counted)
    return found


def test_a_package_that_is_installed_meanwhile_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), str(tmp_path / "missing"), *sys.path])
    assert entry_points(GROUP) == ()
    assert entry_points(GROUP) == ()
    assert reads == [GROUP]
    install(folder, "one")
    assert [(one.name, one.value) for one in entry_points(GROUP)] == [("one", "one_module:Thing")]
    install(folder, "two")
    for _ in range(3):
        assert sorted(one.name for one in entry_points(GROUP)) == ["one", "two"]
    assert reads == [GROUP] * 3


def test_another_search_path_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "elsewhere")
    assert entry_points(GROUP) == ()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [one.name for one in entry_points(GROUP)] == ["elsewhere"]


def test_backends_are_listed_without_reading_again(reads: list[str]) -> None:
    backend_names()
    reads.clear()
    assert "fake" in backend_names()
    assert reads == []
