"""Tools for tests of ftsdk and of backends: the lab and the conformance kit."""

from __future__ import annotations
