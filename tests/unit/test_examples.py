"""The example scripts run unchanged on `fake`; only the profile differs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*command: str, cwd: Path, **env: str) -> str:
    """Run an example, which must succeed without warnings; return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_first_job_is_the_same_file_for_every_provider() -> None:
    output = run("first_job.py", cwd=EXAMPLES, FTSDK_PROFILE="test", PYTHONUTF8="1")
    assert "on fake" in output
    assert "succeeded" in output
    assert output.rstrip().endswith(".")
    source = (EXAMPLES / "first_job.py").read_text(encoding="utf-8")
    code = source.split('"""')[2]
    assert not any(word in code for word in ("fake", "local", "provider="))


def test_switching_compares_every_profile_and_runs_on_the_chosen_one() -> None:
    output = run("switch_provider.py", cwd=EXAMPLES, FTSDK_PROFILE="test", PYTHONUTF8="1")
    assert "dev: smollm2-135m is not on this machine yet" in output  # a home of its own, empty
    assert "test: fake" in output
    assert "learning_rate 0.001 → learning_rate 0.001" in output
    assert "[billing/double]" in output


def test_the_demo_shows_the_curve_and_both_answers(tmp_path: Path) -> None:
    demo = str(EXAMPLES / "demo.py")
    printed = run(demo, "--provider", "fake", "--out", "out", cwd=tmp_path, PYTHONUTF8="1")
    assert "320 rows   0 faults" in printed
    assert "█" in printed
    assert printed.count("question   ") == printed.count("tuned      ") == 8
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "my parcel is late" in page
    assert "http://www.w3.org/2000/svg" in page
    svg = ET.fromstring((tmp_path / "out" / "loss.svg").read_text(encoding="utf-8"))
    assert svg.find("{http://www.w3.org/2000/svg}polyline") is not None
