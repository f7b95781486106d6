"""Token counters: OpenAI's encodings, a model's own tokenizer and template, or an estimate."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable
from functools import cached_property
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Protocol

import orjson

from ftsdk.dataset.row import OUTPUTS, texts_of
from ftsdk.dataset.tokenize.chat_template import ChatTokenizer
from ftsdk.dataset.tokenize.render import IGNORED, fit, render_sequences
from ftsdk.errors import MissingExtra


class TokenCounter(Protocol):
    """Counts one row."""

    name: str
    exact: bool

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """`(all tokens, trained tokens, tokens of its longest sequence)` of a canonical row.

        A row is one sequence, unless it is shown to the model in several: a pair of answers, or
        one piece an answer where the chat template asks for that.
        """
        ...


class OpenAICounter:
    """OpenAI's encodings, offline (`bpe-openai`, extras `openai` and `data`).

    Texts are counted exactly. The tokens around them are not public; they are counted as in OpenAI's
    cookbook: the role's tokens and 3 a message, 1 for a name and 3 for the start of the answer. Tools and
    images have no published count, so a row that has them makes the sum an estimate.
    """

    def __init__(self, encoding: str) -> None:
        self.name = encoding
        self.exact = True
        self._bindings = _openai_bindings()
        self._roles: dict[Any, int] = {}

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """Tokens of the row, of its trained answers, and of its longest sequence."""
        if "text" in row:
            total = self._count(row["text"]) if isinstance(row["text"], str) else 0
            return total, total, total
        if "messages" in row:
            extra = self._declared(row)
            total, trained = self._messages(row["messages"])
            total += extra + 3
            return total, trained, total
        prompt = row.get("input")
        asked = 0
        if isinstance(prompt, dict):
            asked = self._messages(prompt.get("messages"))[0] + self._declared(prompt)
        total = trained = longest = 0
        for name in ("preferred_output", "non_preferred_output"):
            said, learned = self._messages(row.get(name))
            length = asked + said + 3
            total, trained, longest = total + length, trained + learned, max(longest, length)
        return total, trained, longest

    @cached_property
    def _count(self) -> Callable[[str], int]:
        """The encoding takes a second to load, so only a process that counts does."""
        counted: Callable[[str], int] = self._bindings.tokenizer_for_encoding(self.name).count
        return counted

    def count_turns(self, turns: list[tuple[str, str]]) -> tuple[int, int, int]:
        """As `count`, for a chat row of these roles and texts alone."""
        total, trained = 3, 0
        for role, text in turns:
            said = self._count(text)
            total += said + 3 + self._role(role)
            if role == "assistant":
                trained += said
        return total, trained, total

    def _declared(self, row: dict[str, Any]) -> int:
        """The tokens of the row's tools, and of its functions, the old form."""
        found = [row[key] for key in ("tools", "functions") if row.get(key)]
        self.exact = self.exact and not found
        return sum(self._count(orjson.dumps(one).decode()) for one in found)

    def _messages(self, messages: Any) -> tuple[int, int]:
        total = trained = 0
        for message in messages if isinstance(messages, list) else []:
            if not isinstance(message, dict):
                continue
            content = message.get("content")
            said = self._count(content) if type(content) is str else self._parts(content)
            if len(message) > 2 or content is None:  # calls may replace the content
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
        for key in ("reasoning_content", "reasoning", "thinking"):
            if isinstance(message.get(key), str):
                count += self._count(message[key])
        for key in ("tool_calls", "function_call"):
            if message.get(key):
                self.exact = False
                count += self._count(orjson.dumps(message[key]).decode())
        return count


class EstimateCounter:
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
            asked = pair.get("input.messages", 0)  # the prompt comes before both answers
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

    def __init__(self, tokenizer: ChatTokenizer, cut_at: int | None = None) -> None:
        self.name = tokenizer.name
        self.tokenizer = tokenizer
        self.cut_at = cut_at
        """The length at which the trainer cuts a longer row, where it does."""

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """Tokens of the row, those the loss counts, and those of its longest piece.

        Raises `RowFault` when the row cannot be rendered, or nothing to train is left when it is cut.
        """
        found = [rendered for _, rendered in render_sequences(row, self.tokenizer)]
        if self.cut_at is not None:
            for rendered in found:
                fit(rendered, 0, self.cut_at, truncate=True)
        lengths = [len(rendered) for rendered in found]
        return sum(lengths), sum(rendered.trained_count for rendered in found), max(lengths)


_EXTENSION = "bpe_openai._bindings"
_loading = threading.Lock()


def _openai_bindings() -> Any:
    """The Rust module of bpe-openai, loaded without the package around it.

    Its public class makes a list of ids for each text; the Rust object behind it counts several
    times faster, and has no public name. The package reads every encoding when it is imported,
    which takes ten times as long as the one that is used (bpe-openai 0.1.4).
    """
    with _loading:
        if _EXTENSION not in sys.modules:
            sys.modules[_EXTENSION] = _loaded_extension()
    return sys.modules[_EXTENSION]


def _loaded_extension() -> ModuleType:
    package = importlib.util.find_spec("bpe_openai")
    places = None if package is None else package.submodule_search_locations
    spec = PathFinder.find_spec(_EXTENSION, places)
    if not places or spec is None or spec.loader is None:
        raise MissingExtra(
            "Counting OpenAI's tokens needs the package bpe-openai.",
            hint="pip install 'ftsdk[openai]'",
        )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


class TokenizedRowCounter:
    """Counts tokenized rows, which are token ids already."""

    name = "the file's own tokens"
    exact = True

    def count(self, row: dict[str, Any]) -> tuple[int, int, int]:
        """Tokens of the row, those that the loss counts, and those of its one sequence."""
        ids, labels = row.get("input_ids"), row.get("labels")
        total = len(ids) if isinstance(ids, list) else 0
        if not isinstance(labels, list):
            return total, max(0, total - 1), total  # without labels every token is learned
        return total, sum(n != IGNORED for n in labels[1:]), total
