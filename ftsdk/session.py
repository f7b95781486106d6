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
from ftsdk.catalogue.load import load_catalogue
from ftsdk.catalogue.schema import Catalogue
from ftsdk.config import Config, Environment, default_home, load_config
from ftsdk.errors import ConfigError
from ftsdk.store.journal import Journal
from ftsdk.types.job import JobSnapshot
from ftsdk.util.clock import Clock, SystemClock

_log = logging.getLogger("ftsdk")

BackendSource = Backend | Callable[[Context], Backend]
"""A backend, or a callable that creates one from its context, such as the class itself."""


@dataclass(frozen=True)
class Horizon:
    """How long to search for a job whose create response was lost.

    No provider documents how soon a new job appears in its list, so the horizon is generous:
    `look_s` seconds after sending. The create call itself searches for `while_creating_s` seconds.
    """

    look_s: float = 660.0
    while_creating_s: float = 15.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


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
            Path(home).expanduser().absolute() if home is not None else default_home(self.env)
        )
        self.clock = clock or SystemClock()
        self.horizon = horizon or Horizon()
        self._sources = dict(backends or {})
        self._backends: dict[tuple[str, str | None], Backend] = {}
        self._journal: Journal | None = None
        self._warned: set[str] = set()

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
        return (self.home / "journal.db").is_file()

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
        A backend is made again when the environment names another address.
        """
        name = str(self.config.require("provider", provider).value)
        if base_url is None:
            configured = self.config.setting("provider")
            is_configured = configured is not None and configured.value == name
            base_url = self.config.table_value("base_url") if is_configured else None
        key = (name, base_url)
        found = self._backends.get(key)
        if found is None or found.has_moved:
            # A replaced one is not closed: another thread may be in a call, and it refuses the next.
            found = self._backends[key] = self._create_backend(name, base_url)
        return found

    def use_backend(self, provider: str, source: BackendSource) -> None:
        """Replace the installed backend named `provider` from now on."""
        self._sources[provider] = source
        for key in [key for key in self._backends if key[0] == provider]:
            self._backends.pop(key).close()

    def _create_backend(self, name: str, base_url: str | None) -> Backend:
        source = self._sources.get(name)
        if isinstance(source, Backend):
            return source
        return (source or load_backend(name))(
            Context(
                home=self.home,
                clock=self.clock,
                options=self.config.table("options"),
                env=self.env,
                base_url=base_url,
            )
        )

    def capabilities_of(self, provider: str) -> Capabilities | None:
        """Return a backend's capabilities without creating it; None if there is no such backend."""
        source = self._sources.get(provider)
        if source is not None:
            capabilities: Capabilities | None = getattr(source, "capabilities", None)
            return capabilities
        return capabilities_of(provider)

    def backend_for(self, snapshot: JobSnapshot) -> Backend:
        """Return the backend of a job, at the address where the job was created."""
        job_url = snapshot.dataset.get("base_url")
        if job_url is None:
            return self.backend(snapshot.provider)
        try:
            current = self.backend(snapshot.provider)
        except ConfigError:
            current = None  # no longer configured; the job has its own address
        if current is not None and current.base_url == job_url:
            return current
        return self.backend(snapshot.provider, base_url=str(job_url))

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
