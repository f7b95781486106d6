"""Inspection of rows: renders each row as the trainer does and reports what a model would not learn.

Where the model's tokenizer is private, the report has token counts only.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.dataset.findings.finding import Fault, short
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.inspection.report import InspectionReport
from ftsdk.dataset.inspection.rows import InspectedRow, Piece
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.row import OUTPUTS, Read, shape_of
from ftsdk.dataset.rules.token_counts import RENDER_CODES, Counting, counter_for
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.counters import TemplateCounter, TokenizedRowCounter, encoding_of
from ftsdk.dataset.tokenize.embedding_rows import untrained_tokens
from ftsdk.dataset.tokenize.message_adapter import REASONING
from ftsdk.dataset.tokenize.render import Rendered, RowFault, render_sequences
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder

note("FT503", "notice", "The model does not learn to stop", "use a chat template that closes the assistant's turn",
     "The last trained token of an answer is not a special token, so the model does not learn where "
     "an answer ends. A frequent cause: padding and end token are the same, and padding is masked.")  # fmt: skip
note("FT505", "notice", "The chat template drops the reasoning", "train without reasoning, or choose a template that keeps it",
     "The row has `reasoning_content` that does not appear in the rendered text, so it is not "
     "learned.")  # fmt: skip
note("FT507", "notice", "The chat template ignores the tools", "choose a model whose template writes tools",
     "The row declares tools that do not appear in the rendered text: the model would learn to call "
     "tools that it never sees.")  # fmt: skip
note("FT508", "notice", "The chat template drops the text of a message with tool calls", "put the text into a separate message, or choose a template that keeps it",
     "Some templates write the calls of a message and leave its text out. That text is in the row and "
     "is not trained.")  # fmt: skip
note("FT512", "notice", "Special tokens that the rows use were never trained", "choose the instruction-tuned model, or train all weights",
     "The rows of these tokens in the model's embedding are zero, or the same as another's, as in some base "
     "models. An adapter does not train the embedding: such tokens stay without meaning.")  # fmt: skip


def inspect_rows(
    reads: Iterable[Read],
    *,
    name: str,
    model: str | None = None,
    tokenizer: Any = None,
    provider: str | None = None,
    limits: Limits | None = None,
    max_length: int | None = None,
    rows: int = 200,
    line: int | None = None,
) -> InspectionReport:
    """The report of the rows of one dataset, called `name`; see `ftsdk.dataset.inspect`.

    `limits` are the provider's; they say whether its tokenizer is private.
    """
    chat = (
        tokenizer if isinstance(tokenizer, ChatTokenizer) else _folder(tokenizer) or _folder(model)
    )
    if chat is None:
        return _counted(reads, name, model, tokenizer, provider, limits)
    work = _Inspection(chat, rows, line, max_length)
    for read in reads:
        work.take(read.line, read.row)
    work.look_at_embedding(_named_folder(tokenizer) or model_folder(model))
    return work.result(name, model or chat.name)


def findings_of_rows(
    reads: Iterable[Read], tokenizer: Any, max_length: int | None
) -> tuple[Fault, ...]:
    """The findings of some rows as the model of `tokenizer` (a folder or a `ChatTokenizer`) sees them.

    None where the tokenizer is not on this machine, or the rows are token ids already.
    """
    chat = tokenizer if isinstance(tokenizer, ChatTokenizer) else _folder(tokenizer)
    if chat is None:
        return ()
    work = _Inspection(chat, 0, None, max_length)
    for read in reads:
        if shape_of(read.row) in ("chat", "preference"):
            work.take(read.line, read.row)
    work.look_at_embedding(_named_folder(tokenizer))
    return tuple(work.findings)


def _named_folder(tokenizer: Any) -> Path | None:
    """The folder of a tokenizer that is given by its place; None for one that is loaded."""
    return None if isinstance(tokenizer, ChatTokenizer) else model_folder(tokenizer)


def _folder(place: Any) -> ChatTokenizer | None:
    folder = model_folder(place)
    return None if folder is None else ChatTokenizer.from_folder(folder)


def _counted(
    reads: Iterable[Read],
    name: str,
    model: str | None,
    tokenizer: Any,
    provider: str | None,
    limits: Limits | None,
) -> InspectionReport:
    """The report of a model whose tokenizer is not available: token counts at most."""
    reads = iter(reads)
    first = next(reads, None)
    are_tokens = first is not None and shape_of(first.row) == "tokens"
    counting = (
        Counting(TokenizedRowCounter())
        if are_tokens
        else counter_for(tokenizer, model=model, limits=limits, wanted=True)
    )
    if counting is not None and first is not None:
        for read in itertools.chain((first,), reads):
            counting.add(read.line, read.row)
    summary = None if counting is None else counting.summary(None)
    if _is_private(model, limits):
        known = ["the provider applies its own chat template and does not publish the token ids"]
    else:
        known = ["its tokenizer is not on this machine; pass the model's folder to see the tokens"]
    if are_tokens:
        known.append("the rows are token ids already")
    elif summary is not None:
        known.append(
            "texts are counted exactly, tokens between them as in OpenAI's cookbook"
            if summary.exact else "token counts are an estimate"
        )  # fmt: skip
    return InspectionReport(
        name, model or provider or "unknown model", visible=False,
        template_sha256=None, summary=summary,
        lengths=tuple(counting.totals) if counting is not None else (),
        learned=tuple(counting.learned) if counting is not None else (),
        known=tuple(known),
    )  # fmt: skip


def _is_private(model: str | None, limits: Limits | None) -> bool:
    """Whether the model's tokenizer is private; open weights come with theirs."""
    if encoding_of(model) is not None or (limits is not None and limits.hides_tokens):
        return True
    return (model or "").lower().split("/")[-1].startswith(("claude", "gemini", "amazon.nova"))


