"""`Session`: the configuration, clock, journal and backends that every operation is given."""

from __future__ import annotations

import datetime as dt
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

BackendSource = Backend | Callable[[Context], Backend]
"""A backend, or what makes one from its context (the class itself, for instance)."""


@dataclass(frozen=True)
class Horizon:
    """How long to look for a job whose answer was lost.

    No provider documents how soon its list shows a new job, so the horizon is generous: `look_s`
    seconds after the send. `while_creating_s` is how much of it the create call itself waits.
    """

    look_s: float = 660.0
    while_creating_s: float = 15.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


class SessionOptions(TypedDict, total=False):
    """What a session, and so a client, can be made with; everything has a default."""

    home: str | Path | None
    """Where the journal and everything kept is: `FTSDK_HOME`, else the platform's data folder."""
    config: Config | None
    """A configuration instead of that of `ftsdk.toml`."""
    clock: Clock | None
    env: Mapping[str, str] | None
    """Environment variables instead of the process's own."""
    horizon: Horizon | None
    backends: Mapping[str, BackendSource] | None
    """Backends in the place of installed ones, by name; tests use it like httpx's transports."""


class Session:
    """One configuration, one home, one journal, and the backends in use.

    Making a session reads the configuration and opens nothing. The journal and each backend are
    opened when they are first used. Safe to use from several threads.
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
        self._given = dict(backends or {})
        self._backends: dict[tuple[str, str | None], Backend] = {}
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        """The journal, opened at first use."""
        if self._journal is None:
            self._journal = Journal(self.home)
        return self._journal

    @property
    def has_journal(self) -> bool:
        """Whether a journal exists in the home; asking does not create one."""
        return (self.home / "journal.db").is_file()

    @property
    def catalogue(self) -> Catalogue:
        """The shipped catalogue, overridden by `prices.toml` in the home."""
        return load_catalogue(self.home)

    @property
    def today(self) -> dt.date:
        """The current day, in UTC."""
        return self.clock.now().astimezone(dt.UTC).date()

    # --- backends ---

    def backend(self, provider: str | None = None, *, base_url: str | None = None) -> Backend:
        """The backend called `provider`, or the configured one. Raises `UnknownBackend`.

        `base_url` is where a job was made, when that is not where the configuration points now.
        """
        name = str(self.config.require("provider", provider).value)
        if base_url is None:
            configured = self.config.setting("provider")
            is_configured = configured is not None and configured.value == name
            base_url = self.config.table_value("base_url") if is_configured else None
        slot = (name, base_url)
        if slot not in self._backends:
            self._backends[slot] = self._make(name, base_url)
        return self._backends[slot]

    def use_backend(self, provider: str, source: BackendSource) -> None:
        """Put a backend in the place of the installed one called `provider`, from now on."""
        self._given[provider] = source
        for slot in [one for one in self._backends if one[0] == provider]:
            self._backends.pop(slot).close()

    def _make(self, name: str, base_url: str | None) -> Backend:
        source = self._given.get(name)
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
        """What a provider's backend can do, without making it; None where there is no backend."""
        source = self._given.get(provider)
        if source is not None:
            able: Capabilities | None = getattr(source, "capabilities", None)
            return able
        return capabilities_of(provider)

    def backend_for(self, snapshot: JobSnapshot) -> Backend:
        """The backend of a job, at the address where the job was made, whatever is configured."""
        made_at = snapshot.dataset.get("base_url")
        if made_at is None:
            return self.backend(snapshot.provider)
        try:
            current = self.backend(snapshot.provider)
        except ConfigError:
            current = None  # the address is no longer configured; the job remembers it
        if current is not None and current.base_url == made_at:
            return current
        return self.backend(snapshot.provider, base_url=str(made_at))

    def address_of(self, provider: str) -> dict[str, str]:
        """What a job made now remembers of its provider's address: `{"base_url": …}`, or nothing."""
        url = self.backend(provider).base_url
        return {} if url is None else {"base_url": url}

    def close(self) -> None:
        """Close the journal and all connections. Both are opened again when used."""
        for backend in self._backends.values():
            backend.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
