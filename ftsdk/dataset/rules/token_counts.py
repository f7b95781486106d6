"""Token counts: exact where the tokenizer is known, marked as estimated elsewhere."""

from __future__ import annotations

import bisect
import importlib.util
import itertools
from array import array
from collections.abc import Iterator
from typing import Any

from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.findings.registry import RULES, note
from ftsdk.dataset.findings.token_summary import TokenSummary
from ftsdk.dataset.formats.typed_rows import Said, row_of, turns_in
from ftsdk.dataset.provider_limits import Limits
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.counters import (
    EstimateCounter,
    OpenAICounter,
    TemplateCounter,
    TokenCounter,
    encoding_of,
)
from ftsdk.dataset.tokenize.render import RowFault
from ftsdk.dataset.tokenize.template_losses import drops_reasoning, trains_no_stop
from ftsdk.dataset.tokenize.tokenizer_folder import model_folder

note(
    "FT501",
    "fault",
    "Nothing in the row is trained",
    "write an answer, or give one the weight 1",
    "After the chat template and the mask no token is left in the loss.",
)
note(
    "FT502",
    "notice",
    "A row is longer than the model or the job allows",
    "raise max_length, or split the row",
    "The local trainer refuses such a row without the option `truncate`, so there "
    "it is a fault. Elsewhere it is a notice: the row is truncated at its end, where the "
    "answer is.",
)
note(
    "FT504",
    "fault",
    "The chat template rewrites earlier turns",
    "write one row per assistant turn, or give weight 0 to all turns but the last",
    "Some templates strip thinking or change an answer once more messages follow. The tokens to "
    "learn are not known then, so the row is refused.",
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
    "The start of an answer is found by the template's text for the turns before it; the first "
    "turn has none.",
)
note(
    "FT510",
    "notice",
    "The chat template writes no token that ends an answer",
    "use the instruction-tuned model's template, or add the end token to it",
    "The model does not learn to stop: what it generates runs on to the limit of tokens.",
)
note(
    "FT511",
    "notice",
    "The chat template drops the reasoning of an answer",
    "write it into the content as the model does, or choose a model whose template has reasoning",
    "`reasoning_content` (or `reasoning`, `thinking`) of a trained answer is not in the text that the "
    "template renders, so only the answer is trained.",
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


def cut_at(limits: Limits | None, method: str, max_length: int | None) -> int | None:
    """The length in tokens at which a row is truncated: the smaller of the provider's and the job's."""
    if limits is None:
        return None
    fact = limits.max_row_tokens(method)
    known = [] if fact is None else [int(fact.value)]
    if max_length is not None and not limits.refuses_long_rows:
        known.append(max_length)
    return min(known, default=None)


class Counting:
    """Counts rows as they pass."""

    def __init__(self, counter: TokenCounter) -> None:
        self.counter = counter
        self.totals = array("I")
        self.lines = array("I")
        self.learned = array("I")
        self.longest = array("I")
        self.refused: list[Fault] = []
        self.trained = 0
        self.dropped_reasoning: tuple[int, int] = (0, 0)
        """The number of rows whose reasoning the chat template drops, and the first one's line."""

    def add(self, line: int, row: dict[str, Any]) -> None:
        """Count one row."""
        try:
            total, trained, longest = self.counter.count(row)
        except RowFault as error:
            code = RENDER_CODES.get(error.code, "FT506")
            hint = RULES["FT502" if code == "FT501" and error.tokens else code].hint
            self._refuse(line, code, error.message, hint)
            total, trained, longest = error.tokens or 0, 0, error.tokens or 0
        else:
            if isinstance(self.counter, TemplateCounter) and drops_reasoning(
                row, self.counter.tokenizer
            ):
                self.add_dropped(1, line)
        self.put(line, total, trained, longest)

    def add_said(self, line: int, said: Said) -> None:
        """As `add`, for the canonical row of which this is all."""
        if isinstance(self.counter, OpenAICounter) and isinstance(said, (tuple, list)):
            self.put(line, *self.counter.count_turns(turns_in(said)))
        else:
            self.add(line, row_of(said))

    def add_dropped(self, rows: int, first: int) -> None:
        """Count more rows whose reasoning is dropped, the first of them at line `first`."""
        count, line = self.dropped_reasoning
        self.dropped_reasoning = (count + rows, line or first)

    def put(self, line: int, total: int, trained: int, longest: int | None = None) -> None:
        """Add counts that were made elsewhere."""
        self.totals.append(total)
        self.lines.append(line)
        self.learned.append(trained)
        self.longest.append(total if longest is None else longest)
        self.trained += trained

    def skip(self, line: int) -> None:
        """Count a faulty row as nothing: it keeps its place."""
        self.put(line, 0, 0)

    def _refuse(self, line: int, code: str, message: str, hint: str) -> None:
        severity = RULES[code].severity
        self.refused.append(Fault(code, severity, line, message, hint, field="messages"))

    def faults(self, limits: Limits | None, method: str, max_length: int | None) -> Iterator[Fault]:
        """Rows above the limit of the provider, or of the job, and rows that cannot be rendered."""
        yield from self.refused
        dropped, line = self.dropped_reasoning
        if dropped:
            rule = RULES["FT511"]
            message = (
                f"the chat template of {self.counter.name} drops the reasoning of {dropped:,} rows"
            )
            yield Fault("FT511", rule.severity, line, message, rule.hint, rows=dropped)
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
        """The figures; None when no row was counted. `cut_at` is where the target cuts a row."""
        if not any(self.totals):
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
            counted_rows=len(ordered) - bisect.bisect_right(ordered, 0),
            longest_sequence=max(self.longest),
        )


