"""The dataset limits of Together, and the row lengths of single base models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ftsdk.dataset.provider_limits import Fact, Limits

_DOCS = "docs.together.ai/docs/fine-tuning data preparation (2026-08)"
_SDK = "together 3.1.1, lib/constants.py"
_PAIRS = frozenset(("preference",))

LIMITS = Limits(
    "together", "Together", {"sft": frozenset(("chat", "text", "tokens")), "dpo": _PAIRS}, _DOCS,
    features=frozenset(("weight", "tools", "images", "images in preference rows", "reasoning",
                        "parallel_tool_calls", "sample_weight")),
    min_rows=Fact(1, _DOCS),
    max_file_bytes=Fact(int(50.1 * 2**30), _SDK),
    images_per_row=Fact(10, _DOCS),
    image_urls=Fact(("data:",), _DOCS),
    must_alternate=Fact("user", _DOCS),
    tokens_in=Fact("parquet", _SDK),
    one_format=Fact(True, _DOCS),
)  # fmt: skip

_ROW_TOKENS: Mapping[str, Mapping[str, Fact]] = {
    "qwen3.5-9b": {"sft": Fact(65_536, _DOCS), "dpo": Fact(49_152, _DOCS)},
    "qwen3.5-4b": {"sft": Fact(131_072, _DOCS), "dpo": Fact(65_536, _DOCS)},
}
"""The longest rows in tokens by training method, for a part of the model's name."""


def for_model(model: str | None) -> Limits:
    """Return the limits for one base model."""
    name = (model or "").lower()
    own = next((tokens for part, tokens in _ROW_TOKENS.items() if part in name), None)
    return LIMITS if own is None else replace(LIMITS, row_tokens_by_method=own)
