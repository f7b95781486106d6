"""The Dockerfile: an unprivileged user, no keys, no host of a registry, and only what is ours."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, without comments."""
    text = (ROOT / "Dockerfile").read_text()
    lines = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [
        (name, words) for name, _, words in (x.partition(" ") for x in joined.split("\n")) if name
    ]


def test_the_last_stage_runs_as_a_numbered_user_without_privileges() -> None:
    last = instructions()
    last = last[max(k for k, (name, _) in enumerate(last) if name == "FROM") :]
    user = [words for name, words in last if name == "USER"]
    assert len(user) == 1
    assert all(int(number) > 0 for number in user[0].split(":"))
    names = [name for name, _ in last]
    assert "RUN" not in names[names.index("USER") :]
    env = " ".join(words for name, words in last if name == "ENV")
    assert "FTSDK_HOME=/data" in env
    assert ("VOLUME", "/data") in last
    assert ("CMD", '["serve", "--host", "0.0.0.0", "--behind-proxy"]') in last


def test_no_key_and_no_registry_is_named() -> None:
    for name, words in instructions():
        if name == "FROM":
            assert re.fullmatch(r"python:3\.\d+-slim( AS build)?", words)
        if name in ("ENV", "ARG", "RUN"):
            assert not re.search(r"(?i)[a-z]_?(key|token|secret)\b", words)
            assert "://" not in words
        assert name != "ADD"


def test_only_what_the_package_is_made_of_is_copied() -> None:
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().split("\n")
        if line.startswith("!")
    }
    for name, words in instructions():
        if name == "COPY" and not words.startswith("--from"):
            *sources, _ = words.split()
            assert set(sources) <= allowed
            assert all((ROOT / source).exists() for source in sources)
    assert (ROOT / ".dockerignore").read_text().split("\n")[1] == "*"


def test_its_extras_exist() -> None:
    [extras] = [words for name, words in instructions() if name == "ARG"]
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(known)
