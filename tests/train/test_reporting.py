"""Experiment trackers get the metrics of a run, and can neither stop it nor delay it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk.backends.local.runs.environment import trainer_environment
from ftsdk.backends.local.runs.events import EventWriter, read_lines
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training import trackers
from ftsdk.backends.local.training.reporting import Reporting, values_of
from ftsdk.backends.local.training.trackers import RunFacts
from tests.train import tiny

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # no ~/.netrc


def reporting(path: Path, model: Path, *names: str, **more: Any) -> tuple[Reporting, EventWriter]:
    events = EventWriter(path / "events.jsonl")
    spec = tiny.spec(model, options={"report_to": names})
    return Reporting(lambda: spec, path, events, **more), events


def warnings_in(path: Path) -> list[str]:
    found = [event for event, _ in read_lines(path / "events.jsonl")]
    return [event["message"] for event in found if event["kind"] == "warning"]


def three_steps(events: EventWriter) -> None:
    events.write("status", status="running")
    events.write("metric", step=0, epoch=0.0, validation_loss=3.0)
    for step in (1, 2, 3):
        events.write("metric", step=step, epoch=step / 3, train_loss=2.0 / step, learning_rate=1e-3)


# --- what is reported ----------------------------------------------------------------------------


def test_an_event_has_the_names_that_trackers_group() -> None:
    event = {
        "seq": 1, "time": "now", "kind": "metric", "step": 4, "epoch": 0.5, "train_loss": 1.5,
        "validation_loss": 2, "validation_reward_accuracy": 0.5, "grad_norm": 1.0, "ok": True,
    }  # fmt: skip
    assert dict(values_of(event)) == {
        "train/loss": 1.5, "eval/loss": 2.0, "eval/reward_accuracy": 0.5, "train/grad_norm": 1.0,
    }  # fmt: skip


def test_a_metric_has_rate_norm_speed_memory_and_the_rest_of_the_time(
    tiny_model: Path, train: Callable[..., int], tmp_path: Path
) -> None:
    run = RunDir.create(
        tmp_path / "run",
        tiny.spec(tiny_model, options={"report_to": ["tensorboard"]}),
        train=tiny.rows(16),
        validation=tiny.rows(4, seed=1),
    )
    assert train(run.path) == 0, run.log_tail()
    steps = [e for e in run.read_events() if e["kind"] == "metric" and "train_loss" in e]
    for event in steps:
        assert event["learning_rate"] > 0
        assert event["grad_norm"] > 0
        assert event["tokens_per_s"] > 0
        assert event["memory_bytes"] > 50e6
        assert event["eta_s"] >= 0
    assert steps[-1]["eta_s"] == 0
    shown = scalars_in(run.path / "reports" / "tensorboard")
    assert shown["train/loss"] == pytest.approx({e["step"]: e["train_loss"] for e in steps})
    assert shown["train/learning_rate"] == pytest.approx(
        {e["step"]: e["learning_rate"] for e in steps}
    )
    checked = [e for e in run.read_events() if "validation_loss" in e]
    assert shown["eval/loss"] == pytest.approx({e["step"]: e["validation_loss"] for e in checked})
    assert warnings_in(run.path) == []


def scalars_in(folder: Path) -> dict[str, dict[int, float]]:
    """The scalars in TensorBoard's files, by name and step, read record by record."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found: dict[str, dict[int, float]] = {}
    for path in folder.glob("events.out.tfevents.*"):
        data, place = path.read_bytes(), 0
        while place < len(data):
            length = int.from_bytes(data[place : place + 8], "little")
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length  # its length, a checksum before and one behind it
            for value in event.summary.value:
                number = value.simple_value or sum(value.tensor.float_val)
                if value.tag.startswith(("train/", "eval/")):
                    found.setdefault(value.tag, {})[event.step] = number
    return found


# --- a tracker that fails ------------------------------------------------------------------------


class Fake:
    """A tracker that records what it gets, and raises where it is asked to."""

    def __init__(self, facts: RunFacts, fails_in: str = "") -> None:
        self.facts, self.fails_in = facts, fails_in
        self.got: list[tuple[int, Mapping[str, float]]] = []
        self.outcome = ""
        self._maybe("init")

    def _maybe(self, place: str) -> None:
        if self.fails_in == place:
            raise ConnectionError(f"no route in {place}\nsecond line")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._maybe("log")
        self.got.append((step, values))

    def end(self, outcome: str) -> None:
        self._maybe("end")
        self.outcome = outcome


