"""Fine-tune language models anywhere through one job object."""

from __future__ import annotations

from ftsdk._version import __version__

__all__ = ["__version__"]
