"""The small steps of layers as one function each: gradients, where they are used, and when compiled."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra `local`")
transformers = pytest.importorskip("transformers", reason="needs the extra `local`")

from ftsdk.backends.local.compute import pieces as p  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.chunked_loss import chunked_loss  # noqa: E402  # it needs torch
from ftsdk.backends.local.compute.patch_pieces import (  # noqa: E402  # it needs torch
    patch_pieces,
    warm_up,
)
from ftsdk.backends.local.options import RunHyperparameters, RunOptions  # noqa: E402  # after torch
from ftsdk.backends.local.training import compiling  # noqa: E402  # it needs torch
from ftsdk.backends.local.training.batches import RowOrder  # noqa: E402  # it needs torch
from tests.train.test_resume import digest, make  # noqa: E402  # it needs torch

Train = Callable[..., int]
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, compiling._COMPILERS)), reason="needs a C++ compiler"
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("kernels")))
        patch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
        yield p.Pieces.compiled()


def gradients(ask: Callable[..., Any], *inputs: Any) -> tuple[Any, list[Any]]:
    leaves = [one.detach().clone().requires_grad_() for one in inputs]
    out = ask(*leaves)
    torch.manual_seed(7)
    out.backward(torch.randn(out.shape))
    return out.detach(), [one.grad for one in leaves]


def check_equal(ours: Callable[..., Any], plain: Callable[..., Any], *inputs: Any) -> None:
    (found, found_grads), (expected, expected_grads) = (
        gradients(ours, *inputs),
        gradients(plain, *inputs),
    )
    for one, other in zip([found, *found_grads], [expected, *expected_grads], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def plain_norm(rows: Any, weight: Any, shift: float) -> Any:
    return torch.nn.functional.rms_norm(rows, (rows.shape[-1],), weight + shift, 1e-6)


def plain_turn(heads: Any, cos: Any, sin: Any) -> Any:
    first, second = heads.chunk(2, -1)
    return heads * cos + torch.cat((-second, first), -1) * sin


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:The distutils package:DeprecationWarning")  # torch uses it
@pytest.mark.parametrize("how", ["plain", pytest.param("compiled", marks=needs_compiler)])
def test_gradients_are_those_of_autograd(how: str, request: pytest.FixtureRequest) -> None:
    pieces = p.Pieces() if how == "plain" else request.getfixturevalue("compiled")
    torch.manual_seed(1)
    for count in (33, 1):  # a row alone is not compiled
        rows, other, weight = torch.randn(count, 40), torch.randn(count, 40), torch.randn(40)
        for shift in (0.0, 1.0):
            check_equal(
                lambda x, w, shift=shift: p.Norm.apply(x, w, 1e-6, shift, pieces),
                lambda x, w, shift=shift: plain_norm(x, w, shift),
                rows,
                weight,
            )
        for name, act in (
            ("silu_gate", torch.nn.functional.silu),
            ("gelu_gate", lambda x: torch.nn.functional.gelu(x, approximate="tanh")),
        ):
            check_equal(
                lambda a, b, name=name: p.Gate.apply(a, b, name, pieces),
                lambda a, b, act=act: act(a) * b,
                rows,
                other,
            )
        heads, cos, sin = (
            torch.randn(count, 3, 8),
            torch.randn(count, 1, 8),
            torch.randn(count, 1, 8),
        )
        check_equal(
            lambda x, cos=cos, sin=sin: p.Turn.apply(x, cos, sin, pieces),
            lambda x, cos=cos, sin=sin: plain_turn(x, cos, sin),
            heads,
        )
    wanted = torch.randint(0, 50, (19,))
    head = torch.randn(50, 40)
    check_equal(
        lambda x: chunked_loss(x, head, None, wanted, pieces.cross_entropy),
        lambda x: torch.nn.functional.cross_entropy(x @ head.t(), wanted, reduction="sum"),
        torch.randn(19, 40),
    )


# --- where they are used --------------------------------------------------------------------------

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def model_of(kind: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, **changes})
    network = transformers.AutoModelForCausalLM.from_config(config).train()
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return network


def loss_and_gradient(network: Any) -> tuple[Any, Any]:
    ids = torch.arange(24).reshape(1, 24) % 50
    network.zero_grad()
    loss = network(input_ids=ids, labels=ids).loss
    loss.backward()
    return loss.detach(), torch.cat([q.grad.flatten() for q in network.parameters()])


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("llama", {"norms": 5, "gates": 2, "rotary": 2}),
        ("qwen3", {"norms": 9, "gates": 2, "rotary": 2}),
        ("gemma2", {"norms": 9, "gates": 2, "rotary": 2}),
        ("gpt_neox", {"rotary": 2}),
    ],
)
def test_a_model_computes_the_same(kind: str, counts: dict[str, int]) -> None:
    network = model_of(kind)
    loss, gradient = loss_and_gradient(network)
    patched = patch_pieces(network, p.Pieces())
    assert patched.counts == counts
    found_loss, found = loss_and_gradient(network)
    torch.testing.assert_close(found_loss, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5)
    patched.undo()
    assert torch.equal(loss_and_gradient(network)[1], gradient)
    assert not any("forward" in vars(module) for module in network.modules())


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_a_batch_of_several_rows_is_computed_as_before(kind: str) -> None:
    """Padded rows are one: their angles are those of a single row."""
    network = model_of(kind).eval()
    ids = torch.arange(3, 27).reshape(3, 8)
    with torch.no_grad():
        before = network(input_ids=ids, use_cache=False).logits
        patched = patch_pieces(network, p.Pieces())
        try:
            found = network(input_ids=ids, use_cache=False).logits
        finally:
            patched.undo()
    assert patched.counts["rotary"]
    torch.testing.assert_close(found, before, rtol=1e-4, atol=1e-5)


def test_patching_changes_no_random_number_and_no_mode() -> None:
    network = model_of("llama").eval()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    patch_pieces(network, p.Pieces()).undo()
    assert torch.equal(torch.rand(3), expected)
    assert not network.training


@pytest.mark.parametrize("where", ["norm", "gate", "eps", "rotary"])
def test_a_layer_with_another_formula_keeps_it(where: str, monkeypatch: Any) -> None:
    network = model_of("llama")
    layer = network.model.layers[0]
    expected = patch_pieces(network, p.Pieces())
    all_of_them = dict(expected.counts)
    expected.undo()
    if where == "norm":
        norm = copy.copy(layer.input_layernorm)
        vars(layer.input_layernorm)["forward"] = lambda states: 1.1 * norm(states)
    elif where == "eps":
        layer.input_layernorm.variance_epsilon = 1e-6
        norm = copy.copy(layer.input_layernorm)
        norm.variance_epsilon = 1e-5
        vars(layer.input_layernorm)["forward"] = norm.forward
    elif where == "gate":
        mlp = copy.copy(layer.mlp)
        vars(layer.mlp)["forward"] = lambda states: mlp(states) + states
    else:
        home = transformers.models.llama.modeling_llama
        original = home.apply_rotary_pos_emb
        monkeypatch.setattr(
            home, "apply_rotary_pos_emb", lambda q, k, cos, sin: original(q, k, cos, -sin)
        )
    _, before = loss_and_gradient(network)
    patched = patch_pieces(network, p.Pieces())
    kind = {"norm": "norms", "eps": "norms", "gate": "gates", "rotary": "rotary"}[where]
    assert patched.counts.get(kind, 0) == (0 if kind == "rotary" else all_of_them[kind] - 1)
    torch.testing.assert_close(loss_and_gradient(network)[1], before, rtol=1e-4, atol=1e-5)
    patched.undo()


@needs_compiler
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:The distutils package:DeprecationWarning")  # torch uses it
def test_compiled_pieces_take_a_whole_model(compiled: Any, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("it compiles again for other sizes: run it with --long")
    network = model_of("llama")
    loss, gradient = loss_and_gradient(network)
    patched = patch_pieces(network, compiled)
    warm_up(compiled, patched, 64, torch.float32)
    found_loss, found = loss_and_gradient(network)
    patched.undo()
    torch.testing.assert_close(found_loss, loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, gradient, rtol=1e-4, atol=1e-5)


# --- when they are compiled -----------------------------------------------------------------------


class World:
    """A run directory and a model of a given size, as far as the decision looks at them."""

    def __init__(self, folder: Path, kernels: str = "auto", device: str = "cpu") -> None:
        self.path = folder / "runs" / "ftj_1"
        self.path.mkdir(parents=True, exist_ok=True)
        self.run = SimpleNamespace(
            path=self.path, spec=SimpleNamespace(options=RunOptions(kernels=kernels))
        )
        self.hardware = SimpleNamespace(device=torch.device(device), dtype=torch.float32, threads=2)
        config = SimpleNamespace(to_dict=lambda: dict(SIZES), get_text_config=lambda: config)
        size = SimpleNamespace(parameters=135_000_000)
        self.model = SimpleNamespace(network=SimpleNamespace(config=config), size=size)
        self.cache = folder / "cache"
        self.cache.mkdir(exist_ok=True)

    def decide(self, tokens: int) -> bool:
        order = RowOrder.of(tokens // 100, RunHyperparameters(epochs=1, batch_size=1), 0)
        found = compiling._tokens(order, [100] * (tokens // 100))
        arguments: Any = (self.run, self.model, self.hardware, self.cache, found)
        return compiling._decide(*arguments)


@needs_compiler
def test_a_long_run_compiles_and_a_short_one_does_not(tmp_path: Path) -> None:
    assert not World(tmp_path / "a").decide(49_000)
    assert World(tmp_path / "b").decide(51_000)
    warm = World(tmp_path / "c")
    arguments: Any = (warm.model, warm.hardware, warm.cache)
    compiling._ready(*arguments).touch()
    assert warm.decide(11_000)
    assert not World(tmp_path / "d").decide(9_000)
    assert not World(tmp_path / "e", device="meta").decide(500_000)


def test_what_is_asked_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert World(tmp_path / "a", "compiled").decide(100)
    assert not World(tmp_path / "b", "plain").decide(500_000)
    monkeypatch.setattr(compiling, "_COMPILERS", ("no-such-compiler",))
    assert not World(tmp_path / "c").decide(500_000)


@needs_compiler
def test_a_resumed_run_computes_as_it_began(tmp_path: Path) -> None:
    world = World(tmp_path / "a")
    assert not world.decide(20_000)
    arguments: Any = (world.model, world.hardware, world.cache)
    compiling._ready(*arguments).touch()  # another run has compiled since
    assert not world.decide(20_000)
    assert json.loads((world.path / "kernels.json").read_bytes()) == {"compiled": False}
    older = World(tmp_path / "b")  # it has a checkpoint, and no word of kernels
    (older.path / "checkpoints" / "step-00000003").mkdir(parents=True)
    assert not older.decide(500_000)


def compiled_run(folder: Path, model: Path) -> Any:
    return make(folder / "run", model, options={"dtype": "float32", "kernels": "compiled"})


def events_of(run: Any, kind: str) -> list[dict[str, Any]]:
    lines = (run.path / "events.jsonl").read_bytes().split(b"\n")
    found = [json.loads(line) for line in lines if line]
    return [one for one in found if one["kind"] == kind]


@needs_compiler
@pytest.mark.timeout(900)
def test_a_compiled_run_that_is_killed_ends_in_the_same_bits(
    tiny_model: Path, train: Train, tmp_path: Path
) -> None:
    whole = compiled_run(tmp_path / "whole", tiny_model)
    assert train(whole.path) == 0, whole.log_tail()
    assert any(one.get("compiled") for one in events_of(whole, "log"))
    killed = compiled_run(tmp_path / "killed", tiny_model)
    assert train(killed.path, "kill_in_step", 5) != 0
    assert train(killed.path) == 0, killed.log_tail()
    assert digest(killed) == digest(whole)
    plain = make(tmp_path / "plain", tiny_model, options={"dtype": "float32"})
    assert train(plain.path) == 0
    assert digest(plain) != digest(whole), "it was not compiled"


def test_what_cannot_be_compiled_runs_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = model_of("llama")
    loss, _ = loss_and_gradient(network)

    @dataclasses.dataclass
    class Model:
        network: Any
        plain_head: bool = True
        size: Any = dataclasses.field(default_factory=lambda: SimpleNamespace(parameters=1))
        pieces: Any = None

    def refused(*_: Any) -> None:
        raise RuntimeError("no compiler was found\nsecond line")

    monkeypatch.setattr("ftsdk.backends.local.compute.patch_pieces.warm_up", refused)
    world = World(tmp_path, "compiled")
    written: list[dict[str, Any]] = []
    events: Any = SimpleNamespace(
        write=lambda kind, **facts: written.append({"kind": kind, **facts})
    )
    order = RowOrder.of(8, RunHyperparameters(), 0)
    model: Any = Model(network)
    run: Any = world.run
    hardware: Any = world.hardware
    with monkeypatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", "set by the call")
        patch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "set by the call")
        assert compiling.with_pieces(run, model, order, [9] * 8, hardware, events) is model
    assert [one["kind"] for one in written] == ["warning"]
    assert written[0]["message"].endswith("longer: no compiler was found")
    assert torch.equal(loss_and_gradient(network)[0], loss)
