"""Inspected rows: the tokens that a model is shown, and which of them are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one token, or of several that only together form whole characters."""

    text: str
    ids: tuple[int, ...]
    trained: bool
    special: bool


@dataclass(frozen=True)
class InspectedRow:
    """One trained sequence: a whole row, the part of it up to one answer, or one answer of a pair.

    `part` of `parts` numbers the sequences of the row. `name` is the answer's name in a preference
    pair, and empty elsewhere.
    """

    line: int
    part: int
    parts: int
    name: str
    tokens: int
    trained: int
    notes: tuple[str, ...]
    pieces: tuple[Piece, ...]

    def title(self) -> str:
        """The sequence's position, such as `line 3, answer 1 of 2`."""
        if self.name:
            return f"line {self.line:,}, {self.name} answer"
        return f"line {self.line:,}" + (
            f", answer {self.part} of {self.parts}" if self.parts > 1 else ""
        )

    def marked(self) -> str:
        """The text, with the trained parts between ⟦ and ⟧."""
        out: list[str] = []
        on = False
        for piece in self.pieces:
            if piece.trained != on:
                out.append("⟦" if piece.trained else "⟧")
                on = piece.trained
            out.append(piece.text)
        return "".join(out) + ("⟧" if on else "")

    def opening(self, limit: int = 48) -> str:
        """The first `limit` characters of the trained text, or of the whole text if none is trained."""
        words = "".join(p.text for p in self.pieces if p.trained and not p.special)
        words = words or "".join(p.text for p in self.pieces if not p.special)
        return " ".join(words[: 4 * limit].split())[:limit]

    def to_dict(self) -> dict[str, Any]:
        """The sequence as `--json` prints it, with its token ids and loss mask."""
        return {
            "line": self.line, "part": self.part, "parts": self.parts, "name": self.name,
            "tokens": self.tokens, "trained": self.trained, "notes": list(self.notes),
            "text": self.marked(),
            "ids": [i for p in self.pieces for i in p.ids],
            "mask": [int(p.trained) for p in self.pieces for _ in p.ids],
        }  # fmt: skip
