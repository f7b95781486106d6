"""How long imports and the command line take to start, against the libraries they are made of.

    python benchmarks/startup.py [rounds]

Each figure is the user and system time of a fresh interpreter with compiled bytecode: the median of
several rounds (15 by default) in which all programs take turns, so that a slow phase of the machine
hits all of them alike. The aims: `import ftsdk` at most 0.8 times `import pydantic`; `ftsdk --help`
at most 1.3 times, and `ftsdk list` of a journal with three ended jobs at most 2 times, the import of
typer, rich and pydantic.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import ftsdk

PROGRAMS = {
    "python": ["-c", "pass"],
    "import pydantic": ["-c", "import pydantic"],
    "import ftsdk": ["-c", "import ftsdk"],
    "import typer, rich, pydantic": ["-c", "import typer, rich, pydantic"],
    "ftsdk --help": ["-m", "ftsdk", "--help"],
    "ftsdk list": ["-m", "ftsdk", "list"],
}
RATIOS = (
    ("import ftsdk", "import pydantic", 0.8),
    ("ftsdk --help", "import typer, rich, pydantic", 1.3),
    ("ftsdk list", "import typer, rich, pydantic", 2.0),
)
DONE = {"timeline": [["succeeded", 0]]}
ROW = {"messages": [{"role": "user", "content": "3?"}, {"role": "assistant", "content": "9"}]}


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose home has three ended jobs, and a cache for bytecode."""
    home = folder / "home"
    with ftsdk.Client(home=home, env={}) as client:
        for seed in range(3):
            client.create_job(
                [ROW] * 10, model="any", provider="fake", seed=seed, provider_options=DONE
            ).refresh()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**env, "FTSDK_HOME": str(home), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def cpu_seconds(arguments: list[str], env: dict[str, str]) -> float:
    """Return the user and system time of one run of Python."""
    process = subprocess.Popen(
        [sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(errors.decode())
    return usage.ru_utime + usage.ru_stime


def main(rounds: int) -> int:
    """Print the medians and the ratios; 1 when a ratio is over its aim."""
    with tempfile.TemporaryDirectory() as folder:
        env = environment(Path(folder))
        for arguments in PROGRAMS.values():
            cpu_seconds(arguments, env)  # once, to compile and to fill the file cache
        times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for _ in range(rounds):
            for name, arguments in PROGRAMS.items():
                times[name].append(cpu_seconds(arguments, env))
    medians = {name: statistics.median(column) for name, column in times.items()}
    for name, median in medians.items():
        print(f"{name:<30} {median * 1000:6.0f} ms")
    missed = 0
    for name, base, aim in RATIOS:
        ratio = medians[name] / medians[base]
        missed += ratio > aim
        verdict = "over" if ratio > aim else "within"
        print(f"{name} / {base}: {ratio:.2f} ({verdict} {aim:g})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))
