"""The memory that a job would take here, known before it is created.

The training stack finds it from the model's config, in a process of its own, so that planning loads no
torch. The answer is kept beside the digests of models: the first for a job takes seconds, the others
none.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.pull import facts_cache
from ftsdk.backends.local.options import LocalOptions, RunHyperparameters
from ftsdk.backends.local.runs.ask_stack import NoAnswer, ask_stack
from ftsdk.backends.local.training.footprint.bound import machine_bytes, plainly_fits_here
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.refusals import refuse
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec, LoRA
from ftsdk.util.files import atomic_write_json, make_private_folder

FORMAT = 1
_PROGRAM = "ftsdk.backends.local.training.footprint.program"
_STACK = ("torch", "transformers", "peft", "safetensors")


def memory_of_job(
    spec: JobSpec, options: LocalOptions, folder: Path, longest: int, *, cache: Path
) -> MemoryPlan:
    """The memory of a job on the model in `folder` whose longest row is `longest` tokens."""
    hyperparameters = RunHyperparameters.of(spec.hyperparameters)
    asked = {
        "longest": longest,
        "batch_size": hyperparameters.batch_size,
        "tokens": options.micro_batch_tokens,
        "checkpointing": options.gradient_checkpointing,
    }
    place = {"device": options.device, "dtype": options.dtype, "card_bytes": None}
    return _found({**_model(spec.adapter, folder=folder), **place, "asked": asked}, cache)


def memory_on_card(
    adapter: LoRA | None,
    card_bytes: int | None,
    *,
    longest: int,
    batch_size: int,
    cache: Path,
    folder: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> MemoryPlan:
    """The memory of a model, by its folder or its config, on a CUDA card of that many bytes.

    Without `card_bytes`, on what a trainer would take here.
    """
    asked = {"longest": longest, "batch_size": batch_size}
    place = {"device": "auto", "dtype": "auto", "card_bytes": card_bytes, "advise": False}
    return _found({**_model(adapter, folder=folder, config=config), **place, "asked": asked}, cache)


def with_memory(
    plan: Plan,
    spec: JobSpec,
    options: LocalOptions,
    folder: Path | None,
    most: int | None,
    home: Path,
) -> Plan:
    """The plan of a job with its memory. Raises `Unsupported` where it does not fit, with what would.

    `folder` is None for a model that is not here yet; `most` are the tokens of the longest row, where
    they are known. Nothing is simulated for a small model that plainly fits.
    """
    if folder is None:
        return plan
    hyperparameters = RunHyperparameters.of(spec.hyperparameters)
    longest = min(most or 1 << 30, hyperparameters.max_length)
    if plainly_fits_here(
        folder,
        device=options.device,
        adapter=spec.adapter is not None,
        longest=longest,
        batch_size=hyperparameters.batch_size,
        tokens=options.micro_batch_tokens,
    ):
        return plan
    found = memory_of_job(spec, options, folder, longest, cache=facts_cache(home))
    if found.unknown is not None:
        note = f"the memory it takes is not known: {found.unknown}"
        return plan.model_copy(update={"notes": (*plan.notes, note)})
    refuse(
        [] if found.fits else [_does_not_fit(spec, found, longest)],
        where=f"backend local, model {spec.model}, before anything was started",
        hint=_what_would_fit(found),
    )
    update = {
        "memory_bytes": found.peak_bytes,
        "memory": dict(found.items),
        "memory_room_bytes": found.room_bytes,
        "tokens_at_once": found.tokens_at_once,
        "notes": (*plan.notes, f"memory: {found.describe()}"),
    }
    return plan.model_copy(update=update)


def _does_not_fit(spec: JobSpec, plan: MemoryPlan, longest: int) -> str:
    """A job that does not fit, as part of a sentence, with its largest items."""
    largest = sorted(plan.items.items(), key=lambda item: -item[1])[:4]
    listed = ", ".join(f"{name} {gigabytes(count)}" for name, count in largest)
    return (
        f"training {spec.model} on rows of {longest:,} tokens takes at least "
        f"{gigabytes(plan.peak_bytes)} ({listed}, …), and {plan.device} has room for "
        f"{gigabytes(plan.room_bytes)}"
    )


def _what_would_fit(plan: MemoryPlan) -> str:
    if not plan.would_fit:
        return "choose a smaller model, or a machine with more memory"
    return "these would fit: " + "; ".join(plan.would_fit)


def _model(
    adapter: LoRA | None, *, folder: Path | None = None, config: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "folder": None if folder is None else str(folder),
        "config": None if config is None else dict(config),
        "adapter": None if adapter is None else adapter.model_dump(mode="json"),
    }


def _found(asked: Mapping[str, Any], cache: Path) -> MemoryPlan:
    missing = [name for name in _STACK if importlib.util.find_spec(name) is None]
    if missing:
        return MemoryPlan(unknown=f"{', '.join(missing)} not installed")
    path = cache / f"memory-{_digest(asked)}.json"
    with contextlib.suppress(OSError, ValueError):
        return MemoryPlan.model_validate_json(path.read_bytes())
    try:
        answer = ask_stack(_PROGRAM, asked)
    except NoAnswer as error:
        return MemoryPlan(unknown=str(error))
    with contextlib.suppress(OSError):  # a folder that cannot be written: asked again next time
        make_private_folder(cache)
        atomic_write_json(path, answer)
    return MemoryPlan.model_validate(answer)


def _digest(asked: Mapping[str, Any]) -> str:
    """A name for the question: it changes with the config, the machine, and any version."""
    folder = asked["folder"]
    config = "" if folder is None else (Path(folder) / "config.json").read_text("utf-8")
    versions = [_version(name) for name in ("ftsdk", *_STACK, "bitsandbytes")]
    text = json.dumps([FORMAT, asked, config, versions, _machine()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _machine() -> list[str]:
    """What decides the device of a trainer and its memory: cards, and the memory of this machine."""
    cards = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    memory = machine_bytes() if hasattr(os, "sysconf") else 0
    return [*cards, os.environ.get("CUDA_VISIBLE_DEVICES", ""), str(memory)]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
