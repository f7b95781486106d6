"""A trainer process of the tests: plants a fault if asked, then trains.

The server that the processes are forked from imports it once; the import computes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

with contextlib.suppress(ImportError):  # the tests are skipped then
    import peft  # noqa: F401
    import safetensors.torch
    import torch
    import transformers.models.llama.modeling_llama  # noqa: F401

    torch.set_num_threads(1)

from ftsdk.backends.local.runs.environment import trainer_environment
from ftsdk.backends.local.training import checkpoint, export, loop, pace
from ftsdk.backends.local.training import train as trainer
from ftsdk.util import files


def run(path: str, plant: str | None, arguments: tuple[Any, ...]) -> None:
    """Train the run directory; standard output and errors go to its trainer.log."""
    log = os.open(Path(path) / "trainer.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable(2)
    for name, value in trainer_environment(os.environ, 1).items():
        os.environ[name] = value
    if plant:
        globals()[plant](*arguments)
    os._exit(trainer.main([path]))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_step(number: int) -> None:
    """SIGKILL in the middle of a step: after the backward pass, before the weights change."""
    original = trainer.FlatAdamW.clip
    seen = 0

    def clip(self: Any, max_norm: float) -> float:
        nonlocal seen
        seen += 1
        if seen == number:
            _die()
        return original(self, max_norm)

    trainer.FlatAdamW.clip = clip  # type: ignore[method-assign]


def kill_before_rename(number: int) -> None:
    """SIGKILL when a checkpoint is written but not renamed yet."""
    original = os.rename
    seen = 0

    def rename(*args: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            _die()
        original(*args)

    files.os.rename = rename  # type: ignore[assignment]


def kill_in_optimizer_file(number: int) -> None:
    """SIGKILL between the files of a checkpoint."""
    original = checkpoint._save_tensors
    seen = 0

    def save(tensors: Any, path: Path) -> None:
        nonlocal seen
        seen += path.name == "optimizer.safetensors"
        if seen == number:
            _die()
        original(tensors, path)

    checkpoint._save_tensors = save


def disk_full_at_checkpoint(number: int) -> None:
    """ENOSPC while a checkpoint is written."""
    original = checkpoint._save_tensors
    seen = 0

    def save(tensors: Any, path: Path) -> None:
        nonlocal seen
        seen += path.name == "optimizer.safetensors"
        if seen == number:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        original(tensors, path)

    checkpoint._save_tensors = save


def nan_in_step(number: int) -> None:
    """One weight's gradient becomes NaN."""
    original = trainer.FlatAdamW.clip
    seen = 0

    def clip(self: Any, max_norm: float) -> float:
        nonlocal seen
        seen += 1
        if seen == number:
            self.gradient[3] = float("nan")
        return original(self, max_norm)

    trainer.FlatAdamW.clip = clip  # type: ignore[method-assign]


def overflow_in_steps(first: int, last: int) -> None:
    """A gradient of float16 overflows in each of these updates, counted in this process."""
    original = trainer.FlatAdamW.collect
    seen = 0

    def collect(self: Any) -> None:
        nonlocal seen
        seen += 1
        if first <= seen <= last:
            self._gradient_copy[3] = float("inf")
        original(self)

    trainer.FlatAdamW.collect = collect  # type: ignore[method-assign]


def out_of_memory_in_step(number: int) -> None:
    """Ask torch for more memory than any machine has."""
    original = trainer.FlatAdamW.clip
    seen = 0

    def clip(self: Any, max_norm: float) -> float:
        nonlocal seen
        seen += 1
        if seen == number:
            torch.empty(1 << 58)
        return original(self, max_norm)

    trainer.FlatAdamW.clip = clip  # type: ignore[method-assign]


def cancel_in_step(number: int, path: str) -> None:
    """The cancel file appears while a step is under way."""
    original = trainer.FlatAdamW.clip
    seen = 0

    def clip(self: Any, max_norm: float) -> float:
        nonlocal seen
        seen += 1
        if seen == number:
            (Path(path) / "cancel").write_text("{}")
        return original(self, max_norm)

    trainer.FlatAdamW.clip = clip  # type: ignore[method-assign]


def term_in_step(number: int) -> None:
    """SIGTERM while a step is under way."""
    original = trainer.FlatAdamW.clip
    seen = 0

    def clip(self: Any, max_norm: float) -> float:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, max_norm)

    trainer.FlatAdamW.clip = clip  # type: ignore[method-assign]


def term_in_evaluation(step: int) -> None:
    """SIGTERM while the evaluation after a step is under way."""
    original = loop.Loop.evaluate

    def evaluate(self: Any, rows: Any) -> None:
        if self.state.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, rows)

    loop.Loop.evaluate = evaluate  # type: ignore[method-assign]


def without_module(name: str) -> None:
    """A machine on which a package is not installed."""
    sys.modules[name] = None  # type: ignore[assignment]


