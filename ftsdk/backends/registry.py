"""Find backends by name through the entry-point group `ftsdk.backends`; listing imports nothing."""

from __future__ import annotations

from importlib.metadata import EntryPoint

from ftsdk.backends.base import Backend
from ftsdk.backends.capabilities import Capabilities
from ftsdk.errors import MissingExtra, UnknownBackend
from ftsdk.util.entry_points import entry_points
from ftsdk.util.install_hints import install_command
from ftsdk.util.names import nearest

GROUP = "ftsdk.backends"


def _by_name() -> dict[str, list[EntryPoint]]:
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(GROUP):
        same = found.setdefault(point.name, [])
        if point.value not in {other.value for other in same}:
            same.append(point)
    return found


def backend_names() -> list[str]:
    """Return the names of all installed backends, sorted."""
    return sorted(_by_name())


def load_backend(name: str) -> type[Backend]:
    """Return the backend class called `name`.

    Raises `UnknownBackend` for a name that does not exist or that two packages claim, and
    `MissingExtra` with the exact command when its dependency is not installed.
    """
    points = _by_name().get(name, [])
    if not points:
        known = backend_names()
        raise UnknownBackend(
            f"No provider is called {name!r}{nearest(name, known)}",
            where=f"entry points {GROUP}: {', '.join(known) or 'none; is ftsdk installed?'}",
            hint="`ftsdk backends` lists them; a third-party one must be installed first",
        )
    if len(points) > 1:
        owners = ", ".join(
            f"{p.value} ({p.dist.name if p.dist else 'unknown package'})" for p in points
        )
        raise UnknownBackend(
            f"Two packages call their backend {name!r}",
            where=owners,
            hint="uninstall one of them",
        )
    try:
        loaded = points[0].load()
    except ModuleNotFoundError as error:
        owner = points[0].dist
        raise MissingExtra(
            f"The backend {name!r} needs {error.name}, which is not installed",
            where=points[0].value,
            hint=install_command(owner.name if owner else "", error.name, extra=name),
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise UnknownBackend(
            f"{points[0].value} is not a backend class",
            where=f"entry point {name} of {GROUP}",
            hint="derive it from ftsdk.backends.Backend",
        )
    return loaded


def install_hint(name: str) -> str:
    """Return the command that installs what the backend `name` needs; empty where it needs nothing.

    The extra is one of the package that the backend belongs to.
    """
    able = load_backend(name).capabilities
    if able.extra is None:
        return ""
    owner = _by_name()[name][0].dist
    module = able.packages[0] if able.packages else able.extra
    return install_command(owner.name if owner else "", module, extra=able.extra)


def capabilities_of(name: str) -> Capabilities | None:
    """What a provider's backend can do; None where no backend has that name."""
    return load_backend(name).capabilities if name in backend_names() else None
