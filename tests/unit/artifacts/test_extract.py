"""One member of an archive, under our own name and within its declared size."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest

from ftsdk.artifacts.extract import extract_member
from ftsdk.errors import (
    UnexpectedResponse,
)
from tests.unit.backends.local.models.model_files import (
    make_zip,
)


def test_one_member_is_extracted_under_our_own_name(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.whl", {"../../evil.gguf": b"G" * 100, "b.py": b"raise"})
    digest = extract_member(archive, ".gguf", tmp_path / "m", max_bytes=100)
    assert digest == hashlib.sha256(b"G" * 100).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.whl", "m"]


@pytest.mark.parametrize(
    ("members", "modes", "says"),
    [
        ({"a.py": b""}, {}, "contains 0 members"),
        ({"a.gguf": b"1", "b.gguf": b"2"}, {}, "contains 2 members"),
        ({"a.gguf": b"/etc/passwd"}, {"a.gguf": stat.S_IFLNK | 0o777}, "not a plain regular file"),
        ({"a.gguf": b"0" * 101}, {}, "at most 100"),
    ],
)
def test_other_members_are_refused(
    members: dict[str, bytes], modes: dict[str, int], says: str, tmp_path: Path
) -> None:
    archive = make_zip(tmp_path / "a.whl", members, modes)
    with pytest.raises(UnexpectedResponse, match=says):
        extract_member(archive, ".gguf", tmp_path / "m", max_bytes=100)
    assert not (tmp_path / "m").exists()


def test_an_archive_with_wrong_sizes_leaves_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.whl", {"a.gguf": b"0" * 5000})
    data = archive.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(UnexpectedResponse):
        extract_member(archive, ".gguf", tmp_path / "m", max_bytes=100)
    assert not (tmp_path / "m").exists()


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"<html>sign in</html>")
    with pytest.raises(UnexpectedResponse, match="not a valid archive"):
        extract_member(tmp_path / "a.whl", ".gguf", tmp_path / "m", max_bytes=100)
