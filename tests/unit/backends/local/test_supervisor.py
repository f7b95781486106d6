"""The run directory and its supervisor, with trainers of a few lines and without torch."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.runs.crash_report import OomCounters, explain_death
from ftsdk.backends.local.runs.environment import available_threads, trainer_environment
from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED, ended
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.run_spec import RunSpec
from ftsdk.errors import NotFound, StoreError, UsageError

ROWS = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
PRELUDE = """
import json, os, signal, sys, time
from pathlib import Path
from ftsdk.backends.local.runs.run_dir import RunDir
from ftsdk.backends.local.runs.outcome import ended
from ftsdk.backends.local.runs.events import EventWriter
from ftsdk.util.files import atomic_write_json
run = RunDir(sys.argv[-1])
events = EventWriter(run.path / "events.jsonl")
def wait_for(name):
    for _ in range(6000):  # a minute, so that a test that fails leaves nothing behind for long
        if (run.path / name).exists():
            return
        time.sleep(0.01)
    sys.exit("the file did not appear")
def end(outcome, message="done"):
    atomic_write_json(run.path / "outcome.json", ended(outcome, message))
"""


def spec(**options: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "job_id": "ftj_x",
            "base_model": {"path": "/m", "name": "m"},
            "adapter": None,
            "options": {"cancel_grace_s": 0.3, **options},
        }
    )


def make(path: Path, **options: Any) -> RunDir:
    return RunDir.create(path, spec(**options), train=ROWS)


def launcher(body: str) -> list[str]:
    """The command of a supervisor whose trainer runs `body`."""
    inner = [sys.executable, "-c", PRELUDE + body]
    code = (
        "import sys\n"
        "from ftsdk.backends.local.runs import supervisor as s\n"
        "from ftsdk.backends.local.runs.run_dir import RunDir\n"
        f"s.supervise(RunDir(sys.argv[-1]), command={inner!r}, term_patience_s=0.5)\n"
    )
    return [sys.executable, "-c", code]


def until(check: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Poll until `check` returns something true; return that."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not become true in time")


def supervisor_pid(run: RunDir) -> int:
    """Its process id; never 0, which would mean our own process group."""
    return int(until(lambda: run.read_state().supervisor_pid))


def wait_dead(run: RunDir) -> None:
    until(lambda: not run.read_state().alive)


@pytest.fixture(autouse=True)
def keep_signal_handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


# --- the folder -------------------------------------------------------------------------------


def test_create_writes_every_file_private(tmp_path: Path) -> None:
    run = make(tmp_path / "runs" / "a")
    assert run.path.stat().st_mode & 0o777 == 0o700
    for path in run.path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert run.spec.format == 1
    assert run.spec.train == "train.jsonl"
    assert run.spec.validation is None
    assert run.read_state().phase == "not_started"
    assert run.read_events() == []
    assert run.checkpoints() == []
    assert run.log_tail() == []


def test_create_twice_is_refused_and_harmless(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    before = (run.path / "spec.json").read_bytes()
    with pytest.raises(UsageError):
        make(tmp_path / "a")
    assert (run.path / "spec.json").read_bytes() == before


def test_a_create_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield ROWS[0]
        raise OSError("the source went away")

    with pytest.raises(OSError, match="went away"):
        RunDir.create(tmp_path / "a", spec(), train=rows())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        RunDir(tmp_path)


def test_a_spec_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    (run.path / "spec.json").write_text('{"job_id": "ftj_x"}')
    with pytest.raises(StoreError) as caught:
        _ = RunDir(run.path).spec
    assert str(run.path / "spec.json") in caught.value.where


# --- start to end ------------------------------------------------------------------------------


def test_a_run_from_start_to_success(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    body = """
events.write("status", status="validating", message="")
wait_for("one")
events.write("status", status="running", message="Training.")
events.write("progress", step=3, total_steps=9)
wait_for("two")
events.write("status", status="finalizing", message="")
wait_for("three")
end("succeeded")
"""
    assert run.start(command=launcher(body))
    assert run.read_state().alive
    assert run.read_state().phase == "starting"
    assert not run.start(command=launcher(body))
    until(lambda: run.read_state().phase == "validating")
    (run.path / "one").touch()
    until(lambda: run.read_state().phase == "running")
    until(lambda: run.read_state().progress.get("step") == 3)
    assert run.read_state().message == "Training."
    (run.path / "two").touch()
    until(lambda: run.read_state().phase == "finalizing")
    (run.path / "three").touch()
    wait_dead(run)
    state = run.read_state()
    assert state.phase == "succeeded"
    assert state.is_final
    assert state.attempt == 1
    assert not run.start()
    assert not run.resume()
    assert not run.request_cancel()
    first = run.read_events()
    assert [event["seq"] for event in first] == list(range(1, len(first) + 1))
    assert run.read_events(first[-1]["seq"]) == []
    assert run.read_events(first[1]["seq"]) == first[2:]


def test_many_starts_at_once_start_one_run(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    code = (
        "import sys\nfrom ftsdk.backends.local.runs.run_dir import RunDir\n"
        "print(RunDir(sys.argv[1]).start(command=eval(sys.argv[2])))\n"
    )
    command = repr(
        launcher('events.write("log", message="born")\nwait_for("go")\nend("succeeded")')
    )
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(run.path), command], stdout=subprocess.PIPE
        )
        for _ in range(4)
    ]
    answers = [caller.communicate()[0].strip() for caller in callers]
    (run.path / "go").touch()
    wait_dead(run)
    assert sorted(answers) == [b"False", b"False", b"False", b"True"]
    born = [event for event in run.read_events() if event.get("message") == "born"]
    assert len(born) == 1


LOCKER = """
import sys
from ftsdk.backends.local.runs.run_dir import RunDir
with RunDir(sys.argv[1])._lock(wait_s=10) as fd:
    print(fd is not None)
