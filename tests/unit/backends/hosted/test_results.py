"""Trained weights are downloaded, unpacked, and described beside them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from ftsdk.backends.hosted import results
from ftsdk.types.model import ModelHandle
from ftsdk.util.clock import ManualClock


def test_the_weights_are_unpacked_and_the_archive_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def download(source: str, target: Path, **how: object) -> None:
        asked.update(how, source=source)
        with tarfile.open(target, "w:gz") as archive:
            member = tarfile.TarInfo("adapter.safetensors")
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))

    monkeypatch.setattr(results, "download", download)
    handle = ModelHandle(kind="adapter", provider="p", id="m", base_model="b", raw={"x": 1})
    folder, clock = tmp_path / "out", ManualClock()
    assert results.download_weights(folder, "url", handle, home=tmp_path, clock=clock) == folder
    assert (folder / "adapter.safetensors").read_bytes() == b"abc"
    facts = json.loads((folder / "ftsdk.json").read_bytes())
    assert (facts["id"], facts["base_model"], "raw" in facts) == ("m", "b", False)
    assert (folder / "ftsdk.json").stat().st_mode & 0o777 == 0o644
    assert asked == {"source": "url", "clock": clock, "max_bytes": 1 << 40}
    assert list((tmp_path / "downloads").iterdir()) == []
