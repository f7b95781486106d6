"""A model folder's tokenizer and chat template, without torch and without transformers.

The template is code from outside, so it runs in Jinja's immutable sandbox. It sees what the usual
libraries show it: `messages`, `tools`, `add_generation_prompt`, the special tokens, and
`strftime_now`, whose clock is passed in so that a prompt does not change at midnight.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftsdk.errors import MissingExtra, Unsupported

__all__ = ["ChatTokenizer", "Span", "TemplateFailed"]

Span = tuple[int, int]
"""Start and end of a piece of text, in characters."""

_START, _END = "\ue000", "\ue001"
_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")


class TemplateFailed(ValueError):
    """The chat template refused these messages, or broke on them."""


@dataclass(frozen=True)
class ChatTokenizer:
    """Turns messages into text, and text into token ids, as one model folder says.

    `encode` gives the ids of a text with its special tokens recognised and none added: what a
    template renders already holds them.
    """

    name: str
    template: str
    special_tokens: Mapping[str, str]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    special_ids: frozenset[int]
    eos_id: int | None
    now: dt.datetime | None = None
    _compiled: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_folder(cls, folder: Path, *, now: dt.datetime | None = None) -> ChatTokenizer:
        """Read `tokenizer.json` and the chat template of `folder`.

        Raises `Unsupported` when the folder has no fast tokenizer or no chat template, and
        `MissingExtra` when the `tokenizers` package is not installed.
        """
        tokenizer = _load_tokenizer(folder)
        config = _read_json(folder / "tokenizer_config.json")
        specials = _special_tokens(config, _read_json(folder / "special_tokens_map.json"))
        eos = specials.get("eos_token")
        added = tokenizer.get_added_tokens_decoder()
        return cls(
            name=folder.name,
            template=_template_text(folder, config),
            special_tokens=specials,
            encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False)),
            special_ids=frozenset(i for i, token in added.items() if token.special),
            eos_id=None if eos is None else tokenizer.token_to_id(eos),
            now=now,
        )

    @property
    def template_sha256(self) -> str:
        """The SHA-256 of the template's text: two models with one value render alike."""
        return hashlib.sha256(self.template.encode()).hexdigest()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Any] | None = None,
        add_generation_prompt: bool = False,
    ) -> tuple[str, list[Span]]:
        """The text of `messages`, and the spans that the template itself marks as generated.

        The spans are empty unless the template uses `{% generation %}`. Raises `TemplateFailed`.
        """
        import jinja2

        compiled = self._compiled.get("template")
        if compiled is None:
            compiled = self._compiled["template"] = self._compile()
        nonce = secrets.token_hex(8)
        try:
            marked = compiled.render(
                messages=[dict(message) for message in messages],
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                generation_nonce=nonce,
                **self.special_tokens,
            )
        except (jinja2.TemplateError, TypeError, KeyError, ValueError) as error:
            raise TemplateFailed(f"{type(error).__name__}: {error}") from error
        return _split_marks(marked, nonce)

    def _compile(self) -> Any:
        try:
            from jinja2.ext import loopcontrols
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError as error:
            raise _missing("jinja2") from error

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_generation_extension(), loopcontrols],
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = self._strftime_now
        return environment.from_string(self.template)

    def _strftime_now(self, form: str) -> str:
        return (self.now or dt.datetime.now(dt.UTC)).strftime(form)


def _missing(package: str) -> MissingExtra:
    return MissingExtra(
        f"Reading a tokenizer needs the package {package}, which is not installed.",
        mend="pip install 'ftsdk[local]'",
    )


def _load_tokenizer(folder: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise _missing("tokenizers") from error
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise Unsupported(
            f"The model {folder.name} has no tokenizer.json, so its tokens cannot be counted.",
            where=str(path),
            mend="use a model with a fast tokenizer, or save one with its tokenizer's save_pretrained",
        )
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = json.loads(path.read_bytes())
    return value if isinstance(value, dict) else {}


def _special_tokens(*sources: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in sources:
        for name in _SPECIAL_NAMES:
            value = source.get(name)
            if isinstance(value, Mapping):
                value = value.get("content")
            if isinstance(value, str):
                found.setdefault(name, value)
    return found


def _template_text(folder: Path, config: Mapping[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_bytes().decode()
    value = config.get("chat_template")
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value}
        value = named.get("default")
    if isinstance(value, str) and value:
        return value
    raise Unsupported(
        f"The model {folder.name} has no chat template, so chat rows cannot become tokens.",
        where=f"{path} and tokenizer_config.json",
        mend="use the instruction-tuned model of the same family, or put a chat_template.jinja there",
    )


def _split_marks(marked: str, nonce: str) -> tuple[str, list[Span]]:
    """Take our marks out of the rendered text and say where they stood."""
    start, end = f"{_START}{nonce}{_START}", f"{_END}{nonce}{_END}"
    if nonce not in marked:
        return marked, []
    spans: list[Span] = []
    pieces = marked.split(start)
    text = pieces[0]
    for piece in pieces[1:]:
        inside, _, after = piece.partition(end)
        spans.append((len(text), len(text) + len(inside)))
        text += inside + after
    return text, spans


def _generation_extension() -> Any:
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        """`{% generation %} … {% endgeneration %}`: the part that the model is to write."""

        tags = {"generation"}  # noqa: RUF012  # jinja2 declares it as a plain class attribute

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            nonce = nodes.Name("generation_nonce", "load")
            call = self.call_method("_mark", [nonce])
            return nodes.CallBlock(call, [], [], body).set_lineno(line)

        def _mark(self, nonce: str, caller: Callable[[], str]) -> str:
            return f"{_START}{nonce}{_START}{caller()}{_END}{nonce}{_END}"

    return Generation


def _tojson(value: Any, indent: int | None = None, **_: Any) -> str:
    # Jinja's own filter escapes for HTML; chat templates mean plain JSON.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> None:
    raise TemplateFailed(message)
