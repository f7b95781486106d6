"""The language of a text by its most common words: enough to find a row in another language.

Prose is a third function words (*the*, *und*, *que*), and they differ between languages that share
a script. A text counts as a language only when it has several different words of it and no
other language comes close; short texts, names and formulas count as none.

Why no library: the kept one (py3langid 0.4.0) takes half a second and 122 MB to load, as long as a
hundred thousand rows and most of the memory that a whole run may have; lingua weighs 96 MB;
langdetect rests since 2021 and whatlang's binding since 2024. The lists cost a millisecond.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.registry import RULES, note

note("FT313", "notice", "A row in another language than the others", "check that it belongs here",
     "Nine answers of ten are in one language, and less than one of fifty is in this one. 1,000 "
     "to 2,000 answers are sampled, spread evenly over the file, so in a longer file not every such "
     "row is found. A language is recognized by its most common words, without a library: the "
     "maintained ones need half a second and more than 100 MB to load. Known are Catalan, Czech, Danish, Dutch, "
     "English, Finnish, French, German, Hungarian, Indonesian, Italian, Norwegian, Polish, "
     "Portuguese, Romanian, Russian, Spanish, Swedish, Turkish, Ukrainian and Vietnamese; another "
     "script is FT309. Texts of few words, names and formulas count as no language.")  # fmt: skip

MIN_CHARS = 40
"""Shorter answers are not sampled."""

MOST = 1_000
"""The number of answers sampled at least; at most twice as many."""

_HEAD = 500  # characters of an answer
_REPORTED = 20
_FIRST = 60  # answers that decide the usual language
_BLOCK = 32 << 10

_COMMON = {
    "Catalan": "el la els les un una de del dels amb per que és són no es en al als seu seva aquest aquesta també però més com si ha han ser pot fer aquí això molt",
    "Czech": "je se na v že s z pro od po za by jsou bude byl byla jako ale aby když při tak jen jeho které který která nebo může není tento této více již nejsou můžete jste",
    "Danish": "og i at det er en til på af for ikke med der den de som kan et har vil eller fra din du hvis være blev skal jeg også efter ikke når blive denne dette hvor",
    "Dutch": "de het een en van in is dat op te zijn met voor niet aan er om ook als naar bij uit deze dit wordt worden kan u je uw maar nog heeft hebben geen kunt door",
    "English": "the of and to a in is that it for with as was on are be this you have not at by from or an they which will has can your if their there what would its when",
    "Finnish": "ja on ei se että oli ovat voi mutta kun tai niin hän myös kuin sen joka olla jos tämä tämän ole mitä sitä ne vain nyt jo kanssa voit täytyy ennen jälkeen",
    "French": "le la les de des du un une et est en que qui dans pour pas sur avec ne ce cette au aux par plus son sa ses vous nous il elle ils sont être ou mais votre vos peut",
    "German": "der die das und ist nicht ein eine zu den von mit sich für auf dem im des auch es an werden wird sie als bei oder aus einer einen nach wenn ich haben kann nur noch",
    "Hungarian": "a az és hogy nem egy is van meg ez csak de volt ha el már mint kell azt vagy még lesz ezt lehet akkor minden ki be fel a után között nincs amely ami",
    "Indonesian": "yang dan di ini itu dengan untuk tidak dari dalam akan pada adalah ke karena juga saya anda bisa dapat oleh ada sudah atau kami mereka telah sebuah lebih harus",
    "Italian": "il di che è la e un una per non in con del della sono le i gli da si al più come anche nel ma alla questo questa dei delle ha essere lo o se può suo",
    "Norwegian": "og i at det er en til på av for ikke med som den de kan et har vil eller fra din du hvis være ble skal jeg også etter når denne dette hvor må bli blir noe mer",
    "Polish": "w na się nie z że jest o jak za po od dla są przez być może tylko lub ten tego jego co już oraz tym które który można przy ale jeśli został",
    "Portuguese": "o a os as de do da dos das e que em um uma para com não é por no na nos nas se mais como ao seu sua ou foi ser está são você isso esta este também pode",
    "Romanian": "și de la în a o un cu nu este că pe se din pentru care mai sau ca al ale sunt fi fost prin acest această dar poate dacă după fără trebuie lui sa",
    "Russian": "и в не на что с по это как он для из к у за от но так же его или если был она они мы вы быть при может все нет только чтобы можно будет ещё уже",
    "Spanish": "el la los las de del que y en un una es no se por con para su al lo como más pero sus le ya o este esta fue ser son está si muy sin sobre también puede hay usted",
    "Swedish": "och i att det som en på är av för med till den inte om ett de har kan du från eller vi så var vid ska din detta när men sin efter också alla inga måste blir",
    "Turkish": "bir ve bu için ile de da olarak daha çok gibi olan ne var değil en kadar sonra ama veya her ya o mi olduğu tarafından ise göre önce yok şu ancak çünkü",
    "Ukrainian": "і в не на що з та це як до для за від у але його або якщо був вона вони ви бути при може все немає тільки щоб можна буде ще вже під також є із",
    "Vietnamese": "và của là có không được cho các một trong với này để những người đã khi từ bạn đến như về ra cũng hay nếu thì phải vào nhiều sẽ bị tôi",
}  # fmt: skip

_INDEX: dict[str, tuple[str, ...]] = {}
for _name, _words in _COMMON.items():
    for _word in sorted(set(_words.split())):
        _INDEX[_word] = (*_INDEX.get(_word, ()), _name)

_ALONE = {
    name: frozenset(w for w, names in _INDEX.items() if names == (name,) and len(w) > 1)
    for name in _COMMON
}
"""The words of a language that no other list has."""

_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def language_of(text: str) -> str | None:
    """The language of a text of some length; None when its words do not clearly belong to one."""
    words = _WORDS.findall(text[:_HEAD].lower())
    if len(words) < 8:
        return None
    found = [languages for word in words if (languages := _INDEX.get(word))]
    if len(found) < 3:
        return None
    score: Counter[str] = Counter()
    own: dict[str, set[str]] = {}
    for word in set(words):
        for language in _INDEX.get(word, ()):
            own.setdefault(language, set()).add(word)
    for languages in found:
        for language in languages:
            score[language] += 1
    (best, most), *others = score.most_common(2)
    second, next_most = others[0] if others else ("", 0)
    # Single letters are often names of things, not words.
    alone = sum(len(word) > 1 for word in own[best] - own.get(second, set()))
    if most < 0.2 * len(words) or len(own[best]) < 3 or alone < 2 or most < 1.25 * next_most:
        return None
    return best


class SampledAnswer(NamedTuple):
    """An answer of the sample: its line (or offset) and its beginning."""

    line: int
    text: str


class Sample:
    """Answers spread evenly over all that pass by: every one, then every second, and so on."""

    def __init__(self) -> None:
        self.kept: list[SampledAnswer] = []
        self._stride = 1
        self._passed = 0

    def add(self, line: int, answer: str) -> None:
        """See one answer of at least `MIN_CHARS` characters."""
        self._passed += 1
        if self._passed % self._stride:
            return
        self.kept.append(SampledAnswer(line, answer[:_HEAD]))
        if len(self.kept) >= 2 * MOST:
            del self.kept[::2]
            self._stride *= 2

    @property
    def is_whole(self) -> bool:
        """Whether nothing that passed was left out."""
        return self._stride == 1


def odd_languages(kept: Iterable[SampledAnswer], *, whole: bool) -> Iterator[Fault]:
    """A notice for each answer in a rare language, when nearly all others are in one."""
    lines: dict[str, list[int]] = {}
    usual, plain = "", frozenset[str]()
    for number, (line, text) in enumerate(kept):
        if number == _FIRST and lines:
            usual = max(lines, key=lambda name: len(lines[name]))
            plain = _ALONE[usual]
        # Most are in the language of the first: three of its own words are the quickest test.
        if plain and len(plain.intersection(text[:200].lower().split())) >= 3:
            language: str | None = usual
        else:
            language = language_of(text)
        if language is not None:
            lines.setdefault(language, []).append(line)
    known = sum(map(len, lines.values()))
    if known < 50:
        return
    main = max(lines, key=lambda name: len(lines[name]))
    if len(lines[main]) < 0.9 * known:
        return
    share = 100 * len(lines[main]) // known
    sampled = "" if whole else f" of the {known:,} sampled"
    rare = [(line, name) for name, there in lines.items() for line in there
            if name != main and len(there) < 0.02 * known]  # fmt: skip
    rule = RULES["FT313"]
    for line, name in sorted(rare)[:_REPORTED]:
        message = f"the answer is in {name}, {share} %{sampled} are in {main}"
        yield Fault("FT313", rule.severity, line, message, rule.hint)


class Seekable(Protocol):
    """The methods of a file that sampling needs."""

    def seek(self, offset: int, /) -> int:
        """Continue at `offset`, which is returned."""
        ...

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


def odd_languages_of_file(
    handle: Seekable, size: int, answer_of: Callable[[bytes], str | None]
) -> Iterator[Fault]:
    """As `odd_languages`, for rows at evenly spread offsets of a long file of JSON lines.

    `answer_of` gives the answer of one record. Lines are counted only up to the last finding.
    """
    kept: list[SampledAnswer] = []
    last = -1
    for number in range(MOST):
        at = handle.seek(size * number // MOST)
        block = handle.read(_BLOCK)
        start = block.find(b"\n") + 1 if at else 0
        end = block.find(b"\n", start)
        if end < 0 or at + start == last:
            continue
        last = at + start
        answer = answer_of(block[start:end])
        if answer is not None and len(answer) >= MIN_CHARS:
            kept.append(SampledAnswer(last, answer))
    counted = line = 0
    for fault in odd_languages(kept, whole=False):  # in order of their offsets
        handle.seek(counted)
        line += _line_feeds(handle, fault.line - counted)
        counted = fault.line
        yield replace(fault, line=1 + line, offset=counted)


def _line_feeds(handle: Seekable, end: int) -> int:
    """The number of line feeds in the next `end` bytes."""
    found = 0
    while end > 0 and (block := handle.read(min(end, 1 << 20))):
        end -= len(block)
        found += block.count(b"\n")
    return found