class _Inspection:
    """One pass over the rows."""

    def __init__(
        self, chat: ChatTokenizer, rows: int, line: int | None, max_length: int | None
    ) -> None:
        self.chat, self.limit, self.line, self.max_length = chat, rows, line, max_length
        self.lengths: list[int] = []
        self.learned: list[int] = []
        self.shown: list[InspectedRow] = []
        self.refused_rows: list[InspectedRow] = []
        self.findings: list[Fault] = []
        self.refused = self.rows = self.last_line = 0
        self.special: set[int] = set()
        self.counting = Counting(TemplateCounter(chat))

    def take(self, line: int, row: dict[str, Any]) -> None:
        """Render one row as the trainer would."""
        self.last_line = line
        try:
            found = render_sequences(row, self.chat, number=line)
        except RowFault as fault:
            self.refused += 1
            self._add(RENDER_CODES.get(fault.code, "FT506"), line, fault.message)
            if line == self.line or (self.line is None and len(self.refused_rows) < self.limit):
                self.refused_rows.append(_as_it_is(line, row, fault.message))
            return
        wanted = line == self.line if self.line is not None else self.rows < self.limit
        self.rows += 1
        self.special.update(i for _, part in found for i in part.ids if i in self.chat.special_ids)
        lengths = [len(part) for _, part in found]
        learned = [part.trained_count for _, part in found]
        self.lengths += lengths
        self.learned += learned
        self.counting.put(line, sum(lengths), sum(learned), max(lengths))
        of_row = list(self._lost(line, row, [part for _, part in found]))
        for number, (name, part) in enumerate(found, start=1):
            notes = [
                *self._notes(line, part, ends=shape_of(row) in ("chat", "preference")),
                *of_row,
            ]
            if wanted:
                self.shown.append(
                    InspectedRow(line, number, len(found), name, len(part), part.trained_count,
                            tuple(notes), tuple(pieces_of(part, self.chat)))
                )  # fmt: skip

    def look_at_embedding(self, folder: Path | None) -> None:
        """Report special tokens of the rows that the model in `folder` never trained."""
        found = [] if folder is None else untrained_tokens(folder, self.special)
        if found:
            names = ", ".join(repr(self.chat.decode([token])) for token in found[:4])
            more = f" and {len(found) - 4} more" if len(found) > 4 else ""
            self._add("FT512", 0, f"{names}{more}: the model's embedding was never trained on them")

    def _add(self, code: str, line: int, message: str) -> None:
        if line == self.line or sum(f.code == code for f in self.findings) < 100:
            rule = RULES[code]
            self.findings.append(Fault(code, rule.severity, line, message, rule.hint))

    def _notes(self, line: int, part: Rendered, *, ends: bool) -> Iterator[str]:
        """Notes on one sequence."""
        if self.max_length is not None and len(part) > self.max_length:
            message = (
                f"{len(part):,} tokens, max_length is {self.max_length:,}: {self._behind(part)}"
            )
            self._add("FT502", line, message)
            yield message
        if ends and not _ends_closed(part, self.chat):
            self._add("FT503", line, "an answer is trained without a token that ends it")
            yield "an answer has no end token in what is trained"

    def _behind(self, part: Rendered) -> str:
        """The number of trained tokens left after a cut at `max_length`, in words."""
        left = Rendered(part.ids[: self.max_length], part.trained[: self.max_length]).trained_count
        if not left:
            return "cut there, it has nothing to learn"
        return f"cut there, {left:,} of {part.trained_count:,} learned tokens are left"

    def _lost(self, line: int, row: Mapping[str, Any], parts: Sequence[Rendered]) -> Iterator[str]:
        """Notes on parts of the row that none of its sequences has."""
        messages, tools = _said(row)
        reasons = [next((m[k] for k in REASONING if m.get(k)), None) for m in messages]
        beside = [
            m["content"] for m in messages if m.get("tool_calls") and _is_said(m.get("content"))
        ]
        if not tools and not any(reasons) and not beside:
            return
        texts = [self.chat.decode(list(part.ids)) for part in parts]
        lost = [
            reason
            for reason in reasons
            if isinstance(reason, str)
            and reason.strip()
            and not any(reason.strip() in text for text in texts)
        ]
        if lost:
            self._add("FT505", line, f"the template drops the reasoning {short(lost[0], 40)!r}")
            yield "reasoning is dropped by the template"
        if unsaid := [c for c in beside if not any(c.strip() in text for text in texts)]:
            self._add("FT508", line, f"the template drops {short(unsaid[0], 40)!r} beside a call")
            yield "the text beside a tool call is dropped by the template"
        functions = [t.get("function") for t in tools if isinstance(t, dict)]
        names = [
            f["name"] for f in functions if isinstance(f, dict) and isinstance(f.get("name"), str)
        ]
        if any(name not in text for name in names for text in texts):
            self._add("FT507", line, "the template does not show the declared tools")
            yield "the declared tools are not shown"

    def result(self, name: str, model: str) -> InspectionReport:
        """The report of all rows."""
        summary = self.counting.summary(self.max_length)
        return InspectionReport(
            name, model, visible=True, template_sha256=self.chat.template_sha256, summary=summary,
            lengths=tuple(self.lengths), learned=tuple(self.learned), shown=tuple(self.shown),
            findings=tuple(self.findings), refused=self.refused, max_length=self.max_length,
            last_line=self.last_line, refused_rows=tuple(self.refused_rows),
        )  # fmt: skip


_CHARACTERS = 20_000
"""What is shown at most of a row that cannot be trained."""


def _as_it_is(line: int, row: Mapping[str, Any], why: str) -> InspectedRow:
    """A row that cannot be rendered: its JSON, and the reason."""
    text = json.dumps(row, ensure_ascii=False, indent=2)[:_CHARACTERS]
    return InspectedRow(line, 1, 1, "refused", 0, 0, (why,), (Piece(text, (), False, False),))


def _is_said(content: Any) -> bool:
    return isinstance(content, str) and bool(content.strip())


def _said(row: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], list[Any]]:
    """All messages of a row, whichever shape it has, and the tools that it declares."""
    prompt = row.get("input")
    asked = prompt if isinstance(prompt, dict) else row
    messages = [*asked.get("messages", ())]
    for key in OUTPUTS:
        messages += row.get(key) or ()
    return messages, asked.get("tools") or []


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
    """The text of `ids` after the token `before`; some tokenizers drop a leading space at a start."""
    if before < 0:
        return chat.decode(ids)
    lead, both = chat.decode([before]), chat.decode([before, *ids])
    return both[len(lead) :] if both.startswith(lead) else chat.decode(ids)
