"""Answers that are sound rows and still look like mistakes: loops, placeholders, broken encodings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.findings.registry import row_rule
from ftsdk.dataset.row import Row, messages_of, texts_of

MIN_LOOP = 160
_TAIL = 24
_REPEATS = 6


def answers_of(row: Row) -> Iterator[tuple[str, str]]:
    """The texts that a row trains the model to write, with their places; the worse answer of a pair is none."""
    if isinstance(row.get("text"), str):
        yield "text", row["text"]
    for i, message in messages_of(row):
        is_learned = message.get("role") == "assistant" and message.get("weight", 1) != 0
        if is_learned and isinstance(message.get("content"), str):
            yield f"messages[{i}].content", message["content"]
    preferred = row.get("preferred_output")
    for i, message in enumerate(preferred if isinstance(preferred, list) else []):
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            yield f"preferred_output[{i}].content", message["content"]


@row_rule("FT315", "notice", "cut the repetition off, or remove the row", shape="any")
def answers_end(row: Row) -> Iterator[Hit]:
    """An answer that repeats its end again and again.

    The last 24 characters of a text of at least 160 are in it six times or more, and close to each other: a
    model that was caught in a loop wrote it, and another learns to do so.
    """
    for place, text in answers_of(row):
        if loops(text):
            yield Hit(place, f"the answer repeats its end {text.count(text.rstrip()[-_TAIL:])} times",
                      text[-60:])  # fmt: skip


def loops(text: str) -> bool:
    """Whether the end of a text is repeated at once, again and again."""
    size = len(text)
    if size < MIN_LOOP:
        return False
    near = text[-_TAIL - size // (_REPEATS - 1) : -1]
    if text[-_TAIL:] not in near and not text[-1].isspace():  # most texts, at half the time
        return False
    text = text.rstrip()
    tail = text[-_TAIL:]
    # A period fits in at least five times, so the end was there a fifth of the text before.
    if text.rfind(tail, len(text) - _TAIL - len(text) // (_REPEATS - 1), -1) < 0:
        return False
    if text.count(tail) < _REPEATS or len(set(tail)) < 6:  # lines of dashes are no words
        return False
    period = len(text) - _TAIL - text.rfind(tail, 0, -1)
    end = text[-period:]
    return all(text[-period * n : -period * (n - 1)] == end for n in range(2, _REPEATS))


_PLACEHOLDER = re.compile(r"(?<!\$)\{\{\s*[A-Za-z_][\w. -]{0,40}\}\}|\[INSERT\b[^\]\n]{0,60}\]")


@row_rule("FT316", "notice", "fill it in, or remove the row", shape="any")
def placeholders_are_filled_in(row: Row) -> Iterator[Hit]:
    """A placeholder in an answer: `{{customer_name}}`, `[INSERT …]`.

    Answers with code or markup are not searched: there it is meant.
    """
    for place, text in answers_of(row):
        if "{{" in text or "[INSERT" in text:
            match = None if _has_code(text) else _PLACEHOLDER.search(text)
            if match:
                yield Hit(
                    place, f"the answer has the placeholder {match.group()[:40]!r}", match.group()
                )


def _has_code(text: str) -> bool:
    return "```" in text or "</" in text or "{%" in text or "\\begin" in text


BROKEN = re.compile(
    "\ufffd|[\u00c3][\u0080-\u00bf\u0192\u201a]|\u00e2\u20ac[\u2122\u0153\u009d\u02dc\u00a6\u201c\u201d\u2039\u00a2]"
    "|\u00c2[\u00a0\u00a3\u00a9\u00ae\u00b0\u00b7\u00bb\u00ab]|\u00ef\u00bb\u00bf"
)


@row_rule("FT317", "notice", "read the source as UTF-8 and write it again", shape="any")
def texts_are_in_their_encoding(row: Row) -> Iterator[Hit]:
    """A text that was read in the wrong encoding: `cafÃ©` for `café`, or U+FFFD for a lost character."""
    for place, text in texts_of(row):
        match = None if text.isascii() else BROKEN.search(text)
        if match:
            what = "U+FFFD, a lost character" if match.group() == "\ufffd" else repr(match.group())
            around = text[max(0, match.start() - 15) : match.end() + 15]
            yield Hit(place, f"the text has {what}: it was read in the wrong encoding", around)


ENTITY = re.compile(r"&(?:#[0-9]{1,5}|#x[0-9a-fA-F]{1,5}|amp|lt|gt|quot|apos|nbsp);")


@row_rule("FT318", "notice", "write the characters themselves: html.unescape does", shape="any")
def answers_have_no_entities(row: Row) -> Iterator[Hit]:
    """HTML entities in an answer without markup: `&quot;` and `&#39;` are left from a web page."""
    for place, text in answers_of(row):
        if "&" in text and not _has_code(text):
            match = ENTITY.search(text)
            if match:
                yield Hit(place, f"the answer has the HTML entity {match.group()}", match.group())


@row_rule("FT319", "notice", "write the answer, or remove the row")
def answers_are_no_questions(row: Row) -> Iterator[Hit]:
    """An answer that is the question word by word."""
    before: Any = None
    for i, message in messages_of(row):
        content = message.get("content")
        if (
            message.get("role") == "assistant"
            and isinstance(content, str)
            and content == before
            and content
        ):
            yield Hit(f"messages[{i}].content", "the answer is the question", content)
        before = content if message.get("role") == "user" else None


_ASKING = re.compile(r"\n[ \t]*(?:User|Human)[ ]?:")
_ANSWERING = re.compile(r"\n[ \t]*(?:Assistant|AI|Bot)[ ]?:")


@row_rule(
    "FT320",
    "notice",
    "cut the answer before the next turn, or write the turns as messages",
    shape="any",
)
def answers_are_one_turn(row: Row) -> Iterator[Hit]:
    """A question and an answer of other turns within one answer: lines of `User:` and then `Assistant:`."""
    for place, text in answers_of(row):
        if "User" not in text and "Human" not in text:
            continue
        asked = _ASKING.search(text)
        if asked and _ANSWERING.search(text, asked.end()):
            yield Hit(
                place,
                "the answer goes on with other turns",
                text[asked.start() : asked.start() + 60],
            )
