"""Change one place of the package at a time and see whether a test fails.

    make mutants SAMPLE=150 SEED=1                 a sample of every group
    make mutants GROUPS=money,rendering            only these groups of the same sample
    make mutants SURVIVORS=1                       again what survived before
    make mutants ONLY=ftsdk/store                  modules whose path starts so
    make mutants FIRST=2                           only the first two test files of each module: a
                                                   quick pass, to be followed by SURVIVORS=1

The change is made in a copy of the checkout in a temporary folder. The tests of a module are in
`tests/mutation/targets.py`; they run in that order until one fails. A run that was interrupted goes on
where it stopped: results are kept in `.mutants/`, one file a seed. A test that failed is run again
without the change, and must pass: after a broken or unreliable test the outcome is unclear.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.mutation.operators import check_own_operators, mutated, sites_of
from tests.mutation.sites import Site, sample
from tests.mutation.targets import GROUPS, PRELOADED, modules, suite_of

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
TIMEOUT_S = 600


@dataclass(frozen=True)
class Result:
    """What the tests said about one change."""

    site: Site
    source: str  # digest of the module
    outcome: str  # killed, survived, timed out, not applicable, unclear
    seconds: float
    before: str
    after: str
    failed: str  # the test that failed

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes a result the same as an earlier one."""
        return self.site.path, self.source, self.site.operator, self.site.occurrence


@dataclass(frozen=True)
class Reply:
    """The exit code of pytest (None: it took too long), and the test that failed, if one did."""

    code: int | None
    seconds: float
    failed: str
    output: str


class Worker:
    """A process that runs test files of a copy of the checkout."""

    def __init__(self, copy: Path) -> None:
        self._output = copy / ".output"
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), ",".join(PRELOADED), str(copy)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, tests: Iterable[str], *, only_collect: bool = False) -> Reply:
        """Run the tests until one fails. With `only_collect`, import them and keep their bytecode."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {
            "tests": list(tests),
            "timeout_s": TIMEOUT_S,
            "output": str(self._output),
            "only_collect": only_collect,
        }
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        return Reply(**reply, output=self._output.read_text(errors="replace"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


def main() -> int:
    """Run the sample and print the report. Returns 1 when something survived."""
    options = _options()
    check_own_operators()
    sources = {path: (ROOT / path).read_text() for path in modules(ROOT)}
    places = [site for path, source in sources.items() for site in sites_of(path, source)]
    chosen = sample(places, sources, options.sample, options.seed)
    groups = options.groups.split(",") if options.groups else list(GROUPS)
    chosen = [s for s in chosen if _group(s.path) in groups and s.path.startswith(options.only)]
    chosen.sort(key=lambda site: (groups.index(_group(site.path)), site.place))
    record = ROOT / ".mutants" / f"seed-{options.seed}.jsonl"
    known = _known(record)
    results = [known.get(_key(site, sources)) for site in chosen]
    if options.survivors:
        todo = [r.site for r in results if r is not None and r.outcome in ("survived", "unclear")]
    else:
        todo = [s for s, result in zip(chosen, results, strict=True) if result is None]
    print(
        f"{len(places):,} places in {len(sources)} modules; {len(chosen)} chosen, {len(todo)} to run"
    )
    if todo:
        _run(todo, sources, record, options.first)
    known = _known(record)
    return _report([r for site in chosen if (r := known.get(_key(site, sources)))], len(chosen))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=150, help="how many places to change")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another sample")
    parser.add_argument("--groups", default="", help=f"of {', '.join(GROUPS)}; all by default")
    parser.add_argument("--only", default="", help="modules whose path starts with this")
    parser.add_argument("--first", type=int, default=None, help="only the first test files")
    parser.add_argument("--survivors", action="store_true", help="again what survived before")
    return parser.parse_args()


def _run(todo: list[Site], sources: dict[str, str], record: Path, first: int | None) -> None:
    record.parent.mkdir(exist_ok=True)
    with _copy_of_checkout() as copy, record.open("a") as kept:
        worker = Worker(copy)
        every = dict.fromkeys(test for site in todo for test in suite_of(site.path)[:first])
        collected = worker.run(every, only_collect=True)
        if collected.code != 0:
            sys.exit(f"the tests cannot be collected\n{collected.output[-3000:]}")
        passed: set[str] = set()
        for number, site in enumerate(todo, 1):
            result = _try(worker, copy, site, sources[site.path], first)
            if result.failed and result.failed not in passed:
                if _passes_unchanged(worker, result.failed):
                    passed.add(result.failed)
                else:
                    result = replace(result, outcome="unclear")
            kept.write(json.dumps(asdict(result)) + "\n")
            kept.flush()
            where = f"{site.path}:{site.line}"
            print(
                f"{number:4}/{len(todo)} {result.outcome:14} {result.seconds:6.1f} s  {where}",
                flush=True,
            )
        worker.close()


def _passes_unchanged(worker: Worker, test: str) -> bool:
    """Return whether a test passes without a change; print its output if it does not."""
    reply = worker.run((test,))
    if reply.code != 0:
        print(f"without a change, {test} fails, too\n{reply.output[-2000:]}", flush=True)
    return reply.code == 0


def _try(worker: Worker, copy: Path, site: Site, source: str, first: int | None) -> Result:
    made = mutated(source, site)
    digest = _digest(source)
    if made is None:
        return Result(site, digest, "not applicable", 0, site.text, "", "")
    before, after = _changed(source, made)
    module = copy / site.path
    for compiled in (module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"):
        compiled.unlink()  # a change of the same length in the same second would go unseen
    module.write_text(made)
    try:
        reply = worker.run(suite_of(site.path)[:first])
    finally:
        module.write_text(source)
    outcome = {0: "survived", None: "timed out"}.get(reply.code, "killed")
    return Result(site, digest, outcome, reply.seconds, before, after, reply.failed)


@contextmanager
def _copy_of_checkout() -> Iterator[Path]:
    """Yield a folder with every file of the checkout that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ftsdk-mutants-") as folder:
        copy = Path(folder).resolve()
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        yield copy


