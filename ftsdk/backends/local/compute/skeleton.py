"""A model without weights: built from its config and the headers of its safetensors files.

Parameters are on torch's `meta` device: they have shapes and no memory. So the largest model is
built in seconds, and what its files lack is known before a byte of weights is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_LINE = "\n"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class CannotBuild(Exception):
    """transformers has no causal language model for this config, or cannot build it."""


@dataclass(frozen=True)
class Skeleton:
    """A network on the `meta` device, and how the files differ from what it needs.

    `missing` names parameters that no file has: loading would set them to random numbers. `misfits`
    are parameters whose shape in the files differs from the config's, with both shapes.
    """

    network: Any
    missing: tuple[str, ...] = ()
    misfits: tuple[str, ...] = ()


def config_of(folder: Path) -> Any:
    """The model's config. Raises `CannotBuild` for an architecture that transformers does not know."""
    from transformers import CONFIG_MAPPING, AutoConfig

    written = json.loads((folder / "config.json").read_bytes())
    kind = written.get("model_type")
    if kind not in CONFIG_MAPPING:
        own = " and has code of its own, which ftsdk never runs" if "auto_map" in written else ""
        raise CannotBuild(f"transformers does not know the architecture {kind!r}{own}")
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise CannotBuild(
            f"its config.json is not one of {kind!r}: {_first_line(error)}"
        ) from error


def class_of(config: Any) -> tuple[Any, Any]:
    """The class that `AutoModelForCausalLM` loads a config with, and the part of the config it takes.

    Raises `CannotBuild` when there is none.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = type(config)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise CannotBuild(
            f"{config.model_type!r} is not a causal language model: transformers has no class "
            "for it that predicts the next token"
        )
    found: Any = MODEL_FOR_CAUSAL_LM_MAPPING[kind]
    if isinstance(found, list | tuple):
        named = {one.__name__: one for one in found}
        asked = [name for name in config.architectures or () if name in named]
        found = named[asked[0]] if asked else found[0]
    text = config.sub_configs.get("text_config")
    if text is not None and getattr(found, "config_class", None) == text:
        config = config.get_text_config()
    return found, config


def build(config: Any) -> Any:
    """The network of a config, on the `meta` device. Raises `CannotBuild`."""
    return _build(*class_of(config))


def without_weights(network: Any) -> Any:
    """A network like this one, on the `meta` device. Raises `CannotBuild`."""
    return _build(type(network), network.config)


def _build(kind: Any, config: Any) -> Any:
    try:
        with torch.device("meta"):
            return kind._from_config(config)
    except Exception as error:
        raise CannotBuild(
            f"transformers cannot build {config.model_type!r} from this config: {_first_line(error)}"
        ) from error


def load_headers(config: Any, files: Sequence[Path]) -> Skeleton:
    """The network as its files would fill it; only their headers are read. Raises `CannotBuild`."""
    kind, part = class_of(config)
    weights = {
        name: torch.empty(
            entry["shape"], dtype=_DTYPES.get(entry["dtype"], torch.uint8), device="meta"
        )
        for path in files
        for name, entry in headers(path)
    }
    try:
        network, report = kind.from_pretrained(
            None,
            config=part,
            state_dict=weights,
            device_map="meta",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except NotImplementedError:  # some conversion needs numbers; the network alone is known
        return Skeleton(build(config))
    except Exception as error:
        raise CannotBuild(
            f"transformers cannot load {config.model_type!r} from these files: {_first_line(error)}"
        ) from error
    misfits = (
        f"{name} is {list(found)} in the files and {list(wanted)} by the config"
        for name, found, wanted in sorted(report["mismatched_keys"])
    )
    return Skeleton(network, tuple(sorted(report["missing_keys"])), tuple(misfits))


def headers(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name, and `shape` and `dtype`, of each tensor of a safetensors file."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        for name, entry in json.loads(handle.read(length)).items():
            if name != "__metadata__":
                yield name, entry


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(_LINE)[0][:200]}"
