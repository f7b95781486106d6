"""Secrets and personal data: recall on planted ones, and false alarms on clean rows, with figures."""

from __future__ import annotations

import base64
import json
import random
import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftsdk.dataset import validate
from ftsdk.dataset.findings.secret_patterns import luhn, scan_text
from ftsdk.dataset.rules.byte_signs import may_hold

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"


def some(rng: random.Random, letters: str, count: int) -> str:
    return "".join(rng.choice(letters) for _ in range(count))


def jwt(rng: random.Random) -> str:
    head = (
        base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        .decode()
        .rstrip("=")
    )
    body = (
        base64.urlsafe_b64encode(json.dumps({"sub": rng.randrange(10**9)}).encode())
        .decode()
        .rstrip("=")
    )
    return f"{head}.{body}.{some(rng, URLSAFE, 43)}"


def pem(rng: random.Random) -> str:
    lines = "\n".join(some(rng, ALNUM + "+/", 64) for _ in range(6))
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----"


SECRETS: dict[str, Callable[[random.Random], str]] = {
    "openai project": lambda r: (
        f"sk-proj-{some(r, URLSAFE, 74)}T3BlbkFJ{some(r, URLSAFE, 73)}{r.choice(ALNUM)}"
    ),
    "openai legacy": lambda r: f"sk-{some(r, ALNUM, 20)}T3BlbkFJ{some(r, ALNUM, 20)}",
    "anthropic": lambda r: f"sk-ant-api03-{some(r, URLSAFE, 92)}AA",
    "aws": lambda r: f"AKIA{some(r, string.ascii_uppercase + '234567', 16)}",
    "huggingface": lambda r: f"hf_{some(r, string.ascii_letters, 34)}",
    "github": lambda r: f"ghp_{some(r, ALNUM, 36)}",
    "slack": lambda r: (
        f"xoxb-{some(r, string.digits, 12)}-{some(r, string.digits, 12)}-{some(r, ALNUM, 24)}"
    ),
    "stripe": lambda r: f"sk_live_{some(r, ALNUM, 24)}",
    "google": lambda r: f"AIza{some(r, URLSAFE, 34)}{r.choice(ALNUM)}",
    "replicate": lambda r: f"r8_{some(r, ALNUM, 37)}",
    "jwt": jwt,
    "private key": pem,
}


def card(rng: random.Random) -> str:
    prefix, length = rng.choice([("4", 16), ("51", 16), ("55", 16), ("37", 15), ("6011", 16)])
    body = prefix + some(rng, string.digits, length - len(prefix) - 1)
    number = next(body + d for d in string.digits if luhn(body + d))
    return (
        number
        if rng.random() < 0.4 or length == 15
        else rng.choice(" -").join(number[i : i + 4] for i in range(0, 16, 4))
    )


def email(rng: random.Random) -> str:
    name = rng.choice(["anna", "li.wei", "j.o-connor", "max+news", "k_k", "p99"]) + str(
        rng.randrange(99)
    )
    return f"{name}@{rng.choice(['mail.parcel-desk.net', 'acme.co.uk', 'uni-bonn.de', 'x.io'])}"


def phone(rng: random.Random) -> str:
    d = lambda n: some(rng, string.digits, n)
    first = rng.choice("23456789")
    return rng.choice([
        f"+1 {first}{d(2)}-{rng.choice('23456789')}{d(2)}-{d(4)}", f"({first}{d(2)}) {rng.choice('23456789')}{d(2)}-{d(4)}",
        f"{first}{d(2)}-{rng.choice('23456789')}{d(2)}-{d(4)}", f"+49 30 {d(7)}", f"+44 20 {d(4)} {d(4)}", f"+33 6 {d(2)} {d(2)} {d(2)} {d(2)}",
        f"+91 {rng.choice('6789')}{d(4)} {d(5)}", f"0171 {d(7)}"])  # fmt: skip


def iban(rng: random.Random) -> str:
    body = some(rng, string.digits, 18)
    check = 98 - int(body + "131400") % 97
    text = f"DE{check:02d}{body}"
    return text if rng.random() < 0.5 else " ".join(text[i : i + 4] for i in range(0, len(text), 4))


PII: dict[str, Callable[[random.Random], str]] = {
    "card": card,
    "email": email,
    "phone": phone,
    "iban": iban,
}
CODES = {
    "card": "FT402",
    "email": "FT406",
    "phone": "FT407",
    "iban": "FT405",
    "jwt": "FT404",
    "private key": "FT403",
}

