"""Each shape of a secret against published examples, and each bound from both sides."""

from __future__ import annotations

import base64
import json

import pytest

from ftsdk.dataset.findings.secret_patterns import _IBAN_LENGTHS, _is_iban, luhn, scan_text

# The examples of the IBAN registry (SWIFT, release 101), one a country.
IBANS = (
    "AD1200012030200359100100", "AE070331234567890123456", "AL47212110090000000235698741",
    "AT611904300234573201", "AZ21NABZ00000000137010001944", "BA391290079401028494",
    "BE68539007547034", "BG80BNBG96611020345678", "BH67BMAG00001299123456",
    "BI4210000100010000332045181", "BR1800360305000010009795493C1",
    "BY13NBRB3600900000002Z00AB00", "CH9300762011623852957", "CR05015202001026284066",
    "CY17002001280000001200527600", "CZ6508000000192000145399", "DE89370400440532013000",
    "DJ2100010000000154000100186", "DK5000400440116243", "DO28BAGR00000001212453611324",
    "EE382200221020145685", "EG380019000500000000263180002", "ES9121000418450200051332",
    "FI2112345600000785", "FK88SC123456789012", "FO6264600001631634",
    "FR1420041010050500013M02606", "GB29NWBK60161331926819", "GE29NB0000000101904917",
    "GI75NWBK000000007099453", "GL8964710001000206", "GR1601101250000000012300695",
    "GT82TRAJ01020000001210029690", "HN88CABF00000000000250005469", "HR1210010051863000160",
    "HU42117730161111101800000000", "IE29AIBK93115212345678", "IL620108000000099999999",
    "IQ98NBIQ850123456789012", "IS140159260076545510730339", "IT60X0542811101000000123456",
    "JO94CBJO0010000000000131000302", "KW81CBKU0000000000001234560101", "KZ86125KZT5004100100",
    "LB62099900000001001901229114", "LC55HEMM000100010012001200023015", "LI21088100002324013AA",
    "LT121000011101001000", "LU280019400644750000", "LV80BANK0000435195001",
    "LY83002048000020100120361", "MC5811222000010123456789030", "MD24AG000225100013104168",
    "ME25505000012345678951", "MK07250120000058984", "MN121234123456789123",
    "MR1300020001010000123456753", "MT84MALT011000012345MTLCAST001S",
    "MU17BOMM0101101030300200000MUR", "NI45BAPR00000013000003558124", "NL91ABNA0417164300",
    "NO9386011117947", "OM810180000001299123456", "PK36SCBL0000001123456702",
    "PL61109010140000071219812874", "PS92PALS000000000400123456702", "PT50000201231234567890154",
    "QA58DOHB00001234567890ABCDEFG", "RO49AAAA1B31007593840000", "RS35260005601001611379",
    "RU0304452522540817810538091310419", "SA0380000000608010167519",
    "SC18SSCB11010000000000001497USD", "SD8811123456789012", "SE4550000000058398257466",
    "SI56263300012039086", "SK3112000000198742637541", "SM86U0322509800000000270100",
    "SO211000001001000100141", "ST23000100010051845310146", "SV62CENR00000000000000700025",
    "TL380080012345678910157", "TN5910006035183598478831", "TR330006100519786457841326",
    "UA213223130000026007233566001", "VA59001123000012345678", "VG96VPVG0000012345678901",
    "XK051212012345678906", "YE15CBYE0001018861234567891234",
)  # fmt: skip


def found(text: str) -> list[tuple[str, str]]:
    return [(match.code, match.what) for match in scan_text(text)]


def test_the_registry_and_the_table_have_the_same_countries() -> None:
    assert sorted(one[:2] for one in IBANS) == sorted(_IBAN_LENGTHS)


@pytest.mark.parametrize("iban", IBANS)
def test_the_registrys_example_of_each_country_is_an_iban(iban: str) -> None:
    assert _IBAN_LENGTHS[iban[:2]] == len(iban)
    spaced = " ".join(iban[i : i + 4] for i in range(0, len(iban), 4))
    for shown in (iban, spaced):
        assert ("FT405", "an IBAN") in found(f"Pay to {shown}, please.")


@pytest.mark.parametrize("iban", IBANS)
def test_one_character_less_or_another_checksum_is_none(iban: str) -> None:
    assert not _is_iban(iban[:-1])
    assert not _is_iban(iban[:2] + f"{(int(iban[2:4]) + 1) % 100:02}" + iban[4:])
    assert not _is_iban("QQ" + iban[2:])


# Test numbers that the card networks and payment services publish.
CARDS = (
    "378282246310005", "371449635398431", "378734493671000", "30569309025904", "38520000023237",
    "6011111111111117", "6011000990139424", "3530111333300000", "3566002020360505",
    "5555555555554444", "5105105105105100", "2223003122003222", "2720992593319364",
    "4111111111111111", "4012888888881881", "4222222222222", "6205500000000000004",
)  # fmt: skip


