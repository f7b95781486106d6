"""Rows of texts alone, decoded straight into types: the common forms of each format.

A record that has the keys of such a form, each with a text of the right kind, is read here in a fraction
of the time of its format's reader, and means what that reader would say of it. Other keys beside them are
skipped: they show as quotes too many, and the caller looks at them (see `rules.extra_keys`). Anything else
is refused, and the caller reads it in full.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import UnionType
from typing import Any, Literal, cast, get_args

import msgspec

from ftsdk.dataset.formats.bedrock_converse import VERSION
from ftsdk.dataset.row import Row

Turn = tuple[str, str]
"""A role and a text."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The turns of a prompt, and the texts of the chosen and the rejected answer."""

    asked: list[Turn]
    chosen: str
    rejected: str


class WithCalls(msgspec.Struct, gc=False):
    """What is kept of a row with calls or weights: its keys (see `duplicates.keys_of`), and its last text.

    There is no text where the row ends with calls.
    """

    prompt: int
    answer: int
    text: str | None


Exchange = tuple[str, str]
"""A question and its answer, which is what most rows are."""
Said = Exchange | list[Turn] | Pair | str
"""What a row of texts says: an exchange, turns of another conversation, a pair of answers, or one text."""


def texts_in(said: Said) -> Sequence[str]:
    """Every text of what a row says."""
    if isinstance(said, tuple):
        return said
    if isinstance(said, Pair):
        return [*(text for _, text in said.asked), said.chosen, said.rejected]
    return [said] if isinstance(said, str) else [text for _, text in said]


def turns_in(said: Exchange | list[Turn]) -> list[Turn]:
    """The turns of a conversation."""
    if isinstance(said, tuple):
        asked, answer = said
        return [("user", asked), ("assistant", answer)]
    return said


def quotes_in(said: Said) -> int:
    """The number of quotes in the texts of what a row says."""
    count = 0
    for text in texts_in(said):
        if '"' in text:
            count += text.count('"')
    return count


def row_of(said: Said) -> Row:
    """The canonical row that says this."""
    if isinstance(said, Pair):
        return {
            "input": {"messages": _messages(said.asked)},
            "preferred_output": _messages([("assistant", said.chosen)]),
            "non_preferred_output": _messages([("assistant", said.rejected)]),
        }
    return {"text": said} if isinstance(said, str) else {"messages": _messages(turns_in(said))}


def _messages(turns: list[Turn]) -> list[Row]:
    return [{"role": role, "content": text} for role, text in turns]


