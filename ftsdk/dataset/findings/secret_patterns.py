"""Patterns of secrets and personal data, with checksums where the value has one."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson

from ftsdk.dataset.findings.national_ids import national_ids
from ftsdk.dataset.findings.number_regions import Numbers, matches_at


@dataclass(frozen=True, slots=True)
class SecretMatch:
    """One match: its code, what it is, and the masked value."""

    code: str
    what: str
    masked: str


Allowed = Callable[[str, str], bool]
"""Whether a value with a code is known and wanted, so that it is no finding."""


def never_allowed(_code: str, _value: str) -> bool:
    """No value is known and wanted."""
    return False


def scan_text(text: str, allowed: Allowed = never_allowed) -> Iterator[SecretMatch]:
    """The findings of one text, the first of each kind that is not `allowed`."""
    if len(text) < 6:
        return
    seen: set[str] = set()
    for shape in _SHAPES:
        if shape.needs not in text or shape.what in seen:
            continue
        if shape is _ASSIGNMENT and not _may_assign(text):
            continue
        for match in shape.pattern.finditer(text):
            value = match.group(shape.group)
            if (shape.check is None or shape.check(value)) and not allowed(shape.code, value):
                seen.add(shape.what)
                yield SecretMatch(shape.code, shape.what, _masked(value))
                break
    yield from scan_numbers(text, allowed)


def _may_assign(text: str) -> bool:
    """Whether a text can match `_ASSIGNMENT`, whose search is many times slower."""
    if ":" not in text and "=" not in text:
        return False
    small = text.lower()
    return "key" in small or "token" in small or "secret" in small or "passw" in small


def _masked(value: str) -> str:
    value = value.strip()
    return f"{value[:4]}…" if len(value) > 8 else f"{value[:2]}…"


def _looks_random(value: str) -> bool:
    """Letters and digits mixed, many different characters: no word, no path, no placeholder."""
    return (
        len(set(value)) >= 10
        and any(c.isdigit() for c in value)
        and any(c.isalpha() for c in value)
        and "xxxx" not in value.lower()
        and is_no_placeholder(value)
    )


_PLACEHOLDERS = (
    "example", "placeholder", "dummy", "changeme", "xxxxxx", "your-", "your_", "yourkey", "yourtoken",
    "4ec39hqlyjwdarjtt1zdp7dc",
)  # fmt: skip
"""What keys in documentation have in them: AWS writes EXAMPLE, the last is Stripe's published one."""


def is_no_placeholder(value: str) -> bool:
    """Whether a value may be a key, and is none that documentation shows."""
    small = value.lower()
    return not any(one in small for one in _PLACEHOLDERS)


def _is_password(value: str) -> bool:
    """Whether the password of a URL may be one, and is not the word for it."""
    word = value.lower().strip("<>{}[]$*")
    return bool(word) and word not in _PASSWORD_WORDS and is_no_placeholder(value)


_PASSWORD_WORDS = frozenset(("password", "passwd", "pass", "pwd", "secret", "token", "pat", "my_password", "mypassword"))  # fmt: skip

_DOCUMENTED_CLAIMS = "eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lI"
"""The claims of the token that jwt.io shows: John Doe, 1234567890."""


def _is_jwt(value: str) -> bool:
    head = value.split(".", 1)[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return False
    return isinstance(header, dict) and "alg" in header and _DOCUMENTED_CLAIMS not in value


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
    r"4(?:\d{15}|\d{18})$"  # Visa; those of 13 digits were withdrawn long ago
    r"|(?:5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12})$"  # Mastercard
    r"|3[47]\d{13}$|3(?:0[0-5]|[68]\d)\d{11,16}$"  # American Express, Diners
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12,15}$|35(?:2[89]|[3-8]\d)\d{12,15}$|62\d{14,17}$"
)


_TEST_CARDS = frozenset((
    "378282246310005", "371449635398431", "378734493671000", "30569309025904", "38520000023237",
    "36227206271667", "6011111111111117", "6011000990139424", "6011981111111113", "3530111333300000",
    "3566002020360505", "5555555555554444", "5105105105105100", "5200828282828210", "2223003122003222",
    "2720992593319364", "4111111111111111", "4012888888881881", "4222222222222", "4242424242424242",
    "4000000000000002", "4000000000009995", "4000056655665556", "4000002500003155",
    "6205500000000000004", "6200000000000005",
))  # fmt: skip
"""Numbers that networks and payment services publish for tests: nobody has such a card."""


