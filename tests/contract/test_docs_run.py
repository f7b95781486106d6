"""The documentation works for a reader who has nothing but pip.

Each page is read from top to bottom in an environment that holds the wheel with the extra that the
page names, in an empty folder, with an empty home: its commands are typed, its Python runs, its
files are saved. Nothing else is there, except, without `--long`, the base model that `make test` has
fetched. `tests/docs_pages.py` says how a page is written.
"""

from __future__ import annotations

import filecmp
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftsdk.util.files import make_private_folder
from tests.docs_pages import Page, compiled, first_missing, read_page
from tests.docs_reader import PageError, Reader, end_processes_of, processes_of
from tests.install import install

ROOT = Path(__file__).resolve().parents[2]
# For a checkout, not for pip: its Python is compiled, and that is all.
CHECKOUT = ROOT / "CONTRIBUTING.md"
# It trains in 4 bits, which takes minutes on a processor. The tutorial trains every time, for fewer steps.
LONG = {"docs/how-to/tune-with-qlora.md", "docs/how-to/take-your-model-away.md"}
# What else takes minutes: the page, what it says, and what it is read as without --long. A model that was
# trained for a few steps does not end its answers.
SHORTENED = {
    "docs/tutorials/first-job.md": {
        "(epochs=0.5, ": "(max_steps=6, ",
        '.chat("my parcel is late")': '.chat("my parcel is late", max_tokens=6)',
        "--max-tokens 40": "--max-tokens 6",
    }
}
PULLS = "ftsdk models pull smollm2-135m"
# Read before each test gets an environment of its own.
SMOLLM2 = Path(os.environ.get("FTSDK_TEST_SMOLLM2") or "none").resolve()
PAGES = [
    page
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if (page := read_page(path)).steps
]
# The release that the Makefile installs.
TORCH = re.search(r"^TORCH \?= (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]  # type: ignore[index]


def by_extra(pages: list[Page]) -> list[Any]:
    """The pages as parameters; those of one extra run on one worker, which makes its environment."""
    return [
        pytest.param(
            page,
            id=page.path.relative_to(ROOT).as_posix(),
            marks=pytest.mark.xdist_group(f"pages with {page.extra or 'no extra'}"),
        )
        for page in pages
    ]


NO_EXTRA = pytest.mark.xdist_group("pages with no extra")

# --- the environments ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="building the wheel needs the extra `test`")
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def python_with(
    wheel: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Path]]:
    """Gives the interpreter of the environment for an extra; each is made once, and removed."""
    folder = tmp_path_factory.mktemp("environments")
    made: dict[str, Path] = {}

    def make(extra: str) -> Path:
        if extra not in made:
            place, pulls = folder / (extra or "core"), not fetched(request)
            made[extra] = environment(place, wheel, extra, pulls=pulls)
        return made[extra]

    yield make
    # Thousands of files: on a slow disk their removal takes a minute, for which nobody waits.
    remove = 'rm -rf "$1" >/dev/null 2>&1 &'
    subprocess.run(["bash", "-c", remove, "bash", str(folder)], stdin=subprocess.DEVNULL)


def fetched(request: pytest.FixtureRequest) -> bool:
    """Whether a page finds the base model instead of fetching it, which takes half a minute."""
    return SMOLLM2.is_dir() and not request.config.getoption("--long")


def environment(place: Path, wheel: Path, extra: str, *, pulls: bool) -> Path:
    """A new virtual environment with the wheel and its extra; gives its interpreter.

    Only `ftsdk models pull` needs a pip beside it. Python compiles what is imported, not what is installed.
    """
    trains = "local" in extra.split(",")
    pip = [] if trains and pulls else ["--without-pip"]
    run([sys.executable, "-m", "venv", *pip, str(place)], ROOT)
    python = place / "bin" / "python"
    wanted = f"ftsdk[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    install(python, [wanted, *([TORCH] if trains else [])], cwd=place)
    [packages] = place.glob("lib/python*/site-packages")
    copy_bytecode(Path(sysconfig.get_path("purelib")), packages)
    return python


def copy_bytecode(source: Path, target: Path) -> int:
    """Take over what Python has compiled of the same files elsewhere; gives the number of files.

    Python would compile torch and transformers again for each environment.
    """
    count = 0
    for file in target.rglob("*.py"):
        same = source / file.relative_to(target)
        compiled = Path(importlib.util.cache_from_source(str(same)))
        if not compiled.is_file() or not filecmp.cmp(same, file, shallow=False):
            continue
        times = same.stat()
        if file.stat().st_mtime_ns != times.st_mtime_ns:  # it is part of what Python compares
            if file.stat().st_nlink > 1:
                continue
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        place = Path(importlib.util.cache_from_source(str(file)))
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(compiled, place)
        count += 1
    return count


