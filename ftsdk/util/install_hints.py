"""The command that installs a missing dependency, from what the installed package declares."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""\bextra\s*==\s*['"]([^'"]+)['"]""")


def install_command(package: str, module: str | None, extra: str = "") -> str:
    """Return the `pip install` command after which `package` can import `module`.

    It names an extra only where the package declares it: the one that contains the module's
    project, preferably `extra` or one with the module's name.
    """
    top = (module or "").partition(".")[0]
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return f"pip install {top or package}"
    needed_by: list[str] = []
    for requirement in found.requires or ():
        name = _NAME.match(requirement)
        if name is None or _normal(name[0]) != _normal(top):
            continue
        marker = _EXTRA.search(requirement)
        if marker is None:
            return f"pip install {package}"  # a plain requirement that was removed
        needed_by.append(marker[1])
    declared = found.metadata.get_all("Provides-Extra") or []
    if extra and extra in (needed_by or declared):
        return _with_extra(package, extra)
    if needed_by:
        named_alike = _normal(top) in needed_by
        return _with_extra(package, _normal(top) if named_alike else needed_by[0])
    return f"pip install {top or package}"


def _with_extra(package: str, extra: str) -> str:
    return f"pip install '{package}[{extra}]'"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
