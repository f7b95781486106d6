"""The dataset limits of each provider: one dated record each, every number with its source.

Each number was read on the day given beside it. A number whose source is not the provider's own
page is marked `sure=False`. A backend's own `Capabilities` take precedence over this table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

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
    """Row shapes by method: `{"sft": {"chat"}, "dpo": {"preference"}}`."""
    source: str
    as_of: str = _READ
    writes: Mapping[str, str] = field(
        default_factory=lambda: {"chat": "chat", "preference": "preference", "text": "text"}
    )
    """The format to write for each row shape (a name in `FORMATS`)."""
    features: frozenset[str] = frozenset()
    """Of name, weight, tools, images, images in preference rows, reasoning, parallel_tool_calls,
    sample_weight, extra."""
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
    encoding: str | None = None
    """The `tiktoken` encoding of the provider's models, used when the model's name implies none."""
    hides_tokens: bool = False
    """Whether the provider's tokenizer and chat template are private."""

    @property
    def reads_text(self) -> bool:
        """Whether a rule searches the texts of every row, so that no row can skip the rules."""
        return self.reserved_words is not None

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


_O = "developers.openai.com/api/docs/guides (supervised, vision, preference fine-tuning)"
_O_VISION = (
    "developers.openai.com/api/docs/guides/vision-fine-tuning: its base is gpt-4o-2024-08-06"
)
_O_SPEC = "openai/openai-openapi openapi.yaml @f85dbe22 (2026-08-21)"
_O_PARTS = (
    f"{_O_SPEC}: one call takes 512 MB, and larger files go up by parts; "
    "whether they are then trained on is UNCONFIRMED"
)
_O_SPECIAL = "johny-b/llmcomp issue 59 (2026-02-12): a message with <|fim_suffix|> failed the file"
_A = "MicrosoftDocs/azure-ai-docs how-to/fine-tuning.md (2026-10)"
_T = "docs.together.ai/docs/fine-tuning data preparation (2026-08)"
_T_SDK = "together 3.1.1, lib/constants.py"
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
_OPENAI_ROLES = frozenset(("system", "developer", "user", "assistant", "tool"))

_ALL = (
    Limits(
        "openai", "OpenAI", {"sft": _CHAT, "dpo": _PAIRS}, _O,
        features=frozenset(("name", "weight", "tools", "images", "parallel_tool_calls")),
        lacks={"images in preference rows": _O},
        roles=_OPENAI_ROLES,
        min_rows=Fact(10, _O),
        max_file_bytes=Fact(512 << 20, _O_PARTS, sure=False),
        row_tokens=Fact(65_536, "commonly quoted; not on OpenAI's page", sure=False),
        images_per_row=Fact(10, _O),
        image_urls=Fact(("https://", "http://", "data:"), _O),
        max_image_rows=Fact(50_000, _O),
        special_tokens=Fact(True, _O_SPECIAL),
        encoding="o200k_base",
        hides_tokens=True,
    ),
    Limits(
        "azure", "Azure OpenAI", {"sft": _CHAT, "dpo": _PAIRS}, _A,
        features=frozenset(("name", "weight", "tools", "images", "parallel_tool_calls")),
        lacks={"images in preference rows": _A},
        roles=_OPENAI_ROLES,
        min_rows=Fact(10, _A),
        max_file_bytes=Fact(512 << 20, _A),
        row_tokens=Fact(65_536, "commonly quoted; not on the page", sure=False),
        images_per_row=Fact(64, _A),
        image_urls=Fact(("https://", "http://", "data:"), _A),
        max_image_rows=Fact(50_000, _A),
        special_tokens=Fact(True, _O_SPECIAL),
        encoding="o200k_base",
        hides_tokens=True,
    ),
    Limits(
        "together", "Together", {"sft": frozenset(("chat", "text", "tokens")), "dpo": _PAIRS}, _T,
        features=frozenset(("weight", "tools", "images", "images in preference rows", "reasoning",
                            "parallel_tool_calls", "sample_weight")),
        min_rows=Fact(1, _T),
        max_file_bytes=Fact(int(50.1 * 2**30), _T_SDK),
        images_per_row=Fact(10, _T),
        image_urls=Fact(("data:",), _T),
        must_alternate=Fact("user", _T),
        tokens_in=Fact("parquet", _T_SDK),
        one_format=Fact(True, _T),
    ),
    Limits(
        "replicate", "Replicate", {"sft": frozenset(("chat", "text"))},
        "each trainer has its own schema; the known language trainers read text or prompt/completion",
        writes={"chat": "completion", "text": "text"},
        roles=frozenset(("user", "assistant")),
    ),
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
    Limits(
        "nebius", "Nebius Token Factory", {"sft": _CHAT}, "Nebius docs, as quoted 2026-03",
        features=frozenset(("tools", "parallel_tool_calls")),
        max_file_bytes=Fact(5_000_000_000, "Nebius docs, as quoted 2026-03", sure=False),
    ),
    Limits(
        "crusoe", "Crusoe", {"sft": _CHAT}, "docs.crusoecloud.com/serverless-fine-tuning",
        features=frozenset(("tools",)),
        max_file_bytes=Fact(3_000_000_000, "docs.crusoecloud.com/serverless-fine-tuning"),
    ),
    Limits(
        "local", "this machine", {"sft": _CHAT}, "ftsdk's own trainer",
        refuses_long_rows=True,
        features=frozenset(("name", "weight", "tools", "reasoning", "parallel_tool_calls", "extra")),
        roles=_OPENAI_ROLES,
    ),
    Limits(
        "fake", "the fake backend", {"sft": frozenset(("chat", "text")), "dpo": _PAIRS}, "ftsdk's own",
        features=frozenset(("name", "weight", "tools", "images", "images in preference rows", "reasoning",
                            "parallel_tool_calls", "sample_weight", "extra")),
        roles=_OPENAI_ROLES,
    ),
)  # fmt: skip

