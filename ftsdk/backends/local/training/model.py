"""The model that is trained: base weights and adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftsdk.backends.local.compute.base_model import load_base
from ftsdk.backends.local.compute.hardware import Hardware
from ftsdk.backends.local.models.tokenizer_files import TokenIds
from ftsdk.backends.local.runs.run_spec import BaseModelRef, RunAdapter, RunSpec
from ftsdk.backends.local.training.batches import PackedBatch
from ftsdk.backends.local.training.forward import hidden_states, next_token_logits
from ftsdk.backends.local.training.outcome import Failed
from ftsdk.backends.local.training.row_path import (
    BatchSize,
    RowPath,
    choose_row_path,
    has_plain_head,
)
from ftsdk.dataset.tokenize.render import Rendered

if TYPE_CHECKING:
    import torch

    from ftsdk.backends.local.compute.pieces import Pieces


_NO_TOKENS = TokenIds()
_TRAINED_BESIDE = ("lora_", ".modules_to_save.", ".trainable_tokens_")
"""Parts of the names of weights that are not the base model's."""


@dataclass(frozen=True)
class ModelSize:
    """Counts of weights; a packed 4-bit weight counts as one.

    `linear_weight_bytes` is the memory of the linear layers inside the transformer blocks.
    """

    parameters: int
    trainable_parameters: int
    linear_weight_bytes: int


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for training.

    `network` computes; `owner` saves (the peft wrapper, or the network itself). `path` says how
    several rows go through it; `plain_head` is True when the logits are the last hidden
    states times the output head and nothing else. `adapted` says which parts of the base the
    adapter is put on; None when all weights are trained. `token_rows` counts the rows of the
    embedding that are trained beside it; `pieces` are compiled functions, where the run uses them.
    `attention` says how rows attend on a GPU.
    """

    network: Any
    owner: Any
    path: RowPath
    plain_head: bool
    size: ModelSize
    adapted: Mapping[str, Any] | None = None
    token_rows: int = 0
    pieces: Pieces | None = None
    attention: str = ""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = self.network.device
        return device

    @property
    def is_sharded(self) -> bool:
        """True where the ranks of a group divide the weights, so that all compute equally often."""
        return False

    def batch(self, rows: Sequence[Rendered]) -> PackedBatch:
        """The rows as this model takes them, where it computes."""
        return PackedBatch.of(rows, self.device, padded=self.path.padded)

    def loss_sum(self, batch: PackedBatch) -> torch.Tensor:
        """Summed cross-entropy, in nats, of the batch's trained tokens; a float32 scalar."""
        from torch.nn.functional import cross_entropy

        from ftsdk.backends.local.compute.chunked_loss import chunked_loss

        if self.plain_head:
            head = self.network.get_output_embeddings()
            states = hidden_states(self.network, batch)
            losses = None if self.pieces is None else self.pieces.cross_entropy
            return chunked_loss(states, head.weight, head.bias, batch.targets, losses)
        logits = next_token_logits(self.network, batch)
        return cross_entropy(logits.float(), batch.targets, reduction="sum")

    def log_probs(self, batch: PackedBatch) -> torch.Tensor:
        """The log-probability of each trained token, in nats; float32 [trained]."""
        import torch

        from ftsdk.backends.local.compute.chunked_log_probs import chunked_log_probs

        if self.plain_head:
            head = self.network.get_output_embeddings()
            states = hidden_states(self.network, batch)
            return chunked_log_probs(states, head.weight, head.bias, batch.targets)
        scores = torch.log_softmax(next_token_logits(self.network, batch).float(), -1)
        return scores.gather(1, batch.targets[:, None])[:, 0]

    def facts(self) -> Mapping[str, Any]:
        """The size and form of the model, for the event log and the result."""
        kind = "padded" if self.path.padded else "row_by_row"
        why = {f"{kind}_because": self.path.reason} if self.path.reason else {}
        adapted = {} if self.adapted is None else {"adapted": self.adapted}
        attention = {"attention": self.attention} if self.attention else {}
        return {**vars(self.size), "flat_batches": self.path.flat, **why, **adapted, **attention}


