"""What tests of ftsdk and of backends stand on: the lab, the conformance kit."""

from __future__ import annotations
