"""Base models from a model hub: safetensors and tokenizer files, never code or pickles."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.pull_progress import OnProgress, watch_growth
from ftsdk.errors import AuthError, MissingExtra, Unavailable, UnknownModel, Unsupported
from ftsdk.util.files import make_private_folder

_TIMEOUT_S = 5.0
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?\Z")
_WANTED = re.compile(
    r"(?!consolidated)(?:[\w.-]+\.safetensors|model\.safetensors\.index\.json|config\.json|"
    r"generation_config\.json|tokenizer[\w.-]*|[\w.-]+\.jinja|special_tokens_map\.json|"
    r"added_tokens\.json|vocab\.(?:json|txt)|merges\.txt|LICENSE[\w.]*)\Z"
)


@dataclass(frozen=True)
class HubFiles:
    """The files to download of one hub model, at one commit.

    `files` are names in its root folder with their sizes in bytes; `asked` is the revision that was
    asked for (empty: the default), `revision` the commit.
    """

    repo: str
    asked: str
    revision: str
    license: str | None
    files: tuple[tuple[str, int], ...]

    @property
    def total_bytes(self) -> int:
        """The bytes of all files."""
        return sum(size for _, size in self.files)


def is_hub_id(name: str) -> bool:
    """Whether `name` has the shape of a hub id: `org/name` or `org/name@revision`."""
    return ".." not in name and _ID.match(name) is not None


def is_offline() -> bool:
    """Whether the environment switches the hub off (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`)."""
    true_values = {"1", "on", "yes", "true"}
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in true_values for name in names)


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _require_library() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtra(
            "Reading a model hub needs huggingface_hub.", hint="pip install 'ftsdk[local]'"
        )


@contextlib.contextmanager
def _mapped(repo: str) -> Iterator[None]:
    """Raise the hub library's exceptions as ours."""
    from huggingface_hub import errors as hub

    # Its releases use different HTTP libraries; the root error of each is the parent of this one.
    http_root: Any = hub.HfHubHTTPError.__bases__[0]
    unreachable: tuple[type[Exception], ...] = (hub.HfHubHTTPError, http_root, OSError)
    where = f"model hub, {repo}"
    try:
        yield
    except hub.GatedRepoError as error:
        raise AuthError(
            f"{repo} requires its terms to be accepted before it can be downloaded.",
            where=where,
            hint="accept them on its page, then run `hf auth login` here",
        ) from error
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError) as error:
        raise UnknownModel(
            f"The model hub has no model {repo} that may be read here.",
            where=where,
            hint="check the spelling; for a private model run `hf auth login` first",
        ) from error
    except unreachable as error:
        first = next(iter(str(error).split("\n")), "") or type(error).__name__
        raise Unavailable(
            f"The model hub could not be reached for {repo}.",
            where=f"{where}: {type(error).__name__}: {first[:200]}",
            hint="try again when there is a network, or give a local model folder "
            "(config.json, *.safetensors, tokenizer)",
        ) from error


def look_up(name: str) -> HubFiles:
    """List the files of `name` (`org/name`, or `org/name@revision`) on the hub, within seconds.

    Raises `Unavailable` (no network, or switched off), `UnknownModel`, `AuthError`, and
    `Unsupported` for a model without safetensors.
    """
    repo, _, revision = name.partition("@")
    if is_offline():
        raise Unavailable(
            f"{repo} is not on this machine and the model hub is switched off.",
            where="HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set",
            hint="unset it, or give a local model folder (config.json, *.safetensors, tokenizer)",
            retryable=False,
        )
    _require_library()
    from huggingface_hub import HfApi

    with _mapped(repo):
        info: Any = HfApi(endpoint=_endpoint()).model_info(
            repo, revision=revision or None, timeout=_TIMEOUT_S, files_metadata=True
        )
    listed = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
    wanted = tuple(sorted((n, size) for n, size in listed.items() if _WANTED.match(n)))
    if not any(file.endswith(".safetensors") for file, _ in wanted):
        pickles = sorted(n for n in listed if n.endswith((".bin", ".pt", ".pth", ".ckpt")))
        raise Unsupported(
            f"{repo} has no safetensors"
            + (f", only pickle weights ({pickles[0]})." if pickles else "."),
            where=f"model hub, {repo} at {info.sha}",
            hint="choose a model that is published as safetensors",
        )
    card = info.card_data
    stated = card.get("license") if card is not None else None
    return HubFiles(repo, revision, info.sha, stated if isinstance(stated, str) else None, wanted)


def download(
    found: HubFiles, model: str, on_progress: OnProgress, *, into: Path | None = None
) -> Path:
    """Download the files into the folder `into`, or into the hub's own cache; returns their folder.

    All files are of the commit in `found`. `config.json` comes last, so that a folder with one is
    complete. `model` is the name in progress reports. Raises what `look_up` raises.
    """
    from huggingface_hub import constants

    if into is None:
        kept = Path(constants.HF_HUB_CACHE) / f"models--{found.repo.replace('/', '--')}" / "blobs"
    else:
        kept = into
    names = sorted((name for name, _ in found.files), key=lambda name: name == "config.json")
    with _mapped(found.repo), watch_growth(kept, model, found.total_bytes, on_progress):
        folders = {_fetch(found.repo, name, found.revision, into) for name in names}
        if into is None:
            # Ask by its name once, so that the cache records which commit the name means.
            folders.add(_fetch(found.repo, "config.json", found.asked or None, None))
    if len(folders) != 1:
        raise Unavailable(
            f"{found.repo} changed while it was being downloaded.",
            where=f"model hub, {found.repo}, begun at commit {found.revision}",
            hint=f"run `ftsdk models pull {model}` again",
        )
    return folders.pop()


def fetch_config(name: str, folder: Path) -> Path | None:
    """Download the config.json of `name`, a few kilobytes, below `folder`; returns its folder.

    The folder is named by the commit. None for a model without a config.json. Raises what `look_up`
    raises.
    """
    found = look_up(name)
    if "config.json" not in dict(found.files):
        return None
    into = folder / f"{found.repo.replace('/', '--')}@{found.revision}"
    if not (into / "config.json").is_file():
        make_private_folder(folder)
        with _mapped(found.repo):
            _fetch(found.repo, "config.json", found.revision, into)
    return into


def _fetch(repo: str, name: str, revision: str | None, into: Path | None) -> Path:
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(repo, name, revision=revision, local_dir=into, endpoint=_endpoint())
    return Path(path).parent


def cached_snapshot(name: str) -> Path | None:
    """The folder of `name` in the hub's cache on this machine, or None; without network.

    It may lack files; the caller checks that the model is complete.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repo, _, revision = name.partition("@")
    try:
        found = snapshot_download(repo, revision=revision or None, local_files_only=True)
    except LocalEntryNotFoundError as error:
        # It lacks some file of the repository: perhaps only one that is not needed.
        partial = getattr(error, "snapshot_path", None)
        return None if partial is None else Path(partial)
    return Path(found)
