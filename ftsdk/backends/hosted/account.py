"""Which account a key is of, as the journal keeps it. The key itself is never kept."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ftsdk.backends.hosted.ambient import custom_headers
from ftsdk.backends.hosted.api_keys import BoundKey
from ftsdk.backends.hosted.key_trust import Service
from ftsdk.errors import StoreError
from ftsdk.types.account import key_account
from ftsdk.util.files import make_private_folder, write_new_file

_SECRET_BYTES = 32
_CHOOSES_ACCOUNT = re.compile(
    r"(?i)key|token|auth|account|organi[sz]ation|project|tenant|workspace"
)
"""Custom headers with such a name choose an account, for instance at a gateway."""


def account_of(
    service: Service, url: str, key: BoundKey, beside: Mapping[str, str], home: Path
) -> str:
    """Return the account of a key at `url`.

    `beside` are the variables sent beside the key. Where a provider gives each account a host, or at
    its own hosts refuses a key of another project, the account is that host or project, and its keys
    can be replaced. Elsewhere it is a hash of the key and of what is sent beside it to choose one.

    Raises `StoreError` when the secret of the home folder cannot be read or created.
    """
    project = beside.get(service.project_variable or "")
    if service.owns_url(url) and service.one_account_a_host:
        return f"resource:{(urlsplit(url).hostname or '').lower()}"
    if service.owns_url(url) and project:
        return f"project:{project}"
    material = [f"{name}={value}" for name, value in sorted(_chosen_by(beside).items())]
    return account_of_key(key, home, "\n".join(material))


def account_of_key(key: BoundKey, home: Path, beside: str = "") -> str:
    """Return the account that is known only by its key, and by `beside`, if that chooses it."""
    secret = account_secret(home)
    name = hashlib.sha256(b"name of " + secret).hexdigest()[:6]
    return key_account(name, key.keyed_hash(secret, beside))


def _chosen_by(beside: Mapping[str, str]) -> dict[str, str]:
    """Return the variables and custom headers that choose an account."""
    chosen = {}
    for variable, value in beside.items():
        if not variable.endswith("_CUSTOM_HEADERS"):
            chosen[variable] = value
            continue
        for header, content in custom_headers(value).items():
            if _CHOOSES_ACCOUNT.search(header):
                chosen[f"header {header.lower()}"] = content
    return chosen


def account_secret(home: Path) -> bytes:
    """Return the random secret under which this home folder hashes keys; created at first use."""
    path = home / "account.secret"
    try:
        if not path.exists():
            make_private_folder(home)
            write_new_file(path, secrets.token_bytes(_SECRET_BYTES))
        if os.name != "nt" and path.stat().st_mode & 0o077:
            path.chmod(0o600)
        found = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"The secret that distinguishes accounts cannot be used: {error.strerror or error}",
            where=str(path),
            hint="make it readable and its folder writable, or set FTSDK_HOME to another folder",
            submitted="no",
        ) from error
    if len(found) != _SECRET_BYTES:
        raise StoreError(
            f"The secret that distinguishes accounts has {len(found)} bytes instead of {_SECRET_BYTES}",
            where=str(path),
            hint="restore it from a copy; or delete it, and check keys yourself until each job is "
            "read again",
            submitted="no",
        )
    return found