_CARD_GROUPS = frozenset(
    ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 3), (4, 4, 4, 2), (4, 4, 4, 4, 3), (6, 13))
)
"""How cards are printed. Numbers that are subtracted from each other have other groups."""


def _is_card(value: str) -> bool:
    groups = re.split(r"[ -]", value)
    digits = "".join(groups)
    if digits in _TEST_CARDS or (len(groups) > 1 and tuple(map(len, groups)) not in _CARD_GROUPS):
        return False
    return _CARD_PREFIX.match(digits) is not None and len(set(digits)) > 1 and luhn(digits)


_MONEY = r"[$€£¥₹]|(?<![A-Za-z])(?:USD|EUR|GBP|CHF|JPY|INR|CNY|VND|IDR)"
_AMOUNT_BEFORE = re.compile(rf"(?:{_MONEY}|[0-9)][ ]{{0,2}}[+*×÷=−])[ ]{{0,2}}\Z")
_AMOUNT_BEHIND = re.compile(rf"[ ]{{0,2}}(?:[+*×÷=−][ ]{{0,2}}[0-9(]|{_MONEY}(?![A-Za-z]))")


def _is_amount(match: re.Match[str]) -> bool:
    """Whether a number is money, or a part of a sum."""
    start, end, text = match.start(), match.end(), match.string
    return bool(
        _AMOUNT_BEFORE.search(text, max(0, start - 8), start) or _AMOUNT_BEHIND.match(text, end)
    )


# Total length by country: the IBAN registry of SWIFT, release 101.
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BI": 27, "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27,
    "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28,
    "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23,
    "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


def _is_iban(value: str) -> bool:
    text = re.sub(r"[ -]", "", value).upper()
    length = _IBAN_LENGTHS.get(text[:2])
    if length is None or len(text) < length:
        return False
    moved = text[4:length] + text[:4]
    return int("".join(str(int(ch, 36)) for ch in moved)) % 97 == 1


_RESERVED_DOMAIN = re.compile(
    r"(?i)(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|local|internal|lan)$"
    r"|^(?:your?|my|the|some)?-?(?:company|domain|email|organi[sz]ation|website)\.(?:com|org|net)$"
)
_FILE = re.compile(r"(?i)^[0-9]x\.(?:png|jpe?g|gif|webp|svg|avif)$")


def _is_mail(value: str) -> bool:
    """Whether an address may be somebody's.

    That is none at a reserved domain (RFC 2606) or a stand-in (`yourcompany.com`), no `git@`, no `@2x.png`.
    """
    name, _, domain = value.rpartition("@")
    return name.lower() != "git" and not _RESERVED_DOMAIN.search(domain) and not _FILE.match(domain)


@dataclass(frozen=True, slots=True)
class _Shape:
    code: str
    what: str
    needs: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None
    group: int = 0


