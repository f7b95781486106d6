"""Columns under other names, and columns whose cells are JSON texts, as the columns that formats read.

A name is only guessed where it leaves one reading; each guess is said, so that it can be replaced by
`--map`. Names given by the user are taken as they are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftsdk.dataset.formats.shared import Said, Unreadable, unsaid
from ftsdk.dataset.readers import strict_json
from ftsdk.dataset.readers.tables import JSON_COLUMNS, TEXT_OR_JSON
from ftsdk.dataset.row import Row
from ftsdk.errors import UsageError

STANDARD = frozenset(
    (
        "messages", "tools", "parallel_tool_calls", "functions", "weight", "prompt", "completion",
        "instruction", "input", "output", "system", "history", "conversations", "contents", "text",
        "chosen", "rejected", "rejected_response", "rejected_messages", "preferred_output",
        "non_preferred_output", "label", "kto_tag", "input_ids", "labels", "attention_mask", "images",
        "image", "systemInstruction", "toolConfig", "generationConfig", "schemaVersion", "chat",
        "query", "answers", "context",
    )
)  # fmt: skip
"""The columns that some format reads."""

ASKED = (
    "prompt", "query", "question", "instruction", "input", "input_text", "user", "human", "problem",
    "user_message", "request",
)  # fmt: skip
ANSWERED = (
    "completion", "response", "answer", "output", "output_text", "assistant", "reply", "target",
    "assistant_message", "solution",
)  # fmt: skip
_OTHER_NAMES = {
    "conversation": "conversations",
    "dialogue": "conversations",
    "dialog": "conversations",
    "system_prompt": "system",
    "chosen_response": "chosen",
    "rejected_response": "rejected",
}
_TOOLS = ("tool_defs", "tool_definitions", "available_tools")
"""Other names of `tools`, read where the row has no tools under that name."""

_TURNS = frozenset(
    ("messages", "conversations", "contents", "preferred_output", "non_preferred_output", "input_ids")
)  # fmt: skip
_KNOWN = STANDARD.union(ASKED, ANSWERED, _OTHER_NAMES, _TOOLS)
_INDEX = re.compile(r"Unnamed: \d+(?:\.\d+)?|__index_level_\d+__")
"""The index of a pandas frame, as CSV and Parquet have it; CSV also has it without a name, first."""

_JSON = JSON_COLUMNS - {"metadata"} | {"functions"}
_JSON_START = re.compile(r"\s*[\[{]")


@dataclass(frozen=True)
class _Plan:
    """What to do with rows that have certain keys."""

    names: Mapping[str, str]
    """The standard name of each key that is kept."""
    changed: bool
    facts: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """The names that the user gave (`names`, source to standard) and the keys to leave out.

    A dropped key with dots goes into objects and lists: `messages.name` leaves `name` out of every
    message. Raises `UsageError` for a name that no format reads.
    """

    names: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    _plans: dict[tuple[str, ...], _Plan] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, names: Mapping[str, str] | None, dropped: Iterable[str] | None) -> Columns:
        """The columns of the arguments `map=` and `drop=`."""
        for source, name in (names or {}).items():
            if name not in STANDARD:
                near = difflib.get_close_matches(str(name), STANDARD, n=1) or ["prompt"]
                raise UsageError(f"no format reads a column {name!r}", where=f"map={source}={name}",
                                 hint=f"did you mean {source}={near[0]}?")  # fmt: skip
        targets = list((names or {}).values())
        twice = next((name for name in targets if targets.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two columns are to be read as {twice!r}", where="map=",
                             hint="name one of them")  # fmt: skip
        return cls(tuple((names or {}).items()), tuple(dropped or ()))

    def standard(self, row: Row, said: Said = unsaid) -> Row:
        """The row with standard names, and values instead of JSON texts; `said` is given each guess.

        Raises `Unreadable` when two keys have one name, or a JSON text is broken.
        """
        keys = tuple(row)
        plan = self._plans.get(keys) or self._plans.setdefault(keys, self._plan(keys))
        for fact in plan.facts:
            said(fact)
        if plan.changed:
            row = {name: row[key] for key, name in plan.names.items()}
        for path in self.dropped:
            if "." in path:
                row = _without(row, path.split("."))
        row = self._tools_of(row, said)
        texts = {k: v for k, v in row.items() if type(v) is str and may_be_json(k, v)}
        if not texts:
            return row
        for key in texts:
            said(f"the JSON text of {key} is read as JSON")
        return {k: _parsed(k, v) if k in texts else v for k, v in row.items()}

    def plain_names(self, keys: tuple[str, ...]) -> dict[str, str] | None:
        """The keys of rows by their standard names, where rows with these keys are only renamed.

        None where their names are the standard ones, or a key is left out.
        """
        if self.dropped or not {*_TOOLS}.isdisjoint(keys):
            return None
        plan = self._plans.get(keys)
        if plan is None or not plan.changed or len(plan.names) < len(keys):
            return None
        return {name: key for key, name in plan.names.items()}

    def source_path(self, row: Row, path: str) -> str:
        """The path in the source row for one in its standard row."""
        head = re.match(r"[^.\[]*", path)
        name = head[0] if head else path
        keys = tuple(row)
        plan = self._plans.get(keys) or self._plans.setdefault(keys, self._plan(keys))
        found = next((key for key, standard in plan.names.items() if standard == name), name)
        if name == "tools" and not row.get("tools"):
            found = next((other for other in _TOOLS if row.get(other)), found)
        return found + path[len(name) :]

    def _tools_of(self, row: Row, said: Said) -> Row:
        """The row with its tools under `tools` where they have another name, and without empty names."""
        empty = [name for name in _TOOLS if name in row and not row[name]]
        if empty:
            said(f"{empty[0]} is left out where it is empty")
            row = {k: v for k, v in row.items() if k not in empty}
        other = next((name for name in _TOOLS if row.get(name)), None)
        if other is None or row.get("tools"):
            return row
        said(f"{other} is read as tools")
        rest = {k: v for k, v in row.items() if k != other}
        return {**rest, "tools": row[other]}

    def _plan(self, keys: tuple[str, ...]) -> _Plan:
        given = dict(self.names)
        names = {key: given.get(key, key) for key in keys if key not in self.dropped}
        facts: list[str] = []
        index = _index_columns(keys)
        for key in [k for k in names if k not in given and k in index]:
            facts.append(f"the index column {repr(key) if key else 'without a name'} is left out")
            del names[key]
        names = {k: v if k in given else _folded(v, names.values()) for k, v in names.items()}
        others = dict(_aliases(frozenset(names.values())))
        names = {k: v if k in given else others.get(v, v) for k, v in names.items()}
        _refuse_twice(names)
        renamed = [f"{k} as {v}" for k, v in _in_order(names) if k != v and k not in given]
        if renamed:
            facts.append(f"columns are read under other names: {', '.join(renamed)}")
        changed = tuple(names.items()) != tuple((key, key) for key in keys)
        return _Plan(names, changed, tuple(facts))


def may_be_read(name: str) -> bool:
    """Whether rows with this column may be read in another way than without it, or it is left out."""
    return _folded(name, ()) in _KNOWN or _INDEX.fullmatch(name) is not None


AS_NAMED = Columns()
"""Columns as the file names them."""


def _index_columns(keys: tuple[str, ...]) -> set[str]:
    found = {key for key in keys if _INDEX.fullmatch(key)}
    return found | {""} if len(keys) > 1 and keys[0] == "" else found


def _folded(name: str, taken: Iterable[str]) -> str:
    """A name in lower case, when it is known like that and no other column has it."""
    if name in _KNOWN:
        return name
    plain = name.strip().strip("\ufeff").lower().replace(" ", "_")
    if plain not in _KNOWN or plain in taken:
        return name
    return plain


def _aliases(names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Pairs of another name and the standard one, where the columns leave one reading."""
    for other in ("conversation", "dialogue", "dialog"):
        if other in names and names.isdisjoint(_TURNS):
            yield other, "conversations"
    if "system_prompt" in names and "system" not in names:
        yield "system_prompt", "system"
    if {"chosen_messages", "rejected_messages"} <= names and names.isdisjoint(
        {*_TURNS, "chosen", "rejected"}
    ):
        yield "chosen_messages", "chosen"
        yield "rejected_messages", "rejected"
    if {"chosen_response", "rejected_response"} <= names and names.isdisjoint(
        {*_TURNS, "chosen", "rejected"}
    ):
        yield "chosen_response", "chosen"
        yield "rejected_response", "rejected"
        yield from _asked(names)
    elif not names.isdisjoint({"chosen", "rejected"}):
        yield from _asked(names)
    elif names.isdisjoint({*_TURNS, "text", "chat"}):
        yield from _question_and_answer(names)


