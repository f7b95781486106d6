"""The real trainer on small real models; these tests need the `local` extra."""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train import child, tiny


def _smollm2_places() -> list[Path]:
    """Folders where smollm2-135m may be; read before the tests get a home of their own."""
    places = []
    if os.environ.get("FTSDK_TEST_SMOLLM2"):
        places.append(Path(os.environ["FTSDK_TEST_SMOLLM2"]))
    with contextlib.suppress(ImportError):
        import platformdirs

        home = os.environ.get("FTSDK_HOME") or platformdirs.user_data_dir("ftsdk", appauthor=False)
        places.append(Path(home) / "models" / "smollm2-135m")
    return places


SMOLLM2_PLACES = _smollm2_places()
NEEDED = ("torch", "transformers", "peft", "safetensors", "tokenizers", "jinja2")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark this folder, and skip it where the training stack is not installed."""
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
    """The folder of smollm2-135m, where it was pulled."""
    for folder in SMOLLM2_PLACES:
        if (folder / "model.safetensors").is_file():
            return folder
    pytest.skip("smollm2-135m is not here; `ftsdk models pull smollm2-135m` brings it")


@pytest.fixture(scope="session")
def train() -> Callable[..., int]:
    """`train(run_path, plant=…)`: run the trainer in a process of its own; gives its exit code.

    The processes are forked from a server that has imported the training stack once, so that a
    run costs a second and not ten. `plant` names a function of `trainer_process` that breaks
    something first, with its arguments.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.train.trainer_process"])

    def run(path: Path, plant: str | None = None, *arguments: object) -> int:
        process = context.Process(target=child.run, args=(str(path), plant, arguments))
        process.start()
        process.join(120)
        assert process.exitcode is not None, "the trainer hangs"
        return process.exitcode

    return run
