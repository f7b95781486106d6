"""Liger's kernels by Triton's interpreter, beside the plain pieces: prints what differs, as JSON.

TRITON_INTERPRET=1 python -m tests.train.liger_interpreted
"""

from __future__ import annotations

import json
from typing import Any

import torch

from ftsdk.backends.local.compute import liger


class Number(float):
    """A number that the interpreter may convert: of numbers it leaves those of Python as they are."""

    def to(self, _dtype: Any) -> Number:
        return self


def interpretable() -> None:
    """Replace what the interpreter does not have: functions of CUDA's library, numbers as tensors."""
    import triton.language as tl
    from liger_kernel.ops import geglu, rms_norm, swiglu

    vars(rms_norm)["rsqrt"] = lambda x: tl.rsqrt(x)  # noqa: PLW0108  # replaced while kernels run
    vars(geglu)["tanh"] = lambda x: 2 * tl.sigmoid(2 * x) - 1
    vars(swiglu)["float"] = Number
    load = liger._norm_kernel

    def loader() -> dict[str, Any]:
        norm = load()["norm_kernel"]
        return {"norm_kernel": lambda x, w, eps, shift: norm(x, w, Number(eps), Number(shift))}

    loaders: Any = liger.LOADERS
    loaders["RMSNorm"] = loader


def model_too() -> float:
    """How far the gradient of a small model with Liger's pieces is from its own, relative to its norm."""
    from ftsdk.backends.local.compute.patch_pieces import patch_pieces
    from tests.train.test_pieces import loss_and_gradient, model_of

    network = model_of("llama")
    _, expected = loss_and_gradient(network)
    patched = patch_pieces(network, liger.choose(torch.device("cpu"), torch.float32).pieces)
    assert patched.counts == {"norms": 5, "gates": 2, "rotary": 2}, patched.counts
    _, found = loss_and_gradient(network)
    patched.undo()
    return float((found - expected).norm() / expected.norm())


def main() -> None:
    interpretable()
    chosen = liger.choose(torch.device("cpu"), torch.float32)
    found = {"names": chosen.names, "differs": dict(chosen.differs), "gradient": model_too()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
