"""What is exported: the folder of a result, and the folder of the base model that it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.artifacts.portability import ModelFacts
from ftsdk.backends.local.models.model_folder import MANIFEST, check_model_folder
from ftsdk.errors import NotFound, UsageError

PASSPORT = "ftsdk.json"
_ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class ExportSource:
    """A result that was read and found complete.

    `facts` is its `ftsdk.json` (empty where the model was trained elsewhere), `adapter` its
    `adapter_config.json` (None for a whole model), `config` the `config.json` of the base, or of the
    whole model. `base` is None for a whole model.
    """

    folder: Path
    base: Path | None
    facts: Mapping[str, Any]
    adapter: Mapping[str, Any] | None
    config: Mapping[str, Any]
    base_id: str | None = None

    @classmethod
    def read(
        cls, folder: Path, *, base: Path | None = None, base_id: str | None = None
    ) -> ExportSource:
        """Read the result in `folder`; the base of an adapter is `base`, or the one it names.

        `base_id` is the base's id on the hub, where the result does not know it. Raises `NotFound` for
        a folder or a base that is not here, and `Unsupported` for weights that are not safetensors.
        """
        adapter = _read(folder / _ADAPTER_CONFIG)
        facts = _read(folder / PASSPORT) or {}
        if adapter is None:
            if not (folder / "config.json").is_file():
                raise NotFound(
                    "There is no model in this folder",
                    where=str(folder),
                    hint="name the folder of a result: it has adapter_config.json or config.json",
                )
            check_model_folder(folder)
            return cls(folder, None, facts, None, _required(folder / "config.json"), base_id)
        if not (folder / "adapter_model.safetensors").is_file():
            raise NotFound(
                "The adapter has no adapter_model.safetensors",
                where=str(folder),
                hint="download the result again",
            )
        base = base or _named_base(facts, folder)
        check_model_folder(base)
        return cls(folder, base, facts, adapter, _required(base / "config.json"), base_id)

    @property
    def model_type(self) -> str:
        """The architecture, as transformers names it."""
        return str(self.config.get("model_type") or "")

    @property
    def hub_id(self) -> str | None:
        """The base's id on the hub, where it is known."""
        known = self.facts.get("base_model", {}).get("published_as")
        named = (self.adapter or {}).get("base_model_name_or_path")
        for one in (self.base_id, known, named):
            if isinstance(one, str) and one.count("/") == 1 and not one.startswith((".", "/", "~")):
                return one
        return None

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer is: beside the result, or beside its base where it has none."""
        if self.base is None or (self.folder / "tokenizer.json").is_file():
            return self.folder
        return self.base

    @property
    def quantized(self) -> str | None:
        """How the base was packed in training: `nf4`, or None."""
        found = (self.facts.get("adapter") or {}).get("quantize")
        return str(found) if found else None

    @property
    def added_tokens(self) -> tuple[str, ...]:
        """Tokens that the base's tokenizer did not have."""
        return tuple(self.facts.get("added_tokens") or ())

    @property
    def embedding_rows(self) -> int:
        """Rows that the embedding has for the added tokens; 0 without any."""
        return int(self.facts.get("embedding_rows") or 0) if self.added_tokens else 0

    @property
    def license(self) -> str | None:
        """The licence of the base, where it is known."""
        return self._base_manifest.get("license")

    @property
    def unpacked(self) -> str | None:
        """Why the weights that were trained on are not the published ones, if so."""
        source = self._base_manifest.get("source")
        if not self._base_manifest.get("gguf_sha256"):
            return None
        return (
            f"the base was unpacked from 4 bits ({source}): on the published weights the answers "
            "are not quite those that were trained and compared"
        )

    @property
    def _base_manifest(self) -> Mapping[str, Any]:
        return _read((self.base or self.folder) / MANIFEST) or {}

    def model_facts(self) -> ModelFacts:
        """What the rules of portability read."""
        return ModelFacts.of_config(
            self.adapter,
            model_type=self.model_type,
            hub_id=self.hub_id,
            added_tokens=self.added_tokens,
            license=self.license,
            unpacked=self.unpacked,
        )


def _named_base(facts: Mapping[str, Any], folder: Path) -> Path:
    path = facts.get("base_model", {}).get("path")
    if path and (Path(path) / "config.json").is_file():
        return Path(path)
    name = facts.get("base_model", {}).get("name")
    raise NotFound(
        f"The base model {name or ''} of this adapter is not here".replace("  ", " "),
        where=str(path or folder),
        hint="name its folder with --base (base= in Python)",
    )


def _read(path: Path) -> dict[str, Any] | None:
    return _required(path) if path.is_file() else None


def _required(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(
            f"{path.name} is not JSON: {error}", where=str(path), hint="download the result again"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(
            f"{path.name} is not a JSON object", where=str(path), hint="download the result again"
        )
    return found
