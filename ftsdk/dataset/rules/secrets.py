"""Secrets and personal data in rows: own patterns, checksums where a shape has one, masked values.

Two steps. A row's bytes are first asked, in about a microsecond, whether they can hold anything:
an `@`, a long run of token characters, nine digits in a row (separators aside; a private key has its long base64 lines). Only then every
string of the row is searched. Nothing is proof of absence; findings are notices, and block an
upload until they are acknowledged.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ftsdk.dataset.findings.registry import note

__all__ = ["Finding", "may_hold", "scan_row", "scan_text"]

note("FT401", "notice", "Looks like an API key or token", "remove it and revoke the key; or acknowledge with allow_findings=",
     "Keys of the common services by their prefix, and by checksum where they carry one (GitHub, "
     "npm). A key that reached a training file should be revoked.")  # fmt: skip
note("FT402", "notice", "Looks like a payment card number", "remove or mask it; or acknowledge with allow_findings=",
     "Issuer prefix, length and the Luhn checksum fit.")  # fmt: skip
note(
    "FT403",
    "notice",
    "A private key",
    "remove it and replace the key; or acknowledge with allow_findings=",
)
note("FT404", "notice", "Looks like a JSON web token", "remove it; or acknowledge with allow_findings=",
     "Three base64url parts whose first is a JSON header with `alg`.")  # fmt: skip
note("FT405", "notice", "Looks like a bank account number (IBAN)", "remove or mask it; or acknowledge with allow_findings=",
     "Country, length and the mod-97 checksum fit.")  # fmt: skip
note(
    "FT406",
    "notice",
    "An e-mail address",
    "remove or replace it; or acknowledge with allow_findings=",
)
note(
    "FT407",
    "notice",
    "Looks like a phone number",
    "remove or replace it; or acknowledge with allow_findings=",
)
note(
    "FT408",
    "notice",
    "A password in a URL or an assignment",
    "remove it and change the password; or acknowledge with allow_findings=",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One find: its code, what it is, and the value with its middle taken out."""

    code: str
    what: str
    masked: str


_WORD = bytes(
    0x78
    if chr(b) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./+="
    else 0x20
    for b in range(256)
)
_DIGIT = bytes(0x30 if 0x30 <= b <= 0x39 else 0x20 for b in range(256))
_SEPARATORS = b" -.()/"
_RUN, _DIGITS = b"x" * 20, b"0" * 9


def may_hold(raw: bytes) -> bool:
    """Whether a record may hold a finding; False is certain."""
    return (
        b"@" in raw
        or _DIGITS in raw.translate(_DIGIT, _SEPARATORS)
        or _RUN in raw.translate(_WORD)
        or b"\\u00" in raw
    )


def scan_row(row: Any) -> Iterator[tuple[str, Finding]]:
    """Every finding in every string of a row, with its field path; one of a kind per field.

    What stands in a key has the path of the object that has the key.
    """
    stack: list[tuple[str, Any]] = [("", row)]
    while stack:
        place, value = stack.pop()
        if isinstance(value, str):
            for finding in scan_text(value):
                yield place, finding
        elif isinstance(value, dict):
            for finding in itertools.chain.from_iterable(map(scan_text, value)):
                yield place, finding
            stack.extend((f"{place}.{k}" if place else k, v) for k, v in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend((f"{place}[{i}]", v) for i, v in reversed(list(enumerate(value))))


def scan_text(text: str) -> Iterator[Finding]:
    """The findings of one text, the first of each kind."""
    if len(text) < 6:
        return
    told: set[str] = set()
    for shape in _SHAPES:
        if shape.needs not in text or shape.what in told:
            continue
        if shape is _ASSIGNMENT and not _may_assign(text):
            continue
        for match in shape.pattern.finditer(text):
            value = match.group(shape.group)
            if shape.check is None or shape.check(value):
                told.add(shape.what)
                yield Finding(shape.code, shape.what, _masked(value))
                break
    yield from _numbers(text)


def _may_assign(text: str) -> bool:
    """Whether a text can hold what `_ASSIGNMENT` looks for; its search is many times dearer."""
    if ":" not in text and "=" not in text:
        return False
    small = text.lower()
    return "key" in small or "token" in small or "secret" in small or "passw" in small


def _masked(value: str) -> str:
    value = value.strip()
    return f"{value[:4]}…" if len(value) > 8 else f"{value[:2]}…"


# --- checks ----------------------------------------------------------------------------------

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _crc62(value: str) -> bool:
    """GitHub's and npm's tokens end in the CRC-32 of their random part, in base 62."""
    body, _, given = value.partition("_")[2][:-6], None, value[-6:]
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return digits.rjust(6, "0") == given


def _looks_random(value: str) -> bool:
    """Letters and digits mixed, many different characters: no word, no path, no placeholder."""
    return (
        len(set(value)) >= 10
        and any(c.isdigit() for c in value)
        and any(c.isalpha() for c in value)
        and "xxxx" not in value.lower()
    )


def _is_jwt(value: str) -> bool:
    head = value.split(".", 1)[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(header, dict) and "alg" in header


def luhn(digits: str) -> bool:
    """The checksum of payment cards."""
    total = 0
    for i, ch in enumerate(reversed(digits)):
        n = ord(ch) - 48
        if i % 2:
            n = n * 2 - 9 if n > 4 else n * 2
        total += n
    return total % 10 == 0


_CARD_PREFIX = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})$"  # Visa
    r"|(?:5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12})$"  # Mastercard
    r"|3[47]\d{13}$|3(?:0[0-5]|[68]\d)\d{11,16}$"  # American Express, Diners
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}$|35(?:2[89]|[3-8]\d)\d{12,15}$|62\d{14,17}$"
)


