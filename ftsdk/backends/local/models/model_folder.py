"""Folders of base models: whether one is complete, its digests, its manifest.

Weights must be safetensors: a pickle runs code when it is opened. This module reads bytes and JSON
and never imports torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.errors import FtsdkError, Unsupported
from ftsdk.util.files import atomic_write_json, make_private_folder, sha256_file

MANIFEST = "ftsdk_model.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_FROM_PICKLE = (
    "open it once where you trust it and save it with "
    "`AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)`, which writes safetensors"
)


@dataclass(frozen=True)
class ModelFacts:
    """Digests of one model folder; `chat_template_sha256` is None when it has no template."""

    weights_sha256: str
    chat_template_sha256: str | None
    license: str | None = None
    revision: str | None = None


def check_model_folder(folder: Path) -> None:
    """Raise `Unsupported`, with the reason, unless the folder is a complete safetensors model."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise Unsupported(
                f"{folder.name} is an adapter, not a base model.",
                where=str(folder),
                hint="give the base model that the adapter was trained on",
            )
        raise Unsupported(
            f"{folder.name} is not a model folder: it has no config.json.",
            where=str(folder),
            hint="give a folder with config.json, *.safetensors and a tokenizer",
        )
    _read_json(folder / "config.json")
    for path in weight_files(folder):
        _check_safetensors(path)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        if (folder / "vocab.json").is_file():
            return
        raise Unsupported(
            f"{folder.name} has no tokenizer.",
            where=str(folder),
            hint="put tokenizer.json and tokenizer_config.json of the same model beside config.json",
        )


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of the model, sorted.

    With an index (`model.safetensors.index.json`) these are the files it lists. Raises `Unsupported`
    when one of them is missing, or when there are none.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_json(index).get("weight_map", {}).values()))
        missing = [n for n in names if Path(n).name != n or not (folder / n).is_file()]
        if missing or not names:
            raise Unsupported(
                f"{folder.name} is not complete: its index lists "
                f"{missing[0] if missing else 'none'}, which is not there.",
                where=str(index),
                hint="download the model again",
            )
        return tuple(folder / name for name in names)
    if (single := folder / "model.safetensors").is_file():
        return (single,)
    found = tuple(sorted(folder.glob("*.safetensors")))
    if found:
        return found
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if pickles:
        raise Unsupported(
            f"{folder.name} has only pickle weights ({pickles[0]}); ftsdk reads safetensors only.",
            where=str(folder),
            hint=_FROM_PICKLE,
        )
    raise Unsupported(
        f"{folder.name} has no weights: no *.safetensors file.",
        where=str(folder),
        hint="download the model again, with its model.safetensors",
    )


def _check_safetensors(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as handle:
        start = handle.read(64)
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or start[8:9] != b"{" or length + 8 > size:
        pointer = start.startswith(b"version https://git-lfs")
        raise Unsupported(
            f"{path.name} is "
            + ("a Git LFS pointer, not the weights." if pointer else "not a safetensors file."),
            where=f"{path}, {size} bytes",
            hint="run `git lfs pull` there" if pointer else "download the model again",
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise Unsupported(
            f"{path.name} is not JSON: {error}.", where=str(path), hint="download the model again"
        ) from error
    if not isinstance(value, dict):
        raise Unsupported(f"{path.name} is not a JSON object.", where=str(path))
    return value


def chat_template_of(folder: Path) -> str | None:
    """The chat template that transformers uses for this folder, or None."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_bytes().decode("utf-8")
    config = folder / "tokenizer_config.json"
    template = _read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(template, list):  # several named templates: the default one
        named = {entry.get("name"): entry.get("template") for entry in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def chat_template_sha256(folder: Path) -> str | None:
    """The SHA-256 of the chat template's UTF-8 text; None without a template."""
    template = chat_template_of(folder)
    return None if template is None else hashlib.sha256(template.encode()).hexdigest()


def weights_sha256(folder: Path) -> str:
    """One digest of all weights: that of the one file, or of the sorted `<digest>  <name>` lines."""
    files = weight_files(folder)
    if len(files) == 1:
        return sha256_file(files[0])
    lines = "".join(f"{sha256_file(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def model_facts(folder: Path, *, cache: Path, **known: str | None) -> ModelFacts:
    """The digests of a folder; the weights are read once and the result is kept in `cache`.

    A cached digest is used while names, sizes and modification times of the weights stay the same.
    The cache is not in the model's own folder, which may be read-only or belong to another tool.
    `known` (`license`, `revision`) is kept with the digests.
    """
    stats = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in weight_files(folder)]
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    path = cache / f"{name}.json"
    kept: dict[str, Any] = {}
    if path.is_file():
        try:
            kept = json.loads(path.read_bytes())
        except ValueError:
            kept = {}  # a damaged cache is written again
    fresh = kept.get("files") == stats
    digest = kept["weights_sha256"] if fresh else weights_sha256(folder)
    facts = {"license": kept.get("license"), "revision": kept.get("revision")} if fresh else {}
    facts |= {key: value for key, value in known.items() if value is not None}
    record = {"folder": str(folder), "files": stats, "weights_sha256": digest, **facts}
    if record != kept:
        make_private_folder(cache)
        atomic_write_json(path, record)
    return ModelFacts(
        weights_sha256=digest,
        chat_template_sha256=chat_template_sha256(folder),
        license=facts.get("license"),
        revision=facts.get("revision"),
    )


def write_manifest(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write the manifest of a model folder: size and SHA-256 of every file, and `facts`.

    Returns the manifest.
    """
    files = {
        path.name: {"size_bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    manifest = {
        "version": 1,
        **facts,
        "weights_sha256": weights_sha256(folder),
        "chat_template_sha256": chat_template_sha256(folder),
        "files": files,
    }
    atomic_write_json(folder / MANIFEST, manifest)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of `folder`; None when there is none that can be read."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return _read_json(path)
    except FtsdkError:
        return None


def manifest_fault(folder: Path, *, digests: bool = False) -> str | None:
    """How a folder differs from its manifest, as a sentence part; None when it does not.

    Sizes are always compared; with `digests` every file is read.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        return "it has no manifest"
    for name, entry in manifest.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["size_bytes"]:
            return f"{name} has {path.stat().st_size} bytes, not {entry['size_bytes']}"
        if digests and sha256_file(path) != entry["sha256"]:
            return f"{name} has other bytes than its SHA-256"
    return None
