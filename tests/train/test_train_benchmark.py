"""The training benchmarks: what they measure and what they conclude, without training a model for long."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.scripts import load_script
from tests.train import tiny

torch = pytest.importorskip("torch", reason="needs the extra `local`")
BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="there are no benchmarks here")


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scripts import each other, as they do when one is started."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def script(name: str) -> ModuleType:
    return load_script(BENCHMARKS / f"{name}.py", name)


def figures(**changes: Any) -> Any:
    """Figures of a side with 100 tokens a second."""
    known = {
        "tokens": 1000, "whole_s": 10.0, "whole_cpu_s": 10.0, "peak_bytes": 100,
        "training": 100.0, "training_cpu": 100.0, "steady": 100.0, "steady_cpu": 100.0,
        "facts": {"compiled": False},
    }  # fmt: skip
    return script("_processes").Figures(**{**known, **changes})


def test_products_are_counted_by_shape_and_computed_alone() -> None:
    limit = script("_matrix_limit")
    one, other = torch.randn(3, 4), torch.randn(5, 4)
    with limit.Products() as products:
        for _ in range(2):
            one @ other.t()
        torch.addmm(torch.zeros(3, 3), one, one.t())
        torch.bmm(torch.randn(2, 3, 4), torch.randn(2, 4, 3))
    counts = products.counts
    assert sum(counts.values()) == 4
    assert counts[((3, 4), (4, 1)), ((4, 5), (1, 4)), torch.float32] == 2
    assert limit.flops(counts) == 2 * (2 * 3 * 4 * 5 + 3 * 4 * 3 + 2 * 3 * 4 * 3)
    wall, cpu = limit.seconds_alone(counts, torch.device("cpu"))
    assert wall > 0
    assert cpu >= 0


def test_products_inside_fused_attention_count() -> None:
    limit = script("_matrix_limit")
    query, key = torch.randn(1, 4, 6, 8, requires_grad=True), torch.randn(1, 2, 6, 8)
    with limit.Products() as products:
        attended = torch.nn.functional.scaled_dot_product_attention(
            query, key, key, is_causal=True, enable_gqa=True
        )
        forward = limit.flops(products.counts)
        attended.sum().backward()
    assert forward == 2 * (2 * 4 * 6 * 6 * 8)
    assert limit.flops(products.counts) == 7 * (2 * 4 * 6 * 6 * 8)


def test_rates_leave_the_first_steps_out() -> None:
    marks = {
        "begun": [0, 10.0, 5.0], "ended": [400, 30.0, 20.0],
        "steps": [[100, 20.0, 11.0], [200, 22.0, 13.0], [300, 24.0, 15.0], [400, 26.0, 17.0]],
    }  # fmt: skip
    usage: Any = SimpleNamespace(ru_utime=30.0, ru_stime=2.0, ru_maxrss=7)
    found = script("_processes").Figures.of(marks, 40.0, usage)
    assert found.training == 400 / 20
    assert found.training_cpu == pytest.approx(400 / 15)
    assert found.steady == 200 / 4
    assert found.steady_cpu == 200 / 4
    assert (found.whole_s, found.whole_cpu_s, found.peak_bytes) == (40.0, 32.0, 7 * 1024)
    assert found.rows_per_s(8) == 1.0


def aims(found: Any, bf16: str | None) -> dict[str, tuple[str, bool | None]]:
    return {
        one.name.strip(): (one.value, one.reached) for one in script("train").judge(found, bf16)
    }


def test_aims_are_judged_as_they_are_stated() -> None:
    train = script("train")
    found = train.Found(
        cold=figures(training_cpu=320.0),
        warm=[figures(training_cpu=500.0, peak_bytes=50), figures(training_cpu=510.0)],
        sides={"defaults": [figures()], "best": [figures(steady_cpu=150.0)]},
        losses=[("defaults", 1.02, 1.0), ("best", 0.995, 1.0)],
        share={"share": 0.7},
        short={
            "plain": figures(), "cold": figures(whole_cpu_s=10.2),
            "warm": figures(whole_cpu_s=10.5, facts={"compiled": True}),
        },
    )  # fmt: skip
    judged = aims(found, "AVX-512 BF16")
    assert judged["tokens per CPU second, cold : TRL's defaults"] == ("3.20", False)
    assert judged["tokens per CPU second, warm : TRL's defaults"] == ("5.05", True)
    assert judged["tokens per CPU second, warm : TRL's best"] == ("3.37", True)
    assert judged["peak memory : TRL's defaults"] == ("0.75", False)
    assert judged["held-out loss : TRL's defaults"] == ("+2.00%", False)
    assert judged["held-out loss : TRL's best"] == ("-0.50%", True)
    assert judged["share of the matrix limit"] == ("70.0%", False)
    assert judged["CPU seconds of 100 rows, cold (not compiled) : plain"] == ("1.02", True)
    assert judged["CPU seconds of 100 rows, warm (compiled) : plain"] == ("1.05", False)
    without = aims(found, None)
    assert without["tokens per CPU second, warm : TRL's defaults"] == ("5.05", None)
    assert without["share of the matrix limit"] == ("70.0%", None)
    assert aims(found, "AMX")["share of the matrix limit"] == ("70.0%", None)


def test_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    processes = script("_processes")
    from _sides import Task  # type: ignore[import-not-found]  # benchmarks is no package

    late = processes.Processes(tmp_path, minutes=0)
    with pytest.raises(processes.LeftOut):
        late.run("cold", Task("ftsdk", "model", "data", "", 8))
    assert [(one.name, one.reached) for one in late.left_out()] == [("left out: cold", False)]


def test_a_side_that_fails_is_missed_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = script("train")
    given = train.arguments().parse_args(
        ["--model", str(tmp_path), "--parts", "share", "short", "--data", str(tmp_path)]
    )

    def run(name: str, task: Any, cache: str | None = None) -> Any:
        assert task.dtype in ("bf16", "float32")
        if name == "share":
            raise train.SideFailed("share failed:\nno such file")
        return figures(facts={"compiled": cache == "warm"})

    benchmark = train.Benchmark(given, SimpleNamespace(run=run))
    benchmark.run()
    assert [str(one).split("  ")[0] for one in benchmark.failed] == ["failed: share"]
    assert list(benchmark.found.short) == ["plain", "cold", "warm"]
    assert "no such file" in capsys.readouterr().out


def test_a_gpu_is_judged_by_speed_memory_and_plan() -> None:
    sides = script("_gpu_sides")
    facts = {"peak_gpu_bytes": 100, "last_loss": 2.0}
    found = sides.Found(
        sides={
            "ftsdk": figures(steady=1000.0, facts=facts),
            "TRL + FlashAttention": figures(steady=800.0, peak_bytes=90),
            "unsloth": figures(steady=1010.0, peak_bytes=120),
        },
        missing={"liger_kernel": "it is not installed"},
        planned_bytes=120.0,
        tflops=sides.MODELS[0].weights * 4 * 2000 / 1e12,
        device="NVIDIA H100",
    )
    judged = {one.name: (one.value, one.reached) for one in sides.judge(found, sides.MODELS[0])}
    assert judged["tokens per second : TRL + FlashAttention"] == ("1.25", False)
    assert judged["peak memory : TRL + FlashAttention"] == ("1.11", False)
    assert judged["tokens per second : unsloth"] == ("0.99", True)
    assert judged["MFU, of a large product measured here"] == ("50.0%", None)
    assert judged["memory, planned : measured"] == ("1.20", False)
    assert "liger_kernel is left out: it is not installed" in judged
    assert 1.2e9 < sides.MODELS[0].weights < 1.3e9
    assert 7.4e9 < sides.MODELS[1].weights < 7.6e9


def test_the_best_of_trl_waits_as_ours_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    processes = script("_processes")
    from _sides import Task  # type: ignore[import-not-found]  # benchmarks is no package

    environment = processes.Processes(tmp_path, threads=2)._environment
    ours = environment(Task("ftsdk", "m", "d", "", 8))
    default = environment(Task("trl", "m", "d", "", 8))
    best = environment(Task("trl", "m", "d", "", 8, settings={"gradient_checkpointing": False}))
    assert {one["OMP_NUM_THREADS"] for one in (ours, default, best)} == {"2"}
    assert "GOMP_SPINCOUNT" not in default
    assert best["GOMP_SPINCOUNT"] == ours["GOMP_SPINCOUNT"]


def test_settings_of_trl_are_equal_where_they_must_be() -> None:
    sides = script("_sides")
    task = sides.Task("trl", "m", "d", "/out", 8, dtype="bf16", batch=4, layout="grouped")
    settings = sides.trl_settings(task, [], None)
    assert settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"] == 8
    assert settings["train_sampling_strategy"] == "group_by_length"
    assert settings["bf16"] is True
    assert "gradient_checkpointing" not in settings  # its default
    with pytest.raises(SystemExit, match="not finite"):
        sides.measured(sides.Marks("cpu"), Path("x"), [1.0, math.nan])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("side", ["share", "ftsdk"])
def test_our_sides_run_and_measure(side: str, tmp_path: Path) -> None:
    tiny.write_model(tmp_path / "model")
    lines = "".join(json.dumps(row) + "\n" for row in tiny.rows(24))
    (tmp_path / "rows.jsonl").write_text(lines)
    processes = script("_processes")
    from _sides import Task  # type: ignore[import-not-found]  # benchmarks is no package

    (tmp_path / "scratch").mkdir()
    run = processes.Processes(tmp_path / "scratch", threads=1).run
    settings = {"kernels": "plain"}
    found = run(
        side,
        Task(
            side, str(tmp_path / "model"), str(tmp_path / "rows.jsonl"), "", 24, settings=settings
        ),
    )
    if side == "share":
        assert 0 < found.facts["share"] < 1.5
        assert found.facts["products"] > 2 * 7 * 3
        assert len(found.facts["rounds"]) == 3
        return
    assert len(found.facts["steps"]) == 3
    assert found.tokens > 0
    assert found.whole_cpu_s > found.tokens / found.training_cpu
    assert (Path(found.facts["adapter"]) / "adapter_model.safetensors").is_file()


@pytest.mark.timeout(1200)
def test_the_whole_benchmark_at_toy_size(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--long"):
        pytest.skip("two dozen trainers: run it with --long")
    pytest.importorskip("trl", reason="needs the extra `bench`")
    tiny.write_model(tmp_path / "model", max_position_embeddings=4096)
    for name in ("train", "test"):
        lines = "".join(json.dumps(row) + "\n" for row in tiny.rows(48))
        (tmp_path / f"gsm8k_{name}.jsonl").write_text(lines)
    command = [sys.executable, str(BENCHMARKS / "train.py"), "--data", str(tmp_path)]
    command += ["--model", str(tmp_path / "model"), "--device", "cpu", "--threads", "1"]
    command += ["--rows", "40", "--cold-rows", "48", "--search-rows", "24", "--held-out", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    for name in ("TRL's defaults", "TRL's best", "share of the matrix limit", "CPU seconds of 100"):
        assert name in done.stdout, done.stdout
    assert "no figures" not in done.stdout
