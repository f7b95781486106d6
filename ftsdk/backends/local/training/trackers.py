"""Experiment trackers behind one interface; each package is imported where it is asked for.

Without a key nothing leaves the machine: Weights & Biases runs offline, MLflow and Trackio write to
the run directory. Keys are read by the packages from their own variables, and never written down.
"""

from __future__ import annotations

import importlib
import json
import netrc
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from ftsdk.backends.local.runs.run_spec import RunSpec


@dataclass(frozen=True)
class RunFacts:
    """What a tracker records of a run: its settings, the first step, and the folder of its files."""

    job_id: str
    project: str
    folder: Path
    settings: Mapping[str, Any]
    first_step: int = 0

    @classmethod
    def of(cls, spec: RunSpec, run: Path, *, first_step: int = 0) -> RunFacts:
        """The facts of a run; settings are flat, with names such as `adapter.rank`."""
        parts = {"job_id", "method", "adapter", "hyperparameters", "seed"}
        written = spec.model_dump(mode="json", include=parts)
        settings = {"base_model": spec.base_model.name, **_flat(written)}
        project = spec.options.report_project
        return cls(spec.job_id, project, run / "reports", settings, first_step)

    def folder_of(self, name: str) -> Path:
        """The folder of one tracker, which exists afterwards."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


class Tracker(Protocol):
    """One run in an experiment tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Record the values of one step."""

    def end(self, outcome: str) -> None:
        """End the run as `succeeded`, `failed`, `cancelled` or `interrupted`."""


class TensorBoard:
    """Event files that `tensorboard --logdir RUN/reports/tensorboard` shows."""

    def __init__(self, facts: RunFacts) -> None:
        try:
            module: Any = importlib.import_module("torch.utils.tensorboard")
        except ImportError:
            module = importlib.import_module("tensorboardX")
        folder = str(facts.folder_of("tensorboard"))
        self._writer: Any = module.SummaryWriter(folder, purge_step=facts.first_step)
        settings = json.dumps(facts.settings, indent=1)
        self._writer.add_text("settings", f"```json\n{settings}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def end(self, outcome: str) -> None:
        self._writer.add_text("outcome", outcome)
        self._writer.close()


class WeightsAndBiases:
    """A run in W&B, under the job's id; offline where there is no key for it."""

    def __init__(self, facts: RunFacts) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        wandb: Any = importlib.import_module("wandb")
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or facts.project,
            id=facts.job_id,
            name=facts.job_id,
            resume="allow",
            mode=os.environ.get("WANDB_MODE") or ("online" if has_wandb_key() else "offline"),
            dir=str(facts.folder_of("wandb")),
            config=dict(facts.settings),
            settings=wandb.Settings(console="off", disable_git=True, save_code=False),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def end(self, outcome: str) -> None:
        self._run.summary["outcome"] = outcome
        self._run.finish(exit_code=0 if outcome == "succeeded" else 1)


class MLflow:
    """A run in MLflow: on the server of MLFLOW_TRACKING_URI, else in a file of the run directory."""

    _STATUS: Mapping[str, str] = {"succeeded": "FINISHED", "failed": "FAILED"}

    def __init__(self, facts: RunFacts) -> None:
        tracking: Any = importlib.import_module("mlflow.tracking")
        own = f"sqlite:///{facts.folder_of('mlflow') / 'mlflow.db'}"
        self._client: Any = tracking.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or own)
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME") or facts.project
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        run = self._client.create_run(experiment, run_name=facts.job_id)
        self._id = run.info.run_id
        for name, value in facts.settings.items():
            self._client.log_param(self._id, name, value)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._id, name, value, step=step)

    def end(self, outcome: str) -> None:
        self._client.set_terminated(self._id, self._STATUS.get(outcome, "KILLED"))


class Trackio:
    """A run in Trackio, whose files are in the run directory unless TRACKIO_DIR names another."""

    def __init__(self, facts: RunFacts) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(facts.folder_of("trackio")))
        trackio: Any = importlib.import_module("trackio")
        settings = dict(facts.settings)
        self._run: Any = trackio.init(
            project=facts.project, name=facts.job_id, config=settings, resume="allow", embed=False
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def end(self, outcome: str) -> None:  # Trackio keeps none
        self._run.finish()


TRACKERS: Mapping[str, Callable[[RunFacts], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""The trackers by the names that the option `report_to` takes."""


def has_wandb_key() -> bool:
    """Whether `wandb login` or WANDB_API_KEY left a key for W&B's server."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname
    try:
        return netrc.netrc().authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            flat |= _flat(inner, f"{prefix}{name}.")
        elif inner is not None:
            flat[f"{prefix}{name}"] = inner
    return flat
