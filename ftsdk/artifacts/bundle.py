"""A bundle: a private folder of fetched files, sealed by a manifest with their hashes.

Each file is written completely or not at all. The manifest is written last and names every file
with its SHA-256; its own hash is in `seal`. So a bundle can be checked on any machine, and a changed
byte is named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from ftsdk.errors import StoreError, UsageError
from ftsdk.util.files import atomic_file, atomic_write_bytes, make_private_folder, sha256_file

MANIFEST = "manifest.json"
CAPTURE_KIND, INVENTORY_KIND = "ftsdk-capture", "ftsdk-inventory"
_LOCK = ".lock"
_OURS = frozenset((MANIFEST, _LOCK, ".gitignore"))


class Bundle:
    """One bundle of one kind, such as `ftsdk-inventory`, of one source."""

    def __init__(self, folder: Path, kind: str, source: Mapping[str, Any]) -> None:
        self.folder = folder
        self._kind = kind
        self._source = dict(source)

    def open(self) -> Mapping[str, Any]:
        """Create the folder, or continue the bundle in it; return its manifest, empty at first.

        Raises `UsageError` for a folder with other files, or with the bundle of another source.
        """
        make_private_folder(self.folder)
        self.folder.chmod(0o700)
        manifest = read_manifest(self.folder) if (self.folder / MANIFEST).exists() else {}
        if manifest and (manifest.get("kind"), manifest.get("source")) != (
            self._kind,
            self._source,
        ):
            raise UsageError(
                "The folder has a bundle of something else",
                where=f"{self.folder}: {manifest.get('kind')} of {_described(manifest.get('source'))}",
                hint=f"give another folder for {_described(self._source)}",
            )
        ignore = self.folder / ".gitignore"
        if not manifest and not ignore.exists():
            if any(self.folder.iterdir()):
                raise UsageError(
                    "The folder has files that are not of a bundle",
                    where=str(self.folder),
                    hint="give a new or empty folder",
                )
            atomic_write_bytes(ignore, b"*\n")  # a bundle is private data
        return manifest

    @property
    def lock(self) -> Path:
        """The file whose lock keeps a second writer out."""
        return self.folder / _LOCK

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON under `name`, a path within the bundle."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        atomic_write_bytes(self._path(name), text.encode("utf-8", "replace") + b"\n")

    def write_blocks(self, name: str, blocks: Iterable[bytes]) -> tuple[int, str]:
        """Write the blocks to `name`; return the size in bytes and the SHA-256."""
        digest, size = hashlib.sha256(), 0
        with atomic_file(self._path(name)) as handle:
            for block in blocks:
                handle.write(block)
                digest.update(block)
                size += len(block)
        return size, digest.hexdigest()

    def has(self, name: str, sha256: str | None) -> bool:
        """Whether the bundle has the file with this hash."""
        path = self.folder / name
        return sha256 is not None and path.is_file() and sha256_file(path) == sha256

    def hash_of(self, name: str) -> str:
        """Return the SHA-256 of a file of the bundle."""
        return sha256_file(self.folder / name)

    def _path(self, name: str) -> Path:
        path = self.folder / name
        make_private_folder(path.parent)
        return path

    def seal(self, content: Mapping[str, Any]) -> None:
        """Write the manifest: `content`, and the hash of each file that is in the bundle now."""
        manifest: dict[str, Any] = {
            "kind": self._kind,
            "version": 1,
            "source": self._source,
            **content,
            "sha256": {
                name: sha256_file(self.folder / name) for name in files_of_bundle(self.folder)
            },
        }
        manifest["seal"] = _seal_of(manifest)
        self.write_json(MANIFEST, manifest)


def verify(folder: Path) -> list[str]:
    """Return what is wrong with a bundle, a line for each file; empty for a bundle that is whole.

    Raises `StoreError` where there is no manifest that can be read.
    """
    manifest = read_manifest(folder)
    wrong = [] if manifest.get("seal") == _seal_of(manifest) else [f"{MANIFEST}: it was changed"]
    recorded = manifest.get("sha256")
    known: Mapping[str, Any] = recorded if isinstance(recorded, Mapping) else {}
    there = files_of_bundle(folder)
    for name, sha256 in known.items():
        if name not in there:
            wrong.append(f"{name}: it is missing")
        elif sha256_file(folder / name) != sha256:
            wrong.append(f"{name}: it was changed")
    wrong += [f"{name}: it is not in the manifest" for name in there if name not in known]
    return wrong


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return the manifest of a bundle. Raises `StoreError` where there is none that can be read."""
    path = folder / MANIFEST
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise StoreError(
            f"The manifest of the bundle cannot be read: {why}",
            where=str(path),
            hint="is it the right folder? A bundle that was not finished has no manifest yet: "
            "run the same command again",
        ) from error
    if not isinstance(found, dict):
        raise StoreError(
            "The manifest of the bundle is not an object",
            where=str(path),
            hint="restore the bundle from a copy",
        )
    return found


def files_of_bundle(folder: Path) -> list[str]:
    """Return the names of the files in the bundle, without the manifest and unfinished ones."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in names if name not in _OURS and not name.endswith(".tmp"))


def _seal_of(manifest: Mapping[str, Any]) -> str:
    without = {name: value for name, value in manifest.items() if name != "seal"}
    return hashlib.sha256(orjson.dumps(without, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _described(source: Any) -> str:
    return ", ".join(map(str, source.values())) if isinstance(source, Mapping) else "unknown"
