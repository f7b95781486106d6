"""The Apple GPU is used where a step on it is that of the processor, and the reason is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ftsdk.errors import Unsupported


def test_a_step_equals_itself_in_both_formats() -> None:
    import torch

    from ftsdk.backends.local.compute.apple_gpu import compare, step_on

    cpu = torch.device("cpu")
    assert compare(cpu, torch.float32) is None
    assert compare(cpu, torch.float16) is None
    found = step_on(cpu, torch.float32)
    assert all(float(tensor.norm()) > 0 for tensor in found.values())


def rows_run_together(real: Any) -> Any:
    from ftsdk.backends.local.compute.packed_attention import RowMasks

    def attention(module: Any, query: Any, key: Any, value: Any, mask: Any) -> Any:
        one = RowMasks(mask._rule, None, (query.shape[2],))
        return real(module, query, key, value, one)

    return attention


def not_the_same_twice(real: Any) -> Any:
    import torch

    def attention(*given: Any) -> Any:
        out, rest = real(*given)
        return out + 1e-5 * torch.rand(()), rest

    return attention


def no_kernel(_: Any) -> Any:
    def attention(*_given: Any) -> Any:
        raise NotImplementedError("no kernel for MPS\nand a long text")

    return attention


def no_number(real: Any) -> Any:
    def attention(*given: Any) -> Any:
        out, rest = real(*given)
        return out * float("nan"), rest

    return attention


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (rows_run_together, "differs from the processor's"),
        (not_the_same_twice, "another one each time"),
        (no_kernel, r"does not run on it \(no kernel for MPS\)"),
        (no_number, "differs from the processor's by nan"),
    ],
)
def test_a_wrong_kernel_is_found(plant: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from ftsdk.backends.local.compute import apple_gpu

    real, expected = apple_gpu.packed_attention, apple_gpu.step_on
    right = expected(torch.device("cpu"), torch.float32)
    calls = 0

    def step_on(device: Any, dtype: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:  # the processor's
            return right
        monkeypatch.setattr(apple_gpu, "packed_attention", plant(real))
        return expected(device, dtype)

    monkeypatch.setattr(apple_gpu, "step_on", step_on)
    fault = apple_gpu.compare(torch.device("cpu"), torch.float32)
    assert fault is not None
    assert re.search(said, fault), fault


def mac(monkeypatch: pytest.MonkeyPatch, fault: str | None, *, is_there: bool = True) -> None:
    """A machine with an Apple GPU, whose check finds this."""
    import torch

    from ftsdk.backends.local.compute import apple_gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: is_there)
    monkeypatch.setattr(apple_gpu, "_fault", lambda _: fault)


def test_it_is_chosen_where_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.backends.local.compute.hardware import choose_hardware

    mac(monkeypatch, None)
    found = choose_hardware()
    assert (found.device.type, found.dtype_name) == ("mps", "float32")
    assert "Apple GPU" in found.why
    assert choose_hardware(dtype="fp16").device.type == "mps"
    assert choose_hardware("mps", "float16").dtype_name == "float16"
    assert choose_hardware("cpu").device.type == "cpu"


@pytest.mark.parametrize(
    ("fault", "dtype", "unchecked", "said"),
    [
        ("its loss differs", "auto", None, "its loss differs"),
        (None, "bf16", None, "only float32 and float16 are checked"),
        (None, "auto", "bitsandbytes", "bitsandbytes is not checked on it"),
    ],
)
def test_else_the_processor_is_and_the_log_says_why(
    fault: Any, dtype: str, unchecked: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.local.compute.hardware import choose_hardware

    mac(monkeypatch, fault)
    found = choose_hardware(dtype=dtype, unchecked=unchecked)
    assert found.device.type == "cpu"
    assert "the Apple GPU is not used: " in found.why
    assert said in found.why
    with pytest.raises(Unsupported, match=said) as caught:
        choose_hardware("mps", dtype, unchecked=unchecked)
    assert "cpu" in caught.value.hint


def test_without_one_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from ftsdk.backends.local.compute.hardware import choose_hardware

    mac(monkeypatch, None, is_there=False)
    assert "Apple" not in choose_hardware().why
    with pytest.raises(Unsupported, match="there is none"):
        choose_hardware("mps")


def test_the_answer_of_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from ftsdk.backends.local.compute import apple_gpu

    mac(monkeypatch, "its loss differs")
    assert apple_gpu.main(["{}", str(tmp_path / "answer.json")]) == 0
    answer = json.loads((tmp_path / "answer.json").read_bytes())
    faults = {"float32": "its loss differs", "float16": "its loss differs"}
    assert answer == {"is_there": True, "faults": faults}


def test_on_an_apple_gpu() -> None:
    """The check itself, where there is one."""
    import torch

    from ftsdk.backends.local.compute.apple_gpu import compare

    if not torch.backends.mps.is_available():
        pytest.skip("there is no Apple GPU here")
    assert compare(torch.device("mps"), torch.float32) is None