def _known(record: Path) -> dict[tuple[str, str, str, int], Result]:
    """Return the kept results; the last one of a change counts."""
    if not record.exists():
        return {}
    lines = [json.loads(line) for line in record.read_text().splitlines() if line.endswith("}")]
    results = [Result(**{**line, "site": Site(**line["site"])}) for line in lines]
    return {result.key: result for result in results}


def _key(site: Site, sources: dict[str, str]) -> tuple[str, str, str, int]:
    return site.path, _digest(sources[site.path]), site.operator, site.occurrence


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _group(path: str) -> str:
    return next(name for name, group in GROUPS.items() if any(path.startswith(p) for p in group))


def _changed(source: str, made: str) -> tuple[str, str]:
    """Return the changed lines, before and after."""
    diff = [
        line
        for line in difflib.unified_diff(source.splitlines(), made.splitlines(), lineterm="", n=0)
        if not line.startswith(("---", "+++", "@@"))
    ]
    before = [line[1:].strip() for line in diff if line.startswith("-")]
    after = [line[1:].strip() for line in diff if line.startswith("+")]
    return "\n".join(before), "\n".join(after)


def _report(results: list[Result], chosen: int) -> int:
    counts = Counter(result.outcome for result in results)
    for result in results:
        if result.outcome == "survived":
            print(f"\n{result.site.path}:{result.site.line}  {result.site.operator}")
            print(_indented("- ", result.before))
            print(_indented("+ ", result.after))
    per_group: dict[str, Counter[str]] = {}
    for result in results:
        per_group.setdefault(_group(result.site.path), Counter())[result.outcome] += 1
    print()
    for group, found in per_group.items():
        print(f"{group:12} {_words(found)}")
    tried = sum(counts.values()) - counts["not applicable"] - counts["unclear"]
    share = 100 * (tried - counts["survived"]) / tried if tried else 0
    print(f"{'all':12} {_words(counts)}; {share:.1f} % of {tried} seen by a test")
    if len(results) < chosen:
        print(f"{chosen - len(results)} not run yet")
    return 1 if counts["survived"] else 0


def _words(counts: Counter[str]) -> str:
    names = ("killed", "timed out", "survived", "not applicable", "unclear")
    return ", ".join(f"{counts[name]} {name}" for name in names)


def _indented(sign: str, text: str) -> str:
    return "\n".join(f"    {sign}{line}" for line in text.splitlines())


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"{time.monotonic() - started:,.0f} s")
    sys.exit(status)
