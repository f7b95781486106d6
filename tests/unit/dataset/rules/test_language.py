"""Languages of one script: recognized by common words, reported when rare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk.dataset import validate
from ftsdk.dataset.readers import source
from ftsdk.dataset.rules.language import MOST, Sample, SampledAnswer, language_of, odd_languages
from ftsdk.dataset.validation import parallel

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"

PROSE = {
    "English": "You may return your order within fourteen days without giving any reason, and we pay for it.",
    "German": "Sie können Ihre Bestellung innerhalb von vierzehn Tagen ohne Angabe von Gründen an uns zurückgeben, und das ist nicht schwer.",
    "French": "Vous pouvez retourner votre commande dans les quatorze jours sans donner de raison, et nous la prenons en charge.",
    "Spanish": "Usted puede devolver su pedido en un plazo de catorce días sin dar ningún motivo, y los gastos son por nuestra cuenta.",
    "Italian": "Può restituire il suo ordine entro quattordici giorni senza dare un motivo, e non ci sono spese per la spedizione.",
    "Portuguese": "Você pode devolver o seu pedido em até quatorze dias e não é necessário dar um motivo para isso.",
    "Dutch": "U kunt uw bestelling binnen veertien dagen aan ons terugsturen en dat is zonder opgave van redenen.",
    "Polish": "Możesz zwrócić zamówienie w ciągu czternastu dni, nie musisz już podać przyczyny, a koszt jest przez nas pokryty.",
    "Swedish": "Du kan lämna tillbaka din beställning inom fjorton dagar och det är inte svårt att göra.",
    "Russian": "Вы можете вернуть заказ в течение четырнадцати дней, и это не будет вам ничего стоить, так как мы платим за всё.",
    "Ukrainian": "Ви можете повернути замовлення протягом двох тижнів, і це не буде вам нічого коштувати, або що ще треба.",
}  # fmt: skip


@pytest.mark.parametrize("language", PROSE)
def test_prose_is_known(language: str) -> None:
    assert language_of(PROSE[language]) == language


@pytest.mark.parametrize(
    "text",
    ["", "yes", "card_arrival", "def f(x):\n    return x + 1  # a b c d e f g h", "16 - 3 - 4 = <<16-3-4=9>>9 " * 5,
     "Müller Schmidt Weber Fischer Meyer Wagner Becker Schulz Koch"],
)  # fmt: skip
def test_code_numbers_and_names_are_no_language(text: str) -> None:
    assert language_of(text) is None


def rows(*answers: str) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"number {i}"},
                {"role": "assistant", "content": f"{a} ({i})"},
            ]
        }
        for i, a in enumerate(answers)
    ]


def look(source: Any) -> Any:
    return validate(source, near_duplicates=False, tokens=False)


def test_a_rare_language_is_reported_with_its_line() -> None:
    answers = [PROSE["English"]] * 120
    answers[40] = PROSE["German"]
    report = look(rows(*answers))
    assert [(f.code, f.line) for f in report.notices if f.code == "FT313"] == [("FT313", 41)]
    reported = next(f.message for f in report.notices if f.code == "FT313")
    assert reported == "the answer is in German, 99 % are in English"
    mixed = look(rows(*[PROSE["English"]] * 80, *[PROSE["French"]] * 40))
    assert "FT313" not in mixed.counts


def test_a_long_run_is_sampled_evenly_and_says_so() -> None:
    sample = Sample()
    for line in range(1, 100_001):
        sample.add(line, PROSE["English"])
    assert MOST <= len(sample.kept) < 2 * MOST
    assert not sample.is_whole
    gaps = {b.line - a.line for a, b in zip(sample.kept, sample.kept[1:], strict=False)}
    assert len(gaps) == 1
    kept = [*sample.kept, SampledAnswer(100_001, PROSE["Dutch"])]
    (fault,) = odd_languages(kept, whole=False)
    assert f"of the {len(kept):,} sampled" in fault.message


def test_a_file_checked_in_parts_reports_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MIN_BYTES", 1)
    monkeypatch.setattr(parallel, "_PART_BYTES", 20_000)
    answers = [PROSE["English"]] * 800
    answers[555] = PROSE["Spanish"]
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows(*answers)))
    (reported,) = [f for f in look(path).notices if f.code == "FT313"]
    assert reported.line == 556


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize("name", ["gsm8k_train", "gsm8k_test", "banking77_train", "banking77_test"])
def test_no_false_alarm_on_real_rows(name: str) -> None:
    assert "FT313" not in look(DATA / f"{name}.jsonl").counts