LIMITS: dict[str, Limits] = {record.provider: record for record in _ALL}
"""The record of each known provider, by the backend's name."""

_MODEL_TOKENS: dict[tuple[str, str], dict[str, Fact]] = {
    ("together", "qwen3.5-9b"): {"sft": Fact(65_536, _T), "dpo": Fact(49_152, _T)},
    ("together", "qwen3.5-4b"): {"sft": Fact(131_072, _T), "dpo": Fact(65_536, _T)},
}
"""Row lengths of single base models, by provider and a part of the model's name."""


def limits_for(provider: str | None, model: str | None = None) -> Limits | None:
    """The limits of a provider for one base model, or None for an unknown provider."""
    name = (model or "").lower()
    if provider == "bedrock" and "claude" in name:
        return LIMITS["bedrock-claude"]
    if provider == "bedrock" and "nova-2-lite" in name:
        nova = LIMITS["bedrock"]
        return replace(nova, features=nova.features | {"reasoning"}, min_rows=Fact(200, _NOVA_2))
    if provider == "openai" and name and ("gpt-4o" not in name or "mini" in name):
        openai = LIMITS["openai"]
        return replace(
            openai,
            features=openai.features - {"images"},
            lacks={**openai.lacks, "images": _O_VISION},
        )
    if provider == "bedrock" and "micro" in name:
        nova = LIMITS["bedrock"]
        return replace(
            nova, features=nova.features - {"images"}, lacks={**nova.lacks, "images": _NOVA}
        )
    known = LIMITS.get(provider) if provider is not None else None
    own = next(
        (rows for (p, part), rows in _MODEL_TOKENS.items() if p == provider and part in name), None
    )
    return known if known is None or own is None else replace(known, row_tokens_by_method=own)


def limits_of_formats(provider: str, formats: Collection[str]) -> Limits:
    """The limits of a provider of which only the accepted formats are known."""
    pairs = frozenset(formats) & _PAIRS
    shapes = {"sft": frozenset(formats) - _PAIRS, "dpo": pairs}
    return Limits(
        provider, provider, {method: taken for method, taken in shapes.items() if taken},
        f"the {provider} backend", as_of="", features=LIMITS["fake"].features, roles=_OPENAI_ROLES,
    )  # fmt: skip
