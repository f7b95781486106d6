"""The model that is trained: base weights, adapter, attention over rows laid end to end.

Rows need no padding: linear layers see one long row of tokens, and attention looks at each row
alone (`flat_attention`). Whether a model can be run so is not believed but tried once, on two
short rows, when it is loaded; one that cannot is fed row by row, which is always right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.training.batches import FlatBatch
from ftsdk.backends.local.training.hardware import Hardware

if TYPE_CHECKING:
    import torch

__all__ = ["LoadedModel", "adapter_config", "load_for_training"]

ATTENTION = "ftsdk_flat"
PROBE_TOLERANCE = 0.05
"""Largest allowed difference of the probe's log-probabilities, in nats; bf16 itself makes 0.01."""


@dataclass(frozen=True)
class LoadedModel:
    """`network` computes, `owner` saves (the peft wrapper, or the network itself).

    `flat` is True when several rows may be laid end to end; `plain_head` when the logits are the
    last hidden states times the head and nothing else.
    """

    network: Any
    owner: Any
    flat: bool
    plain_head: bool
    facts: Mapping[str, Any]

    def loss_sum(self, batch: FlatBatch) -> torch.Tensor:
        """Summed cross-entropy, in nats, of the batch's trained tokens; a float32 scalar."""
        from torch.nn.functional import cross_entropy

        if self.plain_head:
            from ftsdk.backends.local.training.chunked_loss import head_loss

            head = self.network.get_output_embeddings()
            return head_loss(self.hidden(batch), head.weight, head.bias, batch.targets)
        logits = self.logits(batch)
        return cross_entropy(logits.float(), batch.targets, reduction="sum")

    def hidden(self, batch: FlatBatch) -> torch.Tensor:
        """Last hidden states where the next token is trained, [trained, d]."""
        output = self.network.get_decoder()(
            input_ids=batch.ids,
            position_ids=batch.positions,
            attention_mask=None,
            use_cache=False,
            row_lengths=batch.lengths,
        )
        states: torch.Tensor = output.last_hidden_state[0]
        return states.index_select(0, batch.keep)

    def logits(self, batch: FlatBatch) -> torch.Tensor:
        """The model's own logits where the next token is trained, [trained, vocabulary]."""
        output = self.network(
            input_ids=batch.ids,
            position_ids=batch.positions,
            attention_mask=None,
            use_cache=False,
            logits_to_keep=batch.keep,
            row_lengths=batch.lengths,
        )
        logits: torch.Tensor = output.logits[0]
        return logits


def load_for_training(spec: Mapping[str, Any], hardware: Hardware) -> LoadedModel:
    """Load the base model of the spec, put the adapter in, and try the fast way of running it."""
    network = _load_base(Path(spec["base_model"]["path"]), spec["adapter"], hardware)
    network.config.use_cache = False
    adapter = spec["adapter"]
    linear_bytes = _linear_bytes(network)
    if adapter is None:
        owner = network
        network.requires_grad_(True)
    else:
        owner = _with_adapter(network, adapter, spec, hardware)
        from ftsdk.backends.local.training.fused_lora import fuse_adapters

        fuse_adapters(owner)
    flat = _use_flat_attention(network, hardware)
    trainable = sum(p.numel() for p in owner.parameters() if p.requires_grad)
    facts = {
        "parameters": _parameter_count(network),
        "trainable_parameters": trainable,
        "linear_weight_bytes": linear_bytes,
        "flat_batches": flat,
    }
    plain_head = _has_plain_head(network, hardware)
    if spec["options"].get("gradient_checkpointing"):
        # Without a gradient of its input a block would drop the graph; this kind keeps it.
        network.gradient_checkpointing_enable({"use_reentrant": False})
    network.train()
    return LoadedModel(network, owner, flat, plain_head, facts)


def adapter_config(adapter: Mapping[str, Any], base_model: Mapping[str, Any]) -> Any:
    """The adapter as peft describes it; the base is named by its hub id or short name."""
    from peft import LoraConfig, TaskType

    targets = adapter["target_modules"]
    return LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=adapter["rank"],
        lora_alpha=adapter["alpha"],
        lora_dropout=adapter["dropout"],
        target_modules=targets if isinstance(targets, str) else list(targets),
        base_model_name_or_path=base_model["name"],
        revision=base_model.get("revision"),
        bias="none",
    )


