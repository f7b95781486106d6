"""How much resident models may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResidentLimits:
    """The limits of models that stay loaded to answer chats, each base model in a process of its own.

    At most `processes` are kept; one ends after `idle_s` seconds without a chat. In each, `rows` chats
    are answered at once, whose conversations have `tokens` tokens in all, and `waiting` more may wait; a
    chat ends after `chat_s` seconds. `adapters` stay loaded beside one base model.
    """

    processes: int = 2
    idle_s: float = 600.0
    rows: int = 32
    tokens: int = 131_072
    waiting: int = 64
    chat_s: float = 600.0
    adapters: int = 16
    start_s: float = 600.0
