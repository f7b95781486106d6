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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ftsdk.backends.local.device_options import sharding_of
from ftsdk.backends.local.expected_time import with_time
from ftsdk.backends.local.models.pull import facts_cache
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.options import LocalOptions, RunHyperparameters
from ftsdk.backends.local.runs.ask_many import ask_many
from ftsdk.backends.local.runs.ask_stack import NoAnswer, ask_stack
from ftsdk.backends.local.runs.ranks import process_count
from ftsdk.backends.local.training.footprint.asked import Asked, packed
from ftsdk.backends.local.training.footprint.bound import (
    CUDA_SHARE,
    least_room,
    plainly_fits_here,
)
from ftsdk.backends.local.training.footprint.card_memory import free_on_card
from ftsdk.backends.local.training.footprint.memory_plan import MemoryPlan, gigabytes
from ftsdk.backends.refusals import refuse
from ftsdk.dataset.findings.token_summary import RowLengths
from ftsdk.types.plan import Plan
from ftsdk.types.spec import JobSpec, LoRA
from ftsdk.util.files import atomic_write_json, make_private_folder
from ftsdk.util.machine_memory import machine_bytes

FORMAT = 4
_PROGRAM = "ftsdk.backends.local.training.footprint.program"
_STACK = ("torch", "transformers", "peft", "safetensors")


def asked_of(
    plan: Plan,
    spec: JobSpec,
    options: LocalOptions,
    lengths: RowLengths | None,
    longest: int,
    token_ids: TokenIds,
) -> Asked:
    """What a job asks for, as its trainer will; without `lengths`, for rows of `longest` tokens."""
    hyperparameters = RunHyperparameters.of(spec.hyperparameters, spec.method)
    if lengths is None:
        rows = plan.rows or 1
        lengths = RowLengths(rows, rows * longest, 2 * longest, longest)
    if options.packing:
        lengths = packed(lengths, hyperparameters.max_length)
    train_rows = None if options.packing else plan.rows
    asked = Asked.of(spec.method, hyperparameters, options, lengths, token_ids, train_rows)
    processes = process_count(options, os.environ)
    return replace(asked, processes=processes, sharding=sharding_of(options, spec.adapter))


def memory_of_job(
    asked: Asked, adapter: LoRA | None, options: LocalOptions, folder: Path, *, cache: Path
) -> MemoryPlan:
    """The memory of a job on the model in `folder`, and the settings that fit what is free now."""
    place = {"device": options.device, "dtype": options.dtype, "card_bytes": None}
    question = {**_model(adapter, folder=folder), **place, "asked": _plain(asked)}
    found = _found(question, cache)
    if found.unknown is not None or not found.fits:
        return found
    free = free_now(found, options.device)
    if free is not None and found.kind == "cpu":
        free //= asked.processes
    if free is not None and found.peak_bytes > free:
        found = _found({**question, "free_bytes": free}, cache)
    return found.model_copy(update={"free_bytes": free})


def free_now(plan: MemoryPlan, device: str) -> int | None:
    """What a run may take of the memory that is free now on the device of a plan; None where unknown."""
    if plan.kind == "cpu":
        return least_room()
    free = free_on_card(device)
    return None if free is None else min(plan.room_bytes, round(CUDA_SHARE * free))


