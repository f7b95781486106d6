"""Settings of the process that make imports quicker, from its start until the command runs."""

from __future__ import annotations

import gc
import os

_NO_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
_changed: set[str] = set()


def begin_imports() -> None:
    """Turn off garbage collection and pydantic's search for plugins.

    Imports leave next to no garbage, and the search reads the metadata of every installed package.
    """
    gc.disable()
    _changed.add("gc")
    if _NO_PLUGINS not in os.environ:
        os.environ[_NO_PLUGINS] = "1"
        _changed.add(_NO_PLUGINS)


def end_imports() -> None:
    """Undo `begin_imports`: a command may run for hours and start other processes.

    What was imported stays until the end, so that no collection needs to look at it.
    """
    if "gc" in _changed:
        gc.freeze()
        gc.enable()
    if _NO_PLUGINS in _changed:
        os.environ.pop(_NO_PLUGINS, None)
    _changed.clear()