def other_card(card: str) -> str:
    """A number of the same network and length with a valid checksum, which nobody published."""
    body = card[:-3] + str((int(card[-3]) + 1) % 10) + card[-2]
    return next(body + str(last) for last in range(10) if luhn(body + str(last)))


@pytest.mark.parametrize("card", CARDS)
def test_card_numbers_are_found_and_those_for_tests_are_not(card: str) -> None:
    assert luhn(card)
    other = other_card(card)
    is_in_use = len(card) > 13  # Visa's of 13 digits were withdrawn
    assert (("FT402", "a card number") in found(f"card {other}.")) is is_in_use
    assert ("FT402", "a card number") not in found(f"card {card}.")
    last = str((int(other[-1]) + 1) % 10)
    assert ("FT402", "a card number") not in found(f"card {other[:-1]}{last}.")


CARD = "4539148803436467"


@pytest.mark.parametrize("text", [
    "{}", "card: {}", "card={}", "number = {}", "(4) {}", "call +{}", "it is {} = mine", "{} - Visa", "pay with {}: 30 EUR",
    "4539 1488 0343 6467", "4539-1488-0343-6467", "my EURO card {}", "1 - {}", "{} - 12/27",
])  # fmt: skip
def test_a_card_is_found_wherever_it_is_written(text: str) -> None:
    assert ("FT402", "a card number") in found(text.format(CARD))


@pytest.mark.parametrize("text", [
    "${}", "$ {}", "€{}", "USD {}", "{} EUR", "{} $", "2 + 2 = {}", "<<3*1512={}>>", "{} + 5", "{} * 2 = 9", "(1 + 2) * {}",
    "453914-8803436-467", "45391 48803 43646 7", "4222222222220 is thirteen",
])  # fmt: skip
def test_a_sum_or_an_amount_is_no_card(text: str) -> None:
    assert luhn(CARD)
    assert ("FT402", "a card number") not in found(text.format(CARD))


@pytest.mark.parametrize(
    ("number", "is_card"),
    [
        ("2221000000000009", True),  # Mastercard's second range begins here …
        ("2220000000000000", False),
        ("2720990000000007", True),  # … and ends here
        ("2721000000000004", False),
        ("5500000000000004", True),
        ("5600000000000003", False),
        ("30000000000004", True),
        ("30600000000001", False),
        ("6440000000000005", True),
        ("6430000000000007", False),
        ("3528000000000007", True),
        ("3527000000000008", False),
        ("3589000000000003", True),
        ("3590000000000000", False),
        ("0000000000000000", False),  # one digit alone
    ],
)
def test_the_ranges_of_the_card_networks(number: str, is_card: bool) -> None:
    assert luhn(number)
    assert (("FT402", "a card number") in found(f"card {number}.")) == is_card


def test_two_shapes_of_one_kind_are_one_finding() -> None:
    classic = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cE4gH6jKl"
    fine_grained = "github_pat_" + "aB3dE5gH7jK9mN1pQ3sT5v" + "_" + "aB3dE5gH7j" * 5 + "K9mN1pQ3s"
    assert found(classic) == found(fine_grained) == [("FT401", "a GitHub token")]
    assert found(f"{classic} or {fine_grained}") == [("FT401", "a GitHub token")]
    assert found(f"{classic} and {classic}") == [("FT401", "a GitHub token")]
    stripe = "sk_live_5fD40IrMzkXEbsjtU2aeq8ed"
    assert [what for _, what in found(f"{stripe} {classic}")] == ["a GitHub token", "a Stripe key"]


@pytest.mark.parametrize(
    ("text", "is_phone"),
    [
        ("+49 12345", False),  # 7 digits
        ("+49 123456", True),  # 8 digits
        ("+12345 67890 12345", True),  # 15 digits
        ("+12345 67890 123456", False),  # 16 digits
        ("+11 111112", False),  # two different digits
        ("+11 111123", True),  # three
        ("call 5551234", False),
        ("call 55512345", True),
    ],
)
def test_a_phone_number_has_8_to_15_digits(text: str, is_phone: bool) -> None:
    assert (("FT407", "a phone number") in found(text)) == is_phone


def test_a_card_or_an_iban_is_no_phone_number_as_well() -> None:
    assert found("call +4111111111111145") == [("FT402", "a card number")]
    assert found("tel DE89 3704 0044 0532 0130 00") == [("FT405", "an IBAN")]
    both = found("4111111111111145, call 030 1234567")
    assert both == [("FT402", "a card number"), ("FT407", "a phone number")]


