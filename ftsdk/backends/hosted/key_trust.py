"""Which address gets which key: a configuration file alone cannot redirect an account's key.

A project's `ftsdk.toml` may name any base URL. The account's usual key goes to the provider's own
hosts, and to an address that the environment names as well. Any other address in a file gets only a
key that was stored for its host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ftsdk.backends.base import Context
from ftsdk.backends.hosted.api_keys import BoundKey, bind_key, checked_base_url, origin_of
from ftsdk.errors import ConfigError

_PROVIDERS = frozenset({"openai", "azure", "nebius", "crusoe", "together", "replicate"})


@dataclass(frozen=True)
class Service:
    """A provider's hosts, addresses and key variables. A host that begins with a dot is a suffix.

    `shared_keys` are variables that usually hold another provider's key, each with the variable of
    the address it belongs to: such a key is sent there and nowhere else.

    `companions` are variables that are sent beside the key, such as an organisation. At the
    provider's own hosts, jobs belong to the project that `project_variable` names, or, with
    `one_account_a_host`, to the host.
    """

    name: str
    title: str
    keys: tuple[str, ...]
    url_variables: tuple[str, ...]
    hosts: tuple[str, ...] = ()
    url: str | None = None
    extra: str = ""
    shared_keys: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[str, ...] = ()
    project_variable: str | None = None
    one_account_a_host: bool = False

    def companions_for(self, url: str, env: Mapping[str, str]) -> dict[str, str]:
        """Return the companions that are set and may be sent to `url`.

        They may go to the provider's own hosts and to an address that the environment names.
        """
        named = [origin_of(env[name]) for name in self.url_variables if env.get(name)]
        if not self.owns(urlsplit(url).hostname or "") and origin_of(url) not in named:
            return {}
        return {name: env[name] for name in self.companions if env.get(name)}

    def keys_for(self, url: str, env: Mapping[str, str]) -> tuple[str, ...]:
        """Return the variables whose key may be sent to `url`."""
        beside = ((key, env.get(variable)) for key, variable in self.shared_keys.items())
        shared = (key for key, own in beside if own and origin_of(own) == origin_of(url))
        return (*self.keys, *shared)

    def is_named_in(self, variable: str) -> bool:
        """Whether the first provider in a variable's name is this one.

        A file must not send one provider's key to another: `AZURE_OPENAI_API_KEY` is Azure's.
        """
        own = {key.lower().split("_")[0] for key in self.keys}
        words = variable.lower().split("_")
        return next((word for word in words if word in own | _PROVIDERS), None) in own

    def owns_url(self, url: str) -> bool:
        """Whether `url` is at one of the provider's own hosts."""
        return self.owns((urlsplit(url).hostname or "").lower())

    def owns(self, host: str) -> bool:
        """Whether `host` is one of the provider's own hosts."""
        return any(
            host == own or (own.startswith(".") and host.endswith(own)) for own in self.hosts
        )


@dataclass(frozen=True)
class Address:
    """A base URL, and whether a file (or the journal) set it rather than the environment."""

    url: str
    from_file: bool

    def key(
        self, service: Service, env: Mapping[str, str], variable: str | None = None
    ) -> BoundKey:
        """Read the key for this address, from `variable` where a profile names one.

        Raises `ConfigError` that lists where it was looked for, and for a variable that may hold
        another service's key.
        """
        host = urlsplit(self.url).hostname or ""
        named = [env[name] for name in service.url_variables if env.get(name)]
        agreed = origin_of(self.url) in map(origin_of, named)
        # A rehearsal that began at another port of this machine is asked there, still.
        agreed = agreed or (is_loopback(self.url) and any(map(is_loopback, named)))
        if self.from_file and not service.owns(host) and not agreed:
            own = "FTSDK_KEY_" + re.sub(r"[^A-Z0-9]", "_", host.upper())
            if variable is not None and not variable.startswith(f"{own}__"):
                raise _foreign_variable(variable, host, f"{own}__NAME")
            return bind_key(host, (variable or own,), env, self.url, entry=variable)
        if variable is not None:
            if not service.is_named_in(variable):
                usual = service.keys[0]
                raise _foreign_variable(variable, service.title, f"{usual}_WORK or WORK_{usual}")
            return bind_key(service.name, (variable,), env, self.url, entry=variable)
        return bind_key(service.name, service.keys_for(self.url, env), env, self.url)


def _foreign_variable(variable: str, service: str, example: str) -> ConfigError:
    return ConfigError(
        f"The key in {variable} is not sent to {service}: it may be another service's",
        where="key_variable of the configuration, before anything was sent",
        hint=f"name a variable such as {example}",
        submitted="no",
    )


def address_of(context: Context, service: Service) -> Address:
    """Return the base URL: of the configuration, else of a variable, else the default.

    Raises `ConfigError` for one that must not carry a key, and where there is none.
    """
    if context.base_url:
        url = checked_base_url(context.base_url, source="base_url of the configuration")
        return Address(url, from_file=True)
    for variable in service.url_variables:
        if context.env.get(variable):
            url = checked_base_url(context.env[variable], source=f"variable {variable}")
            return Address(url, from_file=False)
    if service.url:
        return Address(service.url, from_file=False)
    variables = (f"the variable {name}" for name in service.url_variables)
    raise ConfigError(
        f"No base URL is set for {service.name}",
        where=", ".join(["base_url in the profile", *variables]),
        hint=f"set base_url in the profile, or export {service.url_variables[0]}=https://…",
    )


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine, as a provider's double is."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
