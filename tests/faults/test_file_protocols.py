"""T6: after a power cut, the old or the new version of a file can be read, and never a mixture.

Each protocol runs once over a recorder. Then every prefix of what it did is written out, with unsynced
changes kept, dropped or torn, and read with the reader of the package. Once a protocol has returned,
only the new version is correct. The short tier writes about a thousand states, `--long` over 6,000.
Without the fsyncs of files, or without those of folders, the harness has to find a fault.
"""

from __future__ import annotations

import functools
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from ftsdk.util import files
from tests.faults.file_crashes import Recorder, states

VERSIONS = 4


class MixedVersionsError(Exception):
    """The content is no version that was written."""


@functools.cache
def body(version: int, salt: str = "") -> bytes:
    return random.Random(f"{version}{salt}").randbytes(9_000 - 1_300 * version)


def version_of(data: bytes, salt: str = "") -> int:
    for version in range(VERSIONS + 1):
        if data == body(version, salt):
            return version
    raise MixedVersionsError(f"{len(data)} bytes of no version")


class Protocol:
    """Writes versions 1, 2 … below a folder, and reads which one is there (0: none)."""

    long = 3_000  # different states in the long tier

    def __init__(self, scan: Callable[[], None]) -> None:
        self.scan = scan  # lets the recorder see what is written so far

    def before(self, root: Path) -> None:
        """Write what exists, and is synced, when the recording begins."""

    def write(self, root: Path, version: int) -> None:
        raise NotImplementedError

    def read(self, root: Path) -> int:
        raise NotImplementedError


class Bytes(Protocol):
    long = 120  # a protocol of five steps does not have many more

    def write(self, root: Path, version: int) -> None:
        files.atomic_write_bytes(root / "state.bin", body(version))

    def read(self, root: Path) -> int:
        path = root / "state.bin"
        return version_of(path.read_bytes()) if path.exists() else 0


class Download(Bytes):
    """A file written in pieces, over an existing one."""

    def before(self, root: Path) -> None:
        (root / "state.bin").write_bytes(body(0))

    def write(self, root: Path, version: int) -> None:
        with files.atomic_file(root / "state.bin") as handle:
            data = body(version)
            for start in range(0, len(data), 900):
                handle.write(data[start : start + 900])
                handle.flush()
                self.scan()


class Json(Protocol):
    long = 120

    def write(self, root: Path, version: int) -> None:
        files.atomic_write_json(root / "facts.json", {"version": version, "why": "é" * 3_000})

    def read(self, root: Path) -> int:
        path = root / "facts.json"
        if not path.exists():
            return 0
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            raise MixedVersionsError(str(error)) from error
        if found["why"] != "é" * 3_000:
            raise MixedVersionsError("another text")
        return int(found["version"])


class Folder(Protocol):
    """Folders `v1`, `v2` …, each with files and subfolders; `.tmp` folders are ignored."""

    files = ("a.bin", "b.bin", "deep/c.bin", "deep/er/d.bin")

    def write(self, root: Path, version: int) -> None:
        with files.atomic_folder(root / f"v{version}") as folder:
            for name in self.files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(body(version, name))
                self.scan()

    def read(self, root: Path) -> int:
        newest = 0
        for folder in root.glob("v*"):
            newest = max(newest, int(folder.name[1:]))
            there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
            if there != set(self.files):
                raise MixedVersionsError(f"only {sorted(there)}")
            for name in self.files:
                if version_of((folder / name).read_bytes(), name) != int(folder.name[1:]):
                    raise MixedVersionsError(f"{name} is of another version")
        return newest


class NewFolders(Json):
    """A file in a new folder, and an atomic folder in another."""

    def write(self, root: Path, version: int) -> None:
        private = files.make_private_folder(root / "a" / f"{version}" / "p")
        super().write(private, version)
        with files.atomic_folder(root / "b" / f"{version}" / "whole") as folder:
            super().write(folder, version)

    def read(self, root: Path) -> int:
        newest = 0
        for version in range(1, VERSIONS + 1):
            paths = (root / "a" / f"{version}" / "p", root / "b" / f"{version}" / "whole")
            found = [super(NewFolders, self).read(path) for path in paths]
            if paths[1].exists() and found[1] != version:
                raise MixedVersionsError("a folder without its file")
            newest = version if found == [version, version] else newest
        return newest


