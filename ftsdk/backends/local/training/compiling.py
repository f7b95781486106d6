"""Whether a run compiles the small steps of its layers, decided once for all attempts of the run.

Compiling takes about 15 seconds of a processor, and a few where the cache of this machine has the
code; it saves a share of every step. A run that is resumed computes as it began, whatever the cache
has by then, since compiled code rounds differently. On CUDA a run compiles only where that is asked for,
and takes Liger's kernels where they are installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.backends.local.runs.files import read_json, write_private
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.training.batches import RowOrder
from ftsdk.backends.local.training.checkpoint import has_checkpoint
from ftsdk.backends.local.training.model import LoadedModel
from ftsdk.util.files import atomic_write_json

FILE = "kernels.json"
"""In the run directory: how the run computes."""
_CACHE = ".kernels"
_PAYS_COLD = 50_000 * 135e6
_PAYS_WARM = 10_000 * 135e6
"""Tokens times weights from which compiling takes less time than it saves: a quarter of an hour on
two cores, and three minutes."""
_SIZES = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
)
_COMPILERS = ("g++", "clang++", "c++")


def with_pieces(
    run: RunDir,
    model: LoadedModel,
    order: RowOrder,
    lengths: Sequence[int],
    hardware: Hardware,
    events: EventWriter,
) -> LoadedModel:
    """Return the model with compiled pieces where that pays, or with Liger's on CUDA; else as it is.

    `lengths` are those of the training examples, in tokens. What cannot be compiled is a warning.
    """
    import torch

    if _takes_liger(run, hardware):
        return _with_liger(model, hardware, events)
    cache = run.path.parent / _CACHE / f"torch-{torch.__version__}-{hardware.threads}-threads"
    if not _decide(run, model, hardware, cache, _tokens(order, lengths)):
        return model
    try:
        return _compiled(model, hardware, cache, events)
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        message = f"The kernels could not be compiled, so the run takes longer: {reason}"
        if has_checkpoint(run.path):
            message += ". It was begun with compiled kernels; the bits may differ."
        events.write("warning", message=message)
        return model


def _takes_liger(run: RunDir, hardware: Hardware) -> bool:
    """Whether the run tries Liger's kernels: on CUDA, where it did so from its beginning."""
    if hardware.device.type != "cuda" or run.spec.options.kernels != "auto":
        return False
    known = read_json(run.path / FILE)
    takes = not has_checkpoint(run.path) if known is None else bool(known.get("liger"))
    if known is None:
        atomic_write_json(run.path / FILE, {"compiled": False, "liger": takes})
    return takes


def _with_liger(model: LoadedModel, hardware: Hardware, events: EventWriter) -> LoadedModel:
    """Let the layers compute by those of Liger's kernels that are right here."""
    if importlib.util.find_spec("liger_kernel") is None:
        return model
    from ftsdk.backends.local.compute.liger import choose
    from ftsdk.backends.local.compute.patch_pieces import patch_pieces

    chosen = choose(hardware.device, hardware.dtype)
    for name, reason in chosen.differs.items():
        message = f"Liger's {name} is not used: {reason}"
        events.write("warning", message=message)
    if chosen.names:
        patched = patch_pieces(model.network, chosen.pieces)
        names = ", ".join(chosen.names)
        events.write("log", message=f"Computing with Liger's {names}.", liger=patched.counts)
    return model


def _decide(
    run: RunDir, model: LoadedModel, hardware: Hardware, cache: Path, tokens: float
) -> bool:
    """Read what the first attempt decided, or decide and write it down."""
    known = read_json(run.path / FILE)
    if known is not None:
        return bool(known.get("compiled"))
    # A run that was begun before there were kernels goes on without.
    asked = run.spec.options.kernels
    compiles = not has_checkpoint(run.path) and _pays(asked, model, hardware, cache, tokens)
    atomic_write_json(run.path / FILE, {"compiled": compiles})
    return compiles


def _tokens(order: RowOrder, lengths: Sequence[int]) -> float:
    """The tokens of all steps, from the mean length of a row."""
    return sum(lengths) / len(lengths) * order.rows_per_step * order.total_steps


def _pays(asked: str, model: LoadedModel, hardware: Hardware, cache: Path, tokens: float) -> bool:
    work = tokens * model.size.parameters
    if not may_compile(asked, hardware.device.type, work):
        return False
    is_ready = asked == "compiled" or _ready(model, hardware, cache).is_file()
    return bool(is_ready or work >= _PAYS_COLD)


def may_compile(asked: str, device: str, work: float) -> bool:
    """Whether a run may compile: as asked, or where it saves time with code that is compiled already.

    `work` is the number of tokens of all steps times that of weights.
    """
    if asked != "auto":
        return asked == "compiled"
    return device == "cpu" and work >= _PAYS_WARM and any(map(shutil.which, _COMPILERS))


def _ready(model: LoadedModel, hardware: Hardware, cache: Path) -> Path:
    """The file that says that the cache has the code for layers of this model's sizes."""
    config = model.network.config.get_text_config().to_dict()
    sizes = [f"{name}={config[name]}" for name in _SIZES if name in config]
    kinds = [str(hardware.dtype), hardware.device.type]
    digest = hashlib.sha256("|".join([*kinds, *sizes]).encode()).hexdigest()
    return cache / f"ready-{digest[:16]}"


def _compiled(
    model: LoadedModel, hardware: Hardware, cache: Path, events: EventWriter
) -> LoadedModel:
    from ftsdk.backends.local.compute.patch_pieces import patch_pieces, warm_up
    from ftsdk.backends.local.compute.pieces import Pieces

    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no worker processes
    pieces = Pieces.compiled()
    patched = patch_pieces(model.network, pieces)
    head = model.network.get_output_embeddings()
    vocabulary = head.weight.shape[0] if model.plain_head else None
    try:
        warm_up(pieces, patched, vocabulary, hardware.dtype, hardware.device)
    except BaseException:
        patched.undo()
        raise
    write_private(_ready(model, hardware, cache), b"")
    facts: dict[str, Any] = {"compiled": patched.counts}
    events.write("log", message="Computing with compiled kernels.", **facts)
    return replace(model, pieces=pieces)
