"""The real trainer on small real models; these tests need the `local` extra."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import multiprocessing
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.train import child, tiny


def _smollm2_folders() -> list[Path]:
    """Folders where smollm2-135m may be; read before each test gets its own home."""
    folders = []
    if os.environ.get("FTSDK_TEST_SMOLLM2"):
        folders.append(Path(os.environ["FTSDK_TEST_SMOLLM2"]))
    with contextlib.suppress(ImportError):
        import platformdirs

        home = os.environ.get("FTSDK_HOME") or platformdirs.user_data_dir("ftsdk", appauthor=False)
        folders.append(Path(home) / "models" / "smollm2-135m")
    return folders


SMOLLM2_FOLDERS = _smollm2_folders()
NEEDED = ("torch", "transformers", "peft", "safetensors", "tokenizers", "jinja2")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them where the training stack is not installed."""
    skip = pytest.mark.skip(reason=f"needs ftsdk[local]; not installed: {', '.join(MISSING)}")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.train)
            if MISSING:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a two-layer model."""
    return tiny.write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of smollm2-135m; skips the test where it was not pulled."""
    for folder in SMOLLM2_FOLDERS:
        if (folder / "model.safetensors").is_file():
            return folder
    pytest.skip("smollm2-135m is not here; `ftsdk models pull smollm2-135m` fetches it")


@pytest.fixture(scope="session")
def train() -> Callable[..., int]:
    """`train(run_path, plant=…)` runs the trainer in its own process; returns the exit status.

    The processes are forked from a server that has imported the training stack once, so that a
    run costs a second and not ten. `plant` names a function of `trainer_process` that breaks
    something first; the further arguments are passed to it. `kill_after_s` kills the process then.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.trainer_process"])

    def run(
        path: Path, plant: str | None = None, *arguments: object, kill_after_s: float | None = None
    ) -> int:
        process = context.Process(target=child.run, args=(str(path), plant, arguments))
        process.start()
        if kill_after_s is not None:
            process.join(kill_after_s)
            process.kill()
        return ended(process)

    return run


def ended(process: Any) -> int:
    """Wait for the process and return its exit status; one that hangs is killed, and its place shown.

    It hangs when it has used no processor time for two minutes: on a busy machine a run may take long.
    """
    used, since = 0.0, time.monotonic()
    while process.exitcode is None and time.monotonic() - since < 120:
        process.join(5)
        if (now := processor_seconds(process.pid)) > used + 0.5:
            used, since = now, time.monotonic()
    code: int | None = process.exitcode
    if code is None:
        os.kill(process.pid, signal.SIGABRT)  # its fault handler writes every thread's place
        process.join(10)
        process.kill()
        process.join()
    assert code is not None, "the trainer hangs"
    return code


def processor_seconds(pid: int) -> float:
    """What a process has used; 0 where that cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="session")
def train_ranks() -> Callable[..., list[int]]:
    """`train_ranks(run_path, size=2, plants={rank: (name, …)})` runs a group without a supervisor.

    Returns the exit status of each rank.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.trainer_process"])

    def run(
        path: Path, size: int = 2, plants: Mapping[int, tuple[object, ...]] | None = None
    ) -> list[int]:
        file = path / f".ranks-{uuid.uuid4().hex}"
        processes = []
        for rank in range(size):
            name, *arguments = (plants or {}).get(rank, (None,))
            given = (str(path), rank, size, str(file), name, tuple(arguments))
            processes.append(context.Process(target=child.run_rank, args=given))
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        codes = [process.exitcode for process in processes]
        for process in processes:
            process.kill()
        assert None not in codes, "the trainer hangs"
        return [code for code in codes if code is not None]

    return run


@pytest.fixture(scope="session")
def only_long(request: pytest.FixtureRequest) -> None:
    """Skip a test that takes too long for every run."""
    if not request.config.getoption("--long"):
        pytest.skip("runs with --long")


@pytest.fixture(autouse=True)
def own_rotary_functions() -> Iterator[None]:
    """Fail a test that leaves the rotary function of an architecture replaced, and put it back.

    Every model of the architecture calls it, so later tests would compute with it.
    """
    yield
    left = []
    for name, home in list(sys.modules.items()):
        if name.startswith("transformers.models.") and ".modeling_" in name:
            found = vars(home).get("apply_rotary_pos_emb")
            while found is not None and found.__module__.startswith("ftsdk."):
                left.append(name)
                found = inspect.getclosurevars(found).nonlocals["original"]
                vars(home)["apply_rotary_pos_emb"] = found
    assert not left, f"the rotary function of {', '.join(left)} is still replaced"


@pytest.fixture(autouse=True)
def examined_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examine models in this process, where the training stack is imported already.

    A test with the mark `own_process` has the process that users have.
    """
    if not MISSING and request.node.get_closest_marker("own_process") is None:
        monkeypatch.setattr("ftsdk.backends.local.trainability.examine", child.examine)
        monkeypatch.setattr("ftsdk.backends.local.memory.ask_stack", child.memory)
        monkeypatch.setattr("ftsdk.backends.local.memory.ask_many", child.memories)
