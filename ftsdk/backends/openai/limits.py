"""The dataset limits of OpenAI and of the services that speak its fine-tuning API."""

from __future__ import annotations

from dataclasses import replace

from ftsdk.dataset.provider_limits import OPENAI_ROLES, Fact, Limits

_GUIDES = "developers.openai.com/api/docs/guides (supervised, vision, preference fine-tuning)"
_VISION = "developers.openai.com/api/docs/guides/vision-fine-tuning: its base is gpt-4o-2024-08-06"
_SPEC = "openai/openai-openapi openapi.yaml @f85dbe22 (2026-08-21)"
_PARTS = (
    f"{_SPEC}: one call takes 512 MB, and larger files go up by parts; "
    "whether they are then trained on is UNCONFIRMED"
)
_SPECIAL = "johny-b/llmcomp issue 59 (2026-02-12): a message with <|fim_suffix|> failed the file"
_AZURE = "MicrosoftDocs/azure-ai-docs how-to/fine-tuning.md (2026-10)"

# `functions` is deprecated in the row's schema there, and read; `refusal` and `audio` are in it, too.
_FEATURES = frozenset(
    ("name", "weight", "tools", "images", "parallel_tool_calls", "functions", "refusal", "audio")
)

_CHAT = frozenset(("chat",))
_PAIRS = frozenset(("preference",))

OPENAI = Limits(
    "openai", "OpenAI", {"sft": _CHAT, "dpo": _PAIRS}, _GUIDES,
    features=_FEATURES,
    lacks={"images in preference rows": _GUIDES},
    roles=OPENAI_ROLES,
    min_rows=Fact(10, _GUIDES),
    max_file_bytes=Fact(512 << 20, _PARTS, sure=False),
    row_tokens=Fact(65_536, "commonly quoted; not on OpenAI's page", sure=False),
    images_per_row=Fact(10, _GUIDES),
    image_urls=Fact(("https://", "http://", "data:"), _GUIDES),
    max_image_rows=Fact(50_000, _GUIDES),
    special_tokens=Fact(True, _SPECIAL),
    encoding="o200k_base",
    hides_tokens=True,
)  # fmt: skip

AZURE = Limits(
    "azure", "Azure OpenAI", {"sft": _CHAT, "dpo": _PAIRS}, _AZURE,
    features=_FEATURES,
    lacks={"images in preference rows": _AZURE},
    roles=OPENAI_ROLES,
    min_rows=Fact(10, _AZURE),
    max_file_bytes=Fact(512 << 20, _AZURE),
    row_tokens=Fact(65_536, "commonly quoted; not on the page", sure=False),
    images_per_row=Fact(64, _AZURE),
    image_urls=Fact(("https://", "http://", "data:"), _AZURE),
    max_image_rows=Fact(50_000, _AZURE),
    special_tokens=Fact(True, _SPECIAL),
    encoding="o200k_base",
    hides_tokens=True,
)  # fmt: skip

NEBIUS = Limits(
    "nebius", "Nebius Token Factory", {"sft": _CHAT}, "Nebius docs, as quoted 2026-03",
    features=frozenset(("tools", "parallel_tool_calls")),
    max_file_bytes=Fact(5_000_000_000, "Nebius docs, as quoted 2026-03", sure=False),
)  # fmt: skip

CRUSOE = Limits(
    "crusoe", "Crusoe", {"sft": _CHAT}, "docs.crusoecloud.com/serverless-fine-tuning",
    features=frozenset(("tools",)),
    max_file_bytes=Fact(3_000_000_000, "docs.crusoecloud.com/serverless-fine-tuning"),
)  # fmt: skip


def for_model(limits: Limits, model: str | None) -> Limits:
    """Return the limits for one base model: OpenAI tunes on images with gpt-4o alone."""
    name = (model or "").lower()
    if limits is OPENAI and name and ("gpt-4o" not in name or "mini" in name):
        return replace(
            limits,
            features=limits.features - {"images"},
            lacks={**limits.lacks, "images": _VISION},
        )
    return limits