def _asked(names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The prompt of a pair under another name; `instruction` is one that pairs read themselves."""
    if names.isdisjoint({*_TURNS, "prompt", "instruction"}):
        asked = [name for name in ASKED if name in names]
        if len(asked) == 1:
            yield asked[0], "prompt"


def _question_and_answer(names: frozenset[str]) -> Iterator[tuple[str, str]]:
    asked = [name for name in ASKED if name in names]
    answered = [name for name in ANSWERED if name in names]
    if "instruction" in names:
        asked = [name for name in asked if name != "input"]
    if len(asked) != 1 or len(answered) != 1:
        return
    has_context = "context" in names and "input" not in names
    if asked == ["instruction"] or has_context:
        yield asked[0], "instruction"
        yield answered[0], "output"
        if has_context:
            yield "context", "input"
    else:
        yield asked[0], "prompt"
        yield answered[0], "completion"


def map_hint(row: Row) -> str:
    """The flag that would name the columns of a row without a format."""
    keys = list(row)
    if len(keys) < 2:
        return 'add the answer: {"prompt": …, "completion": …}'
    asked = next((k for k in keys if k.lower() in ASKED), keys[0])
    rest = [k for k in keys if k != asked]
    answered = next((k for k in rest if k.lower() in ANSWERED), rest[-1])
    return f"name its columns: --map {asked}=prompt,{answered}=completion"


def _in_order(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """The names in one order, whatever the order of the keys is: what is asked, then what is answered."""
    return sorted(names.items(), key=lambda pair: (pair[1] in ("completion", "output"), pair))


def _refuse_twice(names: Mapping[str, str]) -> None:
    found = list(names.values())
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        both = [key for key, name in names.items() if name == twice]
        raise Unreadable(both[0], f"{' and '.join(map(repr, both))} are both read as {twice!r}",
                         f"leave one out: --drop {both[-1]}")  # fmt: skip


def may_be_json(name: str, text: str) -> bool:
    """Whether the text of a column is read as JSON."""
    if not _JSON_START.match(text):
        return False
    if name in ("chosen", "rejected", "prompt") and '"from"' in text and '"value"' in text:
        return True
    return name in _JSON or (name in TEXT_OR_JSON and TEXT_OR_JSON[name] in text)


def _parsed(name: str, text: str) -> Any:
    value = strict_json.parse(text.encode("utf-8", "surrogatepass"))
    if isinstance(value, strict_json.Flaw):
        raise Unreadable(name, f"the text of {name}: {value.message}", value.hint)
    return value


def _without(value: Any, path: list[str]) -> Any:
    """A value without what is at a path, which goes into every element of a list."""
    if isinstance(value, list):
        return [_without(one, path) for one in value]
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {k: v for k, v in value.items() if k != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}
