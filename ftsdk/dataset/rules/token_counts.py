"""Token counts: exact where the tokenizer is known, marked as estimated elsewhere."""

from __future__ import annotations

import bisect
import importlib.util
import itertools
import warnings
from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import orjson

from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.findings.report import Fault
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.rules.content import texts_of
from ftsdk.dataset.rules.preference import OUTPUTS
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import RowFault, render_sequences
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder
from ftsdk.errors import MissingExtra

__all__ = [
    "ENCODINGS",
    "RENDER_CODES",
    "Counting",
    "OpenAICounter",
    "TemplateCounter",
    "TokenSummary",
    "counter_for",
    "cut_at",
    "encoding_of",
]

note(
    "FT501",
    "fault",
    "Nothing of the row is learned",
    "write an answer, or give one the weight 1",
    "After the chat template and the mask no token is left that the loss counts.",
)
note(
    "FT502",
    "notice",
    "A row is longer than the model or the job takes",
    "raise max_length, or split the row",
    "The local trainer refuses such a row unless it is told to cut (the option `truncate`), so there "
    "it is a fault. Elsewhere it is a notice: the row is cut and loses its end, which is where the "
    "answer is.",
)
note(
    "FT504",
    "fault",
    "The chat template rewrites earlier turns",
    "write one row per assistant turn, or give weight 0 to all turns but the last",
    "Some templates strip thinking or change an answer once more messages follow. The tokens to "
    "learn cannot be told then, so the row is refused by name.",
)
note(
    "FT506",
    "fault",
    "The chat template cannot render the row",
    "change the row, or choose another model",
    "Templates refuse, for instance, a system message, tools, or turns that do not alternate.",
)
note(
    "FT509",
    "fault",
    "The row begins with an assistant's turn to train",
    "put the user's turn before it, or give it weight 0",
    "Where an answer begins is told by the template's text for the turns before it; before the first "
    "turn there is none.",
)

_BINS = 24

RENDER_CODES = {
    "no_assistant": "FT501",
    "nothing_trained": "FT501",
    "template_not_nested": "FT504",
    "assistant_first": "FT509",
    "template_failed": "FT506",
    "too_long": "FT502",
    "no_tokens": "FT140",
    "no_messages": "FT102",
    "no_object": "FT103",
    "no_text": "FT129",
}


@dataclass(frozen=True)
class TokenSummary:
    """Tokens of one dataset for one tokenizer.

    `total` counts every token that the model sees in one epoch, `trained` those that the loss
    counts; quantiles are of whole rows (both sequences of a pair), and a quantile is a length that
    a row has: of the two nearest the longer. `exact` is False for an estimate.
    """

    tokenizer: str
    exact: bool
    rows: int
    total: int
    trained: int
    shortest: int
    median: int
    p95: int
    longest: int
    longest_line: int
    truncated_rows: int = 0
    max_length: int | None = None
    cut_at: int | None = None
    """The length at which the provider or the job cuts a row, where one is known."""
    kept: int = 0
    """What is left of `total` when every row is cut there."""
    histogram: tuple[int, ...] = ()
    """Rows by length: how many have 0 to `bin_tokens` - 1 tokens, and so on."""
    bin_tokens: int = 1

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self)

    def phrases(self) -> Iterator[str]:
        """The parts of a headline."""
        how = "exact" if self.exact else "estimated"
        yield f"{self.total:,} tokens ({how}, {self.tokenizer})"
        if self.trained:
            yield f"{self.trained:,} trained on"


def cut_at(limits: Limits | None, method: str, max_length: int | None) -> int | None:
    """The length in tokens at which a row is truncated: the smaller of the provider's and the job's."""
    if limits is None:
        return None
    fact = limits.max_row_tokens(method)
    known = [] if fact is None else [int(fact.value)]
    if max_length is not None and not limits.refuses_long_rows:
        known.append(max_length)
    return min(known, default=None)


class Counter(Protocol):
    """Counts one row."""

    name: str
    exact: bool

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """`(all tokens, trained tokens, tokens of its longest sequence)` of a canonical row.

        A row is one sequence, unless it is shown to the model in several: a pair of answers, or
        one piece an answer where the chat template asks for that.
        """
        ...


