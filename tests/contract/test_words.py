"""The package and its documentation use the field's terms: no old word in names, text and messages."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Word to avoid, and what to write instead.
OLD_WORDS = {
    "told": "reported, reply, total, notice, says",
    "tell": "report, say, show",
    "tells": "reports, says, shows",
    "telling": "reporting",
    "mend": "hint, fix",
    "mends": "fixes",
    "mended": "fixed",
    "stands": "is, exists, remains",
    "stood": "was",
    "brings": "fetches",
    "brought": "fetched",
    "twin": "duplicate (job), counterpart (sync and async)",
    "twins": "duplicates, counterparts",
    "radar": "retirements",
    "outlook": "retirements",
    "attending": "spending guard",
    "attendant": "spending guard",
    "spool": "row buffer",
    "tallies": "outliers",
    "xray": "inspection",
    "anew": "again",
    "judge": "check, validate",
    "judges": "checks, validates",
    "judged": "checked, validated",
    "wire": "transport (HTTP), format (rows)",
    "door": "entry point, error, gateway",
    "doors": "entry points",
    "rooms": "packages",
    "floors": "layers",
    "house": "structure",
    "ways": "behaviour, formats",
    "brain": "fake training",
}

# Old words that stay: file, word, why.
ALLOWED: tuple[tuple[str, str, str], ...] = (
    ("ftsdk/errors.py", "mend", "errors stored before have it as a key"),
    ("ftsdk/types/job.py", "mend", "errors stored before have it as a key"),
    ("ftsdk/cli/command_table.py", "radar", "the old name of the command is a hidden alias"),
    ("ftsdk/cli/commands/retirements.py", "radar", "the hidden alias"),
    ("ftsdk/catalogue/retirement_calendar.py", "radar", "calendars know the product by this id"),
    ("ftsdk/dataset/__init__.py", "xray", "the old name of a public class still works"),
    ("ftsdk/dataset/validation/fix.py", "mends", "the former name of a JSON key"),
    ("ftsdk/dataset/readers/containers.py", "tell", "the method of files"),
    ("ftsdk/artifacts/archive.py", "tell", "the method of files"),
    ("ftsdk/dataset/rules/language.py", "door", "a common word of Dutch"),
    ("ftsdk/backends/upload_progress.py", "tell", "the method of files"),
    *(
        (file, "judge", "the field's word for a model that grades answers")
        for file in (
            "ftsdk/cli/commands/evaluate.py",
            "ftsdk/cli/view/evaluation_view.py",
            "ftsdk/evaluation/answer_pairs.py",
            "ftsdk/evaluation/arguments.py",
            "ftsdk/evaluation/evaluate.py",
            "ftsdk/evaluation/judging.py",
            "ftsdk/evaluation/metrics/judge.py",
            "ftsdk/evaluation/options.py",
            "ftsdk/evaluation/report.py",
            "ftsdk/evaluation/report_parts.py",
            "docs/how-to/evaluate.md",
            "docs/reference/cli.md",
            "docs/reference/evaluation.md",
            "CHANGELOG.md",
        )
    ),
    *(
        (file, "judged", "what such a model has graded")
        for file in (
            "ftsdk/cli/view/evaluation_view.py",
            "ftsdk/evaluation/evaluate.py",
            "ftsdk/evaluation/judging.py",
            "ftsdk/evaluation/metrics/judge.py",
            "ftsdk/evaluation/report.py",
            "ftsdk/evaluation/report_parts.py",
            "ftsdk/evaluation/scoring.py",
        )
    ),
    ("CHANGELOG.md", "mend", "says how it is called now"),
    ("CHANGELOG.md", "radar", "says how it is called now"),
)
SOURCES = [
    *sorted((ROOT / "ftsdk").rglob("*.py")),
    *sorted(ROOT.glob("*.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".py")),
]


def words_in(source: str) -> Counter[str]:
    """Return the words of a source text in lower case; `old_name` and `OldName` are two words."""
    return Counter(word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", source))


def test_no_old_word_is_used() -> None:
    allowed = {(path, word) for path, word, _ in ALLOWED}
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        words = words_in(path.read_text())
        for word in OLD_WORDS.keys() & words.keys():
            if (name, word) not in allowed:
                found[f"{word} (write: {OLD_WORDS[word]})"][name] = words[word]
    assert found == {}


def test_every_exception_has_a_reason_and_a_use() -> None:
    for path, word, reason in ALLOWED:
        assert len(reason) > 8, path
        assert words_in((ROOT / path).read_text())[word], f"{path} no longer has {word!r}"


def test_an_old_word_is_found_in_names_and_text() -> None:
    source = 'class JobTwin:\n    def _told(self):\n        """It stands."""  # anew\n'
    assert OLD_WORDS.keys() & words_in(source).keys() == {"twin", "told", "stands", "anew"}
