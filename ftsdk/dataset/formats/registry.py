"""Row formats: recognise one, read it into the canonical row, write it back.

The canonical row is one of four shapes:

* **chat**: `{"messages": [{"role", "content", …}], "tools"?, "parallel_tool_calls"?, …}`; each
  message as OpenAI's chat format has it, with `weight`, `tool_calls` (`arguments` is a JSON
  string), `tool_call_id`, `name` and `reasoning_content` where they apply;
* **preference**: `{"input": {"messages", "tools"?, …}, "preferred_output": [message …],
  "non_preferred_output": [message …]}`;
* **text**: `{"text": str}`;
* **tokens**: `{"input_ids": [id …], "attention_mask": [0 or 1 …], "labels"?: [id or -100 …]}`.

Reading never checks: what is malformed stays malformed, in the place where the rules find it and
with a field name of the source format (`Format.field`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ftsdk.dataset.findings.finding import Hit
from ftsdk.dataset.formats.bedrock_converse import BLOCKS as CONVERSE_BLOCKS
from ftsdk.dataset.formats.bedrock_converse import converse_turns, own_converse, read_converse
from ftsdk.dataset.formats.chat_rows import chat_turns, read_chat, read_sharegpt, sharegpt_turns
from ftsdk.dataset.formats.claude import BLOCKS as CLAUDE_BLOCKS
from ftsdk.dataset.formats.claude import claude_turns, own_claude, read_claude
from ftsdk.dataset.formats.columns import AS_NAMED, Columns
from ftsdk.dataset.formats.function_texts import (
    glaive_turns,
    is_xlam,
    read_glaive,
    read_xlam,
    xlam_turns,
)
from ftsdk.dataset.formats.gemini import gemini_turns, own_gemini, read_gemini
from ftsdk.dataset.formats.pairs import pair_place, read_pair, read_preference
from ftsdk.dataset.formats.questions import (
    completion_turns,
    instruction_turns,
    read_completion,
    read_instruction,
)
from ftsdk.dataset.formats.shared import Row, Said, Turn, source_place, unsaid
from ftsdk.types.spec import PAIR_METHODS

Own = Callable[[Row], Iterator[tuple[str, Hit]]]


@dataclass(frozen=True)
class Format:
    """One format of a row.

    `keys` are the top-level keys that make a row this format; `read` gives the canonical row.
    A canonical field path becomes the source's by `turns`, which gives the position of each message, by
    `place`, which is given the source row, or by `places` (pairs of pattern and replacement). `own`
    gives codes and hits of what is wrong in this format alone, where the canonical row no longer
    shows it. `columns` are the names that the file's own columns have.
    """

    name: str
    title: str
    shape: str
    keys: tuple[str, ...]
    read: Callable[..., Row]
    """Takes the source row, and a function that is given what was taken as what."""
    places: tuple[tuple[str, str], ...] = ()
    turns: Callable[[Row], Iterator[Turn]] | None = None
    own: Own | None = None
    place: Callable[[Row, str], str] | None = None
    columns: Columns = AS_NAMED

    def source(self, raw: bytes) -> Row:
        """The record as a row with the names that formats read."""
        return self.columns.standard(row_in(raw))

    def field(self, canonical: str, raw: bytes | None = None) -> str:
        """The path that a person finds in the file for a canonical path of the record `raw`."""
        if raw is None:
            return self._field(canonical, None)
        found = self._field(canonical, self.source(raw))
        return self.columns.source_path(row_in(raw), found)

    def _field(self, canonical: str, row: Row | None) -> str:
        if self.turns is not None and row is not None and canonical.startswith("messages["):
            return source_place(self.turns(row), canonical)
        if self.place is not None and row is not None:
            return self.place(row, canonical)
        for pattern, replacement in self.places:
            changed, count = re.subn(pattern, replacement, canonical, count=1)
            if count:
                return changed
        return canonical


def row_in(raw: bytes) -> Row:
    """The row of a record, also where it is a JSON text within JSON."""
    value = orjson.loads(raw)
    if isinstance(value, str):
        value = orjson.loads(value)
    row: Row = value
    return row


def _same(row: Row, said: Said = unsaid) -> Row:  # noqa: ARG001  # nothing is taken as something else
    return row


def _plainly(read: Callable[[Row], Row]) -> Callable[..., Row]:
    """A reader of a format that is read as it is written."""

    def reading(row: Row, said: Said = unsaid) -> Row:  # noqa: ARG001  # as `_same`
        return read(row)

    return reading


def _kto_turns(row: Row, said: Said = unsaid) -> Iterator[Turn]:
    return _kto_format(row)[1](row, said)


def _read_kto(row: Row, said: Said = unsaid) -> Row:
    read: Row = _kto_format(row)[0](row, said)
    return read


def _kto_format(row: Row) -> tuple[Callable[..., Row], Callable[..., Iterator[Turn]]]:
    """The readers of a labelled row: KTO adds a label to rows of three formats."""
    if "messages" in row:
        return read_chat, chat_turns
    if "conversations" in row:
        return read_sharegpt, sharegpt_turns
    return read_completion, completion_turns


# --- the table -------------------------------------------------------------------------------

FORMATS: dict[str, Format] = {
    f.name: f
    for f in (
        Format("chat", "chat", "chat", ("messages",), read_chat, turns=chat_turns),
        Format(
            "preference",
            "preference pairs",
            "preference",
            ("input", "preferred_output", "non_preferred_output"),
            read_preference,
        ),
        Format(
            "chosen",
            "prompt / chosen / rejected",
            "preference",
            ("chosen", "rejected"),
            read_pair,
            place=pair_place,
        ),
        Format(
            "sharegpt",
            "ShareGPT",
            "chat",
            ("conversations",),
            read_sharegpt,
            ((r"^messages", "conversations"),),
            sharegpt_turns,
        ),
        Format(
            "instruction",
            "instruction (Alpaca)",
            "chat",
            ("instruction", "output"),
            read_instruction,
            turns=instruction_turns,
        ),
        Format(
            "completion",
            "prompt / completion",
            "chat",
            ("prompt", "completion"),
            read_completion,
            turns=completion_turns,
        ),
        Format(
            "kto", "KTO (an answer and its label)", "chat", ("label",), _read_kto, turns=_kto_turns
        ),
        Format(
            "xlam", "xLAM function calls", "chat", ("query", "answers"), read_xlam, turns=xlam_turns
        ),
        Format(
            "glaive",
            "Glaive function calls",
            "chat",
            ("system", "chat"),
            read_glaive,
            turns=glaive_turns,
        ),
        Format(
            "gemini",
            "Gemini contents",
            "chat",
            ("contents",),
            _plainly(read_gemini),
            ((r"^messages", "contents"),),
            gemini_turns,
            own_gemini,
        ),
        Format(
            "converse",
            "Bedrock Converse",
            "chat",
            ("messages",),
            _plainly(read_converse),
            turns=converse_turns,
            own=own_converse,
        ),
        Format(
            "claude",
            "Bedrock Claude",
            "chat",
            ("messages",),
            _plainly(read_claude),
            turns=claude_turns,
            own=own_claude,
        ),
        Format("text", "plain text", "text", ("text",), _same),
        Format("tokenized", "tokenized rows", "tokens", ("input_ids",), _same),
    )
}
"""Every row format by name."""


PREFERENCE_KEYS = frozenset(
    (
        "preferred_output",
        "non_preferred_output",
        "preferred_completion",
        "non_preferred_completion",
    )
)


def matches(row: Mapping[str, Any]) -> list[str]:
    """The formats whose keys this row has, most specific first (usually one)."""
    is_pair = "chosen" in row or "rejected" in row
    if "messages" in row and (row.get("rejected_response") or row.get("rejected_messages")):
        return ["chosen"]
    if is_pair and any(key in row and not _is_answered(row[key]) for key in _TURNS):
        return ["chosen"]  # the messages are the prompt
    found = ["kto"] if _is_labelled(row) else []
    found += _of_turns(row)
    if not PREFERENCE_KEYS.isdisjoint(row):
        found.append("preference")
    if is_pair:
        found.append("chosen")
    if "instruction" in row and (not is_pair or "output" in row):
        found.append("instruction")
    if "completion" in row and "kto" not in found:
        found.append("completion")
    if not found and is_xlam(dict(row)):
        found.append("xlam")
    if not found and isinstance(row.get("chat"), str) and "system" in row:
        found.append("glaive")
    if "text" in row and not found:
        found.append("text")
    if "input_ids" in row:
        found.append("tokenized")
    return found


_TURNS = ("messages", "conversations")


def _of_turns(row: Mapping[str, Any]) -> Iterator[str]:
    if "messages" in row and not _is_labelled(row):
        yield _kind_of_messages(row)
    if "contents" in row:
        yield "gemini"
    if "conversations" in row and not _is_labelled(row):
        yield "sharegpt"


def _is_labelled(row: Mapping[str, Any]) -> bool:
    """Whether a row of an answer says that it is a good or a bad one."""
    labels = [row.get(key) for key in ("label", "kto_tag")]
    has_answer = any(key in row for key in ("messages", "conversations", "completion"))
    return has_answer and any(type(label) is bool for label in labels)


def _is_answered(turns: Any) -> bool:
    """Whether a list of turns ends with an answer."""
    last = turns[-1] if isinstance(turns, list) and turns else None
    role = last.get("role", last.get("from")) if isinstance(last, dict) else None
    return role in ("assistant", "gpt")


def detect(row: Mapping[str, Any], method: str | None = None) -> str | None:
    """The format of a row, or None when its keys fit none; `method` decides between several."""
    found = matches(row)
    if len(found) > 1 and method is not None:
        pairs = [
            name
            for name in found
            if (FORMATS[name].shape == "preference") is (method in PAIR_METHODS)
        ]
        found = pairs or found
    return found[0] if found else None


def _kind_of_messages(row: Mapping[str, Any]) -> str:
    """Chat, Converse or Claude: by the blocks of the contents and the other keys of the row."""
    if "schemaVersion" in row or "toolConfig" in row:
        return "converse"
    if isinstance(row.get("system"), str):
        return "claude"
    messages, tools = row["messages"], row.get("tools")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                if part.get("type") in CLAUDE_BLOCKS:
                    return "claude"
                if "type" not in part and not CONVERSE_BLOCKS.isdisjoint(part):
                    return "converse"
    if isinstance(tools, list) and any(isinstance(t, dict) and "input_schema" in t for t in tools):
        return "claude"
    return "converse" if isinstance(row.get("system"), list) else "chat"
