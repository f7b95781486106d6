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

Span = tuple[int, int]
"""Start and end of a piece of text, in characters."""

_START, _END = "\ue000", "\ue001"
_SPECIAL_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")


class TemplateFailed(ValueError):
    """The chat template refused these messages, or broke on them."""


@dataclass(frozen=True)
class ChatTokenizer:
    """Turns messages into text, and text into token ids, with the files of one model folder.

    `encode` gives the ids of a text with its special tokens recognized and none added: what a
    template renders already has them. Some models have a separate template for conversations
    with tools (`tool_use` beside `default`); rows that declare tools are rendered by that one.
    """

    name: str
    template: str
    special_tokens: Mapping[str, str]
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    special_ids: frozenset[int]
    eos_id: int | None
    now: dt.datetime | None = None
    tools_template: str | None = None
    start_ids: tuple[int, ...] = ()
    """What the tokenizer puts before a text by itself; a chat template has it in its text."""
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
        template, tools_template = _template_texts(folder, config)
        return cls(
            name=folder.name,
            template=template,
            tools_template=tools_template,
            special_tokens=specials,
            encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False)),
            special_ids=frozenset(i for i, token in added.items() if token.special),
            eos_id=None if eos is None else tokenizer.token_to_id(eos),
            now=now,
            start_ids=_start_ids(tokenizer),
        )

    @property
    def template_sha256(self) -> str:
        """The SHA-256 of the template's text (of `default`, when there is another one for tools).

        Two models with one value render conversations without tools alike.
        """
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
        nonce = secrets.token_hex(8)
        try:
            marked = self._template(with_tools=bool(tools)).render(
                messages=[dict(message) for message in messages],
                tools=list(tools) if tools else None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                generation_nonce=nonce,
                **self.special_tokens,
            )
        except (TemplateFailed, MissingExtra):
            raise
        except Exception as error:  # a template may raise anything
            raise TemplateFailed(f"{type(error).__name__}: {error}") from error
        return _split_marks(marked, nonce)

    def _template(self, *, with_tools: bool) -> Any:
        """The compiled template for conversations with tools, or for the others."""
        separate = with_tools and self.tools_template is not None
        name = "tools_template" if separate else "template"
        if name not in self._compiled:
            self._compiled[name] = self._compile(getattr(self, name))
        return self._compiled[name]

    def _compile(self, text: str) -> Any:
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
        return environment.from_string(text)

    def _strftime_now(self, form: str) -> str:
        return (self.now or dt.datetime.now(dt.UTC)).strftime(form)


def _missing(package: str) -> MissingExtra:
    return MissingExtra(
        f"Reading a tokenizer needs the package {package}, which is not installed.",
        hint="pip install 'ftsdk[local]'",
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
            hint="use a model with a fast tokenizer, or save one with its tokenizer's save_pretrained",
        )
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _start_ids(tokenizer: Any) -> tuple[int, ...]:
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    whole = tokenizer.encode("a", add_special_tokens=True).ids
    return tuple(whole[: len(whole) - len(plain)]) if whole[-len(plain) :] == plain else ()


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


def _template_texts(folder: Path, config: Mapping[str, Any]) -> tuple[str, str | None]:
    """The chat template of a folder, and the one for tools when there is a separate one."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        beside = folder / "additional_chat_templates" / "tool_use.jinja"
        return path.read_bytes().decode(), beside.read_text("utf-8") if beside.is_file() else None
    value = config.get("chat_template")
    named = {"default": value}
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value}
    template, tools = named.get("default"), named.get("tool_use")
    if isinstance(template, str) and template:
        return template, tools if isinstance(tools, str) and tools else None
    raise Unsupported(
        f"The model {folder.name} has no chat template, so chat rows cannot become tokens.",
        where=f"{path} and tokenizer_config.json",
        hint="use the instruction-tuned model of the same family, or put a chat_template.jinja there",
    )


def _split_marks(marked: str, nonce: str) -> tuple[str, list[Span]]:
    """Remove our marks from the rendered text and return their positions."""
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


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML; chat templates mean plain JSON, and these four options.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise TemplateFailed(message)
