"""Push an export to a repository of the model hub: private unless asked, whole or not at all.

Large files are sent one by one before the commit that shows them, so a push that was interrupted
goes on with the file it was at. The commit is one: a reader sees the export before or the export
after. Then the repository is listed again, and every file compared with the one here.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.local.models.hub import is_hub_id, is_offline
from ftsdk.errors import AuthError, MissingExtra, Unavailable, UnexpectedResponse, UsageError
from ftsdk.exporting.exported_folder import ExportedFolder
from ftsdk.exporting.hub_errors import hub_errors
from ftsdk.exporting.source import PASSPORT
from ftsdk.types.pushed import Pushed
from ftsdk.util.names import plural

OnStep = Callable[[str], None]
_TIMEOUT_S = 30.0
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", "adapter_config.json", ".index.json")
_MOST_PASSPORT_BYTES = 4 << 20


def push(
    folder: Path, repo: str, *, public: bool = False, on_step: OnStep = lambda _: None
) -> Pushed:
    """Push the exported `folder` to `repo` (`owner/name`), which is made where it does not exist.

    A new repository is private unless `public`. Only the files of the export are sent, and only as
    they were exported. What an earlier export left in the repository is removed by the same commit.
    The key is the hub's own: `HF_TOKEN`, or what `hf auth login` stored. `on_step` gets a line before
    each step.

    Raises `UsageError` for a folder that is no export, for files that changed since, for a public
    repository without `public`, and for one with weights that no export of ours put there;
    `AuthError`, `RateLimited` or `Unavailable` from the hub; `UnexpectedResponse` when the repository
    does not hold what was sent.
    """
    check_repository(repo)
    export = ExportedFolder.read(folder)
    on_step("checking the files")
    export.check()
    return _Push(export, repo, on_step, public=public).run()


def check_repository(repo: str) -> None:
    """Raise `UsageError` unless `repo` has the form `owner/name`; asks nobody."""
    if not is_hub_id(repo) or "@" in repo:
        raise UsageError(
            f"{repo!r} does not name a repository",
            where="push",
            hint="owner/name, such as me/support",
        )


def check_access(repo: str, *, public: bool = False) -> None:
    """Raise what `push` would raise for the key or for the repository; sends nothing and makes nothing.

    An export takes minutes, so this is asked before it.
    """
    check_repository(repo)
    api = _api()
    with hub_errors(repo):
        found = _repository_of(api, repo)
        if found is not None:
            _check_visibility(repo, found, public=public)
        _check_key(api.whoami(), repo)


def _check_key(account: Any, repo: str) -> None:
    """Raise `AuthError` for a key that only reads, or that is of another owner."""
    owner = repo.partition("/")[0]
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    owners = [account.get("name"), *(one.get("name") for one in account.get("orgs") or ())]
    if role == "read" or owner not in owners:
        why = "it only reads" if role == "read" else f"it is of {account.get('name')}"
        raise AuthError(
            f"Your key may not write to {repo}: {why}",
            where=f"model hub, {repo}",
            hint="use a key with write access to that owner, or name a repository of your own",
        )


def _repository_of(api: Any, repo: str, revision: str | None = None) -> Any | None:
    """The repository's state with the size and digest of each file; None where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
    except RepositoryNotFoundError:
        return None


def _check_visibility(repo: str, found: Any, *, public: bool) -> None:
    if not found.private and not public:
        raise UsageError(
            f"{repo} is public, and this export would be",
            where="push",
            hint="say so (--public, public=True), or name a private repository",
        )


