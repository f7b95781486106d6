"""Duplicates: equal rows, equal prompts with different answers, rows shared by two sets.

Only hashes are kept. They are compared at the end, in slices, so that memory stays
small whatever the number of rows (24 bytes each, at most eight million).
"""

from __future__ import annotations

import bisect
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import orjson

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.formats.typed_rows import (
    Exchange,
    Pair,
    Said,
    ToolMessage,
    WithCalls,
    is_text_alone,
)
from ftsdk.dataset.row import Row

note("FT301", "notice", "The same prompt has different answers", "keep the right answer, or make the prompts differ",
     "The model is trained towards both. This may be intended for creative tasks; in most others it is a mistake.")  # fmt: skip
note(
    "FT302",
    "notice",
    "Duplicate rows",
    "keep one of them: `ftsdk fix DATA -o FILE --drop-duplicates` does",
    "Equal rows have more weight, and a split may put one on each side.",
)
note("FT304", "notice", "Validation rows that are also in the training set", "remove them from one of the two",
     "Compared byte by byte, and after folding case and white space. The validation loss of a row "
     "that was trained on means nothing.")  # fmt: skip
note("FT314", "notice", "The prompt of a validation row is also in the training set",
     "split by prompt: `ftsdk split DATA` does",
     "The answers differ, but the model has seen what is asked. Validation then measures how well it "
     "remembers the training set. Prompts are compared after folding case and white space.")  # fmt: skip

MAX_ROWS = 8_000_000
"""Rows are compared up to this line."""

_SLICE = 500_000
_LINES_SHOWN = 20


def keys_of(row: dict[str, Any], shape: str) -> tuple[int, int]:
    """`(prompt, answer)` of a canonical row as two hashes, comparable within this process only."""
    if shape == "chat":
        messages = row.get("messages")
        if isinstance(messages, list) and messages and _is_answer(messages):
            extra = orjson.dumps(row["tools"]) if "tools" in row else b""
            asked = [_text_said(message) for message in messages[:-1]]
            if None in asked:
                return hash((extra, _written(messages[:-1]))), hash(_said(messages[-1]))
            return hash((extra, *asked)), hash(_said(messages[-1]))
    if shape == "preference":
        said = _pair_said(row)
        if said is not None:
            whole = hash(said)
            return whole, whole
    # What has no answer can only be equal. Several pairs for one prompt are usual among preferences: only whole rows are compared.
    whole = hash(_written(row))
    return whole, whole


def _is_answer(messages: list[Any]) -> bool:
    """Whether the last message answers something that was asked."""
    roles = [m.get("role") for m in messages if isinstance(m, dict)]
    return len(messages) > 1 and roles[-1:] == ["assistant"] and "user" in roles[:-1]


_PAIR_KEYS = frozenset(("input", "preferred_output", "non_preferred_output"))


def _pair_said(row: dict[str, Any]) -> tuple[Any, ...] | None:
    """What a pair of one answer on each side says, as `said_keys` has it; None for another row."""
    prompt = row.get("input")
    asked = prompt.get("messages") if isinstance(prompt, dict) and len(prompt) == 1 else None
    chosen, rejected = row.get("preferred_output"), row.get("non_preferred_output")
    if not (isinstance(asked, list) and isinstance(chosen, list) and isinstance(rejected, list)):
        return None
    extra = {key: value for key, value in row.items() if key not in _PAIR_KEYS}
    answers = (*map(_said, chosen), b"", *map(_said, rejected))
    return (*map(_said, asked), b"", *answers, *_beside(extra))


def _beside(extra: Row | None) -> tuple[bytes, ...]:
    """What is compared of the keys beside a pair."""
    return (b"", _written(extra)) if extra else ()


def said_keys(said: Said | WithCalls, extra: Row | None = None) -> tuple[int, int]:
    """As `keys_of`, for the canonical row of which this is all, but for `extra` keys."""
    if type(said) is tuple:
        return hash((b"", ("user", said[0]))), hash(("assistant", said[1]))
    if type(said) is list:
        return hash((b"", *said[:-1])), hash(said[-1])
    if isinstance(said, WithCalls):
        return said.prompt, said.answer
    if isinstance(said, Pair):
        answers = ("assistant", said.chosen), b"", ("assistant", said.rejected)
        whole = hash((*said.asked, b"", *answers, *_beside(extra)))
    else:
        whole = hash(_written({"text": said, **(extra or {})}))
    return whole, whole


def keys_with_calls(
    messages: list[ToolMessage], asked: bytes, answer: bytes, tools: bytes
) -> tuple[int, int]:
    """As `keys_of`, for the messages of a chat row that ends with an answer.

    `asked` are those before the last one and `answer` is the last one, as JSON with sorted keys; `tools` are the
    row's as `orjson` writes them, or nothing.
    """
    *before, last = messages
    said = hash((last.role, last.content) if is_text_alone(last) else answer)
    if all(map(is_text_alone, reversed(before))):  # calls come late
        return hash((tools, *((one.role, one.content) for one in before))), said
    return hash((tools, asked)), said


