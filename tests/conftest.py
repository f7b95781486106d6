"""Fixtures for every test: a home of its own, and an environment without keys or settings."""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import ftsdk
from ftsdk.client import Client
from ftsdk.config import Config
from ftsdk.session import Horizon
from ftsdk.util.clock import ManualClock

# torch would start a thread per core in every worker. Set before anything imports torch.
if _workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(_workers))))
# The modules of torch, transformers and the tests are a million objects, which every full collection
# would look through: at Python's own thresholds that is a tenth of the time of a whole run.
gc.set_threshold(50_000, 20, 50)
_CLEARED = ("FTSDK_", "OPENAI_", "AZURE_OPENAI_", "TOGETHER_", "REPLICATE_", "HF_")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the user's keys, profile and journal, and start without a default client."""
    for name in list(os.environ):
        if name.startswith(_CLEARED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("FTSDK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(ftsdk, "_default", None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the folder in `FTSDK_HOME`."""
    return tmp_path / "home"


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that moves only when the test moves it."""
    return ManualClock()


@pytest.fixture
def client(home: Path, clock: ManualClock) -> Iterator[Client]:
    """Yield a client of the `fake` backend on the manual clock, without a configuration file."""
    made = Client(
        home=home,
        clock=clock,
        config=Config(env={"FTSDK_PROVIDER": "fake", "FTSDK_MODEL": "smollm2-135m"}),
        env={},
        horizon=Horizon(),
    )
    yield made
    made.close()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder in memory, or `tmp_path` where there is no `/dev/shm`."""
    if not os.access("/dev/shm", os.W_OK):  # the folder gets a random name
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="ftsdk-") as folder:
        yield Path(folder)


@pytest.fixture
def rows() -> Callable[[int], list[dict[str, Any]]]:
    """Return a function that makes n valid chat rows, all different."""

    def make(count: int) -> list[dict[str, Any]]:
        return [
            {
                "messages": [
                    {"role": "user", "content": f"question number {i}"},
                    {"role": "assistant", "content": f"the answer is {i * 7}"},
                ]
            }
            for i in range(count)
        ]

    return make


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, which runs the long tiers of the fault tests."""
    parser.addoption("--long", action="store_true", default=False, help="run the long tiers")


def pytest_configure(config: pytest.Config) -> None:
    """Set how many examples hypothesis makes in a tier, for tests that do not say it themselves."""
    settings.register_profile("short", max_examples=150, deadline=None)
    settings.register_profile("long", max_examples=2000, deadline=None)
    settings.load_profile("long" if config.getoption("--long") else "short")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[object]:
    """Let the first worker of pytest-xdist collect alone: the others read what it has compiled."""
    worker = getattr(session.config, "workerinput", {}).get("workerid")
    if worker not in (None, "gw0"):
        end = time.monotonic() + 120
        while not _collected(session).exists() and time.monotonic() < end:
            time.sleep(0.1)
    try:
        return (yield)
    finally:
        if worker == "gw0":
            _collected(session).touch()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the mark of the first worker; all workers have collected before the first test."""
    if getattr(session.config, "workerinput", {}).get("workerid") == "gw0":
        _collected(session).unlink(missing_ok=True)


def _collected(session: pytest.Session) -> Path:
    """Return the file that says that the first worker of this run has collected."""
    run = getattr(session.config, "workerinput", {})["testrunuid"]
    return Path(tempfile.gettempdir()) / f"ftsdk-collected-{run}"


def pytest_collection_finish() -> None:
    """Leave what was imported out of later collections, and unshared memory out of forks."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group tests for `-n … --dist loadgroup`, and give the long tiers four hours each."""
    for item in items:
        group = _shared_fixture_scope(item)
        if group is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))
    if config.getoption("--long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(4 * 3600), append=False)


def _shared_fixture_scope(item: pytest.Item) -> str | None:
    """Return the node id of the module or class whose fixture `item` shares, or None.

    Tests that share such a fixture run on one worker, so that it is set up once.
    """
    found = getattr(item, "_fixtureinfo", None)
    definitions = [] if found is None else found.name2fixturedefs.values()
    scopes = {one[-1].scope for one in definitions if one}
    if "module" in scopes:
        return item.nodeid.partition("::")[0]
    return item.nodeid.rpartition("::")[0] if "class" in scopes else None
