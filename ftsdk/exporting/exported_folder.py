"""An exported folder: its files as the passport lists them, checked before they go anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.errors import UsageError
from ftsdk.exporting.source import PASSPORT
from ftsdk.util.files import sha256_file
from ftsdk.util.names import plural

CARD = "README.md"
_MOST_SHOWN = 5


@dataclass(frozen=True)
class ExportedFolder:
    """What `ftsdk export` wrote. `digests` are SHA-256 by file name; the card and passport have none."""

    path: Path
    passport: Mapping[str, Any]
    digests: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Every file of the export, and no other that may lie in the folder."""
        return (*sorted(self.digests), CARD, PASSPORT)

    @property
    def license(self) -> str | None:
        """The licence of the base model, where it is known."""
        stated = self.passport.get("base_model", {}).get("license")
        return stated if isinstance(stated, str) else None

    @classmethod
    def read(cls, folder: Path) -> ExportedFolder:
        """Read the passport. Raises `UsageError` for a folder that is no export."""
        found = _passport_of(folder)
        digests = found.get("export", {}).get("files") if found else None
        if not isinstance(digests, dict) or not digests or not (folder / CARD).is_file():
            raise UsageError(
                "This folder is not an export: it has no model card and passport",
                where=str(folder),
                hint=f"ftsdk export JOB adapter {folder}, or name the job instead of the folder",
            )
        strange = [name for name in digests if not _is_plain(name)]
        if strange:
            raise UsageError(
                f"The passport names a file outside the folder: {strange[0]!r}",
                where=str(folder / PASSPORT),
                hint="export the model again",
            )
        return cls(folder, found, digests)

    def check(self) -> None:
        """Raise `UsageError` where a file is missing or is not as it was exported; names all."""
        wrong = [name for name, digest in self.digests.items() if not self._is_same(name, digest)]
        if wrong:
            more = f" and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
            raise UsageError(
                f"{plural(len(wrong), 'file')} changed since the export or {'is' if len(wrong) == 1 else 'are'} "
                f"missing: {', '.join(wrong[:_MOST_SHOWN])}{more}",
                where=str(self.path),
                hint="export the model again into a new folder",
            )

    def _is_same(self, name: str, digest: str) -> bool:
        path = self.path / name
        return path.is_file() and not path.is_symlink() and sha256_file(path) == digest


def _passport_of(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / PASSPORT).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_plain(name: object) -> bool:
    return (
        isinstance(name, str) and Path(name).name == name and name not in ("", "..", CARD, PASSPORT)
    )