TOPICS = ["the parcel", "an invoice", "order 48213", "version 3.11.7", "the meeting at 10:30", "section 4.2.1", "GSM8K",
          "commit 3101c7d", "17/09/2026", "2026-11-24T10:00:00Z", "EUR 1,299.00", "ISBN 978-3-16-148410-0", "#### 72",
          "10.0.0.12", "48/2 = <<48/2=24>>24", "the id 550e8400-e29b-41d4-a716-446655440000", "1 000 000 people",
          "https://example.com/docs/getting-started/installation-guide", "a+b=c", "@media (max-width: 600px)", "@user mentioned",
          "def compute_total_amount_for_order(order):", "row 1234567890123", "3.14159265358979", "sk-learn and hf_hub",
          "AKIRA", "user@host", "SHA-256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "555-0199x",
          "tracking 1Z999AA10123456784", "pi is 3.141592653589793238462643383279", "eyJ is how tokens begin"]  # fmt: skip
VERBS = ["Tell me about", "Where is", "Please explain", "I asked about", "Summarise", "Check"]


def clean_text(rng: random.Random) -> str:
    return " ".join(
        f"{rng.choice(VERBS)} {rng.choice(TOPICS)}." for _ in range(rng.randrange(1, 5))
    )


def rows_with_plants(seed: int) -> tuple[list[dict[str, Any]], dict[int, tuple[str, str]]]:
    rng = random.Random(seed)
    plants = [name for name in SECRETS for _ in range(84)][:1000] + [
        name for name in PII for _ in range(125)
    ]
    kinds: list[str | None] = [*plants, *[None] * 8_500]
    rng.shuffle(kinds)
    rows, planted = [], {}
    for number, kind in enumerate(kinds, start=1):
        text = clean_text(rng)
        if kind is not None:
            made = (SECRETS.get(kind) or PII[kind])(rng)
            planted[number] = (kind, made)
            text = rng.choice([f"{text} It is {made}.", f"key={made} {text}" if kind in SECRETS else f"{text} ({made})",
                               f"{text}\n{made}\nThanks", f"My number: {made}, {text}"])  # fmt: skip
        pair = [
            {"role": "user", "content": text},
            {"role": "assistant", "content": clean_text(rng)},
        ]
        if rng.random() < 0.3:
            pair = [pair[0], {"role": "assistant", "content": text}] if kind else pair
        rows.append({"messages": pair})
    return rows, planted


def test_recall_and_false_alarms(tmp_path: Path, capsys: Any) -> None:
    rows, planted = rows_with_plants(20)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(json.dumps(r).encode() + b"\n" for r in rows))
    report = validate(path, near_duplicates=False, tokens=False)
    reported: dict[int, set[str]] = {}
    for fault in report.findings:
        reported.setdefault(fault.line, set()).add(fault.code)
    hits: Counter[str] = Counter()
    total: Counter[str] = Counter()
    missed = []
    for line, (kind, made) in planted.items():
        total[kind] += 1
        if CODES.get(kind, "FT401") in reported.get(line, ()):
            hits[kind] += 1
        else:
            missed.append((kind, made))
    alarms = [line for line in reported if line not in planted]
    secrets = sum(hits[k] for k in SECRETS) / sum(total[k] for k in SECRETS)
    personal = sum(hits[k] for k in PII) / sum(total[k] for k in PII)
    clean = len(rows) - len(planted)
    with capsys.disabled():
        print(f"\nfindings: secrets {secrets:.2%} of {sum(total[k] for k in SECRETS)}, personal {personal:.2%} of "
              f"{sum(total[k] for k in PII)}, false alarms {len(alarms) / clean:.2%} of {clean}")  # fmt: skip
    assert secrets >= 0.99, missed[:5]
    assert personal >= 0.95, missed[:5]
    assert len(alarms) / clean <= 0.005, [rows[n - 1] for n in alarms[:5]]


def test_the_quick_look_never_hides_a_find() -> None:
    rng = random.Random(4)
    for _ in range(3_000):
        kind = rng.choice([*SECRETS, *PII])
        made = (SECRETS.get(kind) or PII[kind])(rng)
        for text in (made, f"a{made}", json.dumps(f"x {made}\n")):
            raw = json.dumps({"text": text}).encode()
            if any(True for _ in scan_text(text)):
                assert may_hold(raw), made


def test_values_are_masked_and_found_in_any_field() -> None:
    secret = f"sk-proj-{'a1B2' * 20}"
    row = {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}], "name": "n"},
                        {"role": "assistant", "content": "y"}], "metadata": {"note": [secret]}}  # fmt: skip
    report = validate([row])
    found = [f for f in report.findings if f.code == "FT401"]
    assert [f.field for f in found] == ["metadata.note[0]"]
    assert secret not in str(report)
    assert secret[:12] not in json.dumps(report.to_dict())


def test_a_scanner_without_the_project_key_shape_would_fail() -> None:
    """The figure means something: a pattern for the old key shape alone misses most new ones."""
    import re

    old = re.compile(r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}")
    rng = random.Random(5)
    made = [SECRETS["openai project"](rng) for _ in range(500)]
    assert sum(bool(old.search(m)) for m in made) / len(made) < 0.5
    assert all(any(f.code == "FT401" for f in scan_text(m)) for m in made)
