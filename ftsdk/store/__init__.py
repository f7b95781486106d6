"""The durable memory of jobs. Only this room knows SQL.

The journal is here; money stands in `ftsdk.store.reservations`, deployments in `ftsdk.store.leases`,
and both are loaded when they are asked for.
"""

from __future__ import annotations

from ftsdk.store.journal import OLDEST_SQLITE, Also, Journal, KeyTaken, Move

__all__ = ["OLDEST_SQLITE", "Also", "Journal", "KeyTaken", "Move"]
