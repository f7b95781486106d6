"""API keys, each bound to one origin.

A key is sent to the origin it was read for, and to no other: an SDK pointed at another host, or a
redirect to one, does not get it. Every client is therefore made for one origin and follows no
redirects.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from ftsdk.backends.hosted.redact import remember
from ftsdk.config import Environment, api_key
from ftsdk.errors import ConfigError

_SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_[A-Z0-9_]+)?$")
_LOOKS_SECRET = re.compile(r"[\w+=~-][\w./+=~-]{11,}")  # no path, no sentence, no short word
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORTS = {"https": 443, "http": 80}


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url`, for instance `https://a.b:443`."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}:{port}"


def checked_base_url(url: str, *, source: str) -> str:
    """Return `url` without a trailing slash.

    Raises `ConfigError` for a URL that must not carry a key: plain HTTP to another machine, and
    user names, passwords, queries and fragments, since URLs are logged and shown.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise _bad_url("it is not a URL", source) from error
    if parts.scheme not in ("https", "http") or not host:
        raise _bad_url("it is not an http(s) URL", source)
    if parts.username is not None or parts.password is not None:
        raise _bad_url("it carries a user name or password", source)
    if parts.query or parts.fragment:
        raise _bad_url("it carries a query or fragment", source)
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise _bad_url("it is plain http, over which the key could be read", source)
    return url.rstrip("/")


def _bad_url(why: str, source: str) -> ConfigError:
    return ConfigError(
        f"The base URL cannot be used: {why}",
        where=source,
        hint="give an https:// URL of host and path alone; http:// is for this machine",
    )


class BoundKey:
    """A key and the one origin it is for. Neither repr nor pickle shows its value."""

    __slots__ = ("__secret", "origin")

    def __init__(self, secret: str, origin: str) -> None:
        self.__secret = secret
        self.origin = origin
        remember(secret)

    def reveal(self, url: str) -> str:
        """Return the key, for a request to `url`. Raises `ConfigError` for another origin."""
        if origin_of(url) != self.origin:
            raise ConfigError(
                f"The key for {self.origin} is not sent to {origin_of(url)}",
                where="before sending",
                hint="set base_url to the service that the key belongs to",
            )
        return self.__secret

    @property
    def fingerprint(self) -> str:
        """Twelve characters that distinguish keys and reveal nothing about them."""
        material = f"ftsdk key {self.origin} {self.__secret}".encode()
        return hashlib.blake2b(material, digest_size=6).hexdigest()

    def keyed_hash(self, secret: bytes, beside: str) -> str:
        """Return a hash of the key and `beside` from which, without `secret`, neither can be guessed."""
        material = f"ftsdk account\n{beside}\n{self.__secret}".encode()
        return hmac.new(secret, material, hashlib.sha256).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<key for {self.origin}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled; read it again from the environment")


def environment_now(env: Mapping[str, str]) -> Environment:
    """Return a copy of `env` as it was at one moment, though other threads may change it."""
    before = _copy(env)
    while (again := _copy(env)) != before:
        before = again
    return before


def _copy(env: Mapping[str, str]) -> Environment:
    while True:
        try:
            return Environment(dict(env))
        except (KeyError, RuntimeError):
            continue  # a variable was removed meanwhile


def bind_key(
    provider: str,
    variables: tuple[str, ...],
    env: Mapping[str, str],
    base_url: str,
    *,
    entry: str | None = None,
) -> BoundKey:
    """Read the provider's key and bind it to the origin of `base_url`; see `ftsdk.config.api_key`.

    All secrets of the environment are masked in messages and logs from now on. Raises `ConfigError`
    when no variable holds a key.
    """
    for name in env:
        if _SECRET_NAME.search(name) and _LOOKS_SECRET.fullmatch(env[name]):
            remember(env[name])
    return BoundKey(api_key(provider, variables, env, entry=entry), origin_of(base_url))