"""


def test_readers_do_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    with (run.path / "lock").open() as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        waiter = subprocess.Popen(
            [
                sys.executable,
                "-c",
                LOCKER,
                str(run.path),
            ],
            stdout=subprocess.PIPE,
        )
    assert waiter.communicate()[0].strip() == b"True"


# --- deaths -----------------------------------------------------------------------------------


def run_to_end(run: RunDir, body: str) -> dict[str, Any]:
    run.start(command=launcher(body))
    wait_dead(run)
    outcome: dict[str, Any] = json.loads((run.path / "outcome.json").read_bytes())
    return outcome


def test_an_exit_code_and_the_log_are_reported(tmp_path: Path) -> None:
    outcome = run_to_end(make(tmp_path / "a"), 'print("last words", flush=True)\nsys.exit(3)')
    assert outcome["outcome"] == "failed"
    assert outcome["exit_code"] == 3
    assert outcome["signal"] is None
    assert outcome["log_tail"][-1] == "last words"
    assert outcome["error"]["kind"] == "exit"
    assert "last words" in outcome["message"]


def test_a_kill_is_reported_as_a_signal(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    body = 'events.write("progress", step=4, trained_tokens=90)\nos.kill(os.getpid(), 9)'
    outcome = run_to_end(run, body)
    assert (outcome["outcome"], outcome["signal"], outcome["steps"]) == ("failed", 9, 4)
    assert outcome["error"]["kind"] == "signal"
    assert "SIGKILL" in outcome["message"]
    assert run.read_state().phase == "failed"


def test_out_of_memory_has_a_hint_of_what_to_lower(tmp_path: Path) -> None:
    outcome = run_to_end(make(tmp_path / "a"), "raise MemoryError")
    assert outcome["error"]["kind"] == "out_of_memory"
    for name in ("batch_size", "max_length", "nf4", "gradient_accumulation_steps"):
        assert name in outcome["error"]["hint"]


def test_a_half_written_event_of_a_killed_trainer_is_ignored(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    body = 'os.write(events._fd, b\'{"seq": 3, "ki\')\nos.kill(os.getpid(), 9)'
    assert run_to_end(run, body)["outcome"] == "failed"
    assert [event["kind"] for event in run.read_events()] == ["log"]
    assert run.resume(command=launcher('end("succeeded")'))
    wait_dead(run)
    assert [event["seq"] for event in run.read_events()] == [1, 2]


def test_a_run_whose_processes_were_all_killed_is_resumed(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(command=launcher('events.write("status", status="running")\nwait_for("never")'))
    until(lambda: run.read_state().phase == "running")
    os.killpg(supervisor_pid(run), signal.SIGKILL)
    wait_dead(run)
    assert run.read_state().phase == "interrupted"
    assert run.resume(command=launcher('wait_for("go")\nend("succeeded")'))
    assert run.read_state().phase == "starting"
    (run.path / "go").touch()
    wait_dead(run)
    assert run.read_state().phase == "succeeded"
    assert run.read_state().attempt == 2


def test_the_trainer_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(
        command=launcher(
            'events.write("status", status="running")\nwait_for("go")\nend("succeeded")'
        )
    )
    until(lambda: run.read_state().phase == "running")
    os.kill(supervisor_pid(run), signal.SIGKILL)
    assert run.read_state().alive
    assert not run.resume()
    (run.path / "go").touch()
    wait_dead(run)
    assert run.read_state().phase == "succeeded"


def test_a_machine_that_shuts_down_leaves_an_interrupted_run(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(command=launcher('events.write("status", status="running")\nwait_for("never")'))
    until(lambda: run.read_state().phase == "running")
    os.kill(supervisor_pid(run), signal.SIGTERM)
    wait_dead(run)
    assert run.read_state().phase == "interrupted"


def test_a_trainer_that_exits_for_a_resume_is_interrupted(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run.start(command=launcher(f"sys.exit({EXIT_INTERRUPTED})"))
    wait_dead(run)
    assert run.read_state().phase == "interrupted"


# --- cancelling -------------------------------------------------------------------------------


def test_a_trainer_obeys_a_cancel(tmp_path: Path) -> None:
    run = make(tmp_path / "a", cancel_grace_s=60)
    body = 'events.write("status", status="running")\nwait_for("cancel")\nwait_for("go")\nend("cancelled")'
    run.start(command=launcher(body))
    until(lambda: run.read_state().phase == "running")
    assert run.request_cancel()
    assert run.read_state().cancelling
    assert run.read_state().phase == "running"
    (run.path / "go").touch()
    wait_dead(run)
    assert run.read_state().phase == "cancelled"
    assert not run.read_state().cancelling


@pytest.mark.parametrize(
    ("ignore", "signal_name"),
    [("", "SIGTERM"), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "SIGKILL")],
)
def test_a_cancel_that_is_ignored_is_enforced(
    tmp_path: Path, ignore: str, signal_name: str
) -> None:
    run = make(tmp_path / "a", cancel_grace_s=0.1)
    body = ignore + 'events.write("status", status="running")\nwait_for("never")'
    run.start(command=launcher(body))
    until(lambda: run.read_state().phase == "running")
    run.request_cancel()
    wait_dead(run)
    assert run.read_state().phase == "cancelled"
    assert signal_name in run.read_state().message


def test_a_cancel_before_the_start_ends_it_here(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    assert run.request_cancel()
    assert run.read_state().phase == "cancelled"
    assert not run.start()
    assert run.resume(command=launcher('end("succeeded")'))
    wait_dead(run)
    assert run.read_state().phase == "succeeded"


def test_resume_keeps_the_old_outcome(tmp_path: Path) -> None:
    run = make(tmp_path / "a")
    run_to_end(run, "sys.exit(1)")
    run.resume(command=launcher("sys.exit(2)"))
    wait_dead(run)
    run.resume(command=launcher('end("succeeded")'))
    wait_dead(run)
    old = [json.loads((run.path / f"outcome-{n}.json").read_bytes()) for n in (1, 2)]
    assert [o["exit_code"] for o in old] == [1, 2]
    assert run.read_state().attempt == 3


# --- environment, and explanations of deaths ---------------------------------------------------


def test_the_trainer_gets_no_key_and_keeps_its_memory() -> None:
    base = {
        "OPENAI_API_KEY": "k",
        "REPLICATE_API_TOKEN": "k",
        "HF_TOKEN": "k",
        "AWS_SECRET_ACCESS_KEY": "k",
        "DB_PASSWORD": "k",
        "PATH": "/bin",
        "TOKENIZERS_X": "1",
        "FTSDK_LOCK_FD": "9",
    }
    environment = trainer_environment(base, 2)
    assert "k" not in environment.values()
    assert environment["PATH"] == "/bin"
    assert environment["TOKENIZERS_X"] == "1"
    assert "FTSDK_LOCK_FD" not in environment
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert int(environment["MALLOC_TRIM_THRESHOLD_"]) > 2**32


def test_the_container_quota_limits_the_threads(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("100000 100000\n")
    assert available_threads(quota) == 1
    quota.write_text("max 100000\n")
    assert available_threads(quota) == len(os.sched_getaffinity(0))
    assert available_threads(tmp_path / "none") >= 1


def test_a_kernel_kill_for_memory_is_recognized(tmp_path: Path) -> None:
    events, vmstat = tmp_path / "memory.events", tmp_path / "vmstat"
    events.write_text("low 0\noom 1\noom_kill 1\n")
    vmstat.write_text("oom_kill 4\n")
    counters = OomCounters(events, vmstat)
    assert not counters.rose()
    events.write_text("low 0\noom 2\noom_kill 2\n")
    assert counters.rose()
    message, error = explain_death(-9, [], kernel_oom=True)
    assert error["kind"] == "out_of_memory"
    assert "memory" in message
    assert explain_death(-9, [], kernel_oom=False)[1]["kind"] == "signal"
    assert explain_death(-11, [], kernel_oom=False)[0].endswith("(SIGSEGV).")


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate; MemoryError",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_out_of_memory_is_recognized_in_the_text_of_any_library(line: str) -> None:
    assert explain_death(1, ["x", line], kernel_oom=False)[1]["kind"] == "out_of_memory"


def test_a_full_disk_is_recognized_in_the_text_of_a_library() -> None:
    line = "safetensors_rust.SafetensorError: I/O error: No space left on device (os error 28)"
    assert explain_death(1, [line], kernel_oom=False)[1]["kind"] == "disk_full"


def test_every_outcome_has_every_field() -> None:
    assert set(ended("failed", "x")) == {
        "outcome",
        "message",
        "error",
        "exit_code",
        "signal",
        "log_tail",
        "finished_at",
        "trained_tokens",
        "steps",
        "train_s",
    }


# --- taking turns -----------------------------------------------------------------------------

UNTIL_GO = 'wait_for("go"); end("succeeded")'


def test_runs_of_one_home_take_turns(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    second.start(command=launcher('(run.path / "here").touch(); end("succeeded")'))
    until(lambda: any(e.get("status") == "queued" for e in second.read_events()))
    assert second.read_state().phase == "starting"
    assert not (second.path / "here").exists()
    (first.path / "go").touch()
    wait_dead(second)
    assert second.read_state().phase == first.read_state().phase == "succeeded"


def test_a_waiting_run_can_be_cancelled_and_interrupted(tmp_path: Path) -> None:
    first, second, third = (make(tmp_path / name) for name in "abc")
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    for run in (second, third):
        run.start(command=launcher('end("succeeded")'))
        until(lambda run=run: any(e.get("status") == "queued" for e in run.read_events()))
    second.request_cancel()
    wait_dead(second)
    assert second.read_state().phase == "cancelled"
    os.kill(supervisor_pid(third), signal.SIGTERM)
    wait_dead(third)
    assert third.read_state().phase == "interrupted"
    (first.path / "go").touch()
    wait_dead(first)


def test_a_concurrent_run_does_not_wait(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b", concurrent=True)
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    second.start(command=launcher('end("succeeded")'))
    wait_dead(second)
    assert second.read_state().phase == "succeeded"
    (first.path / "go").touch()
    wait_dead(first)


def test_a_trainer_whose_supervisor_died_keeps_its_turn(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    first.start(command=launcher('(run.path / "here").touch(); ' + UNTIL_GO))
    until((first.path / "here").exists)
    os.kill(supervisor_pid(first), signal.SIGKILL)
    second.start(command=launcher('end("succeeded")'))
    until(lambda: any(e.get("status") == "queued" for e in second.read_events()))
    assert second.read_state().phase == "starting"
    (first.path / "go").touch()
    wait_dead(second)
    assert second.read_state().phase == "succeeded"
