"""`Session`: the configuration, clock, journal and backends that operations use."""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from ftsdk.backends.base import Backend, Context
from ftsdk.backends.capabilities import Capabilities
from ftsdk.backends.registry import capabilities_of, load_backend
from ftsdk.backends.resident import ResidentLimits
from ftsdk.catalogue.load import load_catalogue
from ftsdk.catalogue.schema import Catalogue
from ftsdk.config import Config, Environment, absolute, default_home, load_config
from ftsdk.errors import ConfigError, StoreError
from ftsdk.store.accounts import Accounts
from ftsdk.store.journal import Journal, has_journal
from ftsdk.types.account import may_be_same
from ftsdk.types.job import JobSnapshot
from ftsdk.util.arguments import MAPPING, PATH, Check
from ftsdk.util.clock import Clock, SystemClock

_log = logging.getLogger("ftsdk")

BackendSource = Backend | Callable[[Context], Backend]
"""A backend, or a callable that creates one from its context, such as the class itself."""


@dataclass(frozen=True)
class Horizon:
    """How long to search for a job whose create response was lost.

    No provider documents how soon a new job appears in its list, so the horizon is generous:
    `look_s` seconds after sending. The create call itself searches for `while_creating_s` seconds,
    and waits for `pace_s` seconds in all where the provider refuses it for pace.
    """

    look_s: float = 660.0
    while_creating_s: float = 15.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    pace_s: float = 300.0


@dataclass(frozen=True)
class KeySource:
    """Where a provider's key is found: the profile, the variable and the account that it names, if any.

    `is_chosen` says whether the profile is about this provider: only then is its address used.
    """

    profile: str | None = None
    variable: str | None = None
    account: str | None = None
    is_chosen: bool = False


class SessionOptions(TypedDict, total=False):
    """The options of a session and a client; all have a default."""

    home: str | Path | None
    """The folder of the journal and all stored files; default `FTSDK_HOME`, else the data folder."""
    config: Config | None
    """A configuration to use instead of `ftsdk.toml`."""
    clock: Clock | None
    env: Mapping[str, str] | None
    """Environment variables to use instead of the process's own."""
    horizon: Horizon | None
    backends: Mapping[str, BackendSource] | None
    """Backends that replace installed ones, by name, for instance in tests."""


SESSION_CHECKS: Mapping[str, Check] = {
    "home": PATH,
    "config": Check("a Config", lambda v: isinstance(v, Config)),
    "clock": Check("a clock", lambda v: isinstance(v, Clock)),
    "env": MAPPING,
    "horizon": Check("a Horizon", lambda v: isinstance(v, Horizon)),
    "backends": MAPPING,
}
"""The checks of a session's options, by name."""


