"""Tiny models with random weights: one of each causal architecture of the installed transformers.

`write("qwen3_moe", folder)` writes a complete model folder (weights, tokenizer, chat template) that
loads with `AutoModelForCausalLM`. A config is made from the architecture's own defaults: sizes are
shrunk by the name of their field (`_SMALL`), and what one architecture needs beyond that is in
`_CHANGES`. Windows and chunks are `WINDOW` tokens long, so that short rows already reach past them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.train import tiny

WINDOW = 8
"""Length of every sliding window and attention chunk, in tokens."""

CI = ("llama", "llama4_text", "mistral", "gemma3_text", "gpt2", "qwen3_moe", "mamba", "deepseek_v3")
"""Eight architectures that differ in what they do between tokens; the others are tested with `--long`."""


def _each(value: Any, fields: str) -> dict[str, Any]:
    return dict.fromkeys(fields.split(), value)


_MAX_WEIGHTS = 8_000_000
_LAYERS = 4

_SMALL: Mapping[str, Any] = {
    **_each(1, "bos_token_id decoder_start_token_id sep_token_id"),
    "eos_token_id": 2,
    "pad_token_id": 0,
    **_each(32, "hidden_size d_model n_embd embedding_size emb_dim"),
    **_each(
        64,
        "intermediate_size ffn_hidden_size decoder_ffn_dim encoder_ffn_dim ffn_dim dff dim_ff"
        " n_inner moe_intermediate_size shared_expert_intermediate_size d_inner"
        " shared_intermediate_size intermediate_size_mlp expert_ffn_hidden_size"
        " shared_experts_intermediate_size dense_intermediate_size",
    ),
    **_each(
        _LAYERS,
        "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers"
        " num_decoder_layers num_encoder_layers",
    ),
    **_each(
        4,
        "num_attention_heads n_head n_heads num_heads decoder_attention_heads"
        " encoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads"
        " swa_num_attention_heads linear_num_heads linear_num_value_heads index_n_heads",
    ),
    **_each(2, "num_key_value_heads num_kv_heads swa_num_key_value_heads linear_num_key_heads"),
    **_each(
        8,
        "head_dim swa_head_dim kv_channels qk_rope_head_dim qk_nope_head_dim v_head_dim"
        " linear_key_head_dim linear_value_head_dim linear_head_dim index_head_dim dim_head"
        " rotary_dim mamba_d_head mamba_head_dim mamba_headdim mamba_n_heads mamba_num_heads"
        " n_mamba_heads d_kv swa_v_head_dim global_head_dim",
    ),
    "qk_head_dim": 16,
    **_each(
        16,
        "kv_lora_rank q_lora_rank o_lora_rank state_size mamba_d_state ssm_state_size chunk_size"
        " mamba_chunk_size laurel_rank hidden_size_per_layer_input gated_norm_rank time_step_rank"
        " mamba_dt_rank d_rel loop_gate_rank block_multiple_of",
    ),
    **_each(
        4,
        "num_experts n_routed_experts num_local_experts moe_num_experts num_moe_experts"
        " zero_expert_num",
    ),
    **_each(
        2,
        "num_experts_per_tok num_experts_per_token moe_topk moe_k expert_layer_period attn_layer_period",
    ),
    **_each(
        1,
        "n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group"
        " num_expert_group n_groups mamba_n_groups first_k_dense_replace num_dense_layers"
        " moe_layer_start_index attn_layer_offset expert_layer_offset",
    ),
    **_each(
        WINDOW,
        "sliding_window attention_chunk_size window_size attention_window local_attention"
        " sliding_window_size local_attention_window_len keep_window_size index_topk"
        " attention_window_size rel_extent",
    ),
    **_each(
        512, "max_position_embeddings n_positions n_ctx max_seq_len model_max_length context_length"
    ),
    **_each(
        0.0,
        "attention_dropout hidden_dropout hidden_dropout_prob attention_probs_dropout_prob dropout"
        " activation_dropout classifier_dropout resid_pdrop attn_pdrop embd_pdrop emb_pdrop"
        " layerdrop decoder_layerdrop encoder_layerdrop resid_dropout embed_dropout dropout_p"
        " embedding_dropout residual_dropout router_jitter_noise input_jitter_noise"
        " activation_sparsity",
    ),
    "initializer_range": 0.2,  # large, so that a wrong mask moves the loss
    "init_std": 0.2,
}

_ALWAYS = ("head_dim", "num_key_value_heads")
"""Fields of `_SMALL` that are set even where the default is None."""

_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8}
_HYBRID = ["linear_attention", "full_attention", "linear_attention", "full_attention"]
_QWEN4_INDEX = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}

_CHANGES: Mapping[str, Mapping[str, Any]] = {
    "bamba": {**_MAMBA, "attn_layer_indices": [1, 3]},
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        "encoder_config": {"hidden_size_global": 32},
        "decoder_config": {"hidden_size_global": 32},
    },
    "cohere_compass_text": {
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dory": {
        "layer_types": ["sliding_attention", "mlp", "full_attention", "mlp"] * 2,
        "num_hidden_layers": 8,
        "n_input_layers": 2,
        "n_recurrent_layers": 4,
        "n_output_layers": 2,
    },
    "dots1": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64},
    "dots3_note_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 16,
        "swa_kv_lora_rank": 16,
        "swa_head_dim": 16,
        "swa_qk_nope_head_dim": 8,
        "swa_v_head_dim": 8,
        "n_routed_experts": 4,
    },
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma4_assistant": {
        "text_config": {"model_type": "gemma4_text", "hidden_size_per_layer_input": 0}
    },
    "gemma4_unified_assistant": {"text_config": {"num_kv_shared_layers": _LAYERS}},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granitemoehybrid": {**_MAMBA, "layer_types": _HYBRID},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 8},
    "moshi": {"audio_vocab_size": 64},
    "qwen4_exp_text": _QWEN4_INDEX,
    "qwen4_exp": {"text_config": _QWEN4_INDEX},
    "reformer": {
        "is_decoder": True,
        "axial_pos_shape": [16, 32],
        "axial_pos_embds_dim": [16, 16],
        "attention_head_size": 8,
    },
    "xlstm": {"embedding_dim": 32, "num_blocks": _LAYERS},
    "xmod": {"default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "mamba_dt_rank": 16,
    },
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * 2},
}
"""What an architecture needs beside `_SMALL`; the names of a sub-config stand for themselves."""


VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert, is_decoder": ("bert", {"is_decoder": True}),
    "falcon, alibi": ("falcon", {"alibi": True}),
    "gemma3_text, use_bidirectional_attention": (
        "gemma3_text",
        {"use_bidirectional_attention": True},
    ),
    "llama, dynamic rope": (
        "llama",
        {
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
            "max_position_embeddings": 16,
        },
    ),
    "llama4_text, longer than floor_scale": ("llama4_text", {"floor_scale": WINDOW}),
    "mixtral, output_router_logits": ("mixtral", {"output_router_logits": True}),
    "phi3, longrope": (
        "phi3",
        {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "partial_rotary_factor": 1.0,
                "short_factor": [1.0] * 4,
                "long_factor": [3.0, 5.0, 7.0, 9.0],
                "original_max_position_embeddings": 16,
            },
            "original_max_position_embeddings": 16,
        },
    ),
    "qwen2, use_sliding_window": (
        "qwen2",
        {
            "use_sliding_window": True,
            "layer_types": ["full_attention", "sliding_attention"] * (_LAYERS // 2),
        },
    ),
}
"""Configs that change what an architecture does between tokens: the name to show, and its change."""


class CannotBuild(Exception):
    """transformers cannot make this architecture small, or at all; the message says why."""


def names() -> list[str]:
    """Every architecture that `AutoModelForCausalLM` can load, by `model_type`, and `VARIANTS`; sorted."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted((*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *VARIANTS))


