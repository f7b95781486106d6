"""NEFTune: uniform noise on the embeddings of the rows while training (Jain et al., 2023).

A row of L tokens gets noise of at most alpha/√(L·d), by its own length also where rows are laid end
to end. It is drawn from the random state that each step seeds, so a resumed run draws the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def add_noise(network: Any, alpha: float) -> None:
    """Put noise on the network's embeddings wherever it is in training mode."""
    from ftsdk.backends.local.compute.packed_attention import row_lengths

    def hook(module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output + noise_like(output, row_lengths(), alpha) if module.training else output

    network.get_input_embeddings().register_forward_hook(hook)


def noise_like(embeddings: torch.Tensor, lengths: tuple[int, ...], alpha: float) -> torch.Tensor:
    """Noise for [1, tokens, d] embeddings of rows of these lengths."""
    import torch

    rows = torch.tensor(lengths, device=embeddings.device)
    most = alpha / (rows * embeddings.shape[-1]).sqrt()
    scale = torch.repeat_interleave(most, rows).to(embeddings.dtype)
    return torch.empty_like(embeddings).uniform_(-1.0, 1.0) * scale[None, :, None]
