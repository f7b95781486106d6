"""Whether a model can be trained as asked: `python -m ftsdk.backends.local.compute.examine QUESTION FILE`.

The question is a JSON object, and so is the answer, which is written to the file. It runs in a
process of its own, so that planning a job loads no torch. Only config, headers and tokenizer are
read, never weights.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ftsdk.backends.local.compute.adapters import adapter_faults, grow_embedding, put_adapter
from ftsdk.backends.local.compute.coverage import coverage_of
from ftsdk.backends.local.compute.reload import reload
from ftsdk.backends.local.compute.skeleton import (
    CannotBuild,
    Skeleton,
    build,
    config_of,
    load_headers,
)
from ftsdk.backends.local.fault import Fault
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.types.spec import LoRA

_CAUSAL = "choose a causal language model that transformers knows without code of its own"
_NO_TOKENS = TokenIds()
_AGAIN = "download the model again, or take its config.json and weights from one place"


def examine(
    folder: Path,
    adapter: LoRA | None,
    files: Sequence[Path],
    *,
    headers: bool = True,
    refused: str | None = None,
    tokens: TokenIds = _NO_TOKENS,
) -> dict[str, Any]:
    """Return the faults of the model and of the adapter on it, and what the adapter would cover.

    `files` are the safetensors files. Without `headers` their headers are not compared with the
    config: there are no files yet, or their weights are packed. `refused` is why the trainer refused
    a model of this architecture when it was measured.
    """
    try:
        config = config_of(folder)
        skeleton = load_headers(config, files) if headers else Skeleton(build(config))
    except CannotBuild as error:
        return {"faults": [Fault(str(error), _CAUSAL)], "adapted": None}
    network = skeleton.network
    grow_embedding(network, tokens.rows)
    faults = [
        *_of_kind(config, network, refused),
        *_of_files(skeleton),
        *_of_tokenizer(folder, network),
    ]
    if adapter is None:
        return {"faults": faults, "adapted": None}
    found = adapter_faults(network, adapter)
    faults += [Fault(what, "correct the adapter's settings") for what in found]
    covered = None
    if not found:
        try:
            owner = put_adapter(
                network, adapter, base_name="", revision=None, tokens=tokens, empty=True
            )
            covered = coverage_of(owner).facts()
            faults += _of_reload(owner)
        except Exception as error:  # noqa: BLE001  # whatever peft says against it is the answer
            faults.append(_refused_by_peft(adapter, error))
    return {"faults": faults, "adapted": covered}


def _of_kind(config: Any, network: Any, refused: str | None) -> Iterator[Fault]:
    from transformers import MODEL_FOR_MASKED_LM_MAPPING

    is_masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    looks_ahead = is_masked or any(
        getattr(module, "is_causal", None) is False and "Self" in type(module).__name__
        for module in network.modules()
    )
    decodes = getattr(config, "is_decoder", None) or config.is_encoder_decoder
    if looks_ahead and not decodes:
        yield Fault(
            f"{type(network).__name__} is an encoder ({config.model_type}): each token also sees "
            "the later ones, so the next token cannot be learned",
            _CAUSAL,
        )
    elif refused and not (is_masked and decodes and "later tokens" in refused):
        # What was measured of BERT's family as encoders does not hold for one that is a decoder.
        yield Fault(refused.rstrip("."), _CAUSAL)
    bidirectional = getattr(config.get_text_config(), "use_bidirectional_attention", None)
    if bidirectional in (True, "all"):
        yield Fault(
            "its config asks for attention in both directions, so the next token cannot be learned",
            _CAUSAL,
        )


def _of_files(skeleton: Skeleton) -> Iterator[Fault]:
    if skeleton.missing:
        yield Fault(
            f"its files lack {len(skeleton.missing)} weights ({_few(skeleton.missing)}), which "
            "would be random numbers",
            _AGAIN,
        )
    if skeleton.misfits:
        yield Fault(f"its weights do not fit its config: {_few(skeleton.misfits)}", _AGAIN)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _of_tokenizer(folder: Path, network: Any) -> Iterator[Fault]:
    """A fault for tokens of a conversation that have no row in the embedding.

    Tokens that were added and that no chat template writes (placeholders of images, for instance)
    may be beyond it.
    """
    rows = network.get_input_embeddings().weight.shape[0]
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    tokenizer = json.loads(path.read_bytes())
    added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", ())}
    vocabulary = tokenizer["model"].get("vocab", {})
    if isinstance(vocabulary, dict):
        ids = {text: place for text, place in vocabulary.items() if text not in added}
    else:  # pairs of token and score, in order
        ids = {text: place for place, (text, _) in enumerate(vocabulary) if text not in added}
    written = _template_texts(folder)
    ids |= {text: place for text, place in added.items() if text in written}
    beyond = sorted((place, text) for text, place in ids.items() if place >= rows)
    if beyond:
        yield Fault(
            f"its embedding has {rows:,} rows and its tokenizer uses {beyond[-1][0] + 1:,}: "
            f"{len(beyond)} tokens, such as {beyond[0][1]!r}, have none",
            "resize the embedding with `model.resize_token_embeddings` and save the model again, "
            "or give the tokenizer that belongs to it",
        )


def _template_texts(folder: Path) -> str:
    """The chat template, and the tokens that begin and end a text."""
    jinja, settings = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    texts = [jinja.read_text("utf-8")] if jinja.is_file() else []
    if settings.is_file():
        config = json.loads(settings.read_bytes())
        names = ("chat_template", "bos_token", "eos_token", "pad_token")
        texts += [json.dumps(config.get(name), ensure_ascii=False) for name in names]
    return "".join(texts)


def _of_reload(owner: Any) -> Iterator[Fault]:
    """A fault for an adapter that peft does not load as it was saved."""
    found = str(reload(owner))
    if found:
        yield Fault(
            f"peft {version('peft')} would not load such an adapter as it is saved: {found}",
            "name target_modules without those layers, or try a newer peft",
        )


def _refused_by_peft(adapter: LoRA, error: Exception) -> Fault:
    text = str(error)
    if "lora_dropout" in text:
        return Fault(
            f"dropout={adapter.dropout:g}: an adapter on experts or a router takes no dropout",
            "use dropout=0, or name target_modules outside the experts",
        )
    if kind := re.match(r"Target module (\w+)\(", text):
        return Fault(
            f"target_modules: one of them names a {kind[1]}, and no LoRA fits that",
            "name linear layers only",
        )
    first = text.partition("\n")[0][:300]
    return Fault(f"peft refuses this adapter on it: {first}", "correct the adapter's settings")


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a question as `ftsdk.backends.local.trainability` writes it, for JSON."""
    adapter = None if asked["adapter"] is None else LoRA.model_validate(asked["adapter"])
    files = [Path(name) for name in asked["files"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return examine(
            Path(asked["folder"]),
            adapter,
            files,
            headers=asked["headers"],
            refused=asked["refused"],
            tokens=TokenIds(**{name: tuple(ids) for name, ids in asked["tokens"].items()}),
        )


def main(argv: Sequence[str]) -> int:
    """Write the answer to the question in the first argument to the file named in the second."""
    Path(argv[1]).write_text(json.dumps(answer(json.loads(argv[0]))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
