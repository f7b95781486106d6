"""Renders a chat row into token ids and the loss mask.

The trainer, the token counts and the inspection of a row all use it, so what is counted is
what is trained. Only assistant turns are trained, by the model's own chat template: either where
the template says `{% generation %}`, or by the difference between the text before the turn (with
the generation prompt, as at inference) and the text after it. A template whose prefixes do not
nest gets one piece per answer (`render_parts`), or is refused, because a guessed mask
would train the wrong tokens.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.dataset.tokenize.chat_template import ChatTokenizer, Span, TemplateFailed
from ftsdk.dataset.tokenize.message_adapter import fit_messages

IGNORED = -100
"""The label of a token that the loss leaves out."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """One row as the model sees it.

    `ids[k]` is a token, and `trained[k]` is 1 when its prediction is in the loss.
    """

    ids: array[int]
    trained: bytes

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained_count(self) -> int:
        """The number of tokens in the loss; the first token of a row is never predicted."""
        return self.trained.count(1, 1)


@dataclass(eq=False)
class RowFault(Exception):
    """The reason why one row cannot be trained; `row` counts from 1, `tokens` is its length if known."""

    row: int
    code: str
    message: str
    tokens: int | None = None

    def __str__(self) -> str:
        return f"row {self.row}: {self.message}"


def render_rows(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: ChatTokenizer,
    *,
    max_length: int | None = None,
    truncate: bool = False,
) -> tuple[list[Rendered], list[RowFault]]:
    """Render all rows; every fault is returned, not only the first.

    A row longer than `max_length` tokens is a fault (`too_long`) unless `truncate` cuts its end.
    """
    done: list[Rendered] = []
    faults: list[RowFault] = []
    for number, row in enumerate(rows, start=1):
        try:
            parts = render_parts(row, tokenizer, number=number)
            done.extend([fit(part, number, max_length, truncate=truncate) for part in parts])
        except RowFault as fault:
            faults.append(fault)
    return done, faults


def render_prompt(
    messages: Sequence[Mapping[str, Any]],
    tokenizer: ChatTokenizer,
    *,
    tools: Sequence[Any] | None = None,
) -> list[int]:
    """The ids of a conversation up to where the model is to answer."""
    text, _ = tokenizer.render(
        fit_messages(messages, tokenizer, tools=tools), tools=tools, add_generation_prompt=True
    )
    return tokenizer.encode(text)


def stop_ids(tokenizer: ChatTokenizer) -> frozenset[int]:
    """Tokens that end an answer: the end of a sequence, and what the template closes a turn with."""
    found = set() if tokenizer.eos_id is None else {tokenizer.eos_id}
    probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rendered = render_row({"messages": probe}, tokenizer)
    last = rendered.ids[rendered.trained.rindex(1)]
    if last in tokenizer.special_ids:
        found.add(last)
    return frozenset(found)


def render_row(row: Mapping[str, Any], tokenizer: ChatTokenizer, *, number: int = 1) -> Rendered:
    """One canonical chat row (`messages`, perhaps `tools`) as ids and mask; raises `RowFault`.

    A message with `weight` 0 is shown to the model and not trained.
    """
    messages = _messages(row.get("messages"), number)
    trained = [
        index
        for index, message in enumerate(messages)
        if message.get("role") == "assistant" and message.get("weight", 1) != 0
    ]
    if not trained:
        raise RowFault(number, "no_assistant", "there is no assistant turn to learn from")
    try:
        text, spans = _find_spans(messages, row.get("tools"), trained, tokenizer, number)
    except TemplateFailed as error:
        name = tokenizer.name
        message = f"the chat template of {name} cannot render it: {error}"
        raise RowFault(number, "template_failed", message) from error
    ids, cuts = _encode(text, spans, tokenizer, number)
    mask = bytearray(len(ids))
    for first, last in cuts:
        end = _end_of_turn(ids, first, last, tokenizer)
        mask[first:end] = b"\x01" * (end - first)
    if 1 not in mask[1:]:
        raise RowFault(number, "nothing_trained", "its assistant turns are empty", len(ids))
    return Rendered(array("i", ids), bytes(mask))


def render_parts(
    row: Mapping[str, Any], tokenizer: ChatTokenizer, *, number: int = 1
) -> list[Rendered]:
    """A row as what is trained: itself, or one piece for each answer.

    Some templates rewrite earlier turns once more follow (they strip thinking, for instance). Then
    each answer is trained in the conversation as the model sees it when it is to give it: cut after
    the answer, the turns before it as context. Raises `RowFault` when that does not help.
    """
    try:
        return [render_row(row, tokenizer, number=number)]
    except RowFault as fault:
        if fault.code != "template_not_nested":
            raise
        messages = row["messages"]
        answers = [
            i
            for i, message in enumerate(messages)
            if message.get("role") == "assistant" and message.get("weight", 1) != 0
        ]
        if len(answers) < 2:
            raise
    return [
        render_row({**row, "messages": _only(messages, i)}, tokenizer, number=number)
        for i in answers
    ]


def render_sequences(
    row: Mapping[str, Any], tokenizer: ChatTokenizer, *, number: int = 1
) -> list[tuple[str, Rendered]]:
    """Every sequence that a canonical row is shown to the model in, each with its name.

    A chat row is itself or its parts, without a name. A preference row is two sequences, its prompt
    with the `preferred` and with the `non-preferred` answer, and only that answer is trained. Plain
    text is one, and all of it is trained, with the tokens that begin and end a document. A tokenized
    row is what it says. Raises `RowFault`.
    """
    if "input_ids" in row:
        return [("", _given(row, number))]
    if "messages" in row:
        return [("", part) for part in render_parts(row, tokenizer, number=number)]
    if "text" in row:
        if not isinstance(row["text"], str):
            raise RowFault(number, "no_text", "the text is not a string")
        ids = [*tokenizer.start_ids, *tokenizer.encode(row["text"])]
        if tokenizer.eos_id is not None:
            ids.append(tokenizer.eos_id)
        return [("", Rendered(array("i", ids), b"\x01" * len(ids)))]
    prompt = row.get("input")
    if not isinstance(prompt, Mapping):
        raise RowFault(number, "no_messages", "the prompt has no messages")
    messages = _messages(prompt.get("messages"), number)
    asked = [{**m, "weight": 0} if m.get("role") == "assistant" else m for m in messages]
    return [
        (name, render_row({**prompt, "messages": [*asked, *_messages(row.get(key), number)]},
                          tokenizer, number=number))
        for name, key in (("preferred", "preferred_output"), ("non-preferred", "non_preferred_output"))
    ]  # fmt: skip


def _messages(messages: Any, number: int) -> Sequence[Mapping[str, Any]]:
    """The messages of a row that was not checked before; raises `RowFault` when it has none."""
    if not isinstance(messages, (list, tuple)):
        raise RowFault(number, "no_messages", "the messages are not a list")
    if not all(isinstance(message, Mapping) for message in messages):
        raise RowFault(number, "no_object", "a message is not an object")
    return messages


def _given(row: Mapping[str, Any], number: int) -> Rendered:
    """A row of tokens; without labels all of them are learned."""
    ids, labels = row["input_ids"], row.get("labels")
    try:
        tokens = array("i", ids)
        trained = bytes(label != IGNORED for label in (ids if labels is None else labels))
    except (TypeError, OverflowError) as error:
        message = "the ids and labels are no lists of token ids"
        raise RowFault(number, "no_tokens", message) from error
    if min(tokens, default=0) < 0:
        raise RowFault(number, "no_tokens", f"{min(tokens)} is no token id", len(tokens))
    if len(tokens) != len(trained):
        message = f"{len(trained):,} labels for {len(tokens):,} tokens"
        raise RowFault(number, "no_tokens", message, len(tokens))
    if 1 not in trained[1:]:
        raise RowFault(number, "nothing_trained", "every label is -100", len(tokens))
    return Rendered(tokens, trained)


def _only(messages: Sequence[Mapping[str, Any]], index: int) -> list[dict[str, Any]]:
    """The conversation up to the answer at `index`, which alone is trained."""
    return [
        {**m, "weight": int(i == index)} if m.get("role") == "assistant" else dict(m)
        for i, m in enumerate(messages[: index + 1])
    ]


def fit(rendered: Rendered, number: int, max_length: int | None, *, truncate: bool) -> Rendered:
    """The row cut at `max_length` where it is longer; `RowFault` without `truncate`, or an answer."""
    if max_length is None or len(rendered) <= max_length:
        return rendered
    length = len(rendered)
    if not truncate:
        message = f"{length} tokens, and max_length is {max_length}"
        raise RowFault(number, "too_long", message, length)
    cut = Rendered(rendered.ids[:max_length], rendered.trained[:max_length])
    if not cut.trained_count:
        message = f"cut at max_length {max_length}, no assistant token is left of {length} tokens"
        raise RowFault(number, "nothing_trained", message, length)
    return cut


def _find_spans(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Any] | None,
    trained: Sequence[int],
    tokenizer: ChatTokenizer,
    number: int,
) -> tuple[str, list[Span]]:
    """The whole text, and the character span of each trained turn, in order."""
    clean = fit_messages(messages, tokenizer, tools=tools)
    whole, marked = tokenizer.render(clean, tools=tools)
    if marked:
        turns = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
        if len(turns) == len(marked):
            wanted = set(trained)
            return whole, [span for turn, span in zip(turns, marked, strict=True) if turn in wanted]
        if len(turns) == len(trained):  # a turn may be marked in pieces; all of them are trained
            return whole, marked
        why = f"marks {len(marked)} generated parts for {len(turns)} assistant turns"
        raise _does_not_nest(tokenizer, number, why)
    spans: list[Span] = []
    for index in trained:
        if index == 0:
            raise RowFault(number, "assistant_first", "it starts with an assistant turn to train")
        spans.append(_span(clean, index, tools, whole, tokenizer, number))
    return whole, spans


def _span(
    clean: Sequence[Mapping[str, Any]],
    index: int,
    tools: Sequence[Any] | None,
    whole: str,
    tokenizer: ChatTokenizer,
    number: int,
) -> Span:
    """The span in the whole text of the answer in message `index`."""
    prompt, _ = tokenizer.render(clean[:index], tools=tools, add_generation_prompt=True)
    after, _ = tokenizer.render(clean[: index + 1], tools=tools)
    start = len(prompt)
    if not whole.startswith(prompt):
        # The prompt at inference may open more than the answer keeps, such as a thinking block.
        # The text that both share beyond the earlier messages is the prompt; the rest is the answer.
        before, _ = tokenizer.render(clean[:index], tools=tools)
        before = _without_end(before, tokenizer) if not prompt.startswith(before) else before
        start = _shared(prompt, whole)
        if start < len(before) or not prompt.startswith(before):
            why = f"changes the text before message {index} once the answer is known"
            raise _does_not_nest(tokenizer, number, why)
    if not whole.startswith(after):
        # Some templates close only the last turn with a special token.
        after = _without_end(after, tokenizer)
    if not whole.startswith(after) or start > len(after):
        why = f"changes the answer in message {index} once more messages follow"
        raise _does_not_nest(tokenizer, number, why)
    return start, len(after)


def _shared(left: str, right: str) -> int:
    """The number of equal characters at the start of two texts."""
    low, high = 0, min(len(left), len(right))
    while low < high:  # halving: slices compare far faster than characters
        middle = (low + high + 1) // 2
        if left[:middle] == right[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _without_end(text: str, tokenizer: ChatTokenizer) -> str:
    bare = text.rstrip()
    end = tokenizer.special_tokens.get("eos_token")
    return bare.removesuffix(end) if end else text


def _does_not_nest(tokenizer: ChatTokenizer, number: int, why: str) -> RowFault:
    message = (
        f"the chat template of {tokenizer.name} {why}, so the tokens to train are not known; "
        "give one row per assistant turn, or weight 0 to all turns but the last"
    )
    return RowFault(number, "template_not_nested", message)


def _encode(
    text: str, spans: Sequence[Span], tokenizer: ChatTokenizer, number: int
) -> tuple[list[int], list[Span]]:
    """Ids of the text, and each span in tokens.

    The text is encoded as a whole when every boundary falls between two tokens. Where a token
    would straddle the start of an answer, the text is cut there, because at inference the prompt
    is encoded alone and the model goes on from it.
    """
    ids = tokenizer.encode(text)
    cuts: list[Span] = []
    for start, end in spans:
        first = _token_boundary(text, start, ids, tokenizer)
        last = _token_boundary(text, end, ids, tokenizer)
        if first is None or last is None:
            return _encode_pieces(text, spans, tokenizer, number)
        cuts.append((first, last))
    return ids, cuts


def _token_boundary(
    text: str, position: int, ids: Sequence[int], tokenizer: ChatTokenizer
) -> int | None:
    if position == len(text):
        return len(ids)
    prefix = tokenizer.encode(text[:position])
    return len(prefix) if ids[: len(prefix)] == prefix else None


def _encode_pieces(
    text: str, spans: Sequence[Span], tokenizer: ChatTokenizer, number: int
) -> tuple[list[int], list[Span]]:
    probe = tokenizer.encode("hi")
    if tokenizer.decode([*probe, *probe]) != "hihi":
        why = "puts a token across the start of an answer, and its tokenizer adds spaces to pieces"
        raise _does_not_nest(tokenizer, number, why)
    ids: list[int] = []
    cuts: list[Span] = []
    done = 0
    for start, end in spans:
        ids += tokenizer.encode(text[done:start])
        first = len(ids)
        ids += tokenizer.encode(text[start:end])
        cuts.append((first, len(ids)))
        done = end
    ids += tokenizer.encode(text[done:])
    return ids, cuts


def _end_of_turn(ids: Sequence[int], first: int, last: int, tokenizer: ChatTokenizer) -> int:
    """The end of the trained part: right after the token that closes the turn.

    Blanks that the template writes after that token are not the model's to say; and an
    end-of-sequence token right after a `{% generation %}` block is. Where a turn has no
    token of its own to close it, the one that opens the next turn is what stops the model.
    """
    end = last
    while end > first and ids[end - 1] not in tokenizer.special_ids:
        if tokenizer.decode([ids[end - 1]]).strip():
            break
        end -= 1
    if end > first and ids[end - 1] in tokenizer.special_ids:
        return end
    if last < len(ids) and ids[last] in tokenizer.special_ids:
        return last + 1
    return last