class Counting:
    """Counts rows as they pass."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.totals = array("I")
        self.lines = array("I")
        self.learned = array("I")
        self.longest = array("I")
        self.refused: list[Fault] = []
        self.trained = 0

    def add(self, line: int, row: dict[str, Any]) -> None:
        """Count one row."""
        try:
            total, trained, longest = self.counter.count(row)
        except RowFault as error:
            self._refuse(line, RENDER_CODES.get(error.code, "FT506"), error.message)
            total, trained, longest = error.tokens or 0, 0, error.tokens or 0
        self.put(line, total, trained, longest)

    def put(self, line: int, total: int, trained: int, longest: int | None = None) -> None:
        """Take counts that were made elsewhere."""
        self.totals.append(total)
        self.lines.append(line)
        self.learned.append(trained)
        self.longest.append(total if longest is None else longest)
        self.trained += trained

    def skip(self, line: int) -> None:
        """Count a faulty row as nothing: it keeps its place."""
        self.put(line, 0, 0)

    def _refuse(self, line: int, code: str, message: str) -> None:
        rule = RULES[code]
        self.refused.append(Fault(code, rule.severity, line, message, rule.hint, field="messages"))

    def again(self, line: int, index: int) -> None:
        """Count a row whose bytes are those of the row counted as number `index`."""
        self.put(line, self.totals[index], self.learned[index], self.longest[index])

    def faults(self, limits: Limits | None, method: str, max_length: int | None) -> Iterator[Fault]:
        """Rows above the limit of the provider, or of the job, and rows that cannot be rendered."""
        yield from self.refused
        if max_length is not None:
            refused = limits is not None and limits.refuses_long_rows and self.counter.exact
            for line, longest in zip(self.lines, self.longest, strict=True):
                if longest > max_length:
                    yield Fault(
                        "FT502",
                        "fault" if refused else "notice",
                        line,
                        f"{longest:,} tokens, max_length is {max_length:,}",
                        RULES["FT502"].hint,
                    )
        if limits is not None:
            fact = limits.max_row_tokens(method)
            if fact is not None:
                rule = RULES["FT204"]
                sure = fact.sure and self.counter.exact
                for line, longest in zip(self.lines, self.longest, strict=True):
                    if longest > fact.value:
                        yield Fault("FT204", "fault" if sure else "notice", line,
                                    f"{longest:,} tokens, {limits.title} trains on {fact.value:,} a row",
                                    f"{rule.hint} (source: {fact.source}, read {fact.as_of})")  # fmt: skip

    def summary(self, max_length: int | None, cut_at: int | None = None) -> TokenSummary | None:
        """The figures; None without rows. `cut_at` is where the target cuts a row."""
        if not self.totals:
            return None
        ordered = sorted(self.totals)
        last, total = len(ordered) - 1, sum(ordered)
        kept, width = total, ordered[-1] // _BINS + 1
        if cut_at is not None and max(self.longest) > cut_at:
            kept = sum(map(_kept, self.totals, self.longest, itertools.repeat(cut_at)))
        return TokenSummary(
            tokenizer=self.counter.name,
            exact=self.counter.exact,
            rows=len(ordered),
            total=total,
            trained=self.trained,
            shortest=ordered[0],
            median=ordered[len(ordered) // 2],
            p95=ordered[min(last, len(ordered) * 95 // 100)],
            longest=ordered[-1],
            longest_line=self.lines[self.totals.index(ordered[-1])],
            truncated_rows=0 if max_length is None else sum(t > max_length for t in self.longest),
            max_length=max_length,
            cut_at=cut_at,
            kept=kept,
            histogram=_binned(ordered, width),
            bin_tokens=width,
        )


def _kept(total: int, longest: int, cut_at: int) -> int:
    """What is left of a row when each of its sequences is cut.

    Of a pair both are known; of a row in more pieces the longest alone.
    """
    others = total - longest
    return min(longest, cut_at) + (min(others, cut_at) if others <= longest else others)


def _binned(ordered: list[int], width: int) -> tuple[int, ...]:
    """How many of the ordered numbers fall into each bin of `width`, from zero on."""
    borders = [bisect.bisect_left(ordered, k * width) for k in range(ordered[-1] // width + 2)]
    return tuple(b - a for a, b in itertools.pairwise(borders))


class OpenAICounter:
    """OpenAI's encodings, offline (`bpe-openai`, extras `openai` and `data`).

    Texts are counted exactly. What stands around them is not public: the role's own tokens and 3 a
    message, 1 for a name and 3 for the start of the answer, as OpenAI's cookbook counts. Tools and
    images have no published count, so a row that has them makes the sum an estimate.
    """

    def __init__(self, encoding: str) -> None:
        self.name = encoding
        self.exact = True
        self._count = _openai_count(encoding)
        self._roles: dict[Any, int] = {}

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """Tokens of the row, of its trained answers, and of its longest sequence."""
        if "text" in row:
            total = self._count(row["text"]) if isinstance(row["text"], str) else 0
            return total, total, total
        if "messages" in row:
            if "tools" in row:
                self.exact = False
                extra = self._count(orjson.dumps(row["tools"]).decode())
            else:
                extra = 0
            total, trained = self._messages(row["messages"])
            total += extra + 3
            return total, trained, total
        prompt = row.get("input")
        asked, _ = self._messages(prompt.get("messages") if isinstance(prompt, dict) else None)
        total = trained = longest = 0
        for name in ("preferred_output", "non_preferred_output"):
            said, learned = self._messages(row.get(name))
            length = asked + said + 3
            total, trained, longest = total + length, trained + learned, max(longest, length)
        return total, trained, longest

    def _messages(self, messages: Any) -> tuple[int, int]:
        total = trained = 0
        for message in messages if isinstance(messages, list) else []:
            if not isinstance(message, dict):
                continue
            content = message.get("content")
            said = self._count(content) if type(content) is str else self._parts(content)
            if len(message) > 2 or content is None:  # calls may stand in the content's place
                said += self._rest(message)
            role = message.get("role")
            total += said + 3 + self._role(role)
            if role == "assistant" and message.get("weight", 1) != 0:
                trained += said
        return total, trained

    def _role(self, role: Any) -> int:
        """The tokens of a role's name; a file has a handful of them."""
        if type(role) is not str:
            return 0
        known = self._roles.get(role)
        if known is None:
            known = self._roles[role] = self._count(role)
        return known

    def _parts(self, content: Any) -> int:
        count = 0
        for part in content if isinstance(content, list) else []:
            text = part.get("text") if isinstance(part, dict) else None
            if isinstance(text, str):
                count += self._count(text)
            else:
                self.exact = False
        return count

    def _rest(self, message: dict[str, Any]) -> int:
        count = 0
        if isinstance(message.get("name"), str):
            count += self._count(message["name"]) + 1
        for key in ("reasoning_content", "reasoning"):
            if isinstance(message.get(key), str):
                count += self._count(message[key])
        if message.get("tool_calls"):
            self.exact = False
            count += self._count(orjson.dumps(message["tool_calls"]).decode())
        return count


