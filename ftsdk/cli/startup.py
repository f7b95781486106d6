"""Settings of the process that make imports quicker, from its start until the command runs."""

from __future__ import annotations

import gc
import os

_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
_state = {"plugins_disabled": False}


def begin_imports() -> None:
    """Turn off garbage collection and pydantic's search for plugins.

    Imports leave next to no garbage, and the search reads the metadata of every installed package.
    """
    gc.disable()
    if _PLUGINS not in os.environ:
        os.environ[_PLUGINS] = "1"
        _state["plugins_disabled"] = True


def end_imports() -> None:
    """Undo `begin_imports`: a command may run for hours and start other processes."""
    gc.enable()
    if _state["plugins_disabled"]:
        os.environ.pop(_PLUGINS, None)
        _state["plugins_disabled"] = False