def keys_said(
    said: Sequence[Said | WithCalls], extra: Mapping[int, Row]
) -> tuple[list[int], list[int]]:
    """The prompts and the answers of `said_keys`, for several rows; `extra` by their index."""
    if set(map(type, said)) == {tuple}:  # most files
        pairs = cast("Sequence[Exchange]", said)
        return (
            [hash((b"", ("user", asked))) for asked, _ in pairs],
            [hash(("assistant", answer)) for _, answer in pairs],
        )
    keys = (said_keys(what, extra.get(index)) for index, what in enumerate(said))
    prompts, answers = zip(*keys, strict=True)
    return list(prompts), list(answers)


def _said(message: Any) -> Any:
    return _text_said(message) or _written(message)


def _text_said(message: Any) -> tuple[str, str] | None:
    if isinstance(message, dict) and len(message) == 2:
        content = message.get("content")
        role = message.get("role")
        if isinstance(content, str) and isinstance(role, str):
            return role, content
    return None


def _written(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


class Duplicates:
    """Collects the keys of one set's rows."""

    def __init__(self) -> None:
        self.prompts = array("q")
        self.answers = array("q")
        self.lines = array("I")
        self.lengths = array("I")
        self.full = False

    def add(self, line: int, prompt: int, answer: int, length: int) -> None:
        """Remember one row of `length` bytes."""
        if line > MAX_ROWS:
            self.full = True
            return
        self.prompts.append(prompt)
        self.answers.append(answer)
        self.lines.append(line)
        self.lengths.append(length)

    def extend(
        self,
        lines: Sequence[int],
        said: Sequence[Said | WithCalls],
        lengths: Iterable[int],
        extra: Mapping[int, Row],
    ) -> None:
        """As `add` for several rows, of which all is said, but for `extra` keys by their index."""
        prompts, answers = keys_said(said, extra)
        self.prompts.extend(prompts)
        self.answers.extend(answers)
        self.lines.extend(lines)
        self.lengths.extend(lengths)
        if lines[-1] > MAX_ROWS:
            self.trim()

    def trim(self) -> None:
        """Forget rows beyond the last that is compared; for rows that were added in bulk."""
        over = len(self.lines) - bisect.bisect_right(self.lines, MAX_ROWS)
        if over:
            self.full = True
            for values in (self.prompts, self.answers, self.lines, self.lengths):
                del values[-over:]

    def faults(self, *, text: bool = False) -> Iterator[Fault]:
        """Groups of equal rows, and of contradicting ones, in order of their first line.

        `text` rows have no prompt, so they can only be equal.
        """
        found: list[Fault] = []
        for group in self._groups(by_answer=text):
            answers = {self.answers[i] for i in group}
            if len(answers) == 1:
                found.append(self._group("FT302", group, f"{len(group)} rows are the same"))
                continue
            found.append(
                self._group("FT301", group, f"the same prompt has {len(answers)} different answers")
            )
            for answer in answers:
                same = [i for i in group if self.answers[i] == answer]
                if len(same) > 1:
                    found.append(self._group("FT302", same, f"{len(same)} rows are the same"))
        yield from sorted(found, key=lambda f: f.line)

    def _groups(self, *, by_answer: bool) -> Iterator[list[int]]:
        keys = self.answers if by_answer else self.prompts
        slices = len(keys) // _SLICE + 1
        for part in range(slices):
            own = keys if slices == 1 else [key for key in keys if key % slices == part]
            if len(set(own)) == len(own):
                continue
            repeated = {key for key, count in Counter(own).items() if count > 1}
            groups: dict[int, list[int]] = {key: [] for key in repeated}
            for i, key in enumerate(keys):
                if key in repeated:
                    groups[key].append(i)
            yield from groups.values()

    def _group(self, code: str, members: Sequence[int], message: str) -> Fault:
        rule = RULES[code]
        lines = tuple(self.lines[i] for i in members[:_LINES_SHOWN])
        return Fault(
            code=code, severity=rule.severity, line=lines[0], message=message, hint=rule.hint,
            rows=len(members), lines=lines,
        )  # fmt: skip


def folded_hash(row: dict[str, Any]) -> int:
    """A hash of all texts of a row, case and white space folded; of a tokenized row, its ids."""
    if "input_ids" in row:
        return hash(orjson.dumps(row["input_ids"]))
    return hash(folded_texts(row))


def folded_texts(row: dict[str, Any]) -> tuple[str, ...]:
    """All texts of a row, case and white space folded, in an order that depends on the row alone."""
    words: list[str] = []
    stack: list[Any] = [row]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            words.append(" ".join(value.casefold().split()))
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return tuple(words)
