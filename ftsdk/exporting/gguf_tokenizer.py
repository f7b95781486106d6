"""The tokenizer of a model as a GGUF file holds it.

llama.cpp splits text before BPE by a rule that the file only names. A wrong name splits otherwise,
without an error. So the rule is found by what the tokenizer's own file says, an unknown one is
refused, and a llama.cpp runtime is asked to tokenize, where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.errors import Unsupported

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_KNOWN_SPLITS: Mapping[tuple[str, ...], str] = {
    ("ByteLevel:regex",): "gpt-2",
    ("Digits:each", "ByteLevel:regex"): "smollm",
    (f"Split:{_LLAMA3}", "ByteLevel"): "llama-bpe",
    (f"Split:{_QWEN2}", "ByteLevel"): "qwen2",
}
"""What a tokenizer does before BPE, step by step, and llama.cpp's name for it."""

_CONVERT = (
    "export it merged and run llama.cpp's convert_hf_to_gguf.py on the folder, which knows more "
    "tokenizers"
)


@dataclass(frozen=True)
class GgufVocabulary:
    """Tokens in the order of their ids, with llama.cpp's type of each, and the merges of BPE."""

    pre: str
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]


def read_vocabulary(folder: Path, size: int) -> GgufVocabulary:
    """The vocabulary of the tokenizer in `folder`, filled up to `size` tokens.

    Raises `Unsupported` for a tokenizer that is not byte-level BPE, or that splits text by a rule that
    has no known name in llama.cpp.
    """
    path = folder / "tokenizer.json"
    written: dict[str, Any] = json.loads(path.read_bytes())
    if written["model"].get("type") != "BPE" or written["model"].get("byte_fallback"):
        raise Unsupported(
            "The tokenizer is not byte-level BPE, and ftsdk writes no other as GGUF",
            where=str(path),
            hint=_CONVERT,
        )
    pre = _KNOWN_SPLITS.get(_splits(written.get("pre_tokenizer")))
    if pre is None or (written.get("normalizer") or {"type": "NFC"}).get("type") != "NFC":
        raise Unsupported(
            "llama.cpp has no known name for how this tokenizer splits text",
            where=str(path),
            hint=_CONVERT,
        )
    return _vocabulary(written, size, pre)


def _splits(pre_tokenizer: Mapping[str, Any] | None) -> tuple[str, ...]:
    if pre_tokenizer is None:
        return ()
    parts = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return tuple(_split(part) for part in parts)


def _split(part: Mapping[str, Any]) -> str:
    kind = str(part["type"])
    if kind == "ByteLevel":
        if part.get("add_prefix_space"):
            return "ByteLevel:prefix"
        return "ByteLevel:regex" if part.get("use_regex", True) else "ByteLevel"
    if kind == "Digits":
        return "Digits:each" if part.get("individual_digits") else "Digits"
    if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
        return f"Split:{part['pattern'].get('Regex')}"
    return json.dumps(part, sort_keys=True)


def _vocabulary(written: Mapping[str, Any], size: int, pre: str) -> GgufVocabulary:
    from gguf import TokenType

    tokens = [f"[PAD{place}]" for place in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for token, place in written["model"]["vocab"].items():
        tokens[place], types[place] = token, int(TokenType.NORMAL)
    for added in written.get("added_tokens", ()):
        kind = TokenType.CONTROL if added.get("special") else TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    merges = [m if isinstance(m, str) else " ".join(m) for m in written["model"].get("merges", ())]
    return GgufVocabulary(pre, tokens, types, merges)
