"""Trained weights are downloaded, unpacked, and described beside them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from ftsdk.artifacts.download import Source
from ftsdk.artifacts.partial_file import PartialFile
from ftsdk.backends.hosted import results
from ftsdk.errors import StoreError
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import ManualClock
from ftsdk.util.locks import file_lock


def test_the_weights_are_unpacked_and_the_archive_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def download(source: Source, target: Path, **how: object) -> None:
        asked.update(how, source=source)
        with tarfile.open(target, "w:gz") as archive:
            member = tarfile.TarInfo("adapter.safetensors")
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))

    monkeypatch.setattr(results, "download", download)
    handle = ModelHandle(kind="adapter", provider="p", id="m", base_model="b", raw={"x": 1})
    folder, clock, source = tmp_path / "out", ManualClock(), Source("https://host/w?signed=1")
    assert results.download_weights(folder, source, handle, home=tmp_path, clock=clock) == folder
    assert (folder / "adapter.safetensors").read_bytes() == b"abc"
    facts = json.loads((folder / "ftsdk.json").read_bytes())
    assert (facts["id"], facts["base_model"], "raw" in facts) == ("m", "b", False)
    assert (folder / "ftsdk.json").stat().st_mode & 0o777 == 0o644
    part = asked.pop("part")
    assert isinstance(part, PartialFile)
    assert asked == {"source": source, "clock": clock, "max_bytes": 1 << 40}
    assert [path.suffix for path in (tmp_path / "downloads").iterdir()] == [".lock"]


def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, **more: str) -> str:
    """The name under which the beginning of this download is kept."""
    found = []

    def download(source: Source, target: Path, *, part: PartialFile, **how: object) -> None:
        found.append(part.path.name)
        raise StopIteration

    monkeypatch.setattr(results, "download", download)
    handle = ModelHandle(kind="adapter", provider="p", id=more.pop("id", "m"), base_model="b")
    with pytest.raises(StopIteration):
        results.download_weights(
            tmp_path / "out", Source(url), handle, home=tmp_path, clock=ManualClock(), **more
        )
    return found[0]


def test_a_download_is_continued_under_a_new_signature_and_never_as_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = names(tmp_path, monkeypatch, "https://host/w?signature=1")
    assert names(tmp_path, monkeypatch, "https://host/w?signature=2") == first
    others = [
        names(tmp_path, monkeypatch, "https://host/other?signature=1"),
        names(tmp_path, monkeypatch, "https://host/w", id="n"),
        names(tmp_path, monkeypatch, "https://host/w", kind="merged"),
    ]
    assert len({first, *others}) == 4


def test_two_processes_do_not_write_the_same_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = names(tmp_path, monkeypatch, "https://host/w")
    with (
        file_lock(tmp_path / "downloads" / f"{Path(name).stem}.lock"),
        pytest.raises(StoreError, match="Another process"),
    ):
        names(tmp_path, monkeypatch, "https://host/w")