def _is_card(value: str) -> bool:
    digits = re.sub(r"[ -]", "", value)
    return _CARD_PREFIX.match(digits) is not None and len(set(digits)) > 1 and luhn(digits)


_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30,
    "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip


def _is_iban(value: str) -> bool:
    text = re.sub(r"[ -]", "", value).upper()
    length = _IBAN_LENGTHS.get(text[:2])
    if length is None or len(text) < length:
        return False
    moved = text[4:length] + text[:4]
    return int("".join(str(int(ch, 36)) for ch in moved)) % 97 == 1


# --- shapes ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Shape:
    code: str
    what: str
    needs: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    group: int = 0


def _key(what: str, needs: str, pattern: str, check: Callable[[str], bool] | None = None) -> _Shape:
    return _Shape(
        "FT401",
        what,
        needs,
        re.compile(rf"(?<![A-Za-z0-9_]){pattern}(?![A-Za-z0-9])", re.ASCII),
        check,
    )


_SHAPES: tuple[_Shape, ...] = (
    _key("an Anthropic key", "sk-ant-", r"sk-ant-[A-Za-z0-9]{2,12}-[A-Za-z0-9_-]{30,}"),
    _key("an OpenRouter key", "sk-or-", r"sk-or-v1-[a-f0-9]{40,}"),
    _key("an OpenAI key", "sk-", r"sk-(?!ant-|or-)(?:[a-z]{2,12}-)?[A-Za-z0-9_-]{20,}", _looks_random),
    _key("an AWS access key", "A", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    _key("a Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
    _key("a GitHub token", "gh", r"gh[opusr]_[A-Za-z0-9]{36}", None),
    _key("a GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    _key("a GitLab token", "glpat-", r"glpat-[A-Za-z0-9_-]{20,}"),
    _key("a Slack token", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    _key("a Slack webhook", "hooks.slack.com", r"hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{20,}"),
    _key("a Stripe key", "k_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    _key("a Google key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
    _key("a Google OAuth token", "ya29.", r"ya29\.[A-Za-z0-9_-]{30,}"),
    _key("a Replicate token", "r8_", r"r8_[A-Za-z0-9]{37}"),
    _key("a Together key", "tgp_v1_", r"tgp_v1_[A-Za-z0-9_-]{30,}"),
    _key("a Groq key", "gsk_", r"gsk_[A-Za-z0-9]{40,}"),
    _key("a Fireworks key", "fw_", r"fw_[A-Za-z0-9]{20,}", _looks_random),
    _key("a Nebius key", "v1.C", r"v1\.C[A-Za-z0-9_-]{60,}"),
    _key("a RunPod key", "rp", r"rpa?_[A-Z0-9]{35,}[a-z0-9]*"),
    _key("an npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    _key("a PyPI token", "pypi-", r"pypi-[A-Za-z0-9_-]{50,}"),
    _key("a SendGrid key", "SG.", r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    _key("a Twilio key", "SK", r"SK[0-9a-f]{32}"),
    _key("a Mailgun key", "key-", r"key-[0-9a-f]{32}"),
    _key("a DigitalOcean token", "do", r"do[opr]_v1_[a-f0-9]{64}"),
    _key("a Telegram bot token", ":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    _key("a Databricks token", "dapi", r"dapi[a-f0-9]{32}"),
    _key("a Linear key", "lin_api_", r"lin_api_[A-Za-z0-9]{40}"),
    _key("a Weights & Biases key", "wandb", r"wandb_v1_[A-Za-z0-9_]{20,}"),
    _Shape("FT401", "an AWS secret key", "ecret",
           re.compile(r"(?i)aws.{0,20}secret.{0,20}?[=:\"'\s]+([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"), _looks_random, 1),
    _Shape("FT401", "an Azure storage key", "AccountKey=", re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)"), None, 1),
    _Shape("FT403", "a private key", "-----BEGIN",
           re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    _Shape("FT404", "a JSON web token", "eyJ",
           re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"), _is_jwt),
    _Shape("FT408", "a password in a URL", "://",
           re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,64}:([^\s/:@]{3,128})@[A-Za-z0-9.-]+"), None, 1),
    _Shape("FT408", "a key in an assignment", "",
           re.compile(r"(?i)(?:api[_-]?key|secret[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|passwor[dt]|passwd)"
                      r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?([A-Za-z0-9_\-/+=.]{16,128})(?![A-Za-z0-9])"), _looks_random, 1),
    _Shape("FT406", "an e-mail address", "@",
           re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9])?@"
                      r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9-])")),
)  # fmt: skip

_ASSIGNMENT = next(shape for shape in _SHAPES if shape.what == "a key in an assignment")

_LONG_NUMBER = re.compile(r"(?<![\w.,/-])(?:[0-9][ -]?){12,18}[0-9](?![\w-])", re.ASCII)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}(?![a-z0-9])")
_PHONE = re.compile(
    r"(?<![\w.)+-])(?:"
    r"\+[1-9][0-9 ().\-/]{6,20}[0-9]"  # +49 (0)30 123456, +1-555-0100
    r"|(?:1[ .-])?\([2-9][0-9]{2}\)[ .-]?[0-9]{3}[ .-][0-9]{4}"  # (555) 010-9999
    r"|(?:1[ .-])?[2-9][0-9]{2}([ .-])[0-9]{3}\1[0-9]{4}"  # 555-010-9999
    r"|00[1-9][0-9 ().\-/]{6,20}[0-9]"  # 0049 30 123456
    r"|0[1-9][0-9]{1,4}[ /-][0-9]{2,4}(?:[ -]?[0-9]{2,4}){1,3}"  # 030 123456, 0171/1234567
    r"|0[1-9](?: [0-9]{2}){4}"  # 01 23 45 67 89
    r")(?![\w])",
    re.ASCII,
)
_PHONE_WORD = re.compile(
    r"(?i)\b(?:phone|tel|telephone|mobile|cell|call|text|fax|whatsapp|sms)\b[^0-9+\n]{0,20}"
    r"(\+?[0-9]{7,15}|\+?[0-9]{2,4}(?:[ .-][0-9]{2,4}){1,4})(?![\w.-])"
)


_PHONE_DIGITS = 8


def _is_phone(value: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    return _PHONE_DIGITS <= len(digits) <= 15 and len(set(digits)) > 2


def _numbers(text: str) -> Iterator[Finding]:
    """Cards, IBANs and phone numbers; a card or an IBAN is not told again as a phone."""
    raw = text.encode("utf-8", "surrogatepass")
    digits = len(raw) - len(raw.translate(None, b"0123456789"))
    if digits < 2:
        return  # an IBAN has two at least, a phone number eight, a card thirteen
    taken: list[tuple[int, int]] = []
    for code, what, pattern, check, least in (
        ("FT402", "a card number", _LONG_NUMBER, _is_card, 12),
        ("FT405", "an IBAN", _IBAN, _is_iban, 2),
    ):
        found = False
        for match in pattern.finditer(text) if digits >= least else ():
            if check(match.group()):
                taken.append(match.span())
                if not found:
                    yield Finding(code, what, _masked(match.group()))
                    found = True
    for pattern in (_PHONE, _PHONE_WORD) if digits >= _PHONE_DIGITS else ():
        for match in pattern.finditer(text):
            value = match.group(1) if pattern is _PHONE_WORD else match.group()
            if _is_phone(value) and not any(
                a < match.end() and match.start() < b for a, b in taken
            ):
                yield Finding("FT407", "a phone number", _masked(value))
                return
