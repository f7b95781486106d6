"""What the shell offers after Tab: job ids, providers, profiles, models. Never an error, never a network."""

from __future__ import annotations

from collections.abc import Iterator

from ftsdk.errors import FtsdkError

__all__ = ["jobs", "models", "profiles", "providers", "statuses"]

_SHOWN = 40


def jobs(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest jobs, with what they are."""
    return [(job, told) for job, told in _jobs() if job.startswith(incomplete)]


def _jobs() -> Iterator[tuple[str, str]]:
    from ftsdk.config import default_home
    from ftsdk.store import Journal

    try:
        journal = Journal(default_home(), read_only=True)
        found = journal.list(limit=_SHOWN)
        journal.close()
    except (FtsdkError, OSError):
        return  # no journal yet, or not one that can be read: nothing to offer
    for job in found:
        yield job.id, f"{job.status.replace('_', ' ')} · {job.provider} · {job.name or job.model}"


def providers(incomplete: str) -> list[str]:
    """Names of the installed backends."""
    from ftsdk.backends.registry import backend_names

    return [name for name in backend_names() if name.startswith(incomplete)]


def profiles(incomplete: str) -> list[str]:
    """Profiles of the configuration in force."""
    from ftsdk.config import load_config

    try:
        known = load_config().profiles
    except FtsdkError:
        return []  # a broken file is told when a command runs, not while typing
    return [name for name in known if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Base models with a short name."""
    from ftsdk.backends.local.models.known_models import KNOWN_MODELS

    return [model.name for model in KNOWN_MODELS if model.name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """Words for a job's status."""
    from ftsdk.types.status import JobStatus

    return [status.value for status in JobStatus if status.value.startswith(incomplete)]
