"""Whether a base model can be trained as a job asks, known before the job is created.

Config, tokenizer and the headers of the weights say it. The training stack builds the model without
weights in a process of its own, so that planning loads no torch; the answer is kept beside the
digests of models.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ftsdk.backends.local.fault import Fault
from ftsdk.backends.local.models.config_faults import config_faults, quantization_of
from ftsdk.backends.local.models.model_folder import weight_files
from ftsdk.backends.local.models.row_paths import measured_paths
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.runs.ask_stack import NoAnswer, ask_stack
from ftsdk.types.spec import LoRA
from ftsdk.util.files import atomic_write_json, make_private_folder

FORMAT = 1
_PROGRAM = "ftsdk.backends.local.compute.examine"
_STACK = ("torch", "transformers", "peft", "safetensors")
_NO_TOKENS = TokenIds()


@dataclass(frozen=True)
class Trainability:
    """What is known about training one model with one adapter.

    `faults` are all reasons against it, each with a hint. `adapted` says what the adapter is put
    on. `unknown` says why the training stack could not be asked; then only the faults that the
    config shows are known.
    """

    faults: tuple[Fault, ...]
    adapted: str | None = None
    unknown: str | None = None


def trainability(
    folder: Path,
    adapter: LoRA | None,
    *,
    cache: Path,
    config_only: bool = False,
    tokens: TokenIds = _NO_TOKENS,
) -> Trainability:
    """Examine the model in `folder`; answers are kept in `cache` until a file or a version changes.

    The first answer for a model takes seconds, the others none. With `config_only` there is nothing
    but a config.json yet, and only what that shows is known. `tokens` are those whose rows of the
    embedding are trained.
    """
    faults = config_faults(folder)
    missing = [name for name in _STACK if importlib.util.find_spec(name) is None]
    if missing:
        return Trainability(tuple(faults), unknown=f"{', '.join(missing)} not installed")
    asked = _question(folder, adapter, tokens, config_only=config_only)
    path = cache / f"trainability-{_digest(folder, asked)}.json"
    found = _kept(path)
    if found is None:
        try:
            found = examine(asked)
        except Unexamined as error:
            return Trainability(tuple(faults), unknown=str(error))
        with contextlib.suppress(OSError):  # a folder that cannot be written: asked again next time
            make_private_folder(cache)
            atomic_write_json(path, found)
    faults += [Fault(what, hint) for what, hint in found["faults"]]
    adapted = found["adapted"]
    return Trainability(tuple(faults), None if adapted is None else adapted["summary"])


class Unexamined(Exception):
    """The training stack gave no answer; the message says why."""


def examine(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the training stack, in a process of its own. Raises `Unexamined`."""
    try:
        return ask_stack(_PROGRAM, asked)
    except NoAnswer as error:
        raise Unexamined(str(error)) from None


def _refused_when_measured(model_type: str | None) -> str | None:
    """Why the trainer refused this architecture when the installed release was measured."""
    release, paths = measured_paths()
    found = paths.get(model_type or "")
    if found is None or found.path != "refused" or release != _version("transformers"):
        return None
    return found.reason


def _question(
    folder: Path, adapter: LoRA | None, tokens: TokenIds, *, config_only: bool
) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_bytes())
    return {
        "folder": str(folder),
        "files": [] if config_only else [str(path) for path in weight_files(folder)],
        "headers": not config_only and quantization_of(config) is None,
        "refused": _refused_when_measured(config.get("model_type")),
        "adapter": None if adapter is None else adapter.model_dump(mode="json"),
        "tokens": {"known": tokens.known, "new": tokens.new},
    }


def _digest(folder: Path, asked: Mapping[str, Any]) -> str:
    """A name for the question: it changes with any file it was answered from, and any version."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    files = [*(folder / name for name in names), *map(Path, asked["files"])]
    stats = [
        [str(path), path.stat().st_size, path.stat().st_mtime_ns]
        for path in files
        if path.is_file()
    ]
    versions = [_version(name) for name in ("ftsdk", *_STACK, "bitsandbytes")]
    text = json.dumps([FORMAT, asked, stats, versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return kept
