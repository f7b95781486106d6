"""T6: whenever the power goes, the old or the new version of a file can be read, and never half.

Each protocol runs once over a recorder; then every prefix of what it did is laid out with unsynced
changes kept, dropped or torn, and read with the package's own reader. Once a protocol has returned,
only the new version will do. The short tier lays out about a thousand states, `--long` over
6,000. Without the fsyncs of files, or without those of folders, the same harness has to find
something wrong.
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


class HalfError(Exception):
    """Something is readable that nobody ever wrote."""


@functools.cache
def body(version: int, salt: str = "") -> bytes:
    return random.Random(f"{version}{salt}").randbytes(9_000 - 1_300 * version)


def version_of(data: bytes, salt: str = "") -> int:
    for version in range(VERSIONS + 1):
        if data == body(version, salt):
            return version
    raise HalfError(f"{len(data)} bytes that nobody wrote")


class Protocol:
    """How versions 1, 2 … are written below a folder, and which one a reader finds (0: none)."""

    long = 3_000  # different states that the long tier lays out

    def __init__(self, look: Callable[[], None]) -> None:
        self.look = look  # call it where the recorder should see what is written so far

    def before(self, root: Path) -> None:
        """What is there, and synced, when the recording begins."""

    def write(self, root: Path, version: int) -> None:
        raise NotImplementedError

    def read(self, root: Path) -> int:
        raise NotImplementedError


class Bytes(Protocol):
    long = 120  # a protocol of five steps has not many more

    def write(self, root: Path, version: int) -> None:
        files.atomic_write_bytes(root / "state.bin", body(version))

    def read(self, root: Path) -> int:
        path = root / "state.bin"
        return version_of(path.read_bytes()) if path.exists() else 0


class Download(Bytes):
    """A file written bit by bit, over one that is there."""

    def before(self, root: Path) -> None:
        (root / "state.bin").write_bytes(body(0))

    def write(self, root: Path, version: int) -> None:
        with files.atomic_file(root / "state.bin") as handle:
            data = body(version)
            for start in range(0, len(data), 900):
                handle.write(data[start : start + 900])
                handle.flush()
                self.look()


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
            raise HalfError(str(error)) from error
        if found["why"] != "é" * 3_000:
            raise HalfError("another text")
        return int(found["version"])


class Folder(Protocol):
    """Folders `v1`, `v2` …, each with files in it and below it; `.tmp` ones are nobody's."""

    files = ("a.bin", "b.bin", "deep/c.bin", "deep/er/d.bin")

    def write(self, root: Path, version: int) -> None:
        with files.atomic_folder(root / f"v{version}") as folder:
            for name in self.files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(body(version, name))
                self.look()

    def read(self, root: Path) -> int:
        newest = 0
        for folder in root.glob("v*"):
            newest = max(newest, int(folder.name[1:]))
            there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
            if there != set(self.files):
                raise HalfError(f"only {sorted(there)}")
            for name in self.files:
                if version_of((folder / name).read_bytes(), name) != int(folder.name[1:]):
                    raise HalfError(f"{name} is of another version")
        return newest


class NewFolders(Json):
    """A file in a folder that is made for it, and a whole folder in another."""

    def write(self, root: Path, version: int) -> None:
        private = files.make_private_folder(root / "a" / f"{version}" / "p")
        super().write(private, version)
        with files.atomic_folder(root / "b" / f"{version}" / "whole") as folder:
            super().write(folder, version)

    def read(self, root: Path) -> int:
        newest = 0
        for version in range(1, VERSIONS + 1):
            places = (root / "a" / f"{version}" / "p", root / "b" / f"{version}" / "whole")
            found = [super(NewFolders, self).read(place) for place in places]
            if places[1].exists() and found[1] != version:
                raise HalfError("a folder without its file")
            newest = version if found == [version, version] else newest
        return newest


class Trainer(Protocol):
    """The trainer's checkpoints: the newest sound one is found, and older ones are forgotten.

    What a crash before left is there too: a half-written folder, and a damaged checkpoint in the
    place of the second.
    """

    identity = {"run": "r", "spec": "s"}

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__(look)
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
            self.look()

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
            raise HalfError("the folder that was there is gone")
        found, manifest, _ = Checkpoints(root / "ck", self.identity, keep=2).find()
        if found is None:
            return 0
        version = int(manifest["step"])
        weights = load_file(found / manifest["weights_file"])["w.lora_A.weight"]
        state = json.loads((found / "state.json").read_bytes())
        if set(weights.tolist()) != {float(version)} or state["loss"] != version / 2:
            raise HalfError(f"a checkpoint of step {version} holds something else")
        return version


PROTOCOLS = [Bytes, Download, Json, Folder, NewFolders, Trainer]


def record(
    kind: type[Protocol],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    deaf_to: Literal["", "files", "folders"] = "",
) -> tuple[Recorder, Protocol]:
    """Run the protocol once through all its versions."""
    root = tmp_path / "root"
    root.mkdir()
    protocol = kind(lambda: recorder.look())  # noqa: PLW0108  # it is made below
    protocol.before(root)
    recorder = Recorder(root, deaf_to)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", recorder)
        for version in range(1, VERSIONS + 1):
            protocol.write(root, version)
            recorder.told(version)
    assert protocol.read(root) == VERSIONS
    return recorder, protocol


def judge(
    recorder: Recorder, protocol: Protocol, place: Path, enough: int, *, stop_at_bad: int = 10**9
) -> tuple[int, list[str]]:
    """How many states were laid out, and what is wrong with which."""
    count, wrong = 0, list[str]()
    for state in states(recorder, random.Random(6), enough):
        if len(wrong) >= stop_at_bad:
            break
        count += 1
        state.lay_out(place)
        try:
            found = protocol.read(place)
        except HalfError as error:
            wrong.append(f"after {state.prefix} operations: half: {error}")
            continue
        if found not in (state.told, state.told + 1):
            wrong.append(f"after {state.prefix} operations: told {state.told}, found {found}")
    return count, wrong


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Where states are laid out: in memory where the system has such a folder, which is faster."""
    memory = Path("/dev/shm")
    fast = memory.is_dir() and os.access(memory, os.W_OK)
    with tempfile.TemporaryDirectory(dir=memory if fast else tmp_path) as folder:
        yield Path(folder) / "after"


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_old_or_new_and_never_half(
    kind: type[Protocol],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enough = kind.long if request.config.getoption("--long") else 120
    recorder, protocol = record(kind, tmp_path, monkeypatch)
    count, wrong = judge(recorder, protocol, place, enough)
    print(
        f"{kind.__name__}: {len(recorder.operations)} operations, {count:,} states, {len(wrong)} bad"
    )
    assert not wrong, wrong[:5]
    assert count >= enough


@pytest.mark.parametrize("deaf_to", ["files", "folders"])
@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_missing_fsync_is_caught(
    kind: type[Protocol],
    deaf_to: Literal["files", "folders"],
    tmp_path: Path,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder, protocol = record(kind, tmp_path, monkeypatch, deaf_to)
    count, wrong = judge(recorder, protocol, place, 100, stop_at_bad=20)
    print(f"{kind.__name__} deaf to {deaf_to}: {len(wrong)} of {count} states bad")
    assert wrong
    if (
        kind in {Bytes, Download, Json, Folder} and deaf_to == "files"
    ):  # the trainer's reader checks what it reads
        assert any("half" in verdict for verdict in wrong)


class InPlace(Bytes):
    """Planted: written where it is read."""

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
    _, wrong = judge(*record(InPlace, tmp_path, monkeypatch), place, 100)
    assert any("half" in verdict for verdict in wrong)
