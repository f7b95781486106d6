"""Accounts, as the journal keeps them: what the provider calls it, or a keyed hash of the key.

An account is `named:NAME` where the configuration names it, `project:ID` where the provider's project
is known, `resource:HOST` where an account has a host of its own, else `key:SECRET:HASH`: `HASH` is an
HMAC of the key under a random secret of the home folder, and `SECRET` distinguishes such secrets. The
key itself is never kept.
"""

from __future__ import annotations

__all__ = ["account_name", "key_account", "may_be_same", "named_account"]

_KEY = "key:"


def may_be_same(one: str | None, other: str | None) -> bool:
    """Return False where the two are known to be different accounts.

    An account that was not recorded, or whose hash is of another home's secret, may be any.
    """
    if one is None or other is None or one == other:
        return True
    both_hashed = one.startswith(_KEY) and other.startswith(_KEY)
    return both_hashed and _secret_of(one) != _secret_of(other)


def account_name(account: str | None) -> str:
    """Return the short name that is shown: the project, or the first characters of the hash."""
    if account is None:
        return "unknown"
    return account.rpartition(":")[2][:8] if account.startswith(_KEY) else account.partition(":")[2]


def key_account(secret_name: str, digest: str) -> str:
    """Return the account of a key whose project is not known."""
    return f"{_KEY}{secret_name}:{digest}"


def named_account(name: str) -> str:
    """Return the account that the configuration names."""
    return f"named:{name}"


def _secret_of(account: str) -> str:
    return account.split(":")[1]