def template_faults(counter: TokenCounter) -> Iterator[Fault]:
    """Findings about the chat template by which a counter counts, whatever the rows are."""
    if isinstance(counter, TemplateCounter) and trains_no_stop(counter.tokenizer):
        rule = RULES["FT510"]
        message = f"the chat template of {counter.name} ends no answer with an end token"
        yield Fault("FT510", rule.severity, 0, message, rule.hint)


def _kept(total: int, longest: int, cut_at: int) -> int:
    """The tokens left of a row when each of its sequences is truncated.

    The lengths of a pair are both known; of a row in more pieces only the longest is.
    """
    others = total - longest
    return min(longest, cut_at) + (min(others, cut_at) if others <= longest else others)


def _binned(ordered: list[int], width: int) -> tuple[int, ...]:
    """The count of the ordered numbers in each bin of `width`, starting at zero."""
    borders = [bisect.bisect_left(ordered, k * width) for k in range(ordered[-1] // width + 2)]
    return tuple(b - a for a, b in itertools.pairwise(borders))


def counter_for(
    tokenizer: Any,
    *,
    model: str | None,
    limits: Limits | None = None,
    wanted: bool,
    cut_at: int | None = None,
) -> Counting | None:
    """A counter for a tokenizer or a model; None when none is available and none is wanted.

    `limits` gives the provider's encoding, for a model whose name implies none. Rows of which nothing
    to train is left when they are cut at `cut_at` tokens are faults.

    Raises `MissingExtra` when a tokenizer was named and its package is not there, or counts by a
    provider's encoding are wanted and the package for that is not.
    """
    if isinstance(tokenizer, ChatTokenizer):
        return Counting(TemplateCounter(tokenizer, cut_at))
    if hasattr(tokenizer, "count") and hasattr(tokenizer, "exact"):
        return Counting(tokenizer)
    named = tokenizer if tokenizer is not None else model
    folder = model_folder(named)
    # Elsewhere than on this machine a model of the same name is no reason to ask for its package.
    if folder is not None and (tokenizer is not None or _can_read_tokenizers()):
        return Counting(TemplateCounter(ChatTokenizer.from_folder(folder), cut_at))
    encoding = encoding_of(str(named)) if named is not None else None
    if encoding is None and limits is not None:
        encoding = limits.encoding
    if encoding is not None and (tokenizer is not None or wanted or _has_bpe()):
        return Counting(OpenAICounter(encoding))
    return Counting(EstimateCounter()) if wanted else None


def _can_read_tokenizers() -> bool:
    return importlib.util.find_spec("tokenizers") is not None


def _has_bpe() -> bool:
    return importlib.util.find_spec("bpe_openai") is not None
