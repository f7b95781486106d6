"""Inputs of layers that wait outside the device: the same gradient, fetched one layer ahead."""

from __future__ import annotations

import contextlib
import gc
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.train import tiny
from tests.train.test_numbers import load, randomize_adapters, rendered

LAYERS = 5


class FakeDevice:
    """A device whose copies arrive only when computing waits for them.

    `acts` are the copies in order, by the number of the input; `live` counts the inputs that were
    fetched and are still on the device.
    """

    def __init__(self) -> None:
        self.acts: list[tuple[str, int]] = []
        self.live = self.most_live = 0
        self._numbers: dict[int, int] = {}

    def store(self, tensor: Any) -> Any:
        number = sum(act == "store" for act, _ in self.acts)
        self.acts.append(("store", number))
        stored = tensor.detach().clone()
        self._numbers[id(stored)] = number
        return stored

    def fetch(self, stored: Any) -> tuple[Any, Any]:
        number = self._numbers[id(stored)]
        self.acts.append(("fetch", number))
        tensor = stored.new_full(stored.shape, float("nan"))  # not there yet
        self.live += 1
        self.most_live = max(self.most_live, self.live)
        weakref.finalize(tensor.untyped_storage(), self._freed)
        return tensor, (tensor, stored, number)

    def wait(self, arrival: Any) -> None:
        tensor, stored, number = arrival
        self.acts.append(("wait", number))
        tensor.copy_(stored)

    def _freed(self) -> None:
        self.live -= 1


@pytest.fixture(scope="module")
def deep_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deep") / "model"
    return tiny.write_model(folder, num_hidden_layers=LAYERS)


def backward(model: Any, rows: Any) -> dict[str, Any]:
    """The gradients of a step of two micro-batches, with dropout."""
    import torch

    from ftsdk.backends.local.training.batches import PackedBatch

    torch.manual_seed(5)
    model.network.train()
    for part in (rows[:2], rows[2:]):
        model.loss_sum(PackedBatch.of(part, torch.device("cpu"))).backward()
    found = {n: p.grad.clone() for n, p in model.owner.named_parameters() if p.grad is not None}
    model.owner.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("adapter", [True, False], ids=["lora", "full"])
def test_the_gradient_has_the_same_bits(adapter: bool, deep_model: Path) -> None:
    from ftsdk.backends.local.compute.offload import Offload, offload_inputs

    model, _ = load(deep_model, adapter={"dropout": 0.1} if adapter else None)
    randomize_adapters(model.owner)
    rows = rendered([31, 7, 18, 7], model.network.config.vocab_size)
    model.network.gradient_checkpointing_enable({"use_reentrant": False})
    plain = backward(model, rows)
    device = FakeDevice()
    offload_inputs(model.network, Offload.to_machine(device))
    offloaded = backward(model, rows)
    assert plain.keys() == offloaded.keys()
    for name, gradient in plain.items():
        assert bool((gradient == offloaded[name]).all()), name
    gc.collect()
    assert device.live == 0
    assert len([act for act, _ in device.acts if act == "store"]) == 2 * LAYERS


def test_inputs_come_back_one_layer_ahead(deep_model: Path) -> None:
    import torch

    from ftsdk.backends.local.compute.offload import Offload, offload_inputs
    from ftsdk.backends.local.training.batches import PackedBatch

    model, _ = load(deep_model)
    device = FakeDevice()
    offload_inputs(model.network, Offload.to_machine(device))
    batch = PackedBatch.of(rendered([9, 5], 300), torch.device("cpu"))
    model.network.train()
    model.loss_sum(batch).backward()
    last = LAYERS - 1
    wanted = [("store", k) for k in range(LAYERS)] + [("fetch", last)]
    for k in range(last, 0, -1):
        wanted += [("wait", k), ("fetch", k - 1)]
    assert device.acts == [*wanted, ("wait", 0)]
    assert device.most_live == 2


