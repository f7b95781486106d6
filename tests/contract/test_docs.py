"""The documentation is whole: generated parts are fresh, commands exist, nothing is loaded from afar."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import ftsdk
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    return load_script(DOCS / "generate.py", "docs_generate")


# --- generated parts -------------------------------------------------------------------------


def test_generated_parts_are_fresh(generate: ModuleType) -> None:
    stale = [page.name for page, text in generate.pages() if page.read_text() != text]
    assert stale == [], "run `make docs` and commit what it wrote"


def test_every_generator_has_its_place(generate: ModuleType) -> None:
    places = {
        name
        for page in PAGES
        for name in re.findall(r"<!-- generated: ([\w-]+) -->", page.read_text())
    }
    assert places == set(generate.PARTS)


def test_a_stale_part_would_be_noticed(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("before\n<!-- generated: statuses -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(generate, "DOCS", page.parent)
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 1
    assert "page.md" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    assert generate.main() == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "in_doubt" in text
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 0


# --- what the words say ----------------------------------------------------------------------


def console_commands() -> list[tuple[str, str]]:
    """Every `ftsdk …` that a page tells to type, in console blocks and in code spans."""
    found = []
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        if page.name == "cli.md":
            continue  # generated from the program itself
        text = page.read_text()
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            for line in block.split("\n"):
                if line.startswith("$ "):
                    found.append((page.name, line[2:].split("  #")[0].strip()))
        found += [(page.name, span) for span in re.findall(r"`(ftsdk [a-z][^`]*)`", text)]
    return [(page, line) for page, line in found if re.search(r"(^|\s)ftsdk\s", line)]


def test_commands_of_the_docs_exist() -> None:
    import typer

    from ftsdk.cli.app import app

    root: Any = typer.main.get_command(app)
    wrong = []
    commands = console_commands()
    assert len(commands) > 10
    for page, line in commands:
        words = shlex.split(line)
        words = words[words.index("ftsdk") + 1 :]
        command = root
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {o for p in command.params for o in [*p.opts, *p.secondary_opts]}
        known |= {"--help", "--install-completion", "--show-completion"}
        options = {word.split("=")[0] for word in words if word.startswith("-")}
        if command is root and not options:
            wrong.append(f"{page}: {line}: no such command")
        wrong += [f"{page}: {line}: no option {one}" for one in sorted(options - known)]
    assert wrong == []


def test_make_targets_of_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(
            r"`make ([a-z-]+)`|^\$ make ([a-z-]+)", page.read_text(), re.MULTILINE
        ):
            assert set(filter(None, target)) <= targets, (page.name, target)


def test_the_reference_has_every_public_name() -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    shown = set(re.findall(r"^::: (\S+)", text, re.MULTILINE))
    whole = {one for one in shown if one.startswith("ftsdk.types.")}
    verbs = {name for name in ftsdk.__all__ if hasattr(ftsdk.Client, name)}  # told at Client
    for name in sorted(set(ftsdk.__all__) - verbs - {"__version__"}):
        module = getattr(getattr(ftsdk, name), "__module__", "")
        assert re.search(rf"\b{name}\b", text) or module in whole, name


def test_relative_links_of_root_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (ROOT / target).exists(), (page.name, target)


def test_no_page_uses_marketing_words() -> None:
    words = re.compile(
        r"\b(seamless\w*|powerful|blazing\w*|effortless\w*|cutting.edge|leverag\w+|(?<![`=])robust|simply|"
        r"state.of.the.art|world.class|game.chang\w+|delight\w*|supercharge\w*)\b",
        re.IGNORECASE,
    )
    for page in PAGES:
        assert not (found := words.search(page.read_text())), (page.name, found)


# --- the site --------------------------------------------------------------------------------


class Assets(HTMLParser):
    """Collects what a browser would load by itself: scripts, styles, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.loaded += [values.get("src", ""), values.get("srcset", "")]
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev", "edit"):
            self.loaded.append(values.get("href", ""))


def foreign(html: str) -> list[str]:
    parser = Assets()
    parser.feed(html)
    return [link for link in parser.loaded if re.match(r"(https?:)?//", link)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="building the site needs the extra `docs`")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_the_site_builds_without_warnings_and_has_every_page(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        relative = page.relative_to(DOCS).with_suffix("")
        place = relative.parent if relative.name == "index" else relative
        assert (site / place / "index.html").is_file(), page


def test_reading_it_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert foreign(page.read_text()) == [], page.relative_to(site)
    for style in site.rglob("*.css"):
        text = style.read_text()
        assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//", text), style.name
        assert "@import" not in text, style.name
    for picture in site.rglob("*.svg"):
        assert not re.search(r"(?:url\(|href=)\s*[\"']?(?:https?:)?//", picture.read_text()), (
            picture.name
        )


def test_a_foreign_asset_would_be_noticed() -> None:
    assert foreign('<script src="https://cdn.example/x.js"></script>')
    assert foreign('<link rel="stylesheet" href="//fonts.example/css">')
    assert not foreign('<script src="assets/x.js"></script><a href="https://example.org">x</a>')


def test_home_has_an_install_line_a_recording_and_the_readme(site: Path) -> None:
    html = (site / "index.html").read_text()
    words = " ".join(re.sub(r"<[^>]+>", "", html).split())
    assert "pip install 'ftsdk[local]'" in words
    assert (DOCS / "assets" / "terminal.html").read_text().strip() in html
    assert "Ten lines that work without a key" in html
    assert "<!-- part:" not in html
    assert 'href="tutorials/first-job/"' in html
    for card in ("Leave OpenAI in time", "Switch provider", "See what the model learns"):
        assert card in words


def test_the_link_to_the_repository_asks_its_host_for_nothing(site: Path) -> None:
    html = (site / "index.html").read_text()
    assert 'href="https://github.com/ftsdk/ftsdk"' in html
    assert 'data-md-component="source"' not in html  # the theme's script fetches counts for it


def test_a_part_that_is_gone_is_an_error() -> None:
    hooks = load_script(DOCS / "hooks.py", "docs_hooks")
    found = hooks.on_page_markdown("top\n<!-- part: README.md, from: ## Install -->\n")
    assert found.startswith("top\n## Install\n")
    assert "docs/how-to" not in found
    with pytest.raises(ValueError, match="substring"):
        hooks.on_page_markdown("<!-- part: README.md, from: ## No such heading -->")


def test_the_reference_is_made_of_the_docstrings(site: Path) -> None:
    html = (site / "reference" / "client" / "index.html").read_text()
    assert 'id="ftsdk.client.Client.create_job"' in html
    assert "exactly once" in html
