"""What the shell offers after Tab: job ids, providers, profiles, models, statuses.

Nothing here raises or uses the network. Imports are inside the functions because every command
imports this module for its options, and few need what completion needs.
"""

from __future__ import annotations

from collections.abc import Iterator

import typer

from ftsdk.errors import FtsdkError

_LISTED = 40


def jobs(incomplete: str) -> list[tuple[str, str]]:
    """Return the ids of the newest jobs with their status, provider and name."""
    return [(job, facts) for job, facts in _jobs() if job.startswith(incomplete)]


def _jobs() -> Iterator[tuple[str, str]]:
    from ftsdk.config import default_home
    from ftsdk.store.journal import Journal

    try:
        journal = Journal(default_home(), read_only=True)
        found = journal.list(limit=_LISTED)
        journal.close()
    except (FtsdkError, OSError):
        return  # no journal yet, or an unreadable one: nothing to offer
    for job in found:
        yield job.id, f"{job.status.replace('_', ' ')} · {job.provider} · {job.name or job.model}"


def providers(incomplete: str) -> list[str]:
    """Return the names of the installed backends."""
    from ftsdk.backends.registry import backend_names

    return [name for name in backend_names() if name.startswith(incomplete)]


def profiles(incomplete: str) -> list[str]:
    """Return the profiles of the configuration."""
    from ftsdk.config import load_config

    try:
        known = load_config().profiles
    except FtsdkError:
        return []  # a command reports the broken file when it runs
    return [name for name in known if name.startswith(incomplete)]


def models(context: typer.Context, incomplete: str) -> list[str]:
    """Return the base models of `--provider`, as far as the catalogue has whole names.

    Without a provider, those that have a short name.
    """
    from ftsdk.backends.local.models.known_models import KNOWN_MODELS
    from ftsdk.catalogue.load import shipped

    provider = shipped().providers.get(str(context.params.get("provider")))
    short = [model.name for model in KNOWN_MODELS]
    known = [*provider.models] if provider is not None and provider.models else short
    return [name for name in known if name.casefold().startswith(incomplete.casefold())]


def methods(incomplete: str) -> list[str]:
    """Return the training methods."""
    from ftsdk.types.spec import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


def schemas(incomplete: str) -> list[str]:
    """Return the names of the shipped schemas."""
    return [name for name in ("config", "error", "job", "plan") if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """Return the statuses a job may have."""
    from ftsdk.types.status import JobStatus

    return [status.value for status in JobStatus if status.value.startswith(incomplete)]