def _plain(asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = TypeAdapter(Asked).dump_python(asked, mode="json")
    return found


def on_card(
    adapter: LoRA | None,
    card_bytes: int | None,
    *,
    longest: int,
    rows: int,
    folder: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The question of the memory of a model, by its folder or its config, on a card of so many bytes.

    Without `card_bytes`, on what a trainer would take here. `memories` answers it.
    """
    asked = _plain(Asked(longest, rows))
    place = {"device": "auto", "dtype": "auto", "card_bytes": card_bytes, "advise": False}
    return {**_model(adapter, folder=folder, config=config), **place, "asked": asked}


def memories(questions: Sequence[Mapping[str, Any]], cache: Path) -> Iterator[MemoryPlan]:
    """Yield the answer to each question, in order; those that are not kept come from one process."""
    missing = _missing()
    kept = [None if missing else _kept(_path(question, cache)) for question in questions]
    open_ = [question for question, plan in zip(questions, kept, strict=True) if plan is None]
    answers = iter(()) if missing else ask_many(_PROGRAM, open_)
    for question, plan in zip(questions, kept, strict=True):
        if plan is not None:
            yield plan
            continue
        answer = missing or next(answers)
        if isinstance(answer, MemoryPlan):
            yield answer
        elif isinstance(answer, NoAnswer):
            yield MemoryPlan(unknown=str(answer))
        else:
            yield _keep(answer, _path(question, cache))


def with_memory(
    plan: Plan,
    spec: JobSpec,
    options: LocalOptions,
    folder: Path,
    asked: Asked,
    home: Path,
) -> Plan:
    """The plan of a job with its memory, on the model in `folder`.

    Nothing is simulated for a small model that plainly fits. Raises `Unsupported` where the job does
    not fit, with what would.
    """
    if plainly_fits_here(folder, asked, device=options.device, adapter=spec.adapter is not None):
        return plan
    found = memory_of_job(asked, spec.adapter, options, folder, cache=facts_cache(home))
    if found.unknown is not None:
        note = f"the memory it takes is not known: {found.unknown}"
        return plan.model_copy(update={"notes": (*plan.notes, note)})
    refuse(
        [] if found.fits else [_does_not_fit(spec, found, asked)],
        where=f"backend local, model {spec.model}, before anything was started",
        hint=_what_would_fit(found),
    )
    update = {
        "memory_bytes": found.peak_bytes,
        "memory": dict(found.items),
        "memory_room_bytes": found.room_bytes,
        "memory_free_bytes": found.free_bytes,
        "tokens_at_once": found.tokens_at_once,
        "notes": (*plan.notes, f"memory: {found.describe()}"),
        "warnings": (*plan.warnings, *filter(None, [found.warning()])),
    }
    return with_time(plan.model_copy(update=update), found, trains_all=spec.adapter is None)


def _does_not_fit(spec: JobSpec, plan: MemoryPlan, asked: Asked) -> str:
    """A job that does not fit, as part of a sentence, with its largest items."""
    largest = sorted(plan.items.items(), key=lambda item: -item[1])[:4]
    what = f"rows of {asked.longest:,} tokens"
    if asked.is_of_pairs:
        what = f"pairs of {asked.example_tokens:,} tokens"
    listed = ", ".join(f"{name} {gigabytes(count)}" for name, count in largest)
    return (
        f"training {spec.model} on {what} takes at least "
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
    path = _path(asked, cache)
    known = _missing() or _kept(path)
    if known is not None:
        return known
    try:
        return _keep(ask_stack(_PROGRAM, asked), path)
    except NoAnswer as error:
        return MemoryPlan(unknown=str(error))


def _missing() -> MemoryPlan | None:
    """The answer to every question where the training stack is not installed; else None."""
    missing = [name for name in _STACK if importlib.util.find_spec(name) is None]
    return MemoryPlan(unknown=f"{', '.join(missing)} not installed") if missing else None


def _path(asked: Mapping[str, Any], cache: Path) -> Path:
    return cache / f"memory-{_digest(asked)}.json"


def _kept(path: Path) -> MemoryPlan | None:
    """An answer of before, where there is one that can be read."""
    try:
        return MemoryPlan.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _keep(answer: Mapping[str, Any], path: Path) -> MemoryPlan:
    with contextlib.suppress(OSError):  # a folder that cannot be written: asked again next time
        make_private_folder(path.parent)
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
    return [*cards, os.environ.get("CUDA_VISIBLE_DEVICES", ""), str(machine_bytes())]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