def _key(
    what: str, needs: str, pattern: str, check: Callable[[str], bool] = is_no_placeholder
) -> _Shape:
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
    *(_key("an AWS access key", start, rf"{start}[A-Z2-7]{{16}}") for start in ("AKIA", "ASIA", "ABIA", "ACCA")),
    _key("a Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{30,40}"),
    _key("a GitHub token", "gh", r"gh[opusr]_[A-Za-z0-9]{36}"),
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
    _key("an xAI key", "xai-", r"xai-[A-Za-z0-9]{60,}"),
    _key("a Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{40,}"),
    _key("an NVIDIA key", "nvapi-", r"nvapi-[A-Za-z0-9_-]{50,}"),
    _key("a LangSmith key", "lsv2_", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{8,12}"),
    _key("a Google key", "AQ.", r"AQ\.Ab[A-Za-z0-9_-]{40,}"),
    _key("a Slack app token", "xapp-", r"xapp-[0-9]-[A-Z0-9]+-[0-9]+-[a-f0-9]{40,}"),
    _key("a Docker token", "dckr_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{24,}"),
    _key("a Vault token", "hv", r"hv[sb]\.[A-Za-z0-9_-]{24,}"),
    _key("an Atlassian token", "ATATT3", r"ATATT3[A-Za-z0-9_=-]{50,}"),
    _key("a Notion token", "ntn_", r"ntn_[A-Za-z0-9]{40,}"),
    _key("a Notion token", "secret_", r"secret_[A-Za-z0-9]{43}", _looks_random),
    _key("a Google OAuth secret", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    _key("a Supabase key", "sb", r"(?:sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,})"),
    _key("a Pinecone key", "pcsk_", r"pcsk_[A-Za-z0-9_]{40,}"),
    _key("a Shopify token", "shp", r"shp(?:at|ss|ca|pa)_[a-fA-F0-9]{32}"),
    _key("a Bedrock key", "ABSK", r"ABSK[A-Za-z0-9+/]{60,}={0,2}"),
    _Shape("FT401", "a bearer token", "earer ",
           re.compile(r"(?ai)\bbearer[ ]([A-Za-z0-9_\-.~+/]{20,}=*)(?![A-Za-z0-9])"), _looks_random, 1),
    _Shape("FT401", "an AWS secret key", "ecret",
           re.compile(r"(?ai)aws.{0,20}secret.{0,20}?[=:\"'\s]+([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"), _looks_random, 1),
    _Shape("FT401", "an Azure storage key", "AccountKey=", re.compile(r"AccountKey=([A-Za-z0-9+/]{86}==)"), None, 1),
    _Shape("FT403", "a private key", "-----BEGIN",
           re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")),
    _Shape("FT404", "a JSON web token", "eyJ",
           re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"), _is_jwt),
    _Shape("FT408", "a password in a URL", "://",
           re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,64}:([^\s/:@]{3,128})@[A-Za-z0-9.-]+"), _is_password, 1),
    _Shape("FT408", "a key in an assignment", "",
           re.compile(r"(?ai)(?:api[_-]?key|secret[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|passwor[dt]|passwd)"
                      r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?([A-Za-z0-9_\-/+=.]{16,128})(?![A-Za-z0-9])"), _looks_random, 1),
    _Shape("FT406", "an e-mail address", "@",
           re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9])?@"
                      r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,6}[A-Za-z]{2,24}(?![A-Za-z0-9-])"),
           _is_mail),
)  # fmt: skip
_STARTS = {
    "k_": "[sr]k_(?:live|test)_", "gh": "gh[opusr]_", "rp": "rpa?_", "do": "do[opr]_v1_", "hv": r"hv[sb]\.",
    "SK": "SK[0-9a-f]", "sb": "sb(?:p|_secret)_", "shp": "shp(?:at|ss|ca|pa)_",
}  # fmt: skip
"""How keys begin of which `needs` is in many words."""
_SEEN_OTHERWISE = ("@", "://", "ecret", "-----BEGIN")
KEY_STARTS = tuple(
    sorted({_STARTS.get(s.needs, re.escape(s.needs)) for s in _SHAPES if s.needs not in ("", *_SEEN_OTHERWISE)})
)  # fmt: skip
"""Expressions of which each key of a service needs one; `://` comes with an `@`, `ecret` with `aws`."""
_ASSIGNMENT = next(shape for shape in _SHAPES if shape.what == "a key in an assignment")
_LONG_NUMBER = re.compile(r"(?<![\w.,/-])(?:[0-9][ -]?){13,18}[0-9](?![\w-])", re.ASCII)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}(?![a-z0-9])")
_DATE = r"(?:(?:19|20)[0-9]{2}(?P<a>[./ -])[0-9]{1,2}(?P=a)[0-9]{1,2}|[0-9]{1,2}(?P<b>[./ -])[0-9]{1,2}(?P=b)(?:19|20)[0-9]{2})(?![0-9])"
_PHONE = re.compile(
    r"(?<![\w.)+-])(?!" + _DATE + r")(?:"
    r"\+[1-9][0-9 ().\-/]{6,20}[0-9]"  # +49 (0)30 123456, +1-555-0100
    r"|(?:1[ .-])?\([2-9][0-9]{2}\)[ .-]?[0-9]{3}[ .-][0-9]{4}"  # (555) 010-9999
    r"|(?:1[ .-])?[2-9][0-9]{2}(?P<c>[ .-])[0-9]{3}(?P=c)[0-9]{4}"  # 555-010-9999
    r"|00[1-9][0-9 ().\-/]{6,20}[0-9]"  # 0049 30 123456
    r"|0[1-9][0-9]{1,4}[ /-][0-9]{2,4}(?:[ -]?[0-9]{2,4}){1,3}"  # 030 123456, 0171/1234567
    r"|0[1-9][ -](?:[0-9]{8,9}|[0-9]{3,4}[ -]?[0-9]{4})"  # 06 12345678, 02-212-3456, 03 1234 5678
    r"|(?:8[ -]?)?(?=(?:[^0-9\n]{0,3}[0-9]){9})\((?!(?:19|20)[0-9]{2}\))0?[0-9]{2,3}\)[ -]?[0-9]{2,5}(?:[ -][0-9]{2,4}){1,3}"  # (0212) 345 67 89
    r"|\(0[0-9]{1,3}\)[ -]?[0-9]{6,8}"  # (021) 8350123
    r"|1[3-9][0-9](?P<d>[ -])[0-9]{4}(?P=d)[0-9]{4}"  # 131 2345 6789
    r"|0[1-9](?: [0-9]{2}){4}"  # 01 23 45 67 89
    r")(?![\w])",
    re.ASCII,
)
_PHONE_WORD = re.compile(
    r"(?ai)\b(?:phone|tel|telephone|mobile|cell|call|text|fax|whatsapp|sms)\b[^0-9+(\n]{0,20}(?!"
    + _DATE
    + r")"
    r"(?P<number>\+?\(?[0-9](?:[ .()/-]{0,2}[0-9]){6,14})(?![\w-]|\.[0-9]|[ ]?=)"
)
_PHONE_DIGITS = 8


_FICTION = re.compile(
    r"(?:1?[2-9][0-9]{2})?55501[0-9]{2}$|1?[2-9][0-9]{2}555[0-9]{4}$|1?555[0-9]{7}$|(?:44|0)7700900[0-9]{3}$"
)
"""Numbers that are kept free for films and examples: 555 in North America, and a range in Britain."""
_IN_ORDER = "01234567890123456789"
_TIMES = re.compile(r"(?:[01][0-9]|2[0-3])[0-5][0-9]-(?:[01][0-9]|2[0-3])[0-5][0-9]$")
"""Two times of day, from and to."""


def _is_phone(value: str) -> bool:
    digits = re.sub(r"[^0-9]", "", value)
    if _FICTION.match(digits) or _TIMES.match(value):
        return False
    if len(digits) <= 10 and (digits in _IN_ORDER or digits in _IN_ORDER[::-1]):
        return False
    return _PHONE_DIGITS <= len(digits) <= 15 and len(set(digits)) > 2


_CALLED = ("phone", "tel", "mobile", "cell", "call", "text", "fax", "whatsapp", "sms")


def scan_numbers(text: str, allowed: Allowed = never_allowed) -> Iterator[SecretMatch]:
    """Cards, IBANs, national ids and phone numbers; what is one of the first is no phone number."""
    numbers = Numbers(text)
    if not numbers.may_match:
        return
    taken: list[tuple[int, int]] = []
    starts = numbers.starts(_PHONE_DIGITS)
    for code, what, matches, check in (
        ("FT402", "a card number", matches_at(starts, _LONG_NUMBER, text), _is_card),
        (
            "FT405",
            "an IBAN",
            _IBAN.finditer(text) if numbers.may_be_account else iter(()),
            _is_iban,
        ),
    ):
        found = False
        for match in matches:
            if check(match.group()) and not (code == "FT402" and _is_amount(match)):
                taken.append(match.span())
                if not found and not allowed(code, match.group()):
                    yield SecretMatch(code, what, _masked(match.group()))
                    found = True
    yield from _ids(text, numbers, taken, allowed)
    for match, value in _phones(starts, text) if numbers.regions(_PHONE_DIGITS) else ():
        if allowed("FT407", value) or not _is_phone(value):
            continue
        if not any(a < match.end() and match.start() < b for a, b in taken):
            yield SecretMatch("FT407", "a phone number", _masked(value))
            return


def _phones(starts: list[int], text: str) -> Iterator[tuple[re.Match[str], str]]:
    """What may be phone numbers: those of a known form, then any after a word such as `tel`."""
    for match in matches_at(starts, _PHONE, text):
        yield match, match.group()
    small = text.lower()
    if any(word in small for word in _CALLED):
        for match in _PHONE_WORD.finditer(text):
            yield match, match["number"]


def _ids(
    text: str, numbers: Numbers, taken: list[tuple[int, int]], allowed: Allowed
) -> Iterator[SecretMatch]:
    """The first national identity number of each kind; the places of all are added to `taken`."""
    seen: set[str] = set()
    for match, what in national_ids(text, numbers):
        is_other = any(a < match.end() and match.start() < b for a, b in taken)
        if is_other or what in seen or allowed("FT409", match.group()):
            continue
        taken.append(match.span())
        seen.add(what)
        yield SecretMatch("FT409", what, _masked(match.group()))
