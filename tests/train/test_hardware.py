"""The device and the number format that are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    """A machine with an NVIDIA GPU of this compute capability."""
    import torch

    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or capability >= (8, 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)


CARDS = {
    "H100": ((9, 0), "bfloat16"),
    "RTX 3090": ((8, 6), "bfloat16"),
    "T4, RTX 20xx": ((7, 5), "float16"),
    "V100": ((7, 0), "float16"),
    "GTX 10xx": ((6, 1), "float32"),
    "P100": ((6, 0), "float16"),
    "GTX 9xx": ((5, 2), "float32"),
}


@pytest.mark.parametrize("name", CARDS)
def test_emulated_bf16_is_never_chosen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.backends.local.compute.hardware import choose_hardware

    capability, wanted = CARDS[name]
    card(monkeypatch, capability)
    found = choose_hardware()
    assert found.device.type == "cuda"
    assert found.dtype_name == wanted
    assert wanted.replace("bfloat16", "bf16") in found.why
    assert choose_hardware("cuda", "bf16").dtype_name == "bfloat16"  # as asked
    assert choose_hardware("cuda", "fp16").dtype_name == "float16"


@pytest.mark.parametrize(
    ("trained", "answers"), [("float32", "float32"), ("float16", "float16"), (None, "float16")]
)
def test_what_was_trained_in_float32_does_not_answer_in_float16(
    trained: Any, answers: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import json

    from ftsdk.backends.local.local_model import hardware_for

    card(monkeypatch, (7, 5))
    if trained:
        (tmp_path / "ftsdk.json").write_text(json.dumps({"dtype": trained}))
    assert hardware_for(tmp_path, "cuda").dtype_name == answers
