"""National identity numbers of persons: by their form, a word before them, and their check digits.

The check digits are those of python-stdnum, which is loaded when a text has something of the right form.
A form of its own (`390.533.447-05`) is enough; a plain run of digits also needs a word before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

from ftsdk.dataset.findings.number_regions import Numbers, matches_at

_BEFORE = 40
"""The characters before a number in which its word is looked for."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A kind of number: what it is, its module in stdnum, its form, and the words before it."""

    what: str
    module: str
    form: str
    words: str = ""


_NUMBERS = (
    _Number("a US social security number", "us.ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}"),
    _Number("a Brazilian CPF", "br.cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"),
    _Number("a Chinese identity number", "cn.ric", r"[1-9][0-9]{5}(?:19|20)[0-9]{9}[0-9Xx]"),
    _Number("a French NIR", "fr.nir", r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"),
    _Number("an Italian codice fiscale", "it.codicefiscale", r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"),
    _Number("a Mexican CURP", "mx.curp", r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9]"),
    _Number("a Korean resident number", "kr.rrn", r"[0-9]{6}-[0-9]{7}"),
    _Number("a Swiss AHV number", "ch.ssn", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}"),
    _Number("a Belgian national number", "be.nn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}[. ][0-9]{2}"),
    _Number("a Finnish identity code", "fi.hetu", r"[0-9]{6}-[0-9]{3}[0-9A-Y]"),
    _Number("a Thai identity number", "th.pin", r"[0-9]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]"),
    _Number("a Pakistani CNIC", "pk.cnic", r"[0-9]{5}-[0-9]{7}-[0-9]"),
    _Number("a US social security number", "us.ssn", r"[0-9]{9}", r"ssn|social security"),
    _Number("a Brazilian CPF", "br.cpf", r"[0-9]{11}", r"cpf"),
    _Number("an Indian Aadhaar number", "in_.aadhaar", r"[2-9][0-9]{3}([ -]?)[0-9]{4}\1[0-9]{4}", r"aadh?aa?r|uidai"),
    _Number("a Spanish identity number", "es.dni", r"[0-9]{8}-?[A-Z]", r"dni|nif"),
    _Number("a Spanish foreigner's number", "es.nie", r"[XYZ]-?[0-9]{7}-?[A-Z]", r"nie|nif"),
    _Number("a British NHS number", "gb.nhs", r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{4}", r"nhs"),
    _Number("a Dutch BSN", "nl.bsn", r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{3}", r"bsn|burgerservicenummer"),
    _Number("a Polish PESEL", "pl.pesel", r"[0-9]{11}", r"pesel"),
    _Number("a Turkish identity number", "tr.tckimlik", r"[1-9][0-9]{10}", r"kimlik|tckn"),
    _Number("a German tax number", "de.idnr", r"[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{3}",
            r"steuer-?id|steueridentifikationsnummer|idnr|steuernummer"),
    _Number("a Japanese My Number", "jp.in_", r"[0-9]{4}([ -]?)[0-9]{4}\1[0-9]{4}", r"my ?number|マイナンバー|個人番号"),
    _Number("a Swedish personal number", "se.personnummer", r"(?:[0-9]{2})?[0-9]{6}-?[0-9]{4}", r"personnummer"),
    _Number("a Russian INN", "ru.inn", r"[0-9]{12}", r"inn|инн"),
    _Number("a Canadian social insurance number", "ca.sin", r"[0-9]{3}([ -]?)[0-9]{3}\1[0-9]{3}", r"sin|social insurance"),
    _Number("a South African identity number", "za.idnr", r"[0-9]{13}", r"id number|identity number"),
    _Number("an Australian tax file number", "au.tfn", r"[0-9]{3}( ?)[0-9]{3}\1[0-9]{3}", r"tfn|tax file number"),
    _Number("an Indonesian NIK", "id.nik", r"[0-9]{16}", r"nik|ktp"),
    _Number("a Romanian CNP", "ro.cnp", r"[1-9][0-9]{12}", r"cnp"),
    _Number("a Ukrainian tax number", "ua.rntrc", r"[0-9]{10}", r"рнокпп|rntrc"),
    _Number("a Malaysian identity number", "my.nric", r"[0-9]{6}-[0-9]{2}-[0-9]{4}", r"nric|mykad"),
    _Number("a Danish CPR number", "dk.cpr", r"[0-9]{6}-?[0-9]{4}", r"cpr"),
    _Number("a Norwegian identity number", "no.fodselsnummer", r"[0-9]{6} ?[0-9]{5}", r"fødselsnummer|fodselsnummer|personnummer"),
    _Number("a Croatian OIB", "hr.oib", r"[0-9]{11}", r"oib"),
    _Number("a Chilean RUT", "cl.rut", r"[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}-[0-9Kk]", r"rut"),
)  # fmt: skip


def _spelled(words: str) -> re.Pattern[str]:
    """Any of the words, in capitals or not; a Turkish dotless i is no i."""
    each = words.split("|")
    ascii_words = "|".join(word for word in each if word.isascii())
    others = "|".join(word for word in each if not word.isascii()) or "(?!)"
    return re.compile(rf"(?<!\w)(?:(?ai:{ascii_words})|(?i:{others}))(?!\w)")


_WORD = _spelled("|".join(n.words for n in _NUMBERS if n.words))
_STEMS = (
    "ssn", "social", "cpf", "aad", "uidai", "dni", "nif", "nie", "nhs", "bsn", "burger", "pesel", "kimlik", "tckn",
    "steuer", "idnr", "number", "ナンバー", "個人番号", "personn", "inn", "инн", "sin", "tfn", "nik", "ktp", "cnp",
    "рнокпп", "rntrc", "nric", "mykad", "cpr", "dselsnummer", "oib", "rut",
)  # fmt: skip
"""Parts of the words, one of each: to look for them takes a tenth of the time."""
WORDS_OF_FEW_DIGITS = ("dni", "nif", "nie", "rut")
FORMS_OF_FEW_DIGITS = (rb"[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z]", rb"[A-Z]{4}[0-9]{6}[HM]")
"""What a record has where a number in it may have fewer than nine digits."""
FORMS_OF_DIGITS = tuple(n.form for n in _NUMBERS if not n.words and not n.form.startswith("[A-Z"))
WORDS = tuple(sorted({word for n in _NUMBERS if n.words for word in n.words.split("|")}))
"""Every other number has one of these words before it."""
_LETTERS_FIRST = re.compile(r"[A-Z]{4}(?:[A-Z]{2}[0-9]{2}[A-Z][0-9]{2}[A-Z]|[0-9]{6}[HM])")
_LEAST, _LEAST_WITH_WORD = 9, 7
"""The digits of the shortest number with a form of its own that begins with one, and of any with a word."""

_KNOWN = frozenset(("12345678909", "123456789", "12345678Z", "11144477735"))
"""Numbers that documentation shows."""

_Found = tuple[re.Match[str], str]


def national_ids(text: str, numbers: Numbers) -> Iterator[_Found]:
    """Every national identity number in a text with what it is, those with a form of their own first.

    `numbers` are those of the text.
    """
    has_letters = numbers.may_have_letters and _LETTERS_FIRST.search(text) is not None
    form = _any_form()
    starts = [start for start in numbers.starts(_LEAST) if form.match(text, start)]
    for number, pattern in _patterns(has_word=False) if starts or has_letters else ():
        if not number.form.startswith("[A-Z]"):
            yield from _checked(number, matches_at(starts, pattern, text))
        elif has_letters:
            yield from _checked(number, pattern.finditer(text))
    places = numbers.regions(_LEAST_WITH_WORD)
    if not any(_may_name(text[max(0, start - _BEFORE - 2) : end]) for start, end in places):
        return
    starts = numbers.starts(_LEAST_WITH_WORD)
    for number, pattern in _patterns(has_word=True):
        word = _word(number.words)
        is_digit_first = not number.form.startswith("[XYZ]")
        found = matches_at(starts, pattern, text) if is_digit_first else pattern.finditer(text)
        yield from _checked(
            number, (m for m in found if word.search(text, max(0, m.start() - _BEFORE), m.start()))
        )


def _may_name(text: str) -> bool:
    """Whether a text may have one of the words."""
    small = text.casefold()
    return any(stem in small for stem in _STEMS) and _WORD.search(text) is not None


def _checked(number: _Number, found: Iterator[re.Match[str]]) -> Iterator[_Found]:
    for match in found:
        digits = re.sub(r"[^0-9A-Za-z]", "", match.group())
        if len(set(digits)) > 2 and digits not in _KNOWN and _validator(number.module)(digits):
            yield match, number.what


@lru_cache
def _patterns(*, has_word: bool) -> tuple[tuple[_Number, re.Pattern[str]], ...]:
    return tuple(
        (n, re.compile(rf"(?<![\w.,/+-]){n.form}(?![\w-]|[.,][0-9])"))
        for n in _NUMBERS
        if bool(n.words) is has_word
    )


@lru_cache
def _any_form() -> re.Pattern[str]:
    """The forms that need no word and begin with a digit, as one."""
    return re.compile(
        "|".join(p.pattern for n, p in _patterns(has_word=False) if not n.form.startswith("[A-Z"))
    )


_word = lru_cache(_spelled)


@lru_cache
def _validator(module: str) -> Any:
    """The function of stdnum that is true for numbers whose parts and check digits are right."""
    return import_module(f"stdnum.{module}").is_valid