def test_a_pass_without_a_backward_leaves_nothing(deep_model: Path) -> None:
    """As where memory ran out, and in an evaluation."""
    import torch

    from ftsdk.backends.local.compute.offload import Offload, offload_inputs
    from ftsdk.backends.local.training.batches import PackedBatch

    model, _ = load(deep_model)
    device = FakeDevice()
    offload_inputs(model.network, Offload.to_machine(device))
    batch = PackedBatch.of(rendered([9, 5], 300), torch.device("cpu"))
    model.network.train()
    lost = model.loss_sum(batch)
    del lost
    with torch.no_grad():
        model.loss_sum(batch)
    assert len(device.acts) == LAYERS
    model.loss_sum(batch).backward()
    fetched = [number for act, number in device.acts if act == "fetch"]
    assert fetched == list(range(2 * LAYERS - 1, LAYERS - 1, -1))


def test_the_option_offloads_what_the_trainer_loads(
    deep_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftsdk.backends.local.compute import offload

    device = FakeDevice()
    monkeypatch.setattr(offload, "StreamCopies", lambda _: device)
    rows = rendered([9, 5, 7, 4], 300)
    found = []
    for asked in (False, True):
        options = {"dtype": "float32", "offload_activations": asked}
        model, _ = load(deep_model, options=options)
        randomize_adapters(model.owner)
        found.append(backward(model, rows))
        assert bool(device.acts) is asked
    assert [act for act, _ in device.acts].count("store") == 2 * LAYERS
    assert all(bool((found[0][name] == found[1][name]).all()) for name in found[0])


class Streams:
    """Stands in for `torch.cuda`: two streams that log what they do, and compute at once."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.now = "main"
        self._events = 0

    def Stream(self, _: Any) -> Any:  # noqa: N802  # torch's name
        return self._stream("side")

    def current_stream(self, _: Any) -> Any:
        return self._stream("main")

    def _stream(self, name: str) -> Any:
        return SimpleNamespace(
            name=name,
            wait_stream=lambda other: self.log.append(f"{name} waits for {other.name}"),
            wait_event=lambda event: self.log.append(f"{name} waits for {event}"),
            record_event=self._event,
        )

    def _event(self) -> str:
        self._events += 1
        return f"copy {self._events}"

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Any:
        self.now = stream.name
        yield
        self.now = "main"


def test_the_streams_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place in memory is used again only after computing has waited for the copy out of it."""
    import torch

    from ftsdk.backends.local.compute.offload import StreamCopies

    streams, empty_like, copy = Streams(), torch.empty_like, torch.Tensor.copy_

    def logged_copy(self: Any, other: Any, non_blocking: bool = False) -> Any:
        assert non_blocking
        streams.log.append(f"{streams.now} copies")
        return copy(self, other)

    def unpinned(like: Any, *, device: Any, pin_memory: bool = False) -> Any:
        return empty_like(like, device=device)

    monkeypatch.setattr(torch, "cuda", streams)
    monkeypatch.setattr(torch, "empty_like", unpinned)
    monkeypatch.setattr(torch.Tensor, "copy_", logged_copy)
    copies = StreamCopies(torch.device("cpu"))
    tensors = [torch.ones(2) * k for k in range(3)]
    left = [weakref.ref(tensor) for tensor in tensors]
    stored = [copies.store(tensors.pop(0)) for _ in range(3)]
    out = ["side waits for main", "side copies"]
    assert streams.log == [*out, *out, "main waits for copy 1", *out]
    assert [ref() is None for ref in left] == [True, False, False]  # two are on their way
    streams.log.clear()
    tensor, arrival = copies.fetch(stored[2])
    assert streams.log == ["main waits for copy 2", "main waits for copy 3", *out]
    assert all(ref() is None for ref in left)
    copies.wait(arrival)
    assert streams.log[-1] == "main waits for copy 4"
    assert tensor.tolist() == [2.0, 2.0]


def test_the_copies_of_a_gpu() -> None:
    """On a GPU the copies have the bits of the tensor, and its memory is used again."""
    import torch

    from ftsdk.backends.local.compute.offload import StreamCopies

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    copies = StreamCopies(torch.device("cuda", 0))
    tensors = [torch.randn(512, 512, device="cuda") for _ in range(6)]
    wanted = [t.cpu() for t in tensors]
    stored = [copies.store(t) for t in tensors]
    del tensors
    for before, one in zip(wanted, stored, strict=True):
        assert one.is_pinned()
        tensor, arrival = copies.fetch(one)
        copies.wait(arrival)
        assert bool((tensor.cpu() == before).all())
