"""The X-ray: what the model is really shown, token by token, and which tokens it learns.

It goes through `render`, as the trainer does, so what is shown here is what is trained. Where the
tokenizer is not public it says so, and shows what is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.places import model_folder
from ftsdk.dataset.render import Rendered, RowFault, render_parts
from ftsdk.dataset.report import Fault, short
from ftsdk.dataset.rules import RULES, note
from ftsdk.dataset.template import ChatTokenizer
from ftsdk.dataset.tokens import RENDER_CODES, Counting, TokenSummary, counter_for

__all__ = ["Piece", "RowDiff", "Xray", "XrayDiff", "XrayRow", "inspect", "pieces_of"]

note("FT503", "notice", "The model does not learn to stop", "use a chat template that closes the assistant's turn",
     "The last trained token of an answer is no special token, so nothing teaches the model where "
     "an answer ends (a frequent cause: padding and end token are one, and padding is masked).")  # fmt: skip
note("FT505", "notice", "The chat template drops the reasoning", "train without reasoning, or choose a template that keeps it",
     "The row has `reasoning_content` that does not appear in the rendered text, so it is not "
     "learned.")  # fmt: skip
note("FT507", "notice", "The chat template ignores the tools", "choose a model whose template writes tools",
     "The row declares tools that do not appear in the rendered text: the model would learn to call "
     "what it was never shown.")  # fmt: skip

BINS = 24


@dataclass(frozen=True, slots=True)
class Piece:
    """One token as text; several ids where only together they are whole characters."""

    text: str
    ids: tuple[int, ...]
    trained: bool
    special: bool


@dataclass(frozen=True)
class XrayRow:
    """One trained sequence: a row, or the part of a row that ends with one answer."""

    line: int
    part: int
    parts: int
    tokens: int
    trained: int
    notes: tuple[str, ...]
    pieces: tuple[Piece, ...]

    def marked(self) -> str:
        """The text, with what is trained between ⟦ and ⟧."""
        out: list[str] = []
        on = False
        for piece in self.pieces:
            if piece.trained != on:
                out.append("⟦" if piece.trained else "⟧")
                on = piece.trained
            out.append(piece.text)
        return "".join(out) + ("⟧" if on else "")


@dataclass(frozen=True)
class Xray:
    """What one model sees of one dataset.

    `visible` is False when its tokenizer is not public: then there are counts at most. `lengths`
    and `learned` have one number per trained sequence; `shown` holds the first of them in full.
    """

    name: str
    model: str
    visible: bool
    template_sha256: str | None
    summary: TokenSummary | None
    lengths: tuple[int, ...] = ()
    learned: tuple[int, ...] = ()
    shown: tuple[XrayRow, ...] = ()
    findings: tuple[Fault, ...] = ()
    refused: int = 0
    max_length: int | None = None
    known: tuple[str, ...] = ()

    def histogram(self, bins: int = BINS) -> list[tuple[int, int, int, int]]:
        """`(from, to, sequences, trained tokens)` per bin of length."""
        if not self.lengths:
            return []
        top = max(*self.lengths, 1) if len(self.lengths) > 1 else max(self.lengths[0], 1)
        width = max(1, -(-(top + 1) // bins))
        rows = [[i * width, (i + 1) * width, 0, 0] for i in range(-(-(top + 1) // width))]
        for length, learned in zip(self.lengths, self.learned, strict=True):
            rows[length // width][2] += 1
            rows[length // width][3] += learned
        return [(a, b, n, t) for a, b, n, t in rows]

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it; the token ids of the shown rows included."""
        return {
            "name": self.name,
            "model": self.model,
            "visible": self.visible,
            "template_sha256": self.template_sha256,
            "tokens": None if self.summary is None else self.summary.to_dict(),
            "histogram": [list(b) for b in self.histogram()],
            "findings": [f.to_dict() for f in self.findings],
            "refused_rows": self.refused,
            "max_length": self.max_length,
            "known": list(self.known),
            "rows": [
                {
                    "line": r.line, "part": r.part, "parts": r.parts, "tokens": r.tokens,
                    "trained": r.trained, "notes": list(r.notes), "text": r.marked(),
                    "ids": [i for p in r.pieces for i in p.ids],
                    "mask": [int(p.trained) for p in r.pieces for _ in p.ids],
                }
                for r in self.shown
            ],
        }  # fmt: skip

    def to_html(self) -> str:
        """A self-contained page: figures, histogram, and a browser of the shown rows."""
        from ftsdk.dataset.xray_html import page

        return page(self)

    def diff(self, other: Xray) -> XrayDiff:
        """Where two models see the same rows differently (the shown rows in full)."""
        mine = {(r.line, r.part): r for r in self.shown}
        pairs = [(mine[k], r) for r in other.shown if (k := (r.line, r.part)) in mine]
        return XrayDiff(self, other, tuple(_row_diff(a, b) for a, b in pairs))

    def headline(self) -> str:
        """One line of figures."""
        parts = [self.name, self.model]
        if self.summary is not None:
            parts += [f"{self.summary.rows:,} rows", *self.summary.phrases()]
        if self.template_sha256:
            parts.append(f"template {self.template_sha256[:12]}")
        return " · ".join(parts)

    def __str__(self) -> str:
        lines = [self.headline()]
        if not self.visible:
            lines.append("  not visible: the tokenizer and template of this model are not public")
            lines += [f"  · {fact}" for fact in self.known]
        for finding in self.findings[:20]:
            lines.append(f"  {'✗' if finding.severity == 'fault' else '!'} {finding}")
        for row in self.shown[:3]:
            lines.append(f"  line {row.line}: {row.tokens} tokens, {row.trained} trained")
            lines += [f"    {line}" for line in row.marked().split("\n")]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The page inside a notebook cell."""
        import html

        return f'<iframe style="width:100%;height:640px;border:0" srcdoc="{html.escape(self.to_html())}"></iframe>'


@dataclass(frozen=True)
class RowDiff:
    """One row at two models: token counts, and whether they learn the same text."""

    line: int
    tokens: tuple[int, int]
    trained: tuple[int, int]
    same_learned: bool
    only: tuple[str, str]
    """The first piece of learned text where they part, each side."""


@dataclass(frozen=True)
class XrayDiff:
    """Two X-rays of one dataset, compared."""

    left: Xray
    right: Xray
    rows: tuple[RowDiff, ...]

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "models": [self.left.model, self.right.model],
            "templates": [self.left.template_sha256, self.right.template_sha256],
            "tokens": [x.summary.to_dict() if x.summary else None for x in (self.left, self.right)],
            "refused_rows": [self.left.refused, self.right.refused],
            "rows": [
                {"line": r.line, "tokens": list(r.tokens), "trained": list(r.trained),
                 "same_learned": r.same_learned, "only": list(r.only)}
                for r in self.rows
            ],
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{self.left.model}  against  {self.right.model}"]
        sums = [x.summary for x in (self.left, self.right)]
        if sums[0] is not None and sums[1] is not None:
            lines.append(f"  tokens   {sums[0].total:,}  →  {sums[1].total:,}")
            lines.append(f"  learned  {sums[0].trained:,}  →  {sums[1].trained:,}")
        same = (
            "the same" if self.left.template_sha256 == self.right.template_sha256 else "different"
        )
        lines.append(f"  chat templates: {same}")
        parted = [r for r in self.rows if not r.same_learned]
        lines.append(f"  of {len(self.rows):,} rows compared, {len(parted):,} learn another text")
        lines += [
            f"    line {r.line}: {short(r.only[0], 40)!r}  /  {short(r.only[1], 40)!r}"
            for r in parted[:5]
        ]
        return "\n".join(lines)


def _row_diff(left: XrayRow, right: XrayRow) -> RowDiff:
    texts = [
        "".join(p.text for p in row.pieces if p.trained and not p.special) for row in (left, right)
    ]
    at = 0
    while at < min(map(len, texts)) and texts[0][at] == texts[1][at]:
        at += 1
    return RowDiff(left.line, (left.tokens, right.tokens), (left.trained, right.trained),
                   texts[0] == texts[1], (texts[0][at : at + 60], texts[1][at : at + 60]))  # fmt: skip


def inspect(
    source: Any,
    *,
    model: str | None = None,
    tokenizer: Any = None,
    provider: str | None = None,
    format: str | None = None,  # noqa: A002  # the public word for it
    max_length: int | None = None,
    rows: int = 200,
    line: int | None = None,
) -> Xray:
    """Look at a dataset as `model` sees it.

    `tokenizer` is a model folder or a `ChatTokenizer`; `model` may itself be a folder, or the short
    name of a pulled model. `rows` is
    how many are kept in full, `line` keeps that one alone. Raises `DatasetError` at a row that
    cannot be read.
    """
    dataset = Dataset.load(source, format=format)
    chat = (
        tokenizer if isinstance(tokenizer, ChatTokenizer) else _folder(tokenizer) or _folder(model)
    )
    if chat is None:
        return _closed(dataset, model, tokenizer, provider)
    look = _Look(chat, rows, line, max_length)
    for read in dataset._reads():
        look.take(read.line, read.row)
    return look.result(dataset.name, model or chat.name)


def _folder(place: Any) -> ChatTokenizer | None:
    folder = model_folder(place)
    return None if folder is None else ChatTokenizer.from_folder(folder)


def _closed(dataset: Dataset, model: str | None, tokenizer: Any, provider: str | None) -> Xray:
    counting = counter_for(tokenizer, model=model, provider=provider, wanted=True)
    if counting is not None:
        for read in dataset._reads():
            counting.add(read.line, read.row)
    summary = None if counting is None else counting.summary(None)
    known = ["the provider applies its own chat template; nobody outside sees the ids"]
    if summary is not None:
        known.append(
            "texts are counted exactly, what stands around them by OpenAI's cookbook"
            if summary.exact else "token counts are an estimate"
        )  # fmt: skip
    return Xray(dataset.name, model or provider or "unknown model", visible=False,
                template_sha256=None, summary=summary,
                lengths=tuple(counting.totals) if counting is not None else (),
                learned=tuple(counting.learned) if counting is not None else (),
                known=tuple(known))  # fmt: skip


class _Look:
    """One pass over the rows."""

    def __init__(
        self, chat: ChatTokenizer, rows: int, line: int | None, max_length: int | None
    ) -> None:
        self.chat, self.limit, self.line, self.max_length = chat, rows, line, max_length
        self.lengths: list[int] = []
        self.learned: list[int] = []
        self.shown: list[XrayRow] = []
        self.findings: list[Fault] = []
        self.refused = 0
        self.counting = Counting(_Given(chat.name))

    def take(self, line: int, row: dict[str, Any]) -> None:
        """Render one row as the trainer would."""
        try:
            parts = render_parts(_as_chat(row), self.chat, number=line)
        except RowFault as fault:
            self.refused += 1
            self._add(RENDER_CODES.get(fault.code, "FT506"), line, fault.message)
            return
        for number, part in enumerate(parts, start=1):
            self.lengths.append(len(part))
            self.learned.append(part.trained_count)
            self.counting.put(line, len(part), part.trained_count)
            notes = list(self._notes(line, row, part))
            wanted = line == self.line if self.line is not None else len(self.shown) < self.limit
            if wanted:
                self.shown.append(
                    XrayRow(line, number, len(parts), len(part), part.trained_count, tuple(notes),
                            tuple(pieces_of(part, self.chat)))
                )  # fmt: skip

    def _add(self, code: str, line: int, message: str) -> None:
        if sum(f.code == code for f in self.findings) < 100:
            rule = RULES[code]
            self.findings.append(Fault(code, rule.severity, line, message, rule.mend))

    def _notes(self, line: int, row: dict[str, Any], part: Rendered) -> Iterator[str]:
        if self.max_length is not None and len(part) > self.max_length:
            message = f"{len(part):,} tokens, max_length is {self.max_length:,}"
            self._add("FT502", line, message)
            yield message
        if not _ends_closed(part, self.chat):
            self._add("FT503", line, "an answer is trained without a token that ends it")
            yield "an answer has no end token in what is trained"
        reasons = [
            m.get("reasoning_content") for m in row.get("messages", []) if isinstance(m, dict)
        ]
        tools = row.get("tools")
        if not tools and not any(reasons):
            return
        text = self.chat.decode(list(part.ids))
        lost = [r for r in reasons if isinstance(r, str) and r.strip() and r.strip() not in text]
        if lost:
            self._add("FT505", line, f"the template drops the reasoning {short(lost[0], 40)!r}")
            yield "reasoning is dropped by the template"
        names = [
            t["function"]["name"] for t in tools or [] if isinstance(t, dict) and "function" in t
        ]
        if any(name not in text for name in names):
            self._add("FT507", line, "the template does not show the declared tools")
            yield "the declared tools are not shown"

    def result(self, name: str, model: str) -> Xray:
        """Everything that was seen."""
        summary = self.counting.summary(self.max_length)
        return Xray(
            name, model, visible=True, template_sha256=self.chat.template_sha256, summary=summary,
            lengths=tuple(self.lengths), learned=tuple(self.learned), shown=tuple(self.shown),
            findings=tuple(self.findings), refused=self.refused, max_length=self.max_length,
        )  # fmt: skip


@dataclass
class _Given:
    """A counter whose numbers come from outside."""

    name: str
    exact: bool = True

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """Never asked."""
        raise NotImplementedError


def _as_chat(row: dict[str, Any]) -> dict[str, Any]:
    """A preference row as the conversation with the preferred answer."""
    if "messages" in row:
        return row
    prompt = row.get("input")
    if isinstance(prompt, dict):
        return {
            **prompt,
            "messages": [*prompt.get("messages", []), *row.get("preferred_output", [])],
        }
    raise RowFault(0, "template_failed", "plain text is trained without a chat template")


def _ends_closed(part: Rendered, chat: ChatTokenizer) -> bool:
    trained = part.trained
    for k, on in enumerate(trained):
        last = k + 1 == len(trained) or not trained[k + 1]
        if on and last and part.ids[k] not in chat.special_ids:
            return False
    return True


def pieces_of(part: Rendered, chat: ChatTokenizer) -> Iterator[Piece]:
    """The tokens of a rendered row as texts that, joined, are the rendered text."""
    seen: dict[tuple[int, int], str] = chat._compiled.setdefault("texts", {})
    held: list[int] = []
    before = -1
    for k, token in enumerate(part.ids):
        held.append(token)
        if len(held) == 1:
            text = seen.get((before, token))
            if text is None:
                text = seen[before, token] = _text(held, before, chat)
        else:
            text = _text(held, before, chat)
        more = k + 1 < len(part.ids) and part.trained[k + 1] == part.trained[k]
        if "\ufffd" in text and len(held) < 8 and more:
            continue  # half of a character: wait for the tokens that complete it
        special = len(held) == 1 and token in chat.special_ids
        yield Piece(text, tuple(held), bool(part.trained[k]), special)
        before, held = token, []


def _text(ids: Sequence[int], before: int, chat: ChatTokenizer) -> str:
    """What `ids` add after the token `before`: some tokenizers drop a leading space at a start."""
    if before < 0:
        return chat.decode(ids)
    lead, both = chat.decode([before]), chat.decode([before, *ids])
    return both[len(lead) :] if both.startswith(lead) else chat.decode(ids)
