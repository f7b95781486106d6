"""Mutated rows by the thousand: no crash, no hang, right positions, and an independent second opinion.

The harness reads blocks of lines that a grammar made and a byte mutator broke, with the real
reader, and compares each verdict and value with a reader made of the standard library. The short
tier runs always; `--long` runs two million rows. Planted bugs must be caught.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import validate
from ftsdk.dataset.findings.finding import Fault
from ftsdk.dataset.readers.lines import read_lines
from ftsdk.dataset.readers.strict_json import MAX_DEPTH, MAX_KEY_CHARS, Flaw, parse

BLOCK = 500


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> int:
    """How many rows this tier tries."""
    return 2_000_000 if request.config.getoption("--long") else 40_000


# --- the grammar and the mutator -------------------------------------------------------------

WORDS = ["", "a", "hello", "é", "日本", "🙂", "\u2028", "\x85", "\ud83d\ude00", '"', "\\", "\n", "\t", "<|im_end|>",
         "{", "]", "NaN", "x" * 300, "\x00", "\u200b", "\x1c"]  # fmt: skip
ROLES = ["user", "assistant", "system", "tool", "User", "function", "аssistant", "", None, 3]
KEYS = ["messages", "role", "content", "weight", "tools", "tool_calls", "name", "", "__proto__", "text", "id",
        "prompt", "completion", "input", "preferred_output"]  # fmt: skip
SPLICES = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"\x00", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\\ud800",
           b"\\udc00\\ud800", b'"role":"user",', b"\xef\xbb\xbf", b"\r", b"\n", b"\x85", b"\xe2\x80\xa8", b"\x1c", b"'", b",", b"}",
           b"{", b"[" * 70, b"9" * 25, b"18446744073709551616", b"0123", b"\\u0000", b"\\x", b"\\", b'"', b" ", b"\t", b"\x0b",
           b"true", b"null", b"{}", b'"messages":[],', b"/*c*/", b"\\u0022", b"1.5e+3", b"-0", b"-", b"."]  # fmt: skip


def value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind < 3:
        return rng.choice(WORDS) + rng.choice(WORDS)
    if kind == 3:
        return rng.choice([0, 1, -1, 2**53, 2**63, 0.5, 1e300, -0.0])
    if kind == 4:
        return rng.choice([True, False, None])
    if kind == 5:
        return [{"type": "text", "text": rng.choice(WORDS)}]
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(KEYS): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def row(rng: random.Random) -> bytes:
    if rng.random() < 0.15:
        made: Any = value(rng)
    else:
        messages = []
        for i in range(rng.randrange(1, 5)):
            message: dict[str, Any] = {"role": rng.choice(ROLES) if rng.random() < 0.2 else ["user", "assistant"][i % 2],
                                       "content": value(rng) if rng.random() < 0.2 else rng.choice(WORDS) + "text"}  # fmt: skip
            if rng.random() < 0.1:
                message["weight"] = rng.choice([0, 1, True, "1", 0.5])
            if rng.random() < 0.1:
                message["tool_calls"] = [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": rng.choice(["{}", "{", '"{}"', {}])},
                    },
                    value(rng),
                ]
            messages.append(message)
        made = {"messages": messages}
        if rng.random() < 0.2:
            made[rng.choice(KEYS)] = value(rng)
    if rng.random() < 0.01:
        for _ in range(rng.randrange(54, 70)):
            made = [made]
        made = {"deep": made}
    text = json.dumps(
        made, ensure_ascii=rng.random() < 0.3, separators=rng.choice([(",", ":"), (", ", ": ")])
    )
    return text.encode("utf-8", "surrogatepass")


def mutate(rng: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        act = rng.randrange(6)
        if act == 0 and data:
            data[at % len(data)] = rng.randrange(256)
        elif act == 1:
            del data[at : at + rng.randrange(1, 6)]
        elif act in (2, 3):
            data[at:at] = rng.choice(SPLICES)
        elif act == 4:
            data[at:at] = data[at : at + rng.randrange(1, 40)]
        else:
            del data[at:]
    return bytes(data)


def block(rng: random.Random) -> bytes:
    lines = [mutate(rng, row(rng)) for _ in range(BLOCK)]
    return rng.choice([b"\n", b"\n", b"\n", b"\r\n"]).join(lines) + rng.choice(
        [b"", b"\n", b"\n\n"]
    )


# --- the second opinion ----------------------------------------------------------------------


class Refuse(ValueError):
    pass


def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in found}) != len(found):
        raise Refuse("repeated key")
    if any(len(k) > MAX_KEY_CHARS for k, _ in found):
        raise Refuse("long key")
    return dict(found)


def integer(digits: str) -> int:
    if len(digits) > 21 or not -(2**63) <= int(digits) < 2**64:
        raise Refuse("beyond 64 bits")
    return int(digits)


def real(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise Refuse("infinite")
    return number


def constant(_: str) -> None:
    raise Refuse("NaN")


def depth(found: Any) -> int:
    if isinstance(found, dict):
        return 1 + max(map(depth, found.values()), default=0)
    return 1 + max(map(depth, found), default=0) if isinstance(found, list) else 0


def opinion(raw: bytes) -> Any:
    """The value, or `Refuse`: the standard library, made strict by its own hooks."""
    try:
        text = raw.decode("utf-8")
        found = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=integer,
            parse_float=real,
            parse_constant=constant,
        )
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return Refuse
    return Refuse if depth(found) > MAX_DEPTH else found


# --- the harness -----------------------------------------------------------------------------


@dataclass
class Verdict:
    rows: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


Reader = Callable[[bytes], Iterator[tuple[int, int, bytes]]]


def real_reader(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    for record in read_lines(io.BytesIO(data)):
        if not isinstance(record, Fault):
            line, offset, raw = record
            yield line, offset or 0, raw


def expected(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    for number, piece in enumerate(data[at:].split(b"\n"), start=1):
        bare = piece.removesuffix(b"\r")
        if bare.strip(b" \t\n\r\x0b\x0c"):
            yield number, at, bare
        at += len(piece) + 1


def harness(
    rows: int, seed: int, reader: Reader = real_reader, read_row: Callable[[bytes], Any] = parse
) -> Verdict:
    verdict = Verdict()
    rng = random.Random(seed)
    while verdict.rows < rows and len(verdict.wrong) < 20:
        data = block(rng)
        found, wanted = list(reader(data)), list(expected(data))
        if found != wanted:
            verdict.wrong.append(f"records differ: {len(found)} and {len(wanted)}")
        for line, offset, raw in found:
            verdict.rows += 1
            start = time.thread_time()  # a busy machine may put us aside for seconds
            mine = read_row(raw)
            verdict.slowest_s = max(verdict.slowest_s, time.thread_time() - start)
            theirs = opinion(raw)
            if data[offset : offset + len(raw)] != raw:
                verdict.wrong.append(f"line {line}: offset {offset} is not where the record is")
            if isinstance(mine, Flaw) != (theirs is Refuse):
                verdict.wrong.append(
                    f"{raw[:120]!r}: {mine if isinstance(mine, Flaw) else 'accepted'}"
                )
            elif isinstance(mine, Flaw):
                if not 0 <= mine.offset <= len(raw):
                    verdict.wrong.append(f"{raw[:120]!r}: offset {mine.offset} is outside")
            else:
                verdict.accepted += 1
                if mine != theirs:
                    verdict.wrong.append(f"{raw[:120]!r}: another value")
    return verdict


def test_readers_agree_on_mutated_rows(rows: int, capsys: Any) -> None:
    verdict = harness(rows, seed=1)
    with capsys.disabled():
        print(
            f"\nfuzz: {verdict.rows:,} rows from seed 1, {verdict.accepted:,} accepted, slowest {verdict.slowest_s * 1e3:.1f} ms"
        )
    assert verdict.wrong == []
    assert 0.2 < verdict.accepted / verdict.rows < 0.8
    assert verdict.slowest_s < 1


@pytest.mark.parametrize(
    ("bug", "reader", "read_row"),
    [
        ("splitlines", lambda d: ((i, 0, s.encode("utf-8", "surrogateescape")) for i, s in
                                  enumerate(d.decode("utf-8", "surrogateescape").splitlines(), 1) if s.strip()), parse),
        ("last key wins", real_reader, lambda raw: _stdlib(raw, object_pairs_hook=None)),
        ("NaN accepted", real_reader, lambda raw: _stdlib(raw, parse_constant=None)),
        ("no depth limit", real_reader, lambda raw: _stdlib(raw, depth=False)),
    ],
)  # fmt: skip
def test_planted_bugs_are_caught(
    bug: str, reader: Reader, read_row: Callable[[bytes], Any]
) -> None:
    assert harness(20_000, seed=2, reader=reader, read_row=read_row).wrong != [], bug


def _stdlib(raw: bytes, *, depth: bool = True, **off: Any) -> Any:
    hooks = {
        "object_pairs_hook": pairs,
        "parse_int": integer,
        "parse_float": real,
        "parse_constant": constant,
    } | off
    try:
        found = json.loads(raw.decode("utf-8"), **hooks)
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return Flaw("FT010", "", "")
    return Flaw("FT015", "", "") if depth and globals()["depth"](found) > MAX_DEPTH else found


def test_no_rule_breaks_on_mutated_rows(rows: int, tmp_path: Path) -> None:
    rng = random.Random(3)
    path = tmp_path / "rows.jsonl"
    for number in range(rows // BLOCK // 8):
        data = block(rng)
        path.write_bytes(data)
        provider = ["openai", "together", "bedrock", "vertex", "mistral", None][number % 6]
        start = time.perf_counter()
        report = validate(path, provider=provider, near_duplicates=False, tokens=False)
        assert time.perf_counter() - start < 60
        lines = {line for line, _, _ in expected(data)}
        for fault in (*report.faults, *report.notices):
            assert fault.line in lines or fault.line == 0 or fault.code == "FT020", fault
        str(report)
        json.dumps(report.to_dict())
