"""Who may see the page: sign in with the server's token, a cookie for the browser, a token in every form.

A session is a random value in a cookie that scripts cannot read and other sites cannot send. The server
keeps only its hash, made with a secret of this process. A link that signs in works once, for ten minutes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

from ftsdk.serve.settings import ServeSettings
from ftsdk.util.clock import Clock

_LINK_LASTS = dt.timedelta(minutes=10)
_SESSION_LASTS = dt.timedelta(hours=12)
_MOST = 64
"""How many sessions, and how many links, are open at most; the oldest ends for a new one."""


class Access:
    """The sessions of one server."""

    def __init__(self, settings: ServeSettings, clock: Clock) -> None:
        self._token, self._clock = settings.token, clock
        self._secret = secrets.token_bytes(32)
        self._ends: dict[str, dt.datetime] = {}
        self._links: dict[str, dt.datetime] = {}
        self.cookie = f"ftsdk_{settings.port}"
        self._kind = "HttpOnly; SameSite=Strict; Path=/"
        if settings.is_encrypted:
            self._kind += "; Secure"

    def new_link(self) -> str:
        """Return a code that signs in once: `/sign-in?code=CODE`."""
        code = secrets.token_hex(24)
        _keep(self._links, self._hash("link", code), self._clock.now() + _LINK_LASTS)
        return code

    def session_by_link(self, code: str) -> str | None:
        """Return a new session for a code that was not used yet, else None."""
        ends = self._links.pop(self._hash("link", code), None)
        return self._open() if ends is not None and ends > self._clock.now() else None

    def session_by_token(self, given: str) -> str | None:
        """Return a new session for the server's token, else None."""
        right = hmac.compare_digest(given.strip().encode(), self._token.encode())
        return self._open() if right else None

    def session_of(self, cookies: str) -> str | None:
        """Return the session of a `Cookie` header that is open, else None."""
        try:
            found = SimpleCookie(cookies).get(self.cookie)
        except CookieError:
            return None
        if found is None:
            return None
        ends = self._ends.get(self._hash("session", found.value))
        return found.value if ends is not None and ends > self._clock.now() else None

    def close(self, session: str) -> None:
        """End a session."""
        self._ends.pop(self._hash("session", session), None)

    def form_token(self, session: str) -> str:
        """Return what every form of this session carries, so that no other page can send one."""
        return self._hash("form", session)

    def is_form_token(self, session: str, given: str) -> bool:
        """Return whether a form carries what `form_token` gave."""
        return hmac.compare_digest(given.encode(), self.form_token(session).encode())

    def set_cookie(self, session: str) -> str:
        """Return the `Set-Cookie` header of a session."""
        age = int(_SESSION_LASTS.total_seconds())
        return f"{self.cookie}={session}; {self._kind}; Max-Age={age}"

    def clear_cookie(self) -> str:
        """Return the `Set-Cookie` header that removes the cookie."""
        return f"{self.cookie}=; {self._kind}; Max-Age=0"

    def _open(self) -> str:
        session = secrets.token_hex(32)
        _keep(self._ends, self._hash("session", session), self._clock.now() + _SESSION_LASTS)
        return session

    def _hash(self, kind: str, value: str) -> str:
        return hmac.new(self._secret, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()


def _keep(into: dict[str, dt.datetime], name: str, ends: dt.datetime) -> None:
    into[name] = ends
    while len(into) > _MOST:
        del into[next(iter(into))]
