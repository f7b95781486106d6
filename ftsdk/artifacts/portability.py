"""What programs and providers accept of an adapter or a merged model, rule by rule.

Each rule is known from the program's code or the provider's documentation, at the release that
`source` names. A rule reads a few facts, which are known before training (from a job's LoRA) and
after it (from the adapter's config), so a plan and an export give the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ftsdk.types.portability import Portability, PortabilityProblem, WeightsForm
from ftsdk.types.spec import LoRA

GGUF_MODEL_TYPES = ("llama", "qwen2", "qwen3")
"""Architectures that ftsdk writes as GGUF."""

_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_FIREWORKS_MODULES = frozenset(
    {
        "q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "w1", "down_proj", "w2", "gate_proj", "w3",
        "block_sparse_moe.gate",
    }
)  # fmt: skip
_BEDROCK_MODEL_TYPES = frozenset({"llama", "mistral", "mixtral", "t5"})


@dataclass(frozen=True)
class ModelFacts:
    """What the rules read. `targets` is empty where the modules are not known, as is `model_type`.

    `token_rows`: rows of the embedding are trained; `experts`: an adapter on stacked experts.
    """

    model_type: str = ""
    hub_id: str | None = None
    rank: int | None = None
    alpha: float | None = None
    targets: tuple[str, ...] = ()
    use_rslora: bool = False
    use_dora: bool = False
    modules_to_save: tuple[str, ...] = ()
    token_rows: bool = False
    added_tokens: tuple[str, ...] = ()
    patterns: bool = False
    experts: bool = False
    license: str | None = None
    unpacked: str | None = None
    """Why the base that was trained on is not the published one, if so."""

    @property
    def is_adapter(self) -> bool:
        """True for an adapter, False for a model whose weights were all trained."""
        return self.rank is not None

    @classmethod
    def of_lora(cls, adapter: LoRA | None, *, model_type: str = "", hub_id: str | None = None,
                added_tokens: Sequence[str] = ()) -> Self:  # fmt: skip
        """The facts of a job that is planned."""
        if adapter is None:
            return cls(model_type=model_type, hub_id=hub_id, added_tokens=tuple(added_tokens))
        targets = adapter.target_modules
        return cls(
            model_type=model_type,
            hub_id=hub_id,
            rank=adapter.rank,
            alpha=adapter.alpha,
            targets=() if isinstance(targets, str) else targets,
            use_rslora=adapter.use_rslora,
            use_dora=adapter.use_dora,
            modules_to_save=adapter.modules_to_save,
            token_rows=bool(adapter.trainable_token_indices) or bool(added_tokens),
            added_tokens=tuple(added_tokens),
        )

    @classmethod
    def of_config(cls, config: Mapping[str, Any] | None, *, model_type: str = "",
                  hub_id: str | None = None, added_tokens: Sequence[str] = (),
                  license: str | None = None, unpacked: str | None = None) -> Self:  # fmt: skip  # noqa: A002  # the word of model cards
        """The facts of a result, from its `adapter_config.json`; None for a whole model."""
        common: dict[str, Any] = {
            "model_type": model_type,
            "hub_id": hub_id,
            "added_tokens": tuple(added_tokens),
            "license": license,
            "unpacked": unpacked,
        }
        if config is None:
            return cls(**common)
        targets = config.get("target_modules") or ()
        return cls(
            **common,
            rank=int(config.get("r") or 0),
            alpha=config.get("lora_alpha"),
            targets=() if isinstance(targets, str) else tuple(targets),
            use_rslora=bool(config.get("use_rslora")),
            use_dora=bool(config.get("use_dora")),
            modules_to_save=tuple(config.get("modules_to_save") or ()),
            token_rows=bool(config.get("trainable_token_indices")),
            patterns=bool(config.get("rank_pattern") or config.get("alpha_pattern")),
            experts=bool(config.get("target_parameters")),
        )


def check_portability(
    facts: ModelFacts, targets: Sequence[str] | None = None
) -> tuple[Portability, ...]:
    """What each target (all by default) does with the model, in the forms that it can have.

    Raises `KeyError` for an unknown target.
    """
    found = []
    for name in targets or TARGETS:
        rules = TARGETS[name]
        for form, check in rules.checks.items():
            if form == "adapter" and not facts.is_adapter:
                continue
            problems = tuple(PortabilityProblem(what=what, fix=fix) for what, fix in check(facts))
            notes = tuple(rules.notes(facts, form))
            found.append(
                Portability(
                    target=name, form=form, problems=problems, notes=notes, source=rules.source
                )
            )
    return tuple(found)


def adapter_warning(facts: ModelFacts) -> str | None:
    """One line about the programs that will not take the adapter as it is; None where all take it.

    For a plan: what follows from the settings of the job, not from what is not known yet.
    """
    reasons: dict[str, list[str]] = {}
    for one in check_portability(facts, ["vllm", "sglang", "llama.cpp", "together", "fireworks"]):
        if one.form == "adapter" and one.problems:
            reasons.setdefault(one.problems[0].what, []).append(one.target)
    if not reasons:
        return None
    said = "; ".join(f"{' and '.join(names)}: {what}" for what, names in reasons.items())
    return f"the adapter will not work everywhere ({said}); ftsdk export writes it merged"


# --- rules ------------------------------------------------------------------------------------

_Found = Iterator[tuple[str, str]]
_MERGE = "export it merged"


def _unmergeable_parts(facts: ModelFacts, refuses: str) -> _Found:
    """Yield what most programs that load adapters do not load, in the words of each."""
    if facts.modules_to_save:
        yield f"modules_to_save ({', '.join(facts.modules_to_save)}) {refuses}", _MERGE
    if facts.added_tokens:
        yield f"new tokens ({', '.join(facts.added_tokens)}) {refuses}", _MERGE
    elif facts.token_rows:
        yield f"trained rows of the embedding {refuses}", _MERGE


def _vllm_adapter(facts: ModelFacts) -> _Found:
    if facts.use_dora:
        yield "DoRA is refused", _MERGE
    if facts.rank and facts.rank > _VLLM_RANKS[-1]:
        yield f"rank {facts.rank} is above its largest, {_VLLM_RANKS[-1]}", _MERGE
    yield from _unmergeable_parts(facts, "are refused")


def _sglang_adapter(facts: ModelFacts) -> _Found:
    if facts.use_dora:
        yield "DoRA is refused", _MERGE
    if facts.use_rslora:
        yield (
            "use_rslora is not read, and the adapter would be scaled wrongly without an error",
            "export the adapter, which folds the scale into alpha or the weights",
        )
    if facts.patterns:
        yield "rank_pattern and alpha_pattern are not read, without an error", _MERGE
    yield from _unmergeable_parts(facts, "are refused, or left out without an error")


def _llama_cpp_adapter(facts: ModelFacts) -> _Found:
    yield from _gguf_architecture(facts)
    if facts.use_dora:
        yield "DoRA has no form in an adapter GGUF", "export the merged model as GGUF"
    if facts.experts:
        yield "an adapter on stacked experts is not written", "export the merged model as GGUF"
    for what, _ in _unmergeable_parts(facts, "have no form in an adapter GGUF"):
        yield what, "export the merged model as GGUF"


def _gguf_architecture(facts: ModelFacts) -> _Found:
    if facts.model_type and facts.model_type not in GGUF_MODEL_TYPES:
        yield (
            f"ftsdk writes GGUF for {', '.join(GGUF_MODEL_TYPES)}, not for {facts.model_type}",
            "export it merged and run llama.cpp's convert_hf_to_gguf.py on the folder",
        )


def _nothing(_facts: ModelFacts) -> _Found:
    yield from ()


def _together_adapter(facts: ModelFacts) -> _Found:
    if facts.use_dora:
        yield "DoRA vectors are not among what it documents", "deploy it elsewhere, merged"
    yield from _unmergeable_parts(facts, "are not among what it documents")


def _fireworks_adapter(facts: ModelFacts) -> _Found:
    if facts.rank is not None and not 4 <= facts.rank <= 64:
        yield f"rank {facts.rank} is outside 4 to 64", "train with a rank from 4 to 64"
    for name, given in (("use_rslora", facts.use_rslora), ("use_dora", facts.use_dora)):
        if given:
            yield f"{name} is ignored, and the answers would be others", _MERGE
    if facts.patterns:
        yield "rank_pattern and alpha_pattern are ignored", _MERGE
    other = sorted(set(facts.targets) - _FIREWORKS_MODULES)
    if other:
        yield f"target_modules {', '.join(other)} are not taken", _MERGE
    yield from _unmergeable_parts(facts, "are ignored")


def _hub_adapter(facts: ModelFacts) -> _Found:
    if facts.hub_id is None:
        yield (
            "its base model is a folder here that others do not have",
            "export it merged, or name the base's id on the hub with --base-id",
        )


def _no_notes(_facts: ModelFacts, _form: WeightsForm) -> Iterator[str]:
    yield from ()


def _vllm_notes(facts: ModelFacts, form: WeightsForm) -> Iterator[str]:
    if form == "adapter" and facts.rank and facts.rank > 16:
        yield f"start it with --max-lora-rank {vllm_rank(facts.rank)}; its default is 16"
    yield "name the chat template of the result with --chat-template"


def _hub_notes(facts: ModelFacts, form: WeightsForm) -> Iterator[str]:
    if facts.unpacked and form == "adapter":
        yield facts.unpacked
    if facts.license is None:
        yield "the licence of the base is not known; the model card leaves it open"


def _base_notes(facts: ModelFacts, form: WeightsForm) -> Iterator[str]:
    if facts.unpacked and form == "adapter":
        yield facts.unpacked


def _provider_notes(what: str) -> Callable[[ModelFacts, WeightsForm], Iterator[str]]:
    def notes(facts: ModelFacts, form: WeightsForm) -> Iterator[str]:
        yield what
        yield from _base_notes(facts, form)

    return notes


def _bedrock_notes(facts: ModelFacts, _form: WeightsForm) -> Iterator[str]:
    if facts.model_type and facts.model_type not in _BEDROCK_MODEL_TYPES:
        yield f"whether {facts.model_type} models are imported is not confirmed"


def _ollama_notes(_facts: ModelFacts, form: WeightsForm) -> Iterator[str]:
    yield "needs Ollama 0.30.0 or newer, which renders the GGUF's own chat template"
    if form == "adapter":
        yield "it takes one adapter beside a base as GGUF"


def vllm_rank(rank: int) -> int:
    """The value of --max-lora-rank for an adapter of this rank."""
    return next((one for one in _VLLM_RANKS if one >= rank), rank)


@dataclass(frozen=True)
class _Rules:
    source: str
    checks: Mapping[WeightsForm, Callable[[ModelFacts], _Found]]
    notes: Callable[[ModelFacts, WeightsForm], Iterator[str]] = _no_notes


TARGETS: Mapping[str, _Rules] = {
    "vllm": _Rules(
        "vLLM 0.33.0, lora/peft_helper.py",
        {"adapter": _vllm_adapter, "merged": _nothing},
        _vllm_notes,
    ),
    "sglang": _Rules(
        "SGLang 0.5.23, srt/lora",
        {"adapter": _sglang_adapter, "merged": _nothing},
        _base_notes,
    ),
    "llama.cpp": _Rules(
        "llama.cpp b10605, convert_lora_to_gguf.py",
        {"adapter": _llama_cpp_adapter, "merged": _gguf_architecture},
        _base_notes,
    ),
    "ollama": _Rules(
        "Ollama, code of 2026-08-21",
        {"adapter": _llama_cpp_adapter, "merged": _gguf_architecture},
        _ollama_notes,
    ),
    "together": _Rules(
        "docs.together.ai, dedicated-endpoints/adapter",
        {"adapter": _together_adapter},
        _provider_notes("the base must be one that Together serves on dedicated endpoints"),
    ),
    "fireworks": _Rules(
        "docs.fireworks.ai, fine-tuned-import",
        {"adapter": _fireworks_adapter, "merged": _nothing},
        _provider_notes("the base must be one that Fireworks has"),
    ),
    "bedrock": _Rules(
        "AWS, Bedrock Custom Model Import",
        {"merged": _nothing},
        _bedrock_notes,
    ),
    "hub": _Rules(
        "huggingface_hub 2.4.0",
        {"adapter": _hub_adapter, "merged": _nothing},
        _hub_notes,
    ),
}
"""The rules of each target, by its name."""


def folded_alpha(rank: int, alpha: float) -> float:
    """The alpha that scales a plain LoRA as rsLoRA scales one: alpha/√rank = folded/rank."""
    return alpha * math.sqrt(rank)
