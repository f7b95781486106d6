"""The rows of a block that are known to break no rule, found for all of them at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from ftsdk.dataset.findings.secret_patterns import Allowed, SecretMatch, scan_numbers, scan_text
from ftsdk.dataset.formats.typed_rows import Said, TypedForm, quotes_in, texts_in
from ftsdk.dataset.readers.lines import Block
from ftsdk.dataset.rules.byte_signs import may_have_key, rows_with_secrets, rows_with_signs
from ftsdk.dataset.rules.extra_keys import Extra, extra_keys, strings_in
from ftsdk.dataset.rules.fast_path import is_sound
from ftsdk.dataset.rules.first_look import rows_to_look_at


class Looked(NamedTuple):
    """What a look at a block has found.

    `said` has what each plain row says, and None for every other row; `extra` the keys beside it that mean
    nothing, by the number of the row; `may_hold` is true for the other rows that may have a secret.
    """

    rows: list[bytes]
    """The records, without the carriage returns of their line ends."""
    said: list[Said | None]
    others: list[int]
    """The numbers of rows that are not plain."""
    with_signs: Collection[int]
    """The numbers of rows with a sign that a text may break a rule."""
    may_hold: Callable[[int, bytes], bool]
    extra: dict[int, Extra]


def look(block: Block, form: TypedForm | None, allowed: Allowed) -> Looked:
    """Look at all rows of a block, of which most have the form, if one is given."""
    signs = _signs(block, () if form is None else form.names)

    def may_hold(number: int, raw: bytes) -> bool:
        return number in signs.keys or number in signs.numbers or b"\\u00" in raw

    rows = block.rows
    if b"\r" in block.data:
        rows = [row.removesuffix(b"\r") for row in rows]
    if form is None:
        return Looked(rows, [None] * len(rows), list(range(len(rows))), signs.texts, may_hold, {})
    decoded = form.rows(rows)
    for number in signs.texts:
        decoded[number] = None
    said = _sound(form, decoded)
    extra: dict[int, Extra] = {}
    more = _with_more(form, block.data, rows, decoded, said)
    for number, offset in zip(more, block.offsets_of(more), strict=True):
        keys = extra_keys(rows[number], form.keys, more[number])
        if keys is None:
            said[number] = None
        else:
            extra[number] = Extra(
                keys, offset, may_hold=number in signs.keys or number in signs.numbers
            )
    for places, search in ((signs.keys, _search_keys), (signs.numbers, scan_numbers)):
        for number in places:
            what = said[number]
            if what is None:
                continue
            texts = texts_in(what)
            if number in extra:
                texts = [*texts, *strings_in(extra[number].keys)]
            if any(True for text in texts for _ in search(text, allowed)):
                said[number] = None
                extra.pop(number, None)
    others = [number for number, what in enumerate(said) if what is None]
    return Looked(rows, said, others, signs.texts, may_hold, extra)


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