def slow_checkpoints(takes_s: float) -> None:
    """Checkpoints that take this long, by the clock that they are spaced with; a step takes 1 s."""
    save, step, passed = checkpoint.Checkpoints.save, loop.Loop.step, 0.0

    def slow_save(*given: Any, **named: Any) -> Path:
        nonlocal passed
        passed += takes_s
        return save(*given, **named)

    def slow_step(self: Any, number: int, rows: Any) -> None:
        nonlocal passed
        passed += 1.0
        step(self, number, rows)

    checkpoint.Checkpoints.save = slow_save  # type: ignore[method-assign,assignment]
    loop.Loop.step = slow_step  # type: ignore[method-assign]
    pace.CheckpointPace.__init__.__kwdefaults__["now"] = lambda: passed


def carried_random_state() -> None:
    """A planted bug: dropout draws from one stream, whose position a resume does not restore."""
    loop.seed_of = lambda seed, step: torch.initial_seed() if step > 1 else seed  # type: ignore[assignment]
    original = torch.manual_seed
    trainer_torch = torch

    def manual_seed(value: int) -> Any:
        return None if value == trainer_torch.initial_seed() else original(value)

    torch.manual_seed = manual_seed  # type: ignore[assignment]


def small_disk() -> None:
    """A disk with a megabyte left."""
    import shutil

    usage = shutil.disk_usage("/")
    trainer.shutil.disk_usage = lambda _: usage._replace(free=1 << 20)  # type: ignore[assignment]


def forget_in_config(field: str, place: str) -> None:
    """A planted bug: the adapter's config loses a field where it is written into `place`."""
    original = export.save_config

    def save_config(model: Any, spec: Any, folder: Path) -> None:
        original(model, spec, folder)
        if place in folder.name:
            path = folder / "adapter_config.json"
            config = json.loads(path.read_text())
            path.write_text(json.dumps({**config, field: None}))

    export.save_config = trainer.save_config = save_config  # type: ignore[attr-defined]


def halve_in_result() -> None:
    """A planted bug: the result's adapter is scaled down when it is loaded."""
    original = export.save_config

    def save_config(model: Any, spec: Any, folder: Path) -> None:
        original(model, spec, folder)
        if "result" in folder.name:
            path = folder / "adapter_config.json"
            config = json.loads(path.read_text())
            path.write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] / 2}))

    export.save_config = trainer.save_config = save_config  # type: ignore[attr-defined]


def round_saved_weights() -> None:
    """A planted bug: one saved weight is not the trained one."""
    original = safetensors.torch.save_file

    def save_file(tensors: dict[str, Any], path: Path, metadata: Any = None) -> None:
        first = min(tensors)
        original({**tensors, first: tensors[first] * 1.5}, path, metadata=metadata)

    safetensors.torch.save_file = save_file


def lose_weight_of_full_model() -> None:
    """A planted bug: a weight is missing in the file of a whole model."""
    from transformers import PreTrainedModel

    original = PreTrainedModel.save_pretrained

    def save_pretrained(self: Any, folder: Path, **options: Any) -> None:
        original(self, folder, **options)
        path = Path(folder) / "model.safetensors"
        weights = safetensors.torch.load_file(path)
        weights.pop("model.layers.0.mlp.up_proj.weight")
        safetensors.torch.save_file(weights, path, metadata={"format": "pt"})

    PreTrainedModel.save_pretrained = save_pretrained


def run_out_of_memory(error: str, most: int) -> None:
    """Let a forward pass of more than `most` tokens fail as an allocator does, after the first one."""
    from ftsdk.backends.local.training.model import LoadedModel

    errors: dict[str, Exception] = {
        "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8"),
        "python": MemoryError(),
    }
    real, passes = LoadedModel.loss_sum, 0

    def loss_sum(self: LoadedModel, batch: Any) -> Any:
        nonlocal passes
        if torch.is_grad_enabled():
            passes += 1
            if passes > 1 and sum(batch.lengths) > most:
                raise errors[error]
        return real(self, batch)

    LoadedModel.loss_sum = loss_sum  # type: ignore[method-assign]


def mean_of_own_rows(ranks: int) -> None:
    """A planted bug: each rank divides by the tokens of its own rows, and the means are averaged."""
    from ftsdk.backends.local.training.division import divide
    from ftsdk.backends.local.training.objectives.supervised import Supervised

    def begin(self: Any, model: Any, examples: Any, limits: Any, group: Any) -> int:
        shares = divide([len(row) for row in examples], group.size)
        return max(1, ranks * sum(examples[k].trained_count for k in shares[group.rank]))

    Supervised.begin = begin  # type: ignore[method-assign,assignment]


def own_weights() -> None:
    """A planted bug: this rank does not get the gradient of the others."""

    def reduce(self: Any, group: Any) -> None:
        group.all_reduce(self.gradient.clone())

    trainer.FlatAdamW.reduce = reduce  # type: ignore[method-assign]


def too_large_for_one() -> None:
    """A model whose weights the planner divides."""
    from ftsdk.backends.local.training.footprint import settle
    from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan

    plan = MemoryPlan(sharding="fsdp", micro_batch_tokens=200, items={"trained weights": 1})
    settle._plainly_fits = lambda *_: False
    settle.plan_memory = lambda *_: plan  # type: ignore[assignment]
