"""One rule for the names of folders that are made from names of models."""

from __future__ import annotations

import pytest

from ftsdk.util.names import file_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ft:gpt-4.1-mini:org::Ab1", "ft-gpt-4.1-mini-org-Ab1"),
        ("together Qwen/Qwen3-8B", "together-Qwen-Qwen3-8B"),
        ("../../etc/passwd", "etc-passwd"),
        ("modèle 日本", "mod-le"),
        ("..", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_name_is_one_part_of_a_path(text: str, name: str) -> None:
    assert file_name(text) == name