class Session:
    """One configuration, one home, one journal, and the backends in use.

    Creating a session only reads the configuration. The journal and each backend are opened at
    first use. Safe to use from several threads.
    """

    def __init__(
        self,
        profile: str | None = None,
        *,
        home: str | Path | None = None,
        config: Config | None = None,
        clock: Clock | None = None,
        env: Mapping[str, str] | None = None,
        horizon: Horizon | None = None,
        backends: Mapping[str, BackendSource] | None = None,
    ) -> None:
        self.env = Environment(os.environ if env is None else env)
        self.config = config or load_config(profile=profile, env=self.env)
        self.home = (
            absolute(Path(home).expanduser()) if home is not None else default_home(self.env)
        )
        self.clock = clock or SystemClock()
        self.horizon = horizon or Horizon()
        self._sources = dict(backends or {})
        self._backends: dict[tuple[str, str | None, KeySource, frozenset[str]], Backend] = {}
        self._journal: Journal | None = None
        self._warned: set[str] = set()
        self._resident: ResidentLimits | None = None

    def warn_once(self, text: str) -> None:
        """Log a warning, unless this session has logged the same text."""
        if text not in self._warned:
            self._warned.add(text)
            _log.warning(text)

    @property
    def journal(self) -> Journal:
        """The journal, opened at first use."""
        if self._journal is None:
            self._journal = Journal(self.home)
        return self._journal

    @property
    def has_journal(self) -> bool:
        """Whether a journal exists in the home folder; this does not create one."""
        return has_journal(self.home)

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue: the shipped one, reported end dates, and `prices.toml` in the home folder."""
        return load_catalogue(self.home)

    @property
    def today(self) -> dt.date:
        """The current day, in UTC."""
        return self.clock.now().astimezone(dt.UTC).date()

    # --- backends ---

    def backend(self, provider: str | None = None, *, base_url: str | None = None) -> Backend:
        """Return the backend named `provider`, or the configured one. Raises `UnknownBackend`.

        `base_url` is the address at which a job was created, if it differs from the configured one.
        A backend is made again when the environment names another address or another account's key.
        """
        name = str(self.config.require("provider", provider).value)
        source = self._key_source(name)
        address = base_url or self._configured_address(source)
        return self._with_key(name, address, source) or self._backend(name, address, source)

    def backends_with_keys(self, provider: str) -> list[Backend]:
        """Return one backend for each account of a provider whose key is in the environment."""
        found = []
        for source in self._key_sources(provider):
            address = self._configured_address(source)
            found.append(self._with_key(provider, address, source))
        return list(dict.fromkeys(backend for backend in found if backend is not None))

    def _with_key(self, name: str, base_url: str | None, source: KeySource) -> Backend | None:
        """Return the backend for the account whose key is in the environment, if there is one.

        A keyring is not asked, which may take a password: planning needs no key.
        """
        found = self._backend(name, base_url, source)
        variables = (source.variable,) if source.variable else found.capabilities.key_variables
        if not any(self.env.get(variable) for variable in variables):
            return None
        account = self._account_at(name, base_url, source)
        if account is None:
            return found
        return self._backend(name, base_url, source, frozenset({account}))

    def _key_source(self, provider: str) -> KeySource:
        """Return where the configuration in use has the provider's key."""
        chosen = self.config.setting("provider")
        is_chosen = chosen is not None and chosen.value == provider
        if not is_chosen:
            return KeySource(self.config.profile)
        variable = self.config.beside_provider("key_variable", provider)
        account = self.config.beside_provider("account", provider)
        return KeySource(self.config.profile, variable, account, is_chosen)

    def _key_sources(self, provider: str) -> list[KeySource]:
        """Return where keys of a provider may be found: the configuration in use comes first."""
        own = self._key_source(provider)
        found = [own, KeySource(own.profile, is_chosen=own.is_chosen)]
        for profile in (None, *self.config.profiles):
            config = self.config.with_profile(profile)
            variable = config.beside_provider("key_variable", provider)
            account = config.beside_provider("account", provider)
            if variable is not None or account is not None:
                found.append(KeySource(profile, variable, account, is_chosen=True))
        return list(dict.fromkeys(found))

    def _configured_address(self, source: KeySource) -> str | None:
        """Return the address in a profile, if the profile is about the provider."""
        config = self.config.with_profile(source.profile)
        return config.table_value("base_url") if source.is_chosen else None

    def _backend(
        self,
        name: str,
        base_url: str | None,
        source: KeySource,
        accounts: frozenset[str] = frozenset(),
    ) -> Backend:
        key = (name, base_url, source, accounts)
        found = self._backends.get(key)
        if found is None or found.has_moved:
            # A replaced one is not closed: another thread may be in a call, and it refuses the next.
            found = self._backends[key] = self._create_backend(name, base_url, source, accounts)
        return found

    def keep_models_loaded(self, limits: ResidentLimits) -> None:
        """Let models on this machine answer from processes of their own from now on, until `close`."""
        self._resident = limits
        while self._backends:
            self._backends.popitem()[1].close()

    def use_backend(self, provider: str, source: BackendSource) -> None:
        """Replace the installed backend named `provider` from now on."""
        self._sources[provider] = source
        for key in [key for key in self._backends if key[0] == provider]:
            self._backends.pop(key).close()

    def _create_backend(
        self, name: str, base_url: str | None, key_source: KeySource, accounts: frozenset[str]
    ) -> Backend:
        source = self._sources.get(name)
        if isinstance(source, Backend):
            return source
        made = (source or load_backend(name))(
            Context(
                home=self.home,
                clock=self.clock,
                options=self.config.with_profile(key_source.profile).table("options"),
                env=self.env,
                base_url=base_url,
                key_variable=key_source.variable,
                account=key_source.account,
                accounts=accounts,
                resident=self._resident,
            )
        )
        if key_source.variable is not None and not made.reads_key_variable:
            raise ConfigError(
                f"{name} reads no key from {key_source.variable}",
                where="key_variable of the configuration",
                hint=f"remove key_variable where the provider is {name}",
            )
        return made

    def capabilities_of(self, provider: str) -> Capabilities | None:
        """Return a backend's capabilities without creating it; None if there is no such backend."""
        source = self._sources.get(provider)
        if source is not None:
            capabilities: Capabilities | None = getattr(source, "capabilities", None)
            return capabilities
        return capabilities_of(provider)

    # --- the backend of a job ---

    def backend_for(self, snapshot: JobSnapshot) -> Backend:
        """Return the backend of a job: at the address where it was created, for its account.

        The key is the one of the configuration in use, if it is of that account, else that of
        another profile, else the usual one. Without such a key the backend's calls raise
        `WrongAccount`.
        """
        name, base_url = snapshot.provider, self._address_for(snapshot)
        found = self._account_found(snapshot, base_url)
        if found is not None:
            return self._backend(name, base_url, found[0], frozenset({found[1]}))
        wanted = frozenset() if snapshot.account is None else self._same_accounts(snapshot)
        return self._backend(name, base_url, self._missing_source(name, base_url), wanted)

    def _missing_source(self, name: str, base_url: str | None) -> KeySource:
        """Return the source that the error about a missing key names.

        It is the one in use; without a key there, a profile whose variable is not set.
        """
        own = self._key_source(name)
        if self._account_at(name, base_url, own) is not None:
            return own
        named = (one for one in self._key_sources(name) if one.variable is not None)
        return next((one for one in named if not self.env.get(str(one.variable))), own)

    def key_source_of(self, snapshot: JobSnapshot) -> KeySource | None:
        """Return where the key of a job's account is found; None without such a key."""
        found = self._account_found(snapshot, self._address_for(snapshot))
        return None if found is None else found[0]

    def _account_found(
        self, snapshot: JobSnapshot, base_url: str | None
    ) -> tuple[KeySource, str] | None:
        """Return the key of a job's account and that account, as it is known by this key.

        For a job without an account, the key in use.
        """
        wanted = () if snapshot.account is None else self._same_accounts(snapshot)
        for source in self._key_sources(snapshot.provider):
            account = self._account_at(snapshot.provider, base_url, source)
            if account is not None and (
                not wanted or any(may_be_same(account, one) for one in wanted)
            ):
                return source, account
            if not wanted:
                break
        return None

    def _same_accounts(self, snapshot: JobSnapshot) -> frozenset[str]:
        return Accounts(self.journal).same_as(snapshot.provider, str(snapshot.account))

    def _account_at(self, provider: str, base_url: str | None, source: KeySource) -> str | None:
        try:
            return self._backend(provider, base_url, source).account()
        except (ConfigError, StoreError):
            return None  # no usable key here; a call with it raises the error with all its facts

    def _address_for(self, snapshot: JobSnapshot) -> str | None:
        """Return the address of a job as `_backend` takes it; None for the provider's usual one."""
        name, job_url = snapshot.provider, snapshot.dataset.get("base_url")
        source = self._key_source(name)
        configured = self._configured_address(source)
        if job_url is None:
            return configured
        try:
            current = self._backend(name, configured, source)
        except ConfigError:
            return str(job_url)  # no longer configured; the job has its own address
        return configured if current.base_url == job_url else str(job_url)

    def address_of(self, provider: str) -> dict[str, str]:
        """Return `{"base_url": …}` to journal with a new job, or `{}` for the default address."""
        url = self.backend(provider).base_url
        return {} if url is None else {"base_url": url}

    def account_of(self, provider: str) -> str | None:
        """Return the account to journal with a job; None where it is not known, or the only one.

        A missing key is not an error here: the call that needs it raises one with all its facts.
        """
        try:
            return self.backend(provider).account()
        except ConfigError:
            return None

    def close(self) -> None:
        """Close the journal and all connections. Using the session opens them again."""
        for backend in self._backends.values():
            backend.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
