"""The dataset limits of a provider: one dated record, every number with its source.

Each number was read on the day given beside it. A number whose source is not the provider's own
page is marked `sure=False`. Providers with a backend declare their limits there
(`Backend.limits_for`); the table here is for formats without one. Numbers of a backend's own
`Capabilities` take precedence over both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ftsdk.util.entry_points import entry_points

_READ = "2026-11-23"


@dataclass(frozen=True, slots=True)
class Fact:
    """A limit's value, its source, and the day the source was read."""

    value: Any
    source: str
    as_of: str = _READ
    """Empty where the source is installed code."""
    sure: bool = True
    """False when the source is not the provider's own word; then breaking it is a notice."""


@dataclass(frozen=True)
class Limits:
    """The dataset limits of one provider, for one base model."""

    provider: str
    title: str
    shapes: Mapping[str, frozenset[str]]
    """Row shapes by method: `{"sft": {"chat"}, "dpo": {"preference"}}`; `kto` needs labelled chat rows."""
    source: str
    as_of: str = _READ
    writes: Mapping[str, str] = field(
        default_factory=lambda: {"chat": "chat", "preference": "preference", "text": "text"}
    )
    """The format to write for each row shape (a name in `FORMATS`)."""
    features: frozenset[str] = frozenset()
    """The supported ones of name, weight, tools, images, images in preference rows, reasoning,
    parallel_tool_calls, functions, refusal, audio, sample_weight, extra."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Features that the provider does not accept, with the source that says so."""
    row_keys: frozenset[str] = frozenset()
    """Top-level row keys that the provider reads beside those of a chat row."""
    roles: frozenset[str] = frozenset(("system", "user", "assistant", "tool"))
    min_rows: Fact | None = None
    max_rows: Fact | None = None
    max_validation_rows: Fact | None = None
    max_file_bytes: Fact | None = None
    row_tokens: Fact | None = None
    row_tokens_by_method: Mapping[str, Fact] = field(default_factory=dict)
    """Row lengths of the base model by training method; they replace `row_tokens`."""
    images_per_row: Fact | None = None
    image_urls: Fact | None = None
    """Accepted prefixes of an image URL."""
    max_image_rows: Fact | None = None
    special_tokens: Fact | None = None
    reserved_words: Fact | None = None
    must_alternate: Fact | None = None
    tokens_in: Fact | None = None
    """The container that tokenized rows must be in."""
    call_id_chars: Fact | None = None
    one_format: Fact | None = None
    """A row with the keys of two formats is refused."""
    refuses_long_rows: bool = False
    """Whether a row longer than the job's `max_length` fails the job (other providers truncate it)."""
    cuts_text: bool = False
    """Whether a row of plain text that is longer is trained in pieces, and nothing of it is lost."""
    encoding: str | None = None
    """The `tiktoken` encoding of the provider's models, used when the model's name implies none."""
    hides_tokens: bool = False
    """Whether the provider's tokenizer and chat template are private."""

    @property
    def reads_text(self) -> bool:
        """Whether a rule searches the texts of every row, so that no row can skip the rules."""
        return self.reserved_words is not None

    @property
    def takes_calls(self) -> bool:
        """Whether no row with calls and weights is refused in which the rules find nothing."""
        return (
            {"tools", "weight"} <= self.features
            and "tool" in self.roles
            and self.call_id_chars is None
            and not self.reads_text
        )

    def max_row_tokens(self, method: str) -> Fact | None:
        """The longest row in tokens for a training method, or None when there is no limit."""
        return self.row_tokens_by_method.get(method) or self.row_tokens

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values; `from_dict` reads it."""
        return {f.name: _as_json(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Limits:
        """The record that `to_dict` wrote."""
        return cls(**{name: _from_json(value) for name, value in data.items()})


def _as_json(value: Any) -> Any:
    if isinstance(value, Fact):
        return {"fact": [_as_json(value.value), value.source, value.as_of, value.sure]}
    if isinstance(value, frozenset):
        return {"set": sorted(value)}
    if isinstance(value, Mapping):
        return {"map": {key: _as_json(item) for key, item in value.items()}}
    return list(value) if isinstance(value, tuple) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "fact":
        return Fact(_from_json(inner[0]), *inner[1:])
    if kind == "set":
        return frozenset(inner)
    return {key: _from_json(item) for key, item in inner.items()}


_NOVA = "aws-samples nova_ft_dataset_validator.py"
_HAIKU = (
    "aws-samples 00_Setup_and_DataPrep_Haiku.ipynb; anthropic cookbook finetuning_on_bedrock.ipynb"
)
_NOVA_TOOLS = (
    "docs.aws.amazon.com/bedrock nova-2-sft-data-prep (2026): tool sections may fail the job"
)
_NOVA_2 = "AWS's Nova customization SDK, its SFT validator (2026), for Nova 2 Lite"
_GEMINI = "docs.cloud.google.com gemini supervised tuning, table for 2.5 Flash"
_GEMINI_IMAGES = (
    "docs.cloud.google.com gemini tuning on image data (2026): gs:// or public URLs, 30 images"
)
_FIREWORKS = "docs.fireworks.ai fine-tuning (managed jobs closed by 2026-11-15)"

_CHAT = frozenset(("chat",))
_PAIRS = frozenset(("preference",))
OPENAI_ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))
ALL_FEATURES = frozenset(
    (
        "name",
        "weight",
        "tools",
        "images",
        "images in preference rows",
        "reasoning",
        "parallel_tool_calls",
        "functions",
        "refusal",
        "audio",
        "sample_weight",
        "extra",
    )
)

_ALL = (
    Limits(
        "fireworks", "Fireworks", {"sft": _CHAT, "dpo": _PAIRS}, _FIREWORKS,
        features=frozenset(("weight", "tools", "images", "images in preference rows", "reasoning")),
        min_rows=Fact(3, _FIREWORKS),
        max_rows=Fact(3_000_000, _FIREWORKS),
        max_file_bytes=Fact(150 << 20, _FIREWORKS),
    ),
    Limits(
        "mistral", "Mistral", {"sft": _CHAT}, "Mistral's fine-tuning guide (API closed in 2026)",
        features=frozenset(("weight", "tools", "images")),
        max_file_bytes=Fact(512 << 20, "Mistral's OpenAPI"),
        call_id_chars=Fact(9, "Mistral's fine-tuning guide"),
    ),
    Limits(
        "bedrock", "Bedrock (Nova, Converse rows)", {"sft": _CHAT}, _NOVA,
        writes={"chat": "converse"},
        features=frozenset(("images", "media type", "bucket owner")),
        lacks={"tools": _NOVA_TOOLS, "reasoning": _NOVA_2},
        roles=frozenset(("system", "user", "assistant")),
        images_per_row=Fact(10, _NOVA),
        image_urls=Fact(("s3://",), _NOVA),
        min_rows=Fact(8, _NOVA),
        max_rows=Fact(20_000, _NOVA),
        must_alternate=Fact("user", _NOVA),
        reserved_words=Fact(
            ("System:", "User:", "Bot:", "Assistant:", "Thought:", "[EOS]", "<image>", "<video>",
             "SYSTEM:", "USER:", "BOT:", "ASSISTANT:", "THOUGHT:", "<IMAGE>", "<VIDEO>"), _NOVA),
    ),
    Limits(
        "bedrock-claude", "Bedrock (Claude 3 Haiku)", {"sft": _CHAT}, _HAIKU,
        writes={"chat": "claude"},
        lacks={"tools": _HAIKU, "images": _HAIKU},
        roles=frozenset(("system", "user", "assistant")),
        min_rows=Fact(32, "widely quoted; not confirmed", sure=False),
        max_rows=Fact(10_000, _HAIKU),
        max_validation_rows=Fact(1_000, _HAIKU),
        row_tokens=Fact(32_000, _HAIKU),
        must_alternate=Fact("user", _HAIKU),
    ),
    Limits(
        "vertex", "Vertex AI (Gemini)", {"sft": _CHAT}, _GEMINI,
        writes={"chat": "gemini"},
        features=frozenset(("tools", "images", "media type")),
        row_keys=frozenset(("generationConfig",)),
        images_per_row=Fact(30, _GEMINI_IMAGES),
        image_urls=Fact(("gs://", "https://", "http://"), _GEMINI_IMAGES),
        max_image_rows=Fact(300_000, _GEMINI),
        max_rows=Fact(1_000_000, _GEMINI),
        max_validation_rows=Fact(5_000, _GEMINI),
        max_file_bytes=Fact(1 << 30, _GEMINI),
        row_tokens=Fact(131_072, _GEMINI),
    ),
)  # fmt: skip

LIMITS: dict[str, Limits] = {record.provider: record for record in _ALL}
"""The records of providers without a backend of their own, by name."""

_BACKENDS = "ftsdk.backends"
"""The entry-point group of backends; each has a class method `limits_for(model)`."""


def providers() -> list[str]:
    """Return the names of all providers whose limits are known, sorted."""
    return sorted({*LIMITS, *(point.name for point in entry_points(group=_BACKENDS))})


def limits_for(provider: str | None, model: str | None = None) -> Limits | None:
    """Return a provider's limits for one base model, or None for an unknown provider.

    A provider with an installed backend declares them there.
    """
    if provider is None:
        return None
    for point in (one for one in entry_points(_BACKENDS) if one.name == provider):
        with contextlib.suppress(ImportError, AttributeError):  # broken, or not a backend
            declared: Limits = point.load().limits_for(model)
            return declared
    known, name = LIMITS.get(provider), (model or "").lower()
    if provider != "bedrock" or known is None:
        return known
    if "claude" in name:
        return LIMITS["bedrock-claude"]
    if "nova-2-lite" in name:
        return replace(known, features=known.features | {"reasoning"}, min_rows=Fact(200, _NOVA_2))
    if "micro" in name:
        return replace(
            known, features=known.features - {"images"}, lacks={**known.lacks, "images": _NOVA}
        )
    return known


def limits_of_formats(provider: str, formats: Collection[str]) -> Limits:
    """Return the limits of a provider of which only the accepted row formats are known."""
    pairs = frozenset(formats) & _PAIRS
    shapes = {"sft": frozenset(formats) - _PAIRS, "dpo": pairs}
    return Limits(
        provider, provider, {method: taken for method, taken in shapes.items() if taken},
        f"the {provider} backend", as_of="", features=ALL_FEATURES, roles=OPENAI_ROLES,
    )  # fmt: skip


def with_capabilities(limits: Limits | None, capabilities: Any) -> Limits | None:
    """Return the limits with the numbers and formats of a backend's capabilities in their place."""
    if limits is None or capabilities is None:
        return limits
    changed: dict[str, Any] = {}
    for name in ("min_rows", "max_rows", "max_file_bytes"):
        value = getattr(capabilities, name, None)
        if value is not None and (name != "min_rows" or value > 1):
            known = getattr(limits, name)
            if known is None or known.value != value:
                changed[name] = Fact(value, f"the {limits.provider} backend", as_of="")
    formats = getattr(capabilities, "formats", None)
    if formats:
        shapes = {m: frozenset(s & frozenset(formats)) for m, s in limits.shapes.items()}
        changed["shapes"] = {m: s for m, s in shapes.items() if s} or limits.shapes
    return replace(limits, **changed) if changed else limits
