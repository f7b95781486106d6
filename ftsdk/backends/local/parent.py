"""The adapter that a run continues: where it is, and whether the run's adapter is the same kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.backends.local.fault import Fault
from ftsdk.errors import Unsupported
from ftsdk.types.spec import LoRA
from ftsdk.util.ids import JOB_ID

ADAPTER_FILE = "adapter_model.safetensors"
_HINT = (
    "give the adapter the settings of the one that it continues, or merge that one into its base"
)


@dataclass(frozen=True)
class Parent:
    """A saved adapter: its folder, the job that made it, and what peft and ftsdk wrote down of it."""

    folder: Path
    config: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def job_id(self) -> str | None:
        """The job that trained it; None for an adapter from elsewhere."""
        return self.facts.get("job_id")

    @property
    def name(self) -> str:
        """The job that trained it, or its folder."""
        return self.job_id or str(self.folder)

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / ADAPTER_FILE

    @classmethod
    def find(cls, asked: str, runs: Path) -> Parent:
        """The adapter in a folder, or of a job of this home.

        Raises `Unsupported` where there is no adapter in safetensors.
        """
        folder = runs / asked / "result" if JOB_ID.match(asked) else Path(asked).expanduser()
        path = folder / "adapter_config.json"
        if not path.is_file() or not (folder / ADAPTER_FILE).is_file():
            raise Unsupported(
                f"init_adapter={asked!r} is no adapter that can be continued",
                where=str(folder),
                hint="give the id of a job on this machine that trained a LoRA and has succeeded, or "
                f"a folder with adapter_config.json and {ADAPTER_FILE}",
                submitted="no",
            )
        facts = folder / "ftsdk.json"
        return cls(
            folder.resolve(),
            json.loads(path.read_bytes()),
            json.loads(facts.read_bytes()) if facts.is_file() else {},
        )

    def faults(
        self, adapter: LoRA | None, base_sha256: str | None, add_tokens: tuple[str, ...]
    ) -> Iterator[Fault]:
        """Why a run with this adapter, on this base, cannot begin with these weights."""
        name = self.name
        if adapter is None:
            yield Fault("init_adapter is for a LoRA, and all weights are trained", _HINT)
            return
        mine = dict(_settings(adapter))
        for setting, theirs in self._settings():
            if mine[setting] != theirs:
                yield Fault(
                    f"init_adapter: {setting}={mine[setting]!r}, and the adapter of {name} has "
                    f"{theirs!r}",
                    _HINT,
                )
        trained_on = self.facts.get("base_model", {}).get("sha256")
        if None not in (trained_on, base_sha256) and trained_on != base_sha256:
            base = self.facts["base_model"]["name"]
            yield Fault(
                f"init_adapter: the adapter of {name} was trained on {base}, whose weights are others",
                f"train on {base}",
            )
        tokens = tuple(self.facts.get("added_tokens", ()))
        if self.facts and tokens != add_tokens:
            yield Fault(
                f"init_adapter: add_tokens={list(add_tokens)}, and {name} has {list(tokens)}", _HINT
            )

    def _settings(self) -> Iterator[tuple[str, Any]]:
        config = self.config
        yield "rank", config["r"]
        yield "alpha", float(config["lora_alpha"])
        yield "use_rslora", bool(config.get("use_rslora"))
        yield "use_dora", bool(config.get("use_dora"))
        yield "modules_to_save", sorted(config.get("modules_to_save") or ())
        written = self.facts.get("adapter")
        if written is not None:
            targets = written["target_modules"]
            yield "target_modules", targets if isinstance(targets, str) else sorted(targets)
            yield "trainable_token_indices", list(written.get("trainable_token_indices", ()))


def _settings(adapter: LoRA) -> Iterator[tuple[str, Any]]:
    yield "rank", adapter.rank
    yield "alpha", adapter.alpha
    yield "use_rslora", adapter.use_rslora
    yield "use_dora", adapter.use_dora
    yield "modules_to_save", sorted(adapter.modules_to_save)
    targets = adapter.target_modules
    yield "target_modules", targets if isinstance(targets, str) else sorted(targets)
    yield "trainable_token_indices", list(adapter.trainable_token_indices)
