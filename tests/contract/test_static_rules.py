"""Banned constructs. Each rule has a sample that it finds and one that it allows."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "ftsdk").rglob("*.py"))
SCRIPTS = [
    path
    for folder in ("benchmarks", "examples", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
EVERYWHERE = [*SHIPPED, *SCRIPTS, *sorted((ROOT / "tests").rglob("*.py"))]


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text())


@functools.cache
def nodes(tree: ast.AST) -> list[ast.AST]:
    """Return a tree and all that is in it; one walk serves all rules."""
    return list(ast.walk(tree))


def dotted(node: ast.AST) -> str:
    """Return `a.b.c` for a name or an attribute of one; `.c` where the rest is a call."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else f".{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Yield calls whose name is, or ends with, one of `names`."""
    for node in nodes(tree):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if any(name == one or (one[0] == "." and name.endswith(one)) for one in names):
                yield node


def keyword(tree: ast.AST, name: str, allowed: Callable[[ast.expr], bool]) -> Iterator[ast.AST]:
    """Yield arguments, dictionaries and assignments that give `name` a value that is not allowed."""
    for node in nodes(tree):
        pairs: list[tuple[str, ast.expr]] = []
        if isinstance(node, ast.keyword) and node.arg:
            pairs = [(node.arg, node.value)]
        elif isinstance(node, ast.Dict):
            pairs = [
                (key.value, value)
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            ]
        elif isinstance(node, ast.Assign):
            pairs = [(dotted(target).split(".")[-1], node.value) for target in node.targets]
        if any(key == name and not allowed(value) for key, value in pairs):
            yield node


def imported(tree: ast.AST, *modules: str) -> Iterator[ast.AST]:
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            if any(alias.name.split(".")[0] in modules for alias in node.names):
                yield node
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in modules:
            yield node


def is_literal(value: object) -> Callable[[ast.expr], bool]:
    return lambda node: isinstance(node, ast.Constant) and node.value is value


def built_string(node: ast.expr) -> bool:
    """Return whether a string is built at run time: f-string, `%`, `+` or `.format`.

    A part formatted with `:d` is allowed: it can only be a whole number, and PRAGMA takes no
    parameters.
    """
    if isinstance(node, ast.JoinedStr):
        return any(
            isinstance(part, ast.FormattedValue)
            and (part.format_spec is None or ast.unparse(part.format_spec) != "f'd'")
            for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Mod | ast.Add)
    return isinstance(node, ast.Call) and dotted(node.func).endswith(".format")


def sql_from_strings(tree: ast.AST) -> Iterator[ast.AST]:
    for call in calls(tree, ".execute", ".executemany", ".executescript"):
        if call.args and built_string(call.args[0]):
            yield call


def blind_swallow(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield `except:` and `except Exception` that neither raise nor use the error."""
    for node in nodes(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = {"BaseException"} if node.type is None else {dotted(n) for n in _each(node.type)}
        if not caught & {"Exception", "BaseException"}:
            continue
        inside = list(ast.walk(ast.Module(body=node.body, type_ignores=[])))
        raises = any(isinstance(one, ast.Raise) for one in inside)
        used = node.name and any(isinstance(n, ast.Name) and n.id == node.name for n in inside)
        if not raises and not used:
            yield node


def _each(node: ast.expr) -> list[ast.expr]:
    return list(node.elts) if isinstance(node, ast.Tuple) else [node]


def checking_asserts(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield asserts, except `assert x is not None`, which narrows a type."""
    for node in nodes(tree):
        if isinstance(node, ast.Assert):
            test = ast.unparse(node.test)
            if not re.fullmatch(r"[\w.]+ is not None", test):
                yield node


def command_as_text(tree: ast.AST) -> Iterator[ast.AST]:
    names = ("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output")
    for call in calls(tree, *names, "subprocess.check_call"):
        first = call.args[0] if call.args else None
        if isinstance(first, ast.Constant | ast.JoinedStr):
            yield call


@dataclass(frozen=True)
class Rule:
    """One banned construct: `found` is a sample of it, `allowed` is what to write instead.

    `within` are the files checked, `but` the prefixes of those that may use it.
    """

    name: str
    find: Callable[[ast.AST], Iterator[ast.AST]]
    found: str
    allowed: str
    within: tuple[Path, ...] = tuple(SHIPPED + SCRIPTS)
    but: tuple[str, ...] = ()


RULES = [
    Rule(
        "no shell",
        lambda tree: keyword(tree, "shell", is_literal(False)),
        "subprocess.run('ls ' + name, shell=True)",
        "subprocess.run(['ls', name])",
    ),
    Rule(
        "no command as one text",
        command_as_text,
        "subprocess.run(f'ls {name}')",
        "subprocess.run(['ls', name])",
    ),
    Rule(
        "no os.system",
        lambda tree: calls(tree, "os.system", "os.popen"),
        "os.system('ls')",
        "os.stat('ls')",
    ),
    Rule(
        "no pickle",
        lambda tree: imported(
            tree, "pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"
        ),
        "import pickle",
        "import json",
        but=(
            "ftsdk/util/spilled.py",
        ),  # its own values, from a file that no other process can open
    ),
    Rule(
        "no torch.load",
        lambda tree: calls(tree, "torch.load", "torch.save"),
        "torch.load('weights.bin')",
        "safetensors.torch.load_file('weights.safetensors')",
    ),
    Rule(
        "no yaml.load",
        lambda tree: calls(tree, "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
        "yaml.load(text)",
        "yaml.safe_load(text)",
    ),
    Rule(
        "no extractall",
        lambda tree: calls(tree, ".extractall", ".extract", "shutil.unpack_archive"),
        "tarfile.open(p).extractall(folder, filter='data')",
        "copy_regular_files(tarfile.open(p), folder)",
    ),
    Rule(
        "no splitlines",
        lambda tree: calls(tree, ".splitlines"),
        "data.decode().splitlines()",
        "data.split(b'\\n')",
    ),
    Rule(
        "TLS certificates are verified",
        lambda tree: keyword(tree, "verify", lambda node: not is_literal(False)(node)),
        "httpx.get(url, verify=False)",
        "httpx.get(url)",
    ),
    Rule(
        "no code from a hub",
        lambda tree: keyword(tree, "trust_remote_code", is_literal(False)),
        "AutoModel.from_pretrained(name, trust_remote_code=options['trust'])",
        "AutoModel.from_pretrained(name, trust_remote_code=False)",
    ),
    Rule(
        "no SQL from strings",
        sql_from_strings,
        "db.execute(f'SELECT * FROM jobs WHERE id = {job}')",
        "db.execute('SELECT * FROM jobs WHERE id = ?', (job,))",
    ),
    Rule(
        "SQL only in the store",
        lambda tree: imported(tree, "sqlite3", "apsw"),
        "import sqlite3",
        "from ftsdk.store import Journal",
        but=("ftsdk/store/", "ftsdk/cli/commands/doctor.py"),  # doctor prints SQLite's version
    ),
    Rule(
        "no eval",
        lambda tree: calls(tree, "eval", "exec", "compile", "__import__"),
        "eval(text)",
        "re.compile(text)",
    ),
    Rule(
        "no assert for checks",
        checking_asserts,
        "assert rows",
        "assert price is not None",
        within=tuple(path for path in SHIPPED if "testing" not in path.parts),
    ),
    Rule(
        "only the command line prints",
        lambda tree: calls(tree, "print", "pprint", "sys.stdout.write"),
        "print('done')",
        "log.info('done')",
        within=tuple(SHIPPED),
        # The trainer's standard output is the job's log.
        but=("ftsdk/cli/", "ftsdk/backends/local/training/loop.py"),
    ),
    Rule(
        "no error is swallowed",
        blind_swallow,
        "try:\n    ask()\nexcept Exception:\n    answer = None",
        "try:\n    ask()\nexcept Exception as error:\n    raise Unavailable('x') from error",
        # The shielded await leaves the error in the task, which raises it.
        but=("ftsdk/async_client.py",),
    ),
    Rule(
        "no predictable temporary file name",
        lambda tree: calls(tree, "tempfile.mktemp", "os.tempnam"),
        "tempfile.mktemp()",
        "tempfile.mkdtemp()",
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_rule_finds_its_sample_and_allows_the_alternative(rule: Rule) -> None:
    assert list(rule.find(ast.parse(rule.found)))
    assert not list(rule.find(ast.parse(rule.allowed)))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_source_follows_the_rule(rule: Rule) -> None:
    found = []
    for path in rule.within:
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(rule.but):
            continue
        for node in rule.find(parsed(path)):
            line = getattr(node, "lineno", getattr(getattr(node, "value", None), "lineno", 0))
            found.append(f"{name}:{line}")
    assert found == []


def comments(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


# Either form, with its code, and a reason in a second comment.
SILENCED = re.compile(r"#\s*(noqa|type:\s*ignore)", re.IGNORECASE)
REASONED = re.compile(
    r"#\s*(noqa:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|type:\s*ignore\[[a-z, -]+\])\s+#\s*\S{2,}.*"
)


def without_reason(text: str) -> list[int]:
    """Return the lines that silence a check without its code and a reason."""
    return [
        line
        for line, comment in comments(text)
        if SILENCED.search(comment) and not REASONED.search(comment)
    ]


@pytest.mark.parametrize(
    ("line", "is_wrong"),
    [
        ("x = 1  # noqa", True),
        ("x = 1  # noqa: S608", True),
        ("x = 1  # noqa: S608  # only our words", False),
        ("x = 1  # type: ignore", True),
        ("x = 1  # type: ignore[attr-defined]", True),
        ("x = 1  # type: ignore[attr-defined]  # any iterable", False),
        ("x = '# noqa'", False),
    ],
)
def test_a_silenced_check_without_a_reason_is_found(line: str, is_wrong: bool) -> None:
    assert bool(without_reason(line)) is is_wrong


def test_every_silenced_check_has_its_code_and_a_reason() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in [*SHIPPED, *SCRIPTS]
        for line in without_reason(path.read_text())
    ]
    assert found == []


UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")


def test_there_are_no_todos() -> None:
    assert UNFINISHED.search("# TO" + "DO: later")
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in EVERYWHERE
        for line, comment in comments(path.read_text())
        if UNFINISHED.search(comment)
    ]
    assert found == []


def test_every_module_has_a_short_docstring() -> None:
    for path in SHIPPED:
        doc = ast.get_docstring(parsed(path)) or ""
        first = doc.split("\n")[0]
        assert first, path.relative_to(ROOT)
        assert len(first) <= 110, path.relative_to(ROOT)
        if path.name not in ("__init__.py", "_version.py"):
            assert "from __future__ import annotations" in path.read_text(), path
