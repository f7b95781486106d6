"""The same bytes are not uploaded twice to the same account: what was uploaded is remembered.

A small JSON file per account (provider, origin and the key's fingerprint) in `home/uploads`. It is
a memory, not a truth: before a remembered file is used, the backend asks the provider whether it
still has it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.keys import BoundKey
from ftsdk.fsops import atomic_write_json, make_private_folder

__all__ = ["Uploads"]

_MOST = 5_000


class Uploads:
    """What one account already has, by the SHA-256 of its bytes (and what it is for)."""

    def __init__(self, home: Path, provider: str, key: BoundKey) -> None:
        place = re.sub(r"[^a-z0-9.-]+", "-", key.origin.lower()).strip("-")
        self._path = home / "uploads" / f"{provider}-{place}-{key.fingerprint}.json"

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            return {}  # a memory that cannot be read is no memory: upload again
        return found if isinstance(found, dict) else {}

    def get(self, sha256: str, purpose: str = "train") -> str | None:
        """The provider's file id for these bytes, or None."""
        found = self._read().get(f"{purpose}:{sha256}")
        return found if isinstance(found, str) else None

    def keep(self, sha256: str, file_id: str, purpose: str = "train") -> None:
        """Remember an upload.

        Two processes at once may each forget the other's; that costs an upload, nothing else.
        """
        known = self._read()
        known[f"{purpose}:{sha256}"] = file_id
        make_private_folder(self._path.parent)
        atomic_write_json(self._path, dict(list(known.items())[-_MOST:]))

    def forget(self, sha256: str, purpose: str = "train") -> None:
        """The provider no longer has it."""
        known = self._read()
        if known.pop(f"{purpose}:{sha256}", None) is not None:
            atomic_write_json(self._path, known)
