"""The digest of a file that its server states in the headers of the answer, where it does."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REPR = re.compile(r"(?:^|,)\s*(sha-256|sha-512)=:([A-Za-z0-9+/=]+):")
_GOOGLE_MD5 = re.compile(r"(?:^|,)\s*md5=([A-Za-z0-9+/=]+)")
_SIZES = {"sha256": 32, "sha512": 64, "md5": 16}


@dataclass(frozen=True)
class StatedDigest:
    """A digest of the whole file. `header` is where it was stated."""

    algorithm: str
    value: bytes
    header: str

    def is_of(self, handle: Any) -> bool:
        """Whether the open file has this digest; reads it from the start."""
        handle.seek(0)
        return hashlib.file_digest(handle, lambda: _hasher(self.algorithm)).digest() == self.value


def stated_digest(headers: Mapping[str, str], *, whole: bool) -> StatedDigest | None:
    """The strongest digest of the file in the headers; `whole` when the body is the whole file.

    Read are `Repr-Digest` (RFC 9530), Amazon's `x-amz-checksum-sha256` (not of parts), Google's
    `x-goog-hash`, and `Content-MD5` of a whole file. One that is not well-formed is not stated.
    """
    found = [
        (match.group(1).replace("-", ""), match.group(2), "Repr-Digest")
        for match in _REPR.finditer(headers.get("repr-digest", ""))
    ]
    found.append(("sha256", headers.get("x-amz-checksum-sha256", ""), "x-amz-checksum-sha256"))
    if match := _GOOGLE_MD5.search(headers.get("x-goog-hash", "")):
        found.append(("md5", match.group(1), "x-goog-hash"))
    if whole:
        found.append(("md5", headers.get("content-md5", ""), "Content-MD5"))
    for algorithm, text, header in found:
        if (value := _decoded(text)) is not None and len(value) == _SIZES[algorithm]:
            return StatedDigest(algorithm, value, header)
    return None


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _hasher(algorithm: str) -> Any:
    return hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