def run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def read(page: Page, python: Path, folder: Path, *, with_model: bool = False) -> int:
    """Read a page; with `with_model`, the base model is where `ftsdk models pull` puts it."""
    with Reader(page, python, folder) as reader:
        if with_model:
            models = reader.home / ".local" / "share" / "ftsdk" / "models"
            make_private_folder(make_private_folder(models.parent) / models.name)
            (models / "smollm2-135m").symlink_to(SMOLLM2, target_is_directory=True)
        return reader.read()


# --- the pages -------------------------------------------------------------------------------


@pytest.mark.timeout(900)  # two pages train; the first of an extra waits for its environment
@pytest.mark.parametrize("page", by_extra(PAGES))
def test_the_page_works_for_its_reader(
    page: Page,
    python_with: Callable[[str], Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    extra = page.extra
    assert extra is not None, "the page has steps: say at its top what it needs"
    is_long = page.path.relative_to(ROOT).as_posix() in LONG
    if is_long and not request.config.getoption("--long"):
        pytest.skip("it trains for minutes: run it with --long")
    if not request.config.getoption("--long"):
        page = shortened(page)
    # Without the extra a page cannot fetch the model, so its reader has none.
    trains = "local" in extra.split(",")
    with_model = trains and fetched(request) and PULLS in page.text
    python = python_with(extra)
    assert read(page, python, tmp_path / "reader", with_model=with_model) > 0


def shortened(page: Page) -> Page:
    """The page with fewer steps of training and shorter answers, where it is one of those."""
    text = page.text
    for said, read_as in SHORTENED.get(page.path.relative_to(ROOT).as_posix(), {}).items():
        assert text.count(said) == 1, f"{page.path} does not say {said} once"
        text = text.replace(said, read_as)
    return read_page(page.path, text)


def test_the_long_pages_exist() -> None:
    assert {page.path.relative_to(ROOT).as_posix() for page in PAGES} >= LONG


def test_every_python_block_compiles() -> None:
    for page in [*PAGES, read_page(CHECKOUT)]:
        for block in page.blocks:
            if block.language == "python":
                compiled(block, page.path)


def test_a_page_says_what_it_needs_before_its_first_step() -> None:
    for page in PAGES:
        assert page.extra is not None, page.path
        needs = page.text.index("**Needs:**")
        assert page.text.count("\n", 0, needs) < page.steps[0].line, page.path


REASONS = re.compile(r"needs (?:a real key|a GPU|Windows|a checkout|a browser|pytest|cron\b)")


def test_what_cannot_run_says_a_true_reason_and_is_rare() -> None:
    left_out = [(p.path, b.line, b.reason) for p in PAGES for b in p.blocks if b.reason]
    assert not [one for one in left_out if not REASONS.match(one[2] or "")]
    assert len(left_out) <= 4, left_out


def test_docstring_examples_of_the_root_compile() -> None:
    import ftsdk

    example = [line[4:] for line in (ftsdk.__doc__ or "").split("\n") if line.startswith("    ")]
    compile("\n".join(example), "ftsdk", "exec")


# --- the reader itself -----------------------------------------------------------------------


def page_of(text: str) -> Page:
    return read_page(Path("page.md"), text)


NEEDS_CORE = "# Title\n\n**Needs:** `pip install ftsdk` · no key\n\n"


@NO_EXTRA
def test_a_missing_extra_would_be_noticed(
    python_with: Callable[[str], Path], tmp_path: Path
) -> None:
    path = ROOT / "docs" / "how-to" / "rehearse-in-the-lab.md"
    text = path.read_text()
    assert "openai" in (read_page(path).extra or "")
    planted = read_page(path, re.sub(r"'ftsdk\[[a-z,]+\]'", "ftsdk", text))
    assert planted.extra == ""
    with pytest.raises(PageError, match=r"pip install 'ftsdk\[openai\]'"):
        read(planted, python_with(""), tmp_path / "reader")


@NO_EXTRA
@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("```console\n$ true\n$ ls nothing-here\n```\n", "page.md:7: `ls nothing-here` ended with"),
        ("```console\n$ true  # exit code 3\n```\n", "the page says 3"),
        ("```console\n$ ftsdk --help\n$ ftsdk lists\n```\n", "`ftsdk lists` ended with 2"),
        ("```console\n$ pip install 'ftsdk[openai]'\n```\n", "is not what the page needs"),
        ("<!-- output -->\n```console\n$ echo one\ntwo\n```\n", "no such line: two"),
        ("```python\na = 1\n```\n\n```python\n\nassert a == 2\n```\n", 'page.md", line 11'),
        ("```python\nimport warnings\nwarnings.warn('x')\n```\n", "UserWarning"),
        ("```python\njson.dumps(1)\n```\n", "NameError"),
        ("```python\nraise SystemExit(0)\n```\n", "the Python block failed"),
        ("```python\nimport os\nos._exit(0)\n```\n", "ended the session"),
        ("```python\nopen('examples/data/support.jsonl')\n```\n", "FileNotFoundError"),
        ("```toml\n# ../ftsdk.toml\na = 1\n```\n", "outside the reader's folder"),
    ],
)
def test_a_step_that_fails_is_noticed_where_it_stands(
    steps: str, why: str, python_with: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(PageError) as caught:
        read(page_of(NEEDS_CORE + steps), python_with(""), tmp_path / "reader")
    assert why in str(caught.value)


@NO_EXTRA
def test_a_page_is_read_in_order_by_one_shell_and_one_python(
    python_with: Callable[[str], Path], tmp_path: Path
) -> None:
    text = (
        NEEDS_CORE
        + '```toml\n# ftsdk.toml, beside your program\nprovider = "fake"\n```\n'
        + '```json title="data/one.json"\n{"a": 1}\n```\n'
        + "```console\n$ pip install ftsdk\n$ export FTSDK_MODEL=any\n$ cat > two.txt <<'END'\n"
        + "> two\n> END\n$ (echo up; exec sleep 600) &\n```\n"
        + "```python\nimport os\n\nseen = sorted(os.listdir())\nseen\n```\n"
        + "```python\nassert seen == ['data', 'ftsdk.toml', 'two.txt']\n"
        + "assert os.environ['FTSDK_MODEL'] == 'any'\nassert not os.listdir(os.environ['HOME'])\n```\n"
        + "<!-- output -->\n```console\n$ cat two.txt $HOME/none; echo $FTSDK_MODEL; jobs\ntwo\n"
        + "…none: No such file…\nany\n[1]+ …Running… &\n```\n"
        + "<!-- norun: needs a GPU -->\n```python\nraise SystemExit\n```\n"
        + "````markdown\n```python\nnot code\n```\n````\n"
    )
    page = page_of(text)
    folder = tmp_path / "reader"
    assert read(page, python_with(""), folder) == 6
    assert processes_of(folder / "home") == [], "what a page started ends with it"


def test_processes_of_a_page_are_known_by_its_home(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["sleep", "600"], env={"HOME": str(tmp_path), "PATH": "/bin:/usr/bin"}
    ) as one:
        assert processes_of(tmp_path) == [one.pid]
        end_processes_of(tmp_path)
        assert one.wait(10) != 0


def test_blocks_are_read_as_a_reader_sees_them() -> None:
    page = page_of(
        "**Needs:** `pip install 'ftsdk[together,openai]'` · no key\n\n"
        "1. In a list:\n\n    ```console\n    $ one \\\n    > two  # exit code 7\n    shown\n"
        "    $ three\n    ```\n\n<!-- norun: needs a real key -->\n```python\nb = 2\n```\n"
        "```yaml\n# .github/workflows/data.yml\non: [push]\n```\n```toml\n# a comment\nc = 3\n```\n"
    )
    assert page.extra == "openai,together"
    console, python, yaml, toml = page.blocks
    assert [(c.line, c.text, c.shown, c.exit_code) for c in console.commands()] == [
        (6, "one \\\ntwo  # exit code 7", ("shown",), 7),
        (9, "three", (), 0),
    ]
    assert (python.line, python.reason, python.runs) == (14, "needs a real key", False)
    assert (yaml.file, yaml.runs) == (".github/workflows/data.yml", True)
    assert (toml.file, toml.runs) == (None, False)


def test_output_is_compared_in_order_with_gaps() -> None:
    printed = "one\n  two   2\nthree\n"
    assert first_missing(("one", "two 2"), printed) is None
    assert first_missing(("one", "…", "th…"), printed) is None
    assert first_missing(("two 2", "one"), printed) == "one"
