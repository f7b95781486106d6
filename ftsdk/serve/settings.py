"""What a server is started with."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ftsdk.backends.resident import ResidentLimits

TOKEN_VARIABLE = "FTSDK_SERVE_TOKEN"  # noqa: S105  # the name of a variable
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class ServeSettings:
    """`token` is what clients send as their API key. `aliases` are further names of models: by name, a
    job, or several with their shares (`JOB:90,OTHER:10`), of which `draw` chooses. With `answer_log` all of
    these are asked, and their answers are written there.

    The page lists the HTML files in `report_folders`. `hosts` are further values of the Host header that are answered. Where `is_encrypted`, browsers send the
    cookie of the page over TLS only.

    `max_body_bytes` bounds a request but for file uploads, which `max_file_bytes` bounds. At most
    `max_chats` chats run at once, and as many again wait; further ones are answered with 429.
    `resident` limits the models of this machine that stay loaded.
    """

    token: str = field(repr=False)
    folder: Path
    port: int = 8765
    hosts: tuple[str, ...] = ()
    is_encrypted: bool = False
    aliases: Mapping[str, str] = field(default_factory=dict)
    answer_log: Path | None = None
    report_folders: tuple[Path, ...] = ()
    draw: Callable[[int], int] = secrets.randbelow
    max_body_bytes: int = 16 << 20
    max_file_bytes: int = 1 << 30
    max_chats: int = 32
    max_chat_tokens: int = 32_768
    resident: ResidentLimits = field(default_factory=ResidentLimits)

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """The values of the Host header that are answered: this machine's own names, with the port."""
        own = {f"{name}:{self.port}" for name in _LOOPBACK}
        return frozenset({*own, *self.hosts})
