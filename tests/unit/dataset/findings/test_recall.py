"""Recall of the search for secrets by kind, on made values that no pattern was written after.

Each value is made by the published form of its service or registry: a prefix, random characters, a check
digit. Telephone numbers are the examples of libphonenumber for the largest countries.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable

import pytest

from ftsdk.dataset.findings.secret_patterns import scan_text

RANDOM = random.Random(5)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ANY = LETTERS + "0123456789"
HEX = "0123456789abcdef"


def some(count: int, alphabet: str = ANY) -> str:
    return "".join(RANDOM.choices(alphabet, k=count))


KEYS: dict[str, Callable[[], str]] = {
    "OpenAI": lambda: f"sk-proj-{some(74)}T3BlbkFJ{some(74)}",
    "OpenAI, old": lambda: f"sk-{some(20)}T3BlbkFJ{some(20)}",
    "OpenAI, service account": lambda: f"sk-svcacct-{some(74)}",
    "Anthropic": lambda: f"sk-ant-api03-{some(93, ANY + '-_')}AA",
    "OpenRouter": lambda: f"sk-or-v1-{some(64, HEX)}",
    "DeepSeek": lambda: f"sk-{some(32, HEX)}",
    "xAI": lambda: f"xai-{some(80)}",
    "Perplexity": lambda: f"pplx-{some(48)}",
    "NVIDIA": lambda: f"nvapi-{some(64, ANY + '-_')}",
    "LangSmith": lambda: f"lsv2_pt_{some(32, HEX)}_{some(10, HEX)}",
    "LangSmith, service": lambda: f"lsv2_sk_{some(32, HEX)}_{some(10, HEX)}",
    "Groq": lambda: f"gsk_{some(52)}",
    "Replicate": lambda: f"r8_{some(37)}",
    "Together": lambda: f"tgp_v1_{some(43, ANY + '-_')}",
    "Fireworks": lambda: f"fw_{some(24)}",
    "Hugging Face": lambda: f"hf_{some(34, LETTERS)}",
    "Weights & Biases": lambda: f"wandb_v1_{some(40)}",
    "Google": lambda: f"AIza{some(35, ANY + '-_')}",
    "Google, new": lambda: f"AQ.Ab8RN6{some(46, ANY + '-_')}",
    "Google OAuth": lambda: f"ya29.{some(120, ANY + '-_')}",
    "Google OAuth secret": lambda: f"GOCSPX-{some(28, ANY + '-_')}",
    "AWS": lambda: f"AKIA{some(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
    "AWS, temporary": lambda: f"ASIA{some(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}",
    "Bedrock": lambda: "ABSK" + base64.b64encode(f"BedrockAPIKey-{some(12)}-at-{some(12, '123456789')}:{some(44)}".encode()).decode(),
    "GitHub": lambda: f"ghp_{some(36)}",
    "GitHub, app": lambda: f"ghs_{some(36)}",
    "GitHub, fine-grained": lambda: f"github_pat_{some(22)}_{some(59)}",
    "GitLab": lambda: f"glpat-{some(20, ANY + '-_')}",
    "Slack bot": lambda: f"xoxb-{some(12, '0123456789')}-{some(12, '0123456789')}-{some(24)}",
    "Slack app": lambda: f"xapp-1-A{some(10, 'ABCDEF0123456789')}-{some(13, '0123456789')}-{some(64, HEX)}",
    "Slack webhook": lambda: f"https://hooks.slack.com/services/T{some(8, 'ABCDEF0123456789')}/B{some(10, 'ABCDEF0123456789')}/{some(24)}",
    "Stripe": lambda: f"sk_live_{some(24)}",
    "Stripe, restricted": lambda: f"rk_live_{some(24)}",
    "Docker": lambda: f"dckr_pat_{some(27, ANY + '-_')}",
    "Docker, organisation": lambda: f"dckr_oat_{some(32, ANY + '-_')}",
    "Vault": lambda: f"hvs.{some(90, ANY + '-_')}",
    "Vault, batch": lambda: f"hvb.{some(138, ANY + '-_')}",
    "Atlassian": lambda: f"ATATT3xFfGF0{some(170, ANY + '-_')}={some(8, '0123456789ABCDEF')}",
    "Notion": lambda: f"ntn_{some(46)}",
    "Notion, old": lambda: f"secret_{some(43)}",
    "Supabase": lambda: f"sbp_{some(40, HEX)}",
    "Supabase, secret": lambda: f"sb_secret_{some(22, ANY + '-_')}_{some(8)}",
    "Pinecone": lambda: f"pcsk_{some(6)}_{some(60)}",
    "Shopify": lambda: f"shpat_{some(32, HEX)}",
    "Shopify, custom": lambda: f"shpca_{some(32, HEX)}",
    "npm": lambda: f"npm_{some(36)}",
    "PyPI": lambda: f"pypi-AgEIcHlwaS5vcmc{some(150, ANY + '-_')}",
    "SendGrid": lambda: f"SG.{some(22, ANY + '-_')}.{some(43, ANY + '-_')}",
    "Twilio": lambda: f"SK{some(32, HEX)}",
    "Mailgun": lambda: f"key-{some(32, HEX)}",
    "DigitalOcean": lambda: f"dop_v1_{some(64, HEX)}",
    "Telegram": lambda: f"{some(10, '123456789')}:AA{some(33, ANY + '-_')}",
    "Databricks": lambda: f"dapi{some(32, HEX)}",
    "Linear": lambda: f"lin_api_{some(40)}",
    "a bearer token": lambda: f"Authorization: Bearer {some(40)}",
    "an assignment": lambda: f'api_key = "{some(32)}"',
}  # fmt: skip


def with_luhn(body: str) -> str:
    """Digits with the last one that makes the sum of every second doubled a multiple of ten."""
    doubled = [int(c) * (2 if i % 2 == 0 else 1) for i, c in enumerate(reversed(body))]
    return body + str(-sum(d // 10 + d % 10 for d in doubled) % 10)


def card() -> str:
    prefix, length = RANDOM.choice([("4", 16), ("51", 16), ("2345", 16), ("37", 15), ("6011", 16), ("3540", 16), ("36", 14)])  # fmt: skip
    number = with_luhn(prefix + some(length - len(prefix) - 1, "0123456789"))
    parts = [number[i : i + 4] for i in range(0, length, 4)]
    return RANDOM.choice(["", " ", "-"]).join(parts) if length == 16 else number


IBAN_FORMS = {"DE": "18n", "GB": "4a14n", "FR": "23n", "ES": "20n", "IT": "1a22n", "NL": "4a10n", "PL": "24n", "CH": "17n",
              "BE": "12n", "AT": "16n", "SE": "20n", "NO": "11n", "PT": "21n", "IE": "4a14n", "TR": "22n"}  # fmt: skip


def iban(country: str) -> str:
    form = IBAN_FORMS[country]
    letters = int(form.split("a")[0]) if "a" in form else 0
    body = some(letters, LETTERS[:26]) + some(int(form.split("a")[-1][:-1]), "0123456789")
    number = int("".join(str(int(c, 36)) for c in f"{body}{country}00"))
    whole = f"{country}{98 - number % 97:02}{body}"
    return RANDOM.choice([whole, " ".join(whole[i : i + 4] for i in range(0, len(whole), 4))])


def jwt() -> str:
    parts = [json.dumps({"alg": RANDOM.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}), json.dumps({"sub": some(12), "exp": 1})]  # fmt: skip
    head = ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=") for p in parts)
    return f"{head}.{some(43, ANY + '-_')}"


PHONES = (
    "+1 415-734-2211", "(212) 734-2211", "+91 81234 56789", "081234 56789", "131 2345 6789", "+86 131 2345 6789",
    "03-1234-5678", "+81 90-1234-5678", "(11) 96123-4567", "+55 11 96123-4567", "01512 3456789", "+49 30 123456",
    "(0212) 345 67 89", "+90 501 234 56 78", "8 (912) 345-67-89", "+7 912 345-67-89", "010-2000-4567", "02-212-3456",
    "02 1234 5678", "+39 312 345 6789", "612 34 56 78", "+34 612 34 56 78", "0812-345-678", "(021) 8350123",
    "0802 123 4567", "0301 2345678", "0100 123 4567", "091 234 56 78", "07412 345678", "06 12 34 56 78",
    "06 12345678", "512 345 678", "0412 345 678", "071 123 4567", "321 1234567", "912 345 678",
)  # fmt: skip
IDS = (
    "390.533.447-05", "360426199101010071", "2 95 10 99 126 111 93", "DNI 54362315K", "RCCMNL83S18D969H", "BSN 1112.22.333",
    "PESEL 44051401359", "T.C. Kimlik 17291716060", "BOXW310820HNERXN09", "971013-9019902", "Steuer-ID 36 574 261 809",
    "personnummer 880320-0016", "ИНН 123456789047", "Aadhaar 2341 2341 2346", "536-22-1234", "NHS 943 476 5870",
)  # fmt: skip
MADE: dict[str, tuple[list[str], set[str], float]] = {
    "keys": ([make() for make in KEYS.values()], {"FT401", "FT408"}, 0.95),
    "cards": ([card() for _ in range(20)], {"FT402"}, 0.95),
    "IBANs": ([iban(country) for country in IBAN_FORMS], {"FT405"}, 0.95),
    "JWTs": ([jwt() for _ in range(10)], {"FT404"}, 0.95),
    "phones": (list(PHONES), {"FT407"}, 0.85),
    "identity numbers": (list(IDS), {"FT409"}, 0.95),
}
SENTENCES = ("You can use {} until Friday.", "{}", "It is: {}, as I said\nyesterday.")


def test_there_are_130_values() -> None:
    assert sum(len(values) for values, _, _ in MADE.values()) >= 130


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_recall_of_a_kind(kind: str, sentence: str) -> None:
    values, codes, least = MADE[kind]
    missed = [v for v in values if codes.isdisjoint(m.code for m in scan_text(sentence.format(v)))]
    assert 1 - len(missed) / len(values) >= least, missed


@pytest.mark.parametrize("number", IDS)
def test_another_check_digit_is_no_identity_number(number: str) -> None:
    at = max(i for i, c in enumerate(number) if c.isdigit() and number[i - 1].isdigit())
    wrong = [number[:at] + str((int(number[at]) + k) % 10) + number[at + 1 :] for k in (1, 3)]
    if number != "536-22-1234":  # a US number has no check digit
        assert any("FT409" not in {m.code for m in scan_text(one)} for one in wrong)
    assert "FT409" not in {m.code for m in scan_text(number + "9")}


@pytest.mark.parametrize("text", [
    "2024-05-12 10:30", "call 2024-01-15 at 12", "text 01.02.2023", "see (2013) 45-67-89", "between 12 345 678 and 512 345 678",
    "order 20240115", "12345678901", "54362315K", "version 10.12.2024-123", "219-09-9999", "123.456.789-09",
])  # fmt: skip
def test_dates_and_plain_numbers_are_none(text: str) -> None:
    assert [m.code for m in scan_text(f"It was {text}.")] == []