@pytest.mark.parametrize("place", ["init", "log", "end"])
def test_a_tracker_that_raises_is_one_warning(place: str, tiny_model: Path, tmp_path: Path) -> None:
    made: list[Fake] = []

    def sound(facts: RunFacts) -> Fake:
        made.append(Fake(facts))
        return made[-1]

    known = {"wandb": lambda facts: Fake(facts, place), "mlflow": sound}
    report, events = reporting(tmp_path, tiny_model, "wandb", "mlflow", trackers=known)
    three_steps(events)
    report.close("succeeded")
    assert warnings_in(tmp_path) == [
        f"Reports to wandb are off: ConnectionError: no route in {place}. The run goes on."
    ]
    assert [step for step, _ in made[0].got] == [0, 1, 2, 3]
    assert made[0].got[1] == (1, {"train/loss": 2.0, "train/learning_rate": 1e-3})
    assert made[0].outcome == "succeeded"
    numbers = [event["seq"] for event, _ in read_lines(tmp_path / "events.jsonl")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_tracker_that_hangs_delays_nothing(tiny_model: Path, tmp_path: Path) -> None:
    blocked, limits = threading.Event(), iter(range(0, 10_000, 100))

    class Hangs(Fake):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            blocked.wait()

    report, events = reporting(
        tmp_path, tiny_model, "wandb", trackers={"wandb": Hangs}, now=lambda: next(limits)
    )
    three_steps(events)
    report.close("succeeded")
    blocked.set()
    assert warnings_in(tmp_path) == [
        "Reports to wandb are off: it did not end within 30 s. The run goes on."
    ]


def test_points_that_a_slow_tracker_misses_are_counted(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    class Slow(Fake):
        def __init__(self, facts: RunFacts) -> None:
            opened.wait()
            super().__init__(facts)

    monkeypatch.setattr("ftsdk.backends.local.training.reporting._WAITING", 2)
    report, events = reporting(tmp_path, tiny_model, "wandb", trackers={"wandb": Slow})
    three_steps(events)
    opened.set()
    report.close("succeeded")
    assert warnings_in(tmp_path) == [
        "Reports to wandb are off: it was too slow, and 2 points were left out. The run goes on."
    ]


def test_a_package_that_is_missing_is_a_warning(
    tiny_model: Path, train: Callable[..., int], tmp_path: Path
) -> None:
    spec = tiny.spec(
        tiny_model, hyperparameters={"max_steps": 2}, options={"report_to": ["trackio"]}
    )
    run = RunDir.create(tmp_path / "run", spec, train=tiny.rows(8))
    assert train(run.path, "without_module", "trackio") == 0, run.log_tail()
    [warning] = warnings_in(run.path)
    assert warning.startswith("Reports to trackio are off: ModuleNotFoundError:")


# --- each package, by what it is called with ------------------------------------------------------


@pytest.fixture
def facts(tmp_path: Path) -> RunFacts:
    return RunFacts("ftj_x", "ftsdk", tmp_path / "reports", {"adapter.rank": 4})


class Calls:
    """A module in place of a package: it records every call, and answers with itself."""

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            self.made.append((name, given, named))
            return self

        if name.startswith("__"):
            raise AttributeError(name)
        return call

    def called(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        [(_, given, named)] = [one for one in self.made if one[0] == name]
        return given, named


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Calls]:
    def install(name: str) -> Calls:
        calls = Calls()
        monkeypatch.setitem(sys.modules, name, calls)
        return calls

    return install


@pytest.mark.parametrize(
    ("variables", "mode"),
    [({}, "offline"), ({"WANDB_API_KEY": KEY}, "online"),
     ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline")],
)  # fmt: skip
def test_wandb_is_offline_without_a_key(
    variables: dict[str, str],
    mode: str,
    facts: RunFacts,
    installed: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wandb = installed("wandb")
    wandb.summary = {}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracker = trackers.WeightsAndBiases(facts)
    tracker.log(3, {"train/loss": 1.0})
    tracker.end("failed")
    _, named = wandb.called("init")
    assert named["mode"] == mode
    assert (named["id"], named["resume"], named["config"]) == (
        "ftj_x",
        "allow",
        {"adapter.rank": 4},
    )
    assert wandb.called("log") == (({"train/loss": 1.0},), {"step": 3})
    assert wandb.called("finish") == ((), {"exit_code": 1})
    assert wandb.summary == {"outcome": "failed"}


def test_a_key_of_wandb_login_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert not trackers.has_wandb_key()
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert trackers.has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com")
    assert not trackers.has_wandb_key()


def test_mlflow_writes_to_the_run_directory_or_to_its_server(
    facts: RunFacts, installed: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = installed("mlflow.tracking")
    mlflow.info = types.SimpleNamespace(run_id="r1")
    mlflow.experiment_id = "7"
    tracker = trackers.MLflow(facts)
    tracker.log(2, {"train/loss": 1.0})
    tracker.end("cancelled")
    assert mlflow.called("MlflowClient")[0] == (f"sqlite:///{facts.folder}/mlflow/mlflow.db",)
    assert mlflow.called("create_run") == (("7",), {"run_name": "ftj_x"})
    assert mlflow.called("log_param")[0] == ("r1", "adapter.rank", 4)
    assert mlflow.called("log_metric") == (("r1", "train/loss", 1.0), {"step": 2})
    assert mlflow.called("set_terminated")[0] == ("r1", "KILLED")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    mlflow.made.clear()
    trackers.MLflow(facts)
    assert mlflow.called("MlflowClient")[0] == ("https://mlflow.example.com",)


def test_trackio_writes_to_the_run_directory(
    facts: RunFacts, installed: Callable[[str], Any]
) -> None:
    trackio = installed("trackio")
    tracker = trackers.Trackio(facts)
    tracker.log(2, {"train/loss": 1.0})
    tracker.end("succeeded")
    assert trackio.called("init")[1]["name"] == "ftj_x"
    assert trackio.called("log") == (({"train/loss": 1.0},), {"step": 2})
    assert os.environ.pop("TRACKIO_DIR") == str(facts.folder / "trackio")


# --- keys ----------------------------------------------------------------------------------------


def test_the_trainer_gets_the_key_of_the_tracker_that_is_asked_for() -> None:
    base = {"WANDB_API_KEY": "w", "MLFLOW_TRACKING_TOKEN": "m", "OPENAI_API_KEY": "o"}
    assert not {"w", "m", "o"} & set(trainer_environment(base, 1).values())
    given = trainer_environment(base, 1, report_to=("wandb",))
    assert given["WANDB_API_KEY"] == "w"
    assert not {"m", "o"} & set(given.values())


REAL = """
import sys
from pathlib import Path
from ftsdk.backends.local.training.trackers import TRACKERS, RunFacts
folder = Path(sys.argv[2])
tracker = TRACKERS[sys.argv[1]](RunFacts("ftj_x", "ftsdk", folder / "reports", {"adapter.rank": 4}))
for step in range(3):
    tracker.log(step, {"train/loss": 3.0 - step})
tracker.end("succeeded")
"""


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_the_real_package_works_without_a_network(name: str, tmp_path: Path) -> None:
    """Its files have the values, and none of them a key."""
    pytest.importorskip(name)
    env = {**os.environ, "WANDB_API_KEY": KEY, "WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", REAL, name, str(tmp_path / "run")], env=env, cwd=tmp_path,
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(b"train/loss" in path.read_bytes() for path in written)
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr


# --- the plan ------------------------------------------------------------------------------------


def test_the_plan_names_a_package_that_is_missing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftsdk.backends.local.reports.find_spec", lambda _: None)
    with ftsdk.Client(home=tmp_path / "home", env={}) as client:
        given = {"provider": "local", "model": str(tiny_model)}
        plan = client.plan(tiny.rows(20), provider_options={"report_to": "wandb"}, **given)
        [warning] = [one for one in plan.warnings if "wandb" in one]
        assert warning == "wandb is not installed, so nothing is reported to it: pip install wandb"
        with pytest.raises(ftsdk.SpecError, match="report_to"):
            client.plan(tiny.rows(20), provider_options={"report_to": "comet"}, **given)
    assert json.loads(plan.model_dump_json())["warnings"] == list(plan.warnings)