def load_for_training(
    spec: RunSpec,
    hardware: Hardware,
    batch: BatchSize | None = None,
    tokens: TokenIds = _NO_TOKENS,
) -> LoadedModel:
    """Load the base model of the run, add the adapter, and choose the forward pass.

    `batch` is the size of the run's micro-batches; None for any that are short. `tokens` are those
    whose rows of the embedding an adapter trains. Raises `Failed` for
    a model that cannot be trained on text.
    """
    from ftsdk.backends.local.compute.adapters import grow_embedding
    from ftsdk.backends.local.compute.coverage import coverage_of
    from ftsdk.backends.local.compute.fused_lora import fuse_adapters
    from ftsdk.backends.local.compute.offload import Offload, StreamCopies, offload_inputs
    from ftsdk.backends.local.compute.patch_pieces import keep_less
    from ftsdk.backends.local.compute.varlen import choose_for

    quantize = None if spec.adapter is None else spec.adapter.quantize
    network = load_base(spec.base_model.path, hardware, quantize)
    network.config.use_cache = False
    grow_embedding(network, tokens.rows)
    linear_bytes = _linear_bytes(network)
    adapted = None
    if spec.adapter is None:
        owner = network
        network.requires_grad_(True)
    else:
        owner = _add_adapter(network, spec.adapter, spec.base_model, hardware, tokens)
        adapted = coverage_of(owner).facts()
        fuse_adapters(owner)
    keep_less(network)
    attention = choose_for(network)
    path = choose_row_path(network, hardware.device, batch or BatchSize())
    size = ModelSize(
        parameters=_parameter_count(network),
        trainable_parameters=sum(p.numel() for p in owner.parameters() if p.requires_grad),
        linear_weight_bytes=linear_bytes,
    )
    plain_head = has_plain_head(network, hardware.device)
    if spec.options.gradient_checkpointing:
        if not network.supports_gradient_checkpointing:
            raise Failed(
                f"A {network.config.model_type} model cannot compute its activations again.",
                "model_unsupported",
                "leave the option gradient_checkpointing out",
            )
        # The reentrant kind drops the graph of a block whose input has no gradient.
        network.gradient_checkpointing_enable({"use_reentrant": False})
        if spec.options.offload_activations:
            offload_inputs(network, Offload.to_machine(StreamCopies(hardware.device)))
    network.train()
    rows = len({*tokens.known, *tokens.new})
    return LoadedModel(network, owner, path, plain_head, size, adapted, rows, attention=attention)


def _add_adapter(
    network: Any,
    adapter: RunAdapter,
    base_model: BaseModelRef,
    hardware: Hardware,
    tokens: TokenIds,
) -> Any:
    from ftsdk.backends.local.compute.adapters import adapter_faults, put_adapter

    faults = adapter_faults(network, adapter)
    if faults:
        raise Failed("; ".join(faults), "unsupported", "correct the adapter's settings")
    owner = put_adapter(
        network,
        adapter,
        base_name=base_model.loaded_as,
        revision=base_model.commit,
        tokens=tokens,
    )
    for parameter in owner.parameters():
        # The optimizer keeps each weight in float32; the copy that computes has the format of the
        # base, so that no cast is needed between the two.
        if parameter.requires_grad:
            parameter.data = parameter.data.to(hardware.dtype)
    return owner


def _parameter_count(network: Any) -> int:
    """Weights of the base model; a packed 4-bit weight counts as one."""
    total = 0
    for name, parameter in network.named_parameters():
        if not any(part in name for part in _TRAINED_BESIDE):
            state = getattr(parameter, "quant_state", None)
            total += state.shape.numel() if state is not None else parameter.numel()
    return total


def _linear_bytes(network: Any) -> int:
    """Bytes in memory of the linear layers' weights inside the transformer blocks.

    Quantization constants count; embeddings and the output head, which are not quantized, do not.
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
