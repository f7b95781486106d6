"""A list whose values are in a file: what is read is what was appended, and nothing of it remains."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
from pathlib import Path

import pytest

from ftsdk.util.spilled import Spilled


def test_values_are_read_as_they_were_appended(tmp_path: Path) -> None:
    values = [{"text": "ä\ud800" * 1000, "number": 2**70}, None, ("a", 1.5), [b"x"], {}]
    one = Spilled(values, folder=tmp_path)
    assert len(one) == 5
    assert list(one) == values
    assert one[-1] == {}
    assert one[1:3] == [None, ("a", 1.5)]
    with pytest.raises(IndexError):
        one[5]


def test_a_value_is_a_copy() -> None:
    one = Spilled([["a"]])
    one[0].append("b")
    assert one[0] == ["a"]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_the_same_values(again: type) -> None:
    assert list(again(Spilled(range(100)))) == list(range(100))


def test_texts_are_in_a_file_without_a_name(tmp_path: Path) -> None:
    one = Spilled(folder=tmp_path)
    for number in range(400):
        one.append(f"{number} " * 1000)
    assert list(tmp_path.iterdir()) == []
    assert one[399].startswith("399 ")
    file = one._file
    del one
    gc.collect()
    assert file.closed


def test_threads_read_their_own_values() -> None:
    one, wrong = Spilled([str(number) * 500 for number in range(500)]), list[int]()

    def read(start: int) -> None:
        wrong.extend(n for n in range(start, 500, 4) if one[n] != str(n) * 500)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)
    assert wrong == []
