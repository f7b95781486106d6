"""The rows of a block that are known to break no rule, found for many of them at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from ftsdk.dataset.findings.secret_patterns import Allowed, SecretMatch, scan_numbers, scan_text
from ftsdk.dataset.formats.typed_rows import (
    TOOL_ROW_KEYS,
    Said,
    TypedForm,
    WithCalls,
    quotes_in,
    texts_in,
)
from ftsdk.dataset.readers.lines import Block
from ftsdk.dataset.rules.byte_signs import may_have_key, rows_with_secrets, rows_with_signs
from ftsdk.dataset.rules.extra_keys import Extra, extra_keys, strings_in
from ftsdk.dataset.rules.fast_path import is_sound
from ftsdk.dataset.rules.first_look import rows_to_look_at
from ftsdk.dataset.rules.tool_rows import ToolRows


class Looked(NamedTuple):
    """What a look at a block has found.

    `said` has what each row says that breaks no rule, and None for every other row; `extra` the keys beside it
    that mean nothing, by the number of the row; `may_hold` is true for the other rows that may have a secret.
    """

    rows: list[bytes]
    """The records, without the carriage returns of their line ends."""
    said: list[Said | WithCalls | None]
    others: list[int]
    """The numbers of rows that may break a rule."""
    may_hold: Callable[[int, bytes], bool]
    extra: dict[int, Extra]
    with_calls: list[int]
    """The numbers of rows with calls or weights that break no rule."""


def look(
    block: Block, form: TypedForm | None, allowed: Allowed, tool_rows: ToolRows | None
) -> Looked:
    """Look at all rows of a block, of which most have the form, if one is given.

    With `tool_rows` the others may be rows with calls or weights.
    """
    signs = _signs(block, () if form is None else form.names)

    def may_hold(number: int, raw: bytes) -> bool:
        return number in signs.keys or number in signs.numbers or b"\\u00" in raw

    rows = block.rows
    if b"\r" in block.data:
        rows = [row.removesuffix(b"\r") for row in rows]
    if form is None:
        return Looked(rows, [None] * len(rows), list(range(len(rows))), may_hold, {}, [])
    decoded = form.rows(rows)
    for number in signs.texts:
        decoded[number] = None
    texts = _sound(form, decoded)
    more = _with_more(form, block.data, rows, decoded, texts)
    said: list[Said | WithCalls | None] = [*texts]
    if tool_rows is not None:
        others = [n for n, row in enumerate(decoded) if row is None and n not in signs.texts]
        _add_with_calls(said, more, rows, others, tool_rows)
    extra = _extra_of(said, more, block, rows, form, signs)
    for number in signs.keys | signs.numbers:
        if _holds_secret(said[number], rows[number], extra.get(number), signs, number, allowed):
            said[number] = None
            extra.pop(number, None)
    others = [number for number, what in enumerate(said) if what is None]
    with_calls = [number for number, what in enumerate(said) if isinstance(what, WithCalls)]
    return Looked(rows, said, others, may_hold, extra, with_calls)


def _add_with_calls(
    said: list[Said | WithCalls | None],
    more: dict[int, int],
    rows: Sequence[bytes],
    numbers: Sequence[int],
    tool_rows: ToolRows,
) -> None:
    """Add what the rows with these numbers say that have calls or weights, and their quotes too many."""
    for number in numbers:
        found = tool_rows.said(rows[number])
        if found is not None:
            said[number], quotes = found
            if quotes:
                more[number] = quotes


def _extra_of(
    said: list[Said | WithCalls | None],
    more: dict[int, int],
    block: Block,
    rows: Sequence[bytes],
    form: TypedForm,
    signs: _Signs,
) -> dict[int, Extra]:
    """The extra keys of rows with `more` quotes; where they may mean something, nothing is said."""
    found: dict[int, Extra] = {}
    numbers = sorted(more)
    for number, offset in zip(numbers, block.offsets_of(numbers), strict=True):
        own = TOOL_ROW_KEYS if isinstance(said[number], WithCalls) else form.keys
        keys = extra_keys(rows[number], own, more[number])
        if keys is None:
            said[number] = None
        else:
            may_hold = number in signs.keys or number in signs.numbers
            found[number] = Extra(keys, offset, may_hold)
    return found


class _Signs(NamedTuple):
    """The rows of a block that may break a rule about texts, hold a key, or hold a number."""

    texts: set[int]
    keys: set[int]
    numbers: set[int]


def _signs(block: Block, names: Sequence[bytes]) -> _Signs:
    data, rows = block.data, block.rows
    numbers = rows_to_look_at(data)
    if numbers is not None:
        rows = [rows[number] for number in numbers]
        data = (
            b"\n".join(rows)
            if block.places is None
            else b"\n".join(r.replace(b"\n", b" ") for r in rows)
        )
    found = _Signs(rows_with_signs(data), *rows_with_secrets(data, rows, names))
    if numbers is None:
        return found
    return _Signs(*({numbers[at] for at in places} for places in found))


def _holds_secret(
    said: Said | WithCalls | None,
    raw: bytes,
    extra: Extra | None,
    signs: _Signs,
    number: int,
    allowed: Allowed,
) -> bool:
    """Whether a row with signs of a secret or personal data has one."""
    if said is None:
        return False
    if isinstance(said, WithCalls):
        texts = list(strings_in(orjson.loads(raw)))
    else:
        texts = [*texts_in(said), *strings_in(None if extra is None else extra.keys)]
    searches = [_search_keys] if number in signs.keys else []
    searches += [scan_numbers] if number in signs.numbers else []
    return any(True for text in texts for search in searches for _ in search(text, allowed))


def _search_keys(text: str, allowed: Allowed) -> Iterator[SecretMatch]:
    return scan_text(text, allowed) if may_have_key(text) else iter(())


def _sound(form: TypedForm, decoded: Sequence[Any]) -> list[Said | None]:
    """What each decoded row says; None when it may break a rule."""
    said = [None if row is None else form.said(row) for row in decoded]
    return [what if what is not None and is_sound(what) else None for what in said]


def _with_more(
    form: TypedForm,
    data: bytes,
    rows: Sequence[bytes],
    decoded: Sequence[Any],
    said: Sequence[Said | None],
) -> dict[int, int]:
    r"""The rows in `said` that have other keys than the form's, or a key twice: their quotes too many.

    The decoder skips other keys and keeps one of two equal ones, so that the record has more quotes than
    the row. No row in `said` has a quote as an escape (`\u0022`), which is a sign (see `byte_signs`).
    """
    plain = [row for what, row in zip(said, decoded, strict=True) if what is not None]
    if 2 * len(plain) > len(rows):
        others = [raw.count(b'"') for what, raw in zip(said, rows, strict=True) if what is None]
        texts = [w if type(w) is tuple else texts_in(w) for w in said if w is not None]
        quotes_of_texts = "".join(itertools.chain.from_iterable(texts)).count('"')
        if data.count(b'"') == sum(others) + sum(map(form.quotes, plain)) + quotes_of_texts:
            return {}
    found = dict[int, int]()
    for number, what in enumerate(said):
        if what is not None:
            quotes = form.quotes(decoded[number]) + quotes_in(what)
            more = rows[number].count(b'"') - quotes
            if more:
                found[number] = more
    return found
