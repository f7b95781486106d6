"""The text of an answer as its tokens come, and where a stop text ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF = "\ufffd"


class TextPieces:
    """Turns tokens into pieces of text. What may be half a character, or the begin of a stop text, waits.

    Only the last tokens are decoded again for each new one.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode, self._stops = decode, tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._context, self._read = 0, 0
        self._text, self._shown = "", 0
        self.is_stopped = False

    @property
    def text(self) -> str:
        """The text so far, up to a stop text."""
        return self._text

    def add(self, token: int) -> str:
        """The text that is new with this token; nothing is added to an answer that is stopped."""
        if self.is_stopped:
            return ""
        self._ids.append(token)
        before = self._decode(self._ids[self._context : self._read])
        now = self._decode(self._ids[self._context :])
        if len(now) > len(before) and not now.endswith(_HALF):
            self._text += now[len(before) :]
            self._context, self._read = self._read, len(self._ids)
            self._find_stop()
        return self._shown_up_to(len(self._text) - self._held())

    def end(self) -> str:
        """The rest of the text."""
        if not self.is_stopped:
            whole = self._decode(self._ids)
            # Pieces that were decoded apart may differ from the whole where bytes are invalid.
            self._text = whole if whole.startswith(self._text) else self._text
            self._find_stop()
        return self._shown_up_to(len(self._text))

    def _find_stop(self) -> None:
        found = [at for at in (self._text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self._text = self._text[: min(found)]
            self.is_stopped = True

    def _held(self) -> int:
        """How many characters at the end may begin a stop text."""
        if self.is_stopped:
            return 0
        return max(
            (
                size
                for stop in self._stops
                for size in range(1, len(stop))
                if self._text.endswith(stop[:size])
            ),
            default=0,
        )

    def _shown_up_to(self, end: int) -> str:
        if end <= self._shown:
            return ""
        piece = self._text[self._shown : end]
        self._shown = end
        return piece