class Trainer(Protocol):
    """The trainer's checkpoints: the newest valid one is found, and older ones are deleted.

    The folder also has what an earlier crash left: an incomplete folder, and a damaged checkpoint with
    the name of the second.
    """

    identity = {"run": "r", "spec": "s"}

    def __init__(self, scan: Callable[[], None]) -> None:
        super().__init__(scan)
        pytest.importorskip("torch", reason="the trainer needs the extra `local`")
        self.checkpoints: Any = None

    def before(self, root: Path) -> None:
        for name in (".step-00000001.abc.tmp", "step-00000002"):
            (root / "ck" / name).mkdir(parents=True)
            (root / "ck" / name / "manifest.json").write_bytes(b'{"format": 1, "fi')

    def write(self, root: Path, version: int) -> None:
        import torch

        from ftsdk.backends.local.training.checkpoint import Checkpoints, TrainState

        class Optimizer:
            def weights(self) -> dict[str, torch.Tensor]:
                return {"w.lora_A.default.weight": torch.full((200,), float(version))}

            def moments(self) -> dict[str, torch.Tensor]:
                return {"exp_avg:w": torch.full((200,), -float(version))}

        if self.checkpoints is None:
            self.checkpoints = Checkpoints(root / "ck", self.identity, keep=2)

        def save_config(folder: Path) -> None:
            (folder / "adapter_config.json").write_bytes(b"{}\n")
            self.scan()

        self.checkpoints.save(
            TrainState(step=version, loss=version / 2),
            Optimizer(),
            save_config,
            "adapter_model.safetensors",
            {"note": "n" * 600},
        )

    def read(self, root: Path) -> int:
        from safetensors.torch import load_file

        from ftsdk.backends.local.training.checkpoint import Checkpoints

        if not (root / "ck").exists():
            raise MixedVersionsError("the existing folder is gone")
        found, manifest, _ = Checkpoints(root / "ck", self.identity, keep=2).find()
        if found is None:
            return 0
        version = int(manifest["step"])
        weights = load_file(found / manifest["weights_file"])["w.lora_A.weight"]
        state = json.loads((found / "state.json").read_bytes())
        if set(weights.tolist()) != {float(version)} or state["loss"] != version / 2:
            raise MixedVersionsError(f"a checkpoint of step {version} has other content")
        return version


PROTOCOLS = [Bytes, Download, Json, Folder, NewFolders, Trainer]


def record(
    kind: type[Protocol],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ignores: Literal["", "files", "folders"] = "",
) -> tuple[Recorder, Protocol]:
    """Run the protocol once for each version; return the recorder and the protocol."""
    root = tmp_path / "root"
    root.mkdir()
    protocol = kind(lambda: recorder.scan())  # noqa: PLW0108  # defined below
    protocol.before(root)
    recorder = Recorder(root, ignores)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", recorder)
        for version in range(1, VERSIONS + 1):
            protocol.write(root, version)
            recorder.acknowledge(version)
    assert protocol.read(root) == VERSIONS
    return recorder, protocol


def check_states(
    recorder: Recorder, protocol: Protocol, place: Path, enough: int, *, stop_at_bad: int = 10**9
) -> tuple[int, list[str]]:
    """Return the number of states checked, and what is wrong with which."""
    count, wrong = 0, list[str]()
    for state in states(recorder, random.Random(6), enough):
        if len(wrong) >= stop_at_bad:
            break
        count += 1
        state.write_to(place)
        try:
            found = protocol.read(place)
        except MixedVersionsError as error:
            wrong.append(f"after {state.prefix} operations: mixed: {error}")
            continue
        if found not in (state.acknowledged, state.acknowledged + 1):
            wrong.append(
                f"after {state.prefix} operations: acknowledged {state.acknowledged}, found {found}"
            )
    return count, wrong


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder for the states, in memory where possible, which is faster."""
    memory = Path("/dev/shm")
    fast = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if fast else tmp_path) as folder:
        yield Path(folder) / "after"


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_power_cut_leaves_the_old_or_the_new_version(
    kind: type[Protocol],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enough = kind.long if request.config.getoption("--long") else 120
    recorder, protocol = record(kind, tmp_path, monkeypatch)
    count, wrong = check_states(recorder, protocol, place, enough)
    print(
        f"{kind.__name__}: {len(recorder.operations)} operations, {count:,} states, {len(wrong)} bad"
    )
    assert not wrong, wrong[:5]
    assert count >= enough


@pytest.mark.parametrize("ignores", ["files", "folders"])
@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_missing_fsync_is_caught(
    kind: type[Protocol],
    ignores: Literal["files", "folders"],
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder, protocol = record(kind, tmp_path, monkeypatch, ignores)
    count, wrong = check_states(recorder, protocol, place, 100, stop_at_bad=20)
    print(f"{kind.__name__} without fsync of {ignores}: {len(wrong)} of {count} states bad")
    assert wrong
    if (
        kind in {Bytes, Download, Json, Folder} and ignores == "files"
    ):  # the reader of checkpoints verifies what it reads
        assert any("mixed" in verdict for verdict in wrong)


class InPlace(Bytes):
    """Planted bug: the file is written in place."""

    def write(self, root: Path, version: int) -> None:
        (root / "state.bin").write_bytes(body(version))
        system = vars(files)["os"]  # the recorder
        fd = system.open(root / "state.bin", system.O_RDONLY)
        system.fsync(fd)
        system.close(fd)
        files.fsync_folder(root)


def test_writing_in_place_is_caught(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, wrong = check_states(*record(InPlace, tmp_path, monkeypatch), place, 100)
    assert any("mixed" in verdict for verdict in wrong)