def _load_base(path: Path, adapter: Mapping[str, Any] | None, hardware: Hardware) -> Any:
    from transformers import AutoModelForCausalLM

    arguments: dict[str, Any] = {
        "dtype": hardware.dtype,
        "trust_remote_code": False,
        "use_safetensors": True,
        "local_files_only": True,
    }
    if adapter and adapter.get("quantize") == "nf4":
        from transformers import BitsAndBytesConfig

        arguments["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # theirs
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=hardware.dtype,
        )
        arguments["device_map"] = {"": hardware.device}
        quantized = AutoModelForCausalLM.from_pretrained(path, **arguments)
        for module in quantized.modules():
            # At the first look without gradients bitsandbytes would repack the weights of a
            # processor for inference, under the feet of the training.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                vars(module)["support_avx512bf16_for_cpu"] = False
        return quantized
    model: Any = AutoModelForCausalLM.from_pretrained(path, **arguments)
    return model.to(hardware.device)


def _with_adapter(
    network: Any, adapter: Mapping[str, Any], spec: Mapping[str, Any], hardware: Hardware
) -> Any:
    from peft import get_peft_model

    network.requires_grad_(False)
    owner = get_peft_model(
        network, adapter_config(adapter, spec["base_model"]), autocast_adapter_dtype=False
    )
    for parameter in owner.parameters():
        # The optimizer keeps a float32 master of each; the copy that computes has the base's
        # format, so that no cast stands between the two.
        if parameter.requires_grad:
            parameter.data = parameter.data.to(hardware.dtype)
    return owner


def _parameter_count(network: Any) -> int:
    """Weights of the base model, a packed 4-bit weight counted as what it stands for."""
    total = 0
    for name, parameter in network.named_parameters():
        if "lora_" not in name:
            state = getattr(parameter, "quant_state", None)
            total += state.shape.numel() if state is not None else parameter.numel()
    return total


def _linear_bytes(network: Any) -> int:
    """Bytes of the linear layers' weights inside the transformer blocks, as they lie in memory.

    Quantization constants count; embeddings and the output head, which stay as they are, do not.
    """
    import torch

    head = network.get_output_embeddings()
    total = 0
    for module in network.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            weight = module.weight
            total += weight.numel() * weight.element_size()
            state = getattr(weight, "quant_state", None)
            if state is not None:
                total += state.absmax.numel() * state.absmax.element_size()
                nested = getattr(state, "state2", None)
                if nested is not None:
                    total += nested.absmax.numel() * nested.absmax.element_size()
    return total


# --- attention over rows laid end to end --------------------------------------------------------


def _use_flat_attention(network: Any, hardware: Hardware) -> bool:
    """Switch the model to `flat_attention` if it gives what the model itself gives."""
    from transformers import AttentionInterface

    from ftsdk.backends.local.training.packed_attention import flat_attention

    before = network.config._attn_implementation
    AttentionInterface.register(ATTENTION, flat_attention)
    network.eval()
    lengths = (9, 6)
    alone = [_probe(network, [length], hardware) for length in lengths]
    try:
        network.set_attn_implementation(ATTENTION)
        together = _probe(network, lengths, hardware)
    except (TypeError, ValueError, NotImplementedError, RuntimeError, AttributeError, KeyError):
        network.set_attn_implementation(before)
        return False
    import torch

    if float((torch.cat(alone) - together).abs().max()) > PROBE_TOLERANCE:
        network.set_attn_implementation(before)
        return False
    return True


def _has_plain_head(network: Any, hardware: Hardware) -> bool:
    """True when hidden states times the head give the very logits of the model."""
    import torch

    head = network.get_output_embeddings()
    if type(head) is not torch.nn.Linear:
        return False
    model = LoadedModel(network, network, flat=False, plain_head=False, facts={})
    batch = _probe_batch(network, [9], hardware)
    try:
        with torch.no_grad():
            return torch.equal(head(model.hidden(batch)), model.logits(batch))
    except (TypeError, AttributeError):  # no decoder of its own, or other arguments
        return False


def _probe(network: Any, lengths: Sequence[int], hardware: Hardware) -> torch.Tensor:
    """Log-probabilities of each next token, [tokens of all rows but the first of each]."""
    import torch

    batch = _probe_batch(network, lengths, hardware)
    model = LoadedModel(network, network, flat=True, plain_head=False, facts={})
    with torch.no_grad():
        scores = model.logits(batch).float().log_softmax(-1)
        return scores.gather(1, batch.targets[:, None])[:, 0]


def _probe_batch(network: Any, lengths: Sequence[int], hardware: Hardware) -> FlatBatch:
    """Rows of these lengths, each with tokens that depend on its length alone."""
    from array import array

    from ftsdk.dataset.tokenize.render import Rendered

    vocabulary = int(network.config.get_text_config().vocab_size)
    rows = [
        array("i", [(length * k + 3) % vocabulary for k in range(length)]) for length in lengths
    ]
    rendered = [Rendered(row, b"\x01" * len(row)) for row in rows]
    return FlatBatch.of(rendered, hardware.device)


@contextlib.contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Dropout off and no gradients inside."""
    import torch

    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train()
