"""The processes of a group as one process, with short programs in place of trainers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.local.options import LocalOptions, RunOptions
from ftsdk.backends.local.runs import ranks
from ftsdk.backends.local.runs.outcome import EXIT_INTERRUPTED
from ftsdk.backends.local.runs.ranks import (
    EXIT_AGAIN,
    RENDEZVOUS,
    Ranks,
    process_count,
    rank_environment,
)
from ftsdk.backends.local.training.division import divide, rounds_of


class Started:
    """A group of programs, and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reports = folder, list[str]()
        self.group: Ranks | None = None
        self.log = (folder / "log").open("ab")

    def __call__(self, program: str, size: int = 2, **more: Any) -> Ranks:
        argv = [sys.executable, "-I", "-S", "-c", f"import os, sys, time, signal\n{program}"]
        self.group = Ranks(
            self.folder,
            [*argv, str(self.folder)],
            size,
            log=self.log,
            environment=dict(os.environ),
            pass_fds=(),
            report=self.reports.append,
            **more,
        )
        return self.group


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path)
    yield made
    if made.group is not None:
        made.group.kill()
        made.group.wait()
    made.log.close()


FIRST_TIME = """
rank, run = os.environ["RANK"], sys.argv[1]
first = not os.path.exists(run + "/tried-" + rank)
open(run + "/tried-" + rank, "w").close()
"""


def test_a_killed_rank_starts_all_again(started: Started) -> None:
    program = (
        f"{FIRST_TIME}\nif first and rank == '1': os.kill(os.getpid(), 9)\nif first: sys.exit(76)"
    )
    group = started(program)
    assert group.wait(20) == 0
    assert group.restarts == 1
    [message] = started.reports
    assert message.startswith("Process 2 of 2 was killed by signal 9; all of them start again")
    assert "restart 1 of at most 3" in message


def test_a_rank_that_waits_for_a_dead_one_is_killed(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "_PEER_PATIENCE_S", 0.1)
    program = f"{FIRST_TIME}\nif first and rank == '1': os.kill(os.getpid(), 9)\nif first: time.sleep(600)"
    assert started(program).wait(20) == 0
    assert len(started.reports) == 1


def test_restarts_are_bounded(started: Started) -> None:
    group = started(f"sys.exit({EXIT_AGAIN})")
    assert group.wait(20) == EXIT_AGAIN
    assert len(started.reports) == ranks.RESTARTS


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("sys.exit(3 if os.environ['RANK'] == '1' else 76)", 3),
        ("open(sys.argv[1] + '/outcome.json', 'w').close(); sys.exit(1)", 1),
        ("open(sys.argv[1] + '/cancel', 'w').close(); os.kill(os.getpid(), 9)", -9),
        (f"sys.exit({EXIT_INTERRUPTED})", EXIT_INTERRUPTED),
        ("", 0),
    ],
    ids=["an error", "an outcome", "a cancel", "an interruption", "an end"],
)
def test_what_starts_nothing_again(program: str, status: int, started: Started) -> None:
    assert started(program).wait(20) == status
    assert started.reports == []


def test_a_machine_without_memory_starts_nothing_again(started: Started) -> None:
    assert started("os.kill(os.getpid(), 9)", may_restart=lambda: False).wait(20) == -9


def test_sigterm_reaches_every_rank_and_ends_the_group(started: Started) -> None:
    group = started("time.sleep(600)", size=3)
    with pytest.raises(subprocess.TimeoutExpired):
        group.wait(0.05)
    pids = group.pids
    group.terminate()
    assert group.wait(20) == -15
    assert started.reports == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_each_rank_knows_its_place_and_meets_on_loopback(tmp_path: Path) -> None:
    found = rank_environment({"A": "b"}, 1, 4, tmp_path / "file")
    assert found["A"] == "b"
    assert (found["RANK"], found["LOCAL_RANK"], found["WORLD_SIZE"]) == ("1", "1", "4")
    assert found[RENDEZVOUS] == str(tmp_path / "file")
    assert found["GLOO_SOCKET_IFNAME"].startswith("lo")
    assert found["NCCL_SOCKET_IFNAME"].startswith("lo")


@pytest.mark.parametrize(
    ("options", "gpus", "environment", "count"),
    [
        ({}, 0, {}, 1),
        ({}, 4, {}, 4),
        ({}, 4, {"CUDA_VISIBLE_DEVICES": "1,3"}, 2),
        ({}, 4, {"CUDA_VISIBLE_DEVICES": ""}, 1),
        ({"device": "cpu"}, 4, {}, 1),
        ({"device": "cuda:1"}, 4, {}, 1),
        ({"processes": 2}, 0, {}, 2),
        ({"processes": 1}, 4, {}, 1),
    ],
)
def test_one_process_for_each_gpu(
    options: dict[str, Any], gpus: int, environment: dict[str, str], count: int, tmp_path: Path
) -> None:
    for name in ["nvidiactl", "nvidia-uvm", *(f"nvidia{k}" for k in range(gpus))]:
        (tmp_path / name).touch()
    assert process_count(RunOptions.model_validate(options), environment, tmp_path) == count


@pytest.mark.parametrize(
    "options",
    [
        {"processes": 0},
        {"processes": True},
        {"processes": 2, "device": "cuda:0"},
        {"processes": 1, "sharding": "fsdp"},
        {"sharding": "zero3"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"process|sharding"):
        LocalOptions.model_validate(options)


class Member:
    """A rank of a group that exchanges nothing."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def test_rows_are_divided_in_balance_and_in_order() -> None:
    lengths = [100, 90, 10, 20, 80, 5, 44, 17, 30, 61]
    shares = divide(lengths, 2)
    assert sorted(k for share in shares for k in share) == list(range(10))
    assert all(share == sorted(share) for share in shares)
    tokens = [sum(lengths[k] for k in share) for share in shares]
    assert max(tokens) - min(tokens) <= 5
    assert divide([7], 3) == [[0], [], []]
    assert divide(lengths, 1) == [list(range(10))]


@pytest.mark.parametrize("fills", [True, False])
def test_every_rank_has_as_many_rounds(fills: bool) -> None:
    rows = ["aaaa", "bb", "cc", "d", "e", "ff", "ggg"]

    def cut(part: Sequence[str]) -> list[list[str]]:
        return [[row] for row in part]

    found = [[*rounds_of(rows, cut, Member(rank, 3), fills=fills)] for rank in range(3)]  # type: ignore[arg-type]  # it divides only
    assert len({len(rounds) for rounds in found}) == 1
    real = [row for rounds in found for one in rounds if not one.filler for row in one.micro]
    assert sorted(real) == sorted(rows)
    fillers = [one.micro for rounds in found for one in rounds if one.filler]
    assert fillers
    assert all(micro == (["d"] if fills else []) for micro in fillers)


def test_nothing_is_left_beside_the_run(started: Started) -> None:
    program = "open(os.environ['FTSDK_RENDEZVOUS'], 'w').close()"
    assert started(program).wait(20) == 0
    assert [path.name for path in started.folder.iterdir()] == ["log"]
