"""Models with random weights, and rows that they can learn: what needs no network."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = ["red", "green", "blue", "one", "two", "three", "cat", "dog", "bird", "sun", "rain", "snow"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """The model and the rows: at most `words` words a row, `steps` steps of `batch` rows.

    `killed_steps` are those of the run that is killed; `learning_rate` is that of adapters.
    """

    layers: int
    width: int
    heads: int
    words: int
    rows: int
    batch: int
    steps: int
    killed_steps: int
    learning_rate: float


SIZES = {
    "gpu": Size(8, 2048, 16, 400, 64, 8, 60, 120, 2e-3),
    "toy": Size(2, 32, 4, 6, 32, 4, 20, 120, 5e-3),
}


def shape(size: Size, vocabulary: int, **more: Any) -> dict[str, Any]:
    """The settings of a Llama-like config."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": size.width,
        "intermediate_size": 11 * size.width // 4,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads // 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        # Small models need large weights to be moved by an adapter alone.
        "initializer_range": 0.3 if size.width < 256 else 0.02,
        **more,
    }


def rows_of(size: Size) -> list[dict[str, Any]]:
    """Chat rows: say some words backwards."""
    source = random.Random(0)
    made = []
    for _ in range(size.rows):
        words = source.choices(WORDS, k=source.randint(size.words // 2, size.words))
        made.append(
            {
                "messages": [
                    {"role": "user", "content": " ".join(words)},
                    {"role": "assistant", "content": " ".join(reversed(words))},
                ]
            }
        )
    return made


def write_tokenizer(folder: Path) -> int:
    """Write a byte-level tokenizer with ChatML's tokens and template; returns its number of tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS) + " system user assistant\n"] * 20, trainer)
    tokenizer.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return int(tokenizer.get_vocab_size())
