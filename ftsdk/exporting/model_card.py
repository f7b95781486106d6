"""The model card, `README.md`: what the hub reads, and what a person wants to know first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ftsdk.types.export import Agreement, MergeLoss
from ftsdk.types.portability import Portability
from ftsdk.util.names import plural

_RELATIONS = {"adapter": "adapter", "gguf-adapter": "adapter", "merged": "finetune"}
_LIBRARIES = {"adapter": "peft", "merged": "transformers"}
_USED = {
    "sft": "supervised fine-tuning",
    "dpo": "direct preference optimization",
    "orpo": "odds-ratio preference optimization",
    "kto": "Kahneman-Tversky optimization",
    "text": "continued pretraining on plain text",
}


def model_card(
    passport: Mapping[str, Any],
    *,
    name: str,
    agreement: Agreement | None,
    merge_loss: MergeLoss | None,
    portability: Sequence[Portability],
    commands: Sequence[str],
) -> str:
    """The text of the card, with its YAML header."""
    header = _header(passport, name)
    parts = [
        f"---\n{header}---\n",
        f"# {name}\n",
        _what(passport),
        _table("How it was trained", _training(passport)),
        _table("What was measured", _measured(passport, agreement, merge_loss)),
        _portability(portability),
        _commands(commands),
        "Made with ftsdk; `ftsdk.json` beside this file has every setting and version.\n",
    ]
    return "\n".join(part for part in parts if part)


def _header(passport: Mapping[str, Any], name: str) -> str:
    from huggingface_hub import ModelCardData

    base, target = passport["base_model"], passport["export"]["target"]
    quantized = target in ("gguf", "ollama")
    data = ModelCardData(
        base_model=base.get("published_as"),
        base_model_relation="quantized" if quantized else _RELATIONS.get(target),
        library_name=_LIBRARIES.get(target),
        license=base.get("license"),
        pipeline_tag="text-generation",
        tags=sorted(
            {"ftsdk", str(passport.get("method") or "sft"), *(["gguf"] if quantized else [])}
        ),
        model_name=name,
    )
    return str(data.to_yaml()) + "\n"


def _what(passport: Mapping[str, Any]) -> str:
    base = passport["base_model"]
    method = str(passport.get("method") or "sft")
    adapter = passport.get("adapter")
    kind = "all weights" if adapter is None else f"a LoRA of rank {adapter.get('rank')}"
    if adapter and adapter.get("quantize"):
        kind += f" on a base packed to {adapter['quantize'].upper()}"
    named = base.get("published_as") or base.get("name") or "a model that is not named"
    lines = [f"{_USED.get(method, method).capitalize()} of {named}, {kind}."]
    if base.get("unpacked"):
        lines.append(f"Note: {base['unpacked']}.")
    return " ".join(lines) + "\n"


def _training(passport: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    settings = passport.get("hyperparameters") or {}
    data = passport.get("job", {}).get("dataset") or {}
    yield "rows", data.get("rows")
    yield "SHA-256 of the data", data.get("sha256")
    yield "steps", passport.get("steps")
    yield "tokens", passport.get("trained_tokens")
    for name in ("learning_rate", "batch_size", "schedule", "max_length"):
        yield name, settings.get(name)
    yield "trained on", passport.get("trained_on")
    yield "SHA-256 of the chat template", passport.get("chat_template_sha256")


def _measured(
    passport: Mapping[str, Any], agreement: Agreement | None, merge_loss: MergeLoss | None
) -> Iterable[tuple[str, Any]]:
    yield "loss at the end", _short(passport.get("train_loss"))
    yield "validation loss", _short(passport.get("validation_loss"))
    if agreement is not None:
        yield (
            f"greedy answers equal to the trained model's, in {agreement.runtime}",
            f"{agreement.same} of {agreement.probes}",
        )
    if merge_loss is not None:
        yield (
            "rounding error of the merged weights, as a share of the trained change",
            f"{merge_loss.median:.3f} (median of {merge_loss.layers} layers)",
        )


def _short(value: Any) -> str | None:
    return None if value is None else f"{value:.4g}"


def _table(title: str, entries: Iterable[tuple[str, Any]]) -> str:
    known = [(name, value) for name, value in entries if value is not None]
    if not known:
        return ""
    lines = [f"| {name} | {value} |" for name, value in known]
    return "\n".join([f"## {title}\n", "| | |", "|---|---|", *lines]) + "\n"


def _portability(verdicts: Sequence[Portability]) -> str:
    if not verdicts:
        return ""
    lines = ["## Where it can be used\n", "| | |", "|---|---|"]
    for one in verdicts:
        said = "; ".join(["yes", *one.notes] if one.ok else [p.what for p in one.problems])
        lines.append(f"| {one.target} | {said} |")
    return "\n".join(lines) + "\n"


def _commands(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    shown = "\n".join(commands)
    title = f"## {plural(len(commands), 'way')} to start it\n"
    return f"{title}\n```console\n{shown}\n```\n"
