"""Writes rows in another format; fields that the format has no place for are refused, never dropped."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from ftsdk.dataset.conversion.together_parquet import write_tokenized
from ftsdk.dataset.dataset import Dataset
from ftsdk.dataset.findings.finding import Fault, Findings, Hit
from ftsdk.dataset.findings.registry import RULES, fault_of, note
from ftsdk.dataset.findings.report import DatasetReport
from ftsdk.dataset.formats.bedrock_converse import write_converse
from ftsdk.dataset.formats.claude import write_claude
from ftsdk.dataset.formats.gemini import write_gemini
from ftsdk.dataset.formats.registry import FORMATS
from ftsdk.dataset.formats.shared import Row, Written, left_over, take_system
from ftsdk.dataset.provider_limits import Limits, limits_for, providers
from ftsdk.dataset.row import OUTPUTS, Read, shape_of
from ftsdk.dataset.rules.chat import parts_are_known, role_is_known
from ftsdk.dataset.rules.provider import at_provider, row_hits
from ftsdk.errors import UsageError
from ftsdk.util import files

Writer = Callable[[Row], Written]

note("FT216", "fault", "The target format cannot carry the row", "remove what it cannot carry, or choose another target",
     "`convert` writes every row whole or none: what a format has no place for is named with its "
     "field and line.")  # fmt: skip


def targets() -> list[str]:
    """The targets of `convert`: all formats, and all providers by name."""
    return [*WRITERS, *(p for p in providers() if p not in WRITERS)]


def convert(
    source: Any,
    to: str,
    output: str | Path,
    *,
    format: str | None = None,  # noqa: A002  # the public word for it
    map: Mapping[str, str] | None = None,  # noqa: A002  # as `--map`
    drop: Iterable[str] | None = None,
    tokenizer: Any = None,
    max_length: int | None = None,
    limits: Limits | None = None,
) -> int:
    """Write `source` in the format `to` (a format or a provider), as JSON lines.

    `to="tokenized"` writes Together's Parquet of token ids instead: chat rows as the trainer would
    see them, by `tokenizer` (a model folder, a pulled model's name or a `ChatTokenizer`); rows
    longer than `max_length` tokens are refused.

    `format`, `map` and `drop` say how the rows are read, as in `Dataset.load`. `limits` are those of the provider `to`; without them they are looked up by its name.

    Returns the number of rows. Raises `DatasetError`, whose report names every field that the
    target cannot carry, and writes nothing then.
    """
    limits = None if to in WRITERS else limits or limits_for(to)
    if limits is None and to not in WRITERS:
        near = difflib.get_close_matches(to, targets(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(
            f"there is no format or provider {to!r}{hint}", where="convert",
            hint=f"one of {', '.join(targets())}",
        )  # fmt: skip
    dataset = Dataset.load(source, format=format, map=map, drop=drop)
    if to == "tokenized":
        return write_tokenized(dataset, Path(output), tokenizer, max_length)
    found = Findings()
    rows = 0
    for read in dataset._reads():
        rows += 1
        found.extend(_refusals(read, to, limits, dataset))
    if not rows:
        found.add(fault_of("FT004", 0, Hit("", f"{dataset.name} has no rows")))
    if found.counts:
        faults = tuple(found.kept)
        raise DatasetReport(
            name=dataset.name, rows=rows, faults=faults, format=dataset.format,
            counts=found.counts, row_counts=found.rows,
        ).error()  # fmt: skip
    with files.atomic_file(Path(output)) as handle:
        for row in dataset:
            handle.write(orjson.dumps(write_row(row, _format(row, to, limits))))
            handle.write(b"\n")
    return rows


def _format(row: Row, to: str, limits: Limits | None) -> str:
    return to if limits is None else limits.writes.get(shape_of(row), "chat")


def _refusals(read: Read, to: str, limits: Limits | None, dataset: Dataset) -> Iterator[Fault]:
    row, line = read.row, read.line
    if limits is not None:
        for code, fact, hit in row_hits(row, limits):
            placed = hit._replace(field=dataset._field(read, hit.field))
            yield at_provider(fault_of(code, line, placed, offset=read.offset), fact)
    written = WRITERS[_format(row, to, limits)](row)
    if isinstance(written, list):
        for hit in written:
            placed = hit._replace(field=dataset._field(read, hit.field))
            yield fault_of("FT216", line, placed, offset=read.offset)


def write_row(row: Row, to: str) -> Row:
    """One canonical row in another format; raises `UsageError` when it does not fit."""
    written = WRITERS[to](row)
    if isinstance(written, list):
        raise UsageError(f"{FORMATS[to].title} cannot carry {written[0].field}: {written[0].message}",
                         where="row", hint=RULES["FT216"].hint)  # fmt: skip
    return written


# --- writers ---------------------------------------------------------------------------------


def _plain_messages(messages: Any, title: str, *, roles: tuple[str, ...]) -> list[Hit]:
    """Hits for every message that is more than a known role with text."""
    if not isinstance(messages, list):
        return [Hit("messages", f"{title} needs a list of messages", messages)]
    hits: list[Hit] = []
    for i, message in enumerate(messages):
        place = f"messages[{i}]"
        if not isinstance(message, dict):
            hits.append(Hit(place, f"{title} has no place for it", message))
            continue
        if message.get("role") not in roles:
            hits.append(Hit(f"{place}.role", f"{title} has no role {message.get('role')!r}"))
        hits += left_over(message, ("role", "content"), title, f"{place}.")
        content = message.get("content")
        if not isinstance(content, str):
            hits.append(Hit(f"{place}.content", f"{title} supports text only", content))
    return hits


def _of_shape(shape: str, name: str, write: Writer) -> Writer:
    """A writer that first refuses rows of another shape."""

    def checked(row: Row) -> Written:
        has = shape_of(row)
        title = FORMATS[name].title
        return (
            write(row)
            if has == shape
            else [Hit("", f"{title} has {shape} rows, this is a {has} row")]
        )

    return checked


def _same(row: Row) -> Written:
    return row


_FOREIGN = ("schemaVersion", "toolConfig", "system")
"""Row keys that would make a reader take chat rows for another format."""


def _write_chat(row: Row) -> Written:
    foreign = [
        Hit(key, f"chat has no place for {key!r}", row[key]) for key in _FOREIGN if key in row
    ]
    return [*foreign, *_unknown(row, "messages", "chat")] or row


def _write_preference(row: Row) -> Written:
    title = "preference pairs"
    prompt = row.get("input")
    inside = _unknown(prompt, "messages", title) if isinstance(prompt, dict) else []
    hits = [hit._replace(field=f"input.{hit.field}") for hit in inside]
    for key in OUTPUTS:
        hits += _unknown(row, key, title)
    return hits or row


def _unknown(row: Row, key: str, title: str) -> list[Hit]:
    """Hits for roles and content parts, of another format or of none, in the messages at `key`."""
    turns = {"messages": row.get(key)}
    return [
        Hit(
            hit.field.replace("messages", key, 1),
            f"{title} cannot carry it: {hit.message}",
            hit.value,
        )
        for rule in (role_is_known, parts_are_known)
        for hit in rule(turns)
    ]


def _write_completion(row: Row) -> Written:
    title = "prompt / completion"
    messages = row["messages"]
    hits = left_over(row, ("messages",), title) + _plain_messages(
        messages, title, roles=("user", "assistant")
    )
    if not hits and [m["role"] for m in messages] != ["user", "assistant"]:
        hits.append(Hit("messages", f"{title} needs one user and one assistant message"))
    return hits or {"prompt": messages[0]["content"], "completion": messages[1]["content"]}


def _write_instruction(row: Row) -> Written:
    title = "instruction (Alpaca)"
    hits = left_over(row, ("messages",), title) + _plain_messages(
        row["messages"], title, roles=("system", "user", "assistant")
    )
    if hits:
        return hits
    system, turns = take_system(row["messages"])
    if (
        not turns
        or [m["role"] for m in turns] != ["user", "assistant"] * (len(turns) // 2)
        or len(turns) % 2
    ):
        return [Hit("messages", f"{title} needs user and assistant in turn")]
    if system == "":
        return [Hit("messages[0].content", f"{title} has no empty system text")]
    written: Row = {"instruction": turns[-2]["content"], "output": turns[-1]["content"]}
    if system is not None:
        written["system"] = system
    if len(turns) > 2:
        written["history"] = [
            [turns[i]["content"], turns[i + 1]["content"]] for i in range(0, len(turns) - 2, 2)
        ]
    return written


_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def _write_sharegpt(row: Row) -> Written:
    title = "ShareGPT"
    hits = left_over(row, ("messages",), title) + _plain_messages(
        row["messages"], title, roles=tuple(_SHAREGPT)
    )
    return hits or {
        "conversations": [
            {"from": _SHAREGPT[m["role"]], "value": m["content"]} for m in row["messages"]
        ]
    }


def _write_chosen(row: Row) -> Written:
    title = "prompt / chosen / rejected"
    inner = row.get("input")
    inner = inner if isinstance(inner, dict) else {}
    hits = left_over(row, ("input", "preferred_output", "non_preferred_output"), title)
    hits += left_over(inner, ("messages", "tools", "parallel_tool_calls"), title, "input.")
    return hits or {
        "prompt": inner.get("messages"),
        "chosen": row.get("preferred_output"),
        "rejected": row.get("non_preferred_output"),
        **{k: inner[k] for k in ("tools", "parallel_tool_calls") if k in inner},
    }


WRITERS: dict[str, Writer] = {
    name: _of_shape(FORMATS[name].shape, name, write)
    for name, write in {
        "chat": _write_chat,
        "preference": _write_preference,
        "chosen": _write_chosen,
        "sharegpt": _write_sharegpt,
        "instruction": _write_instruction,
        "completion": _write_completion,
        "gemini": write_gemini,
        "converse": write_converse,
        "claude": write_claude,
        "text": _same,
        "tokenized": _same,
    }.items()
}
"""One function for each format: returns the row in that format, or hits where it does not fit."""