@pytest.mark.parametrize(
    ("value", "is_key"),
    [
        ("abcdefgh1abcdefgh1", False),  # 9 different characters
        ("abcdefghi1abcdefgh", True),  # 10
        ("abcdefghijabcdefgh", False),  # no digit
        ("12345678901234567890", False),  # no letter
        ("abcdefghi1xxxxabcd", False),  # a placeholder
        ("abcdefghij12345", False),  # 15 characters
        ("abcdefghij123456", True),  # 16
    ],
)
def test_a_key_looks_random(value: str, is_key: bool) -> None:
    assert (("FT408", "a key in an assignment") in found(f"api_key = {value}")) == is_key


@pytest.mark.parametrize("word", ["api_key", "secret_key", "access-token", "passwd", "password"])
@pytest.mark.parametrize("sign", [":", "=", " : "])
def test_each_word_and_sign_of_an_assignment(word: str, sign: str) -> None:
    assert ("FT408", "a key in an assignment") in found(f"{word}{sign}Zx81Kq92Lm03Pw74")


@pytest.mark.parametrize(
    ("header", "is_token"),
    [
        ({"alg": "none", "x": "12"}, True),
        ({"typ": "JWT", "x": "12"}, False),
        (["alg", "123"], False),
    ],
)
def test_a_web_token_names_its_algorithm(header: object, is_token: bool) -> None:
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    if not head.startswith("eyJ"):
        head = "eyJ" + head
    text = f"{head}.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    assert (("FT404", "a JSON web token") in found(text)) == is_token


def test_what_is_shown_of_a_value() -> None:
    (key,) = scan_text("sk_live_5fD40IrMzkXEbsjtU2aeq8ed")
    assert key.masked == "sk_l…"
    short, *_ = scan_text("https://user:abcdefgh@server.net")  # 8 characters
    assert short.masked == "ab…"
    longer, *_ = scan_text("https://user:abcdefghi@server.net")
    assert longer.masked == "abcd…"


def test_the_shortest_text_with_a_finding() -> None:
    assert found("a@b.co") == [("FT406", "an e-mail address")]  # 6 characters
    assert found("a@b.c") == []


@pytest.mark.parametrize(
    "text",
    [
        "john@example.com", "john@mail.example.org", "a.b@corp.test", "x@service.invalid", "me@host.local",
        "git@github.com", "Git@gitlab.com", "icon@2x.png", "logo@3x.jpeg",
        "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "sk_test_4eC39HqLyjWDarjtT1zdp7dc", "api_key = your-api-key-1234567890ab", "Bearer your_token_1234567890ab",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.SflKxwRJSMeKKF2QT4fwpMeJf36",
        "boss@company.com", "you@yourdomain.com", "call (555) 123-4567", "(512) 555-2994", "tel 987654321", "from 0900-0130",
        "https://user:<token>@host.net", "each call 10800-2500 = 8300",
        "4242 4242 4242 4242", "call (415) 555-0132", "+1 415-555-0199", "07700 900123",
    ],
)  # fmt: skip
def test_what_documentation_shows_is_no_finding(text: str) -> None:
    assert found(f"see {text} .") == []


@pytest.mark.parametrize(
    "text",
    [
        "john@examples.com", "john@example.company", "legit@github.com", "icon@2y.io",
        "AKIAIOSFODNN7EXAMPLF", "+1 415-554-0232", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkxIn0.c2lnbmF0dXJl",
        "Authorization: Bearer aB3dE5fG7hJ9kL1mN3pQ",
        "boss@companies.com", "https://user:password1@host.net", "(512) 554-2994", "tel 987654322",
    ],
)  # fmt: skip
def test_what_is_near_it_is_one(text: str) -> None:
    assert found(f"see {text} .")


def test_keys_of_newer_services() -> None:
    part, small = "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cE4gH6jKl", "a1b2c3d4e5f60718" * 4
    for key in (
        f"xai-{part * 2}", f"pplx-{part}{part[:12]}", f"nvapi-{part * 2}", f"lsv2_pt_{small[:32]}_{small[:10]}",
        f"AQ.Ab{part}{part[:20]}", f"xapp-1-A1B2C3-123456-{small}", f"dckr_pat_{part[:27]}", f"hvs.{part}",
        f"ATATT3{part * 2}", f"ntn_{part}{part[:10]}", f"sbp_{small[:40]}", f"pcsk_{part * 2}",
        f"shpat_{small[:32]}", f"ABSK{part * 3}=",
    ):  # fmt: skip
        assert [code for code, _ in found(f"key: {key} .")] == ["FT401"], key


@pytest.mark.parametrize(
    ("word", "is_one"), [("password", False), ("${TOKEN}", False), ("password1", True)]
)
def test_the_word_for_a_password_is_none(word: str, is_one: bool) -> None:
    assert (("FT408", "a password in a URL") in found(f"https://user:{word}@host.net")) == is_one
