"""The TLS settings that all clients of a process share.

Reading the certificate authorities takes longer than the rest of making a client. And a process that
was forked goes on with what its parent has read: OpenSSL makes a new context under locks that
another thread of the parent may have held when the process was forked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_CONTEXTS: dict[tuple[str | None, ...], ssl.SSLContext] = {}


def tls_context() -> ssl.SSLContext:
    """Return the context for the certificate authorities that httpx would trust now.

    It is made once for each value of `SSL_CERT_FILE` and `SSL_CERT_DIR`. Raises `OSError` where they
    name what cannot be read.
    """
    import httpx

    named = tuple(os.environ.get(name) for name in _VARIABLES)
    if named not in _CONTEXTS:
        _CONTEXTS[named] = httpx.create_ssl_context()
    return _CONTEXTS[named]
