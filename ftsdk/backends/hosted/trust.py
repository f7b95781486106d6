"""Which address gets which key: a configuration file alone does not move an account's key.

A `ftsdk.toml` that came with somebody's project may name any base URL. The account's usual key goes
to the provider's own hosts, and to an address that the environment names too; any other address of
a file gets only a key that was stored for its host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.hosted.keys import BoundKey, bind_key, checked_base_url, origin_of

__all__ = ["Place", "place_of"]


@dataclass(frozen=True)
class Place:
    """A base URL in use, and whether a file (or the journal) gave it rather than the environment."""

    url: str
    from_file: bool

    def key(
        self,
        provider: str,
        variables: tuple[str, ...],
        env: Mapping[str, str],
        *,
        url_variable: str,
        own_hosts: frozenset[str],
    ) -> BoundKey:
        """The key for this place, read now. Raises `ConfigError` with the places looked at."""
        host = urlsplit(self.url).hostname or ""
        if self.from_file and host not in own_hosts:
            named = env.get(url_variable, "")
            if not named or origin_of(named) != origin_of(self.url):
                variable = "FTSDK_KEY_" + re.sub(r"[^A-Z0-9]", "_", host.upper())
                return bind_key(host, (variable,), env, self.url)
        return bind_key(provider, variables, env, self.url)


def place_of(context: Context, *, variable: str, default: str) -> Place:
    """The base URL: configuration, then the variable, then the default."""
    if context.base_url:
        url = checked_base_url(context.base_url, source="base_url of the configuration")
        return Place(url, from_file=True)
    if context.env.get(variable):
        url = checked_base_url(context.env[variable], source=f"variable {variable}")
        return Place(url, from_file=False)
    return Place(default, from_file=False)