class Estimate:
    """Four characters a token: for models whose tokenizer is not public."""

    name = "4 characters a token"
    exact = False

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """A guess at the tokens of the row, of its answers, and of its longest sequence."""
        total = trained = 0
        pair: dict[str, int] = {}
        for place, text in texts_of(row):
            size = len(text) // 4 + 4
            total += size
            trained += size if place.startswith(("preferred", "non_preferred", "text")) else 0
            name = place.partition("[")[0]
            pair[name] = pair.get(name, 0) + size
        if "preferred_output" in pair or "non_preferred_output" in pair:
            asked = pair.get("input.messages", 0)  # the prompt stands before both answers
            longest = asked + max(pair.get(name, 0) for name in OUTPUTS)
            return total + asked, trained, longest
        messages = row.get("messages")
        for message in messages if isinstance(messages, list) else []:
            content = message.get("content") if isinstance(message, dict) else None
            if isinstance(content, str) and message.get("role") == "assistant":
                trained += len(content) // 4
        return total, trained, total


class TemplateCounter:
    """A model's own tokenizer and chat template: the very tokens that the trainer sees."""

    exact = True

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self.name = tokenizer.name
        self._tokenizer = tokenizer

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """Tokens of the row, those the loss counts, and those of its longest piece.

        Raises `RowFault` when the row cannot be rendered.
        """
        found = [rendered for _, rendered in render_sequences(row, self._tokenizer)]
        lengths = [len(rendered) for rendered in found]
        return sum(lengths), sum(rendered.trained_count for rendered in found), max(lengths)


def _openai_count(encoding: str) -> Callable[[str], int]:
    try:
        # The public class makes a list of ids for each text; the Rust object behind it counts
        # several times faster. It has no public name. The package reads its data by a way that
        # Python calls deprecated (bpe-openai 0.1.4), which is no news for our user.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from bpe_openai import _bindings
    except ImportError as error:
        raise MissingExtra(
            "Counting OpenAI's tokens needs the package bpe-openai.",
            hint="pip install 'ftsdk[openai]'",
        ) from error
    counted: Callable[[str], int] = _bindings.tokenizer_for_encoding(encoding).count
    return counted


ENCODINGS = ("o200k_base", "cl100k_base")
_OLD = ("gpt-3.5", "gpt-4-", "text-embedding", "babbage", "davinci")


def encoding_of(model: str | None) -> str | None:
    """OpenAI's encoding for a model's name; None for a model that is not OpenAI's."""
    name = (model or "").lower().removeprefix("ft:")
    if name in ENCODINGS:
        return name
    if name.startswith(_OLD) or name == "gpt-4":
        return "cl100k_base"
    if name.startswith(("gpt-", "o1", "o3", "o4", "chatgpt-")) and not name.startswith("gpt-oss"):
        return "o200k_base"
    return None


def counter_for(
    tokenizer: Any, *, model: str | None, limits: Limits | None = None, wanted: bool
) -> Counting | None:
    """A counter for a tokenizer or a model; None when none is available and none is wanted.

    `limits` gives the provider's encoding, for a model whose name implies none.

    Raises `MissingExtra` when a tokenizer was named, or counts are wanted, and its package is not
    there.
    """
    if isinstance(tokenizer, ChatTokenizer):
        return Counting(TemplateCounter(tokenizer))
    if hasattr(tokenizer, "count") and hasattr(tokenizer, "exact"):
        return Counting(tokenizer)
    named = tokenizer if tokenizer is not None else model
    folder = model_folder(named)
    if folder is not None:
        return Counting(TemplateCounter(ChatTokenizer.from_folder(folder)))
    encoding = encoding_of(str(named)) if named is not None else None
    if encoding is None and limits is not None:
        encoding = limits.encoding
    if encoding is not None and (tokenizer is not None or wanted or _has_bpe()):
        return Counting(OpenAICounter(encoding))
    return Counting(Estimate()) if wanted else None


def _has_bpe() -> bool:
    return importlib.util.find_spec("bpe_openai") is not None