class _Strict(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An object of known keys; without cycles, so that no collector needs to look at it."""


class _Message(_Strict):
    role: Literal["system", "user", "assistant"]
    content: str


class _Answer(_Strict):
    role: Literal["assistant"]
    content: str


class _Chat(_Strict):
    messages: list[_Message]


class _Claude(_Strict):
    messages: list[_Message]
    system: str | msgspec.UnsetType = msgspec.UNSET


class _ShareTurn(_Strict):
    role: Literal["system", "human", "gpt", "user", "assistant"] = msgspec.field(name="from")
    value: str


class _ShareGPT(_Strict):
    conversations: list[_ShareTurn]


class _Instruction(_Strict):
    instruction: str
    output: str
    input: str | msgspec.UnsetType = msgspec.UNSET
    system: str | msgspec.UnsetType = msgspec.UNSET


class _Completion(_Strict):
    prompt: str
    completion: str
    system: str | msgspec.UnsetType = msgspec.UNSET


class _Chosen(_Strict):
    prompt: str
    chosen: str
    rejected: str


class _Preference(_Strict):
    input: _Chat
    preferred_output: tuple[_Answer]
    non_preferred_output: tuple[_Answer]


class _Block(_Strict):
    text: str


class _ConverseMessage(_Strict):
    role: Literal["user", "assistant"]
    content: tuple[_Block]


class _Converse(_Strict, rename={"version": "schemaVersion"}):
    version: Literal["bedrock-conversation-2024"]
    messages: list[_ConverseMessage]
    system: tuple[_Block] | msgspec.UnsetType = msgspec.UNSET


class _GeminiTurn(_Strict):
    role: Literal["user", "model"]
    parts: tuple[_Block]


class _GeminiSystem(_Strict):
    parts: tuple[_Block]
    role: Literal["system"] | msgspec.UnsetType = msgspec.UNSET


class _Gemini(_Strict, rename={"system": "systemInstruction"}):
    contents: list[_GeminiTurn]
    system: _GeminiSystem | msgspec.UnsetType = msgspec.UNSET


class _Text(_Strict):
    text: str


class CalledFunction(_Strict):
    """A function that is called, with its arguments as a JSON text."""

    arguments: str
    name: str


class ToolCall(_Strict):
    """A canonical tool call."""

    function: CalledFunction
    id: str
    type: Literal["function"]


class ToolMessage(_Strict, kw_only=True):
    """A canonical message of text, of calls, or of a result; it may have a weight.

    Here and in what is in it the fields are in the order of their names, in which they are written again.
    """

    content: str | msgspec.UnsetType | None = msgspec.UNSET
    role: Literal["system", "user", "assistant", "tool"]
    tool_call_id: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET
    weight: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ToolRow(_Strict):
    """A canonical chat row with calls or weights; its tools are left as they are written."""

    messages: list[ToolMessage]
    tools: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


TOOL_ROW_KEYS = frozenset(field.encode_name for field in msgspec.structs.fields(ToolRow))


def is_text_alone(message: ToolMessage) -> bool:
    """Whether a message has a role and a text, and nothing else."""
    return (
        isinstance(message.content, str)
        and message.tool_calls is msgspec.UNSET
        and message.tool_call_id is msgspec.UNSET
        and message.weight is msgspec.UNSET
    )


def _with_others(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The kind of objects that may have other keys, which are skipped; objects inside may not."""
    name = f"{kind.__name__}WithOthers"
    return msgspec.defstruct(name, (), bases=(kind,), forbid_unknown_fields=False, gc=False)


NOT_DECODED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the decoder raises; the last one for a value that is nested a thousand levels deep."""

_TOOL_ROWS = msgspec.json.Decoder(_with_others(ToolRow))


def tool_row_in(raw: bytes) -> ToolRow | None:
    """The record as a chat row with calls or weights that is canonical as it is written; None for another.

    Other keys beside the messages and the tools are skipped. The record must have no tags of calls and
    results, which are read; they are signs (see `byte_signs`).
    """
    try:
        row = cast("ToolRow", _TOOL_ROWS.decode(raw))
    except NOT_DECODED:
        return None
    return row if row.messages else None


# --- what a row says -------------------------------------------------------------------------


def _chat(row: _Chat) -> Said | None:
    messages = row.messages
    if len(messages) == 2:
        asked, answer = messages
        if asked.role == "user" and answer.role == "assistant":
            return asked.content, answer.content
    return [(m.role, m.content) for m in messages]


def _with_system(text: str | msgspec.UnsetType, turns: list[Turn]) -> Said:
    if not isinstance(text, msgspec.UnsetType):
        return [("system", text), *turns]
    if len(turns) == 2 and turns[0][0] == "user" and turns[1][0] == "assistant":
        return turns[0][1], turns[1][1]
    return turns


def _claude(row: _Claude) -> Said | None:
    if any(m.role == "system" for m in row.messages):
        return None
    return _with_system(row.system, [(m.role, m.content) for m in row.messages])


_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
    "model": "assistant", "system": "system",
}  # fmt: skip


def _sharegpt(row: _ShareGPT) -> Said | None:
    turns = [(_ROLES[turn.role], turn.value) for turn in row.conversations]
    is_declaring = turns and turns[0][0] == "system" and "<tools>" in turns[0][1]
    return None if is_declaring else _with_system(msgspec.UNSET, turns)


_NO_INPUT = ("nan", "noinput", "<noinput>")


def _instruction(row: _Instruction) -> Said | None:
    asked, given = row.instruction, row.input
    if isinstance(given, str) and given:
        if not asked or _is_json(given) or given.strip().lower() in _NO_INPUT:
            return None
        asked = f"{asked}\n\n{given}"
    return _questioned(row.system, asked, row.output)


def _completion(row: _Completion) -> Said | None:
    if _is_json(row.prompt):
        return None
    return _questioned(row.system, row.prompt, row.completion)


def _questioned(system: str | msgspec.UnsetType, asked: str, answer: str) -> Said | None:
    if isinstance(system, msgspec.UnsetType):
        return asked, answer
    if not system or _is_json(system):
        return None
    return [("system", system), ("user", asked), ("assistant", answer)]


def _is_json(text: str) -> bool:
    """Whether a text may be JSON, which its column is then read as."""
    return text.lstrip().startswith(("{", "["))


def _chosen(row: _Chosen) -> Said | None:
    texts = (row.prompt, row.chosen, row.rejected)
    if any(map(_is_json, texts)) or any(map(_has_turns, texts)):
        return None
    if row.chosen.startswith(row.prompt) and row.rejected.startswith(row.prompt):
        return None  # the prompt may be repeated there
    return Pair([("user", row.prompt)], row.chosen, row.rejected)


def _has_turns(text: str) -> bool:
    return text.lstrip().startswith("Human:")


def _preference(row: _Preference) -> Said | None:
    asked: list[Turn] = [(m.role, m.content) for m in row.input.messages]
    return Pair(asked, row.preferred_output[0].content, row.non_preferred_output[0].content)


def _converse(row: _Converse) -> Said | None:
    turns: list[Turn] = [(m.role, m.content[0].text) for m in row.messages]
    return _with_system(_text_of(row.system), turns)


def _gemini(row: _Gemini) -> Said | None:
    turns = [(_ROLES.get(t.role, "user"), t.parts[0].text) for t in row.contents]
    system = row.system
    parts = system if isinstance(system, msgspec.UnsetType) else system.parts
    return _with_system(_text_of(parts), turns)


def _text_of(blocks: tuple[_Block] | msgspec.UnsetType) -> str | msgspec.UnsetType:
    return blocks if isinstance(blocks, msgspec.UnsetType) else blocks[0].text


def _text(row: _Text) -> Said | None:
    return row.text


# --- the table -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TypedForm:
    """The form of texts of one format: how records are decoded, and what a decoded row says.

    `said` gives None where the format's reader would see more than texts. `names` are long fixed
    texts of the form, which are no findings.
    """

    kind: type[msgspec.Struct]
    said: Callable[[Any], Said | None]
    quotes: Callable[[Any], int]
    """The quotes around the keys and the values of a decoded row."""
    names: tuple[bytes, ...] = ()

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys that a row of this form may have."""
        return frozenset(field.encode_name for field in msgspec.structs.fields(self.kind))

    @cached_property
    def _decode(self) -> Callable[[bytes], Any]:
        return msgspec.json.Decoder(_with_others(self.kind)).decode

    def rows(self, records: Iterable[bytes]) -> list[Any]:
        """Each record decoded without the keys that are not its form's; None for another one.

        The values of those keys may be no sound JSON.
        """
        left, rows, decode = iter(records), list[Any](), self._decode
        while True:
            try:
                rows.extend(map(decode, left))
            except NOT_DECODED:  # ValidationError among them
                rows.append(None)  # those before it were appended
            else:
                return rows

    def renamed(self, keys: Mapping[str, str]) -> TypedForm | None:
        """The form of rows that have these keys, all of them, for the standard names.

        None where a key means nothing here, or one of the form's own is not there.
        """
        fields = {field.encode_name: field for field in msgspec.structs.fields(self.kind)}
        missing = fields.keys() - keys.keys()
        if not keys.keys() <= fields.keys() or any(fields[name].required for name in missing):
            return None
        made = [
            (fields[name].name, _without_unset(fields[name].type), msgspec.field(name=key))
            for name, key in keys.items()
        ]
        unset = {fields[name].name: msgspec.UNSET for name in missing}
        kind = msgspec.defstruct(
            f"{self.kind.__name__}Renamed", made, bases=(_Strict,), namespace=unset
        )
        return replace(self, kind=kind)


def _without_unset(kind: Any) -> Any:
    """The type of a field that is there."""
    if not isinstance(kind, UnionType):
        return kind
    return functools.reduce(operator.or_, (t for t in get_args(kind) if t is not msgspec.UnsetType))


def _optional(value: Any, quotes: int) -> int:
    return 0 if value is msgspec.UNSET else quotes


def _system(row: _Instruction | _Completion | _Claude) -> int:
    return _optional(row.system, 4)


def _instructed(system: _GeminiSystem | msgspec.UnsetType) -> int:
    return 0 if isinstance(system, msgspec.UnsetType) else 8 + _optional(system.role, 4)


_VERSION = VERSION.encode()
FORMS = {
    "chat": TypedForm(_Chat, _chat, lambda row: 2 + 8 * len(row.messages)),
    "claude": TypedForm(_Claude, _claude, lambda row: 2 + 8 * len(row.messages) + _system(row)),
    "sharegpt": TypedForm(_ShareGPT, _sharegpt, lambda row: 2 + 8 * len(row.conversations)),
    "instruction": TypedForm(
        _Instruction, _instruction, lambda row: 8 + _optional(row.input, 4) + _system(row)
    ),
    "completion": TypedForm(_Completion, _completion, lambda row: 8 + _system(row)),
    "chosen": TypedForm(_Chosen, _chosen, lambda _: 12),
    "preference": TypedForm(
        _Preference,
        _preference,
        lambda row: 24 + 8 * len(row.input.messages),
        (b'"preferred_output"', b'"non_preferred_output"'),
    ),
    "converse": TypedForm(
        _Converse,
        _converse,
        lambda row: 6 + 10 * len(row.messages) + _optional(row.system, 6),
        (b'"schemaVersion":"%b"' % _VERSION, b'"schemaVersion": "%b"' % _VERSION),
    ),
    "gemini": TypedForm(
        _Gemini, _gemini, lambda row: 2 + 10 * len(row.contents) + _instructed(row.system)
    ),
    "text": TypedForm(_Text, _text, lambda _: 4),
}
"""The typed form of each format that has one."""