class _Push:
    def __init__(self, export: ExportedFolder, repo: str, on_step: OnStep, *, public: bool) -> None:
        self.export, self.repo, self.on_step, self.public = export, repo, on_step, public
        self.api = _api()
        self.notes: list[str] = []

    def run(self) -> Pushed:
        """Find or make the repository, send what it lacks, and compare."""
        with hub_errors(self.repo):
            before = self._repository()
            there = _files_of(before)
            lacking = [name for name in self.export.names if not self._is_there(name, there)]
            stale = self._stale(there, before.sha)
            commit = str(before.sha)
            if lacking or stale:
                commit = self._send(lacking, stale, commit)
                self._compare(commit)
        self._add_notes(private=bool(before.private))
        return Pushed(
            repo=self.repo,
            url=f"{self.api.endpoint}/{self.repo}",
            commit=commit,
            private=bool(before.private),
            folder=self.export.path,
            sent=tuple(lacking),
            unchanged=tuple(name for name in self.export.names if name not in lacking),
            removed=tuple(stale),
            size_bytes=sum((self.export.path / name).stat().st_size for name in lacking),
            notes=tuple(self.notes),
        )

    def _repository(self) -> Any:
        """The repository's state, made where it does not exist; never a public one unasked."""
        found = _repository_of(self.api, self.repo)
        if found is None:
            self.on_step(f"creating {self.repo}, {'public' if self.public else 'private'}")
            # Another process may have made it since: what counts is what the hub says next.
            self.api.create_repo(self.repo, private=not self.public, exist_ok=True)
            found = self._listed()
        _check_visibility(self.repo, found, public=self.public)
        return found

    def _listed(self, revision: str | None = None) -> Any:
        found = _repository_of(self.api, self.repo, revision)
        if found is None:
            raise UnexpectedResponse(
                "The model hub does not find the repository that it has just made",
                where=f"model hub, {self.repo}",
                hint="push again in a moment",
            )
        return found

    def _is_there(self, name: str, there: Mapping[str, Any]) -> bool:
        """Whether the repository's file of this name has the bytes of ours."""
        found, path = there.get(name), self.export.path / name
        if found is None or found.size != path.stat().st_size:
            return False
        if found.lfs is not None:
            digest = self.export.digests.get(name)
            return bool(
                found.lfs.sha256 == (digest or hashlib.sha256(path.read_bytes()).hexdigest())
            )
        return bool(found.blob_id == _blob_id(path))

    def _stale(self, there: Mapping[str, Any], commit: str) -> list[str]:
        """Files of an earlier export that this one lacks. Raises for weights of somebody else."""
        others = [name for name in there if name not in self.export.names]
        earlier = self._earlier_export(there.get(PASSPORT), commit)
        foreign = [name for name in others if name.endswith(_WEIGHTS) and name not in earlier]
        if foreign:
            raise UsageError(
                f"{self.repo} has {plural(len(foreign), 'file')} that no export of ftsdk put there, and a "
                f"program would load them beside these: {', '.join(foreign[:5])}",
                where="push",
                hint="name another repository, or delete them on its page",
            )
        return [name for name in others if name in earlier]

    def _earlier_export(self, passport: Any, commit: str) -> set[str]:
        """The files that the passport in the repository lists; it is data, and never trusted further."""
        if passport is None or passport.size > _MOST_PASSPORT_BYTES:
            return set()
        with tempfile.TemporaryDirectory(prefix="ftsdk-push-") as folder:
            path = self.api.hf_hub_download(self.repo, PASSPORT, revision=commit, local_dir=folder)
            try:
                listed = json.loads(Path(path).read_bytes())["export"]["files"]
            except (ValueError, KeyError, TypeError):
                return set()
        return set(listed) if isinstance(listed, dict) else set()

    def _send(self, names: list[str], stale: list[str], parent: str) -> str:
        """Send the files, large ones first and one at a time, then commit them together."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        additions = []
        for at, name in enumerate(names, 1):
            size = (self.export.path / name).stat().st_size
            self.on_step(f"sending {name}, {size / 1e6:,.1f} MB ({at} of {len(names)})")
            one = CommitOperationAdd(path_in_repo=name, path_or_fileobj=self.export.path / name)
            self.api.preupload_lfs_files(self.repo, [one], free_memory=False)
            additions.append(one)
        self.on_step("committing")
        done = self.api.create_commit(
            self.repo,
            [*additions, *(CommitOperationDelete(path_in_repo=name) for name in stale)],
            commit_message=_message(self.export),
            parent_commit=parent,
        )
        return str(done.oid)

    def _compare(self, commit: str) -> None:
        """Raise `UnexpectedResponse` unless the commit holds every file, byte for byte."""
        self.on_step("comparing")
        there = _files_of(self._listed(commit))
        wrong = [name for name in self.export.names if not self._is_there(name, there)]
        if wrong:
            raise UnexpectedResponse(
                f"{self.repo} does not hold what was sent: {', '.join(wrong)}",
                where=f"model hub, {self.repo} at {commit}",
                hint="push again; only what differs is sent",
            )

    def _add_notes(self, *, private: bool) -> None:
        if private and self.public:
            self.notes.append("the repository was private and still is; its page can change that")
        if not private and self.export.license is None:
            self.notes.append(
                "the base model's licence is not known here: add it to the card, and check that it "
                "lets you publish"
            )


def _api() -> Any:
    from importlib.util import find_spec

    if is_offline():
        raise Unavailable(
            "The model hub is switched off.",
            where="HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set",
            hint="unset it to push",
            retryable=False,
        )
    if find_spec("huggingface_hub") is None:
        raise MissingExtra("Pushing needs huggingface_hub.", hint="pip install 'ftsdk[local]'")
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)


def _files_of(info: Any) -> dict[str, Any]:
    return {one.rfilename: one for one in info.siblings or ()}


def _blob_id(path: Path) -> str:
    """The name that git gives to these bytes."""
    content = path.read_bytes()
    head = f"blob {len(content)}\0".encode()
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def _message(export: ExportedFolder) -> str:
    target = export.passport.get("export", {}).get("target")
    return f"Export of a fine-tune as {target}" if target else "Export of a fine-tune"