def tiny_config(name: str, vocabulary: int) -> Any:
    """The shrunk config of an architecture or variant. Raises `CannotBuild`."""
    from transformers import CONFIG_MAPPING

    model_type, more = VARIANTS.get(name, (name, {}))
    changes = {**_CHANGES.get(model_type, {}), **more}
    try:
        kind = CONFIG_MAPPING[model_type]
        return kind(**_shrunk(kind, vocabulary, changes))
    except Exception as error:
        raise CannotBuild(f"no small config: {_line(error)}") from error


def _shrunk(kind: Any, vocabulary: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a config class that make it small."""
    sub_changes = {name: changes[name] for name in kind.sub_configs if name in changes}
    own = {name: value for name, value in changes.items() if name not in sub_changes}
    try:
        default = kind()
    except Exception:  # a class without usable defaults: its changes say everything
        default = kind(**own)
    settings: dict[str, Any] = {}
    for name, value in default.to_dict().items():
        if name in ("layer_types", "mlp_layer_types") and value:
            patterns = list(dict.fromkeys(value))
            settings[name] = (patterns * _LAYERS)[:_LAYERS]
        elif "vocab_size" in name and "type" not in name and isinstance(value, int):
            settings[name] = vocabulary
        elif name in _SMALL and (value is not None or name in _ALWAYS):
            settings[name] = type(value)(0) if _SMALL[name] == 0.0 and value == 0 else _SMALL[name]
    for name in kind.sub_configs:
        part = getattr(default, name, None)
        if part is not None:
            small = _shrunk(type(part), vocabulary, sub_changes.get(name, {}))
            settings[name] = {"model_type": part.model_type, **small}
    if "kv_lora_rank" in settings and "num_key_value_heads" in settings:
        settings["num_key_value_heads"] = _SMALL[
            "num_attention_heads"
        ]  # latent attention shares none
    settings.update(own)
    return settings


def build(name: str, vocabulary: int) -> Any:
    """A tiny model of this architecture with random weights. Raises `CannotBuild`."""
    import torch
    from transformers import AutoModelForCausalLM

    config = tiny_config(name, vocabulary)
    try:
        with torch.device("meta"):
            weights = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
        if weights > _MAX_WEIGHTS:
            raise CannotBuild(f"still {weights:,} weights")
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config)
    except CannotBuild:
        raise
    except Exception as error:
        raise CannotBuild(_line(error)) from error


def write(name: str, folder: Path) -> Path:
    """Write a tiny model of this architecture with tokenizer and chat template; returns the folder.

    Raises `CannotBuild`.
    """
    from transformers import CONFIG_MAPPING

    vocabulary = tiny.write_tokenizer(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            model = build(name, vocabulary)
            model.save_pretrained(folder)
            if model.config.model_type not in names():  # the text part of a larger model
                CONFIG_MAPPING[name](text_config=model.config.to_dict()).save_pretrained(folder)
        finally:
            logging.disable(before)
    return folder


def _line(error: Exception) -> str:
    """An error as one line without repeated spaces, at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
