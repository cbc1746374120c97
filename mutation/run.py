"""Runs the listed tests on each mutant of a list, in a copy of the tree, and says which test noticed it.

    python -m mutation.run sql|seeded [--only NAME …] [--today 5] [--markdown]

A mutant is killed if a test fails on it, or the audit of a test's ledger does. One on which nothing can start is
`broken` and shows nothing. What was found out about the same tree before is not run again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from groat_server.embedded import hold
from mutation.copies import ROOT, copied_tree, environment
from mutation.mutants import LISTS, DoesNotApply, Mutant, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Result: TypeAlias = dict[str, str]

_PYTEST = ("-m", "pytest", "-x", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", "--hypothesis-seed=0")
_SECONDS_MAX = 600
"""How long the tests of one mutant may take."""

_NOTICED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+::\w+)", re.MULTILINE)
# A mutant that does not get so far as to be tried: the fixtures, the import, or PostgreSQL itself refuse it.
_BROKEN = re.compile(r"ERROR at setup of|ERROR collecting|errors\.(?:SyntaxError|Undefined\w+|DuplicateColumn)\b")


def main() -> int:
    """Run a list, print a table, and return how many mutants nobody noticed."""
    arguments = _arguments()
    mutants = load(arguments.list)
    if arguments.only:
        mutants = [mutant for mutant in mutants if mutant.name in arguments.only]
    if arguments.today:
        mutants = of_day(mutants, arguments.today, datetime.now(UTC).toordinal())
    results, spoiled = run(mutants)
    killed = sum(result["outcome"] == "killed" for result in results.values())
    print(f"{killed} of {len(mutants)} mutants were killed")
    if arguments.markdown:
        print(_markdown(mutants, results))
    return len(mutants) - killed + len(spoiled)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", choices=sorted(LISTS))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants")
    parser.add_argument("--today", type=int, metavar="N", help="N of them, others each day")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/mutation.md too")
    return parser.parse_args()


def of_day(mutants: Sequence[Mutant], count: int, day: int) -> list[Mutant]:
    """Return `count` of the mutants, going on each day where the day before ended."""
    return [mutants[(day * count + position) % len(mutants)] for position in range(min(count, len(mutants)))]


def run(mutants: Sequence[Mutant]) -> tuple[dict[str, Result], list[str]]:
    """Return what became of each mutant, and the tests that fail without any, which are left out.

    One PostgreSQL serves them all: to set one up takes longer than most of the tests.
    """
    with copied_tree() as copy, hold(copy.parent / "data", options={"fsync": "off"}):
        memory = _Memory(copy)
        spoiled: list[str] = []
        if any(memory.result(mutant) is None for mutant in mutants):
            spoiled = _failing_anyway(copy, memory, sorted({test for mutant in mutants for test in mutant.tests}))
        results: dict[str, Result] = {}
        for mutant in mutants:
            result = memory.result(mutant)
            if result is None:
                result = _tried(copy, mutant, spoiled)
                memory.keep(mutant, result)
            results[mutant.name] = result
            print(f"{result['outcome']:<9} {mutant.name:<44} {result['seconds']:>4} s  {result['by']}", flush=True)
        return results, spoiled


def _failing_anyway(copy: Path, memory: _Memory, tests: Sequence[str]) -> list[str]:
    failing = memory.failing(tests)
    if failing is None:
        without = _pytest(copy, [*tests, "--maxfail=1000"], seconds_max=None)
        if without.returncode not in {0, 1}:
            sys.exit(f"the tests do not run without a mutant:\n{without.stdout[-3000:]}")
        failing = sorted(set(_NOTICED.findall(without.stdout)))
        memory.keep_failing(tests, failing)
    for test in failing:
        print(f"left out, since it fails without a mutant: {test}", flush=True)
    return failing


def _tried(copy: Path, mutant: Mutant, left_out: Sequence[str]) -> Result:
    began = time.monotonic()
    try:
        texts = mutant.mutated(copy)
    except DoesNotApply as error:
        return {"outcome": "stale", "by": str(error), "seconds": "0"}
    originals = {file: file.read_text() for file in texts}
    try:
        for file, text in texts.items():
            file.write_text(text)
        outcome, by = verdict(_pytest(copy, [*mutant.tests, *(f"--deselect={test}" for test in left_out)]))
    except subprocess.TimeoutExpired:
        outcome, by = "killed", f"no test ended within {_SECONDS_MAX} seconds"
    finally:
        for file, text in originals.items():
            file.write_text(text)
    return {"outcome": outcome, "by": by, "seconds": f"{time.monotonic() - began:.0f}"}


def verdict(tests: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """Return what a run of the tests says of a mutant, and which test or complaint said so."""
    if tests.returncode == 0:
        return "survived", ""
    noticed = _NOTICED.search(tests.stdout)
    if tests.returncode != 1 or noticed is None or (reason := _BROKEN.search(tests.stdout)):
        return "broken", reason[0] if noticed and reason else tests.stdout[-300:]
    return "killed", noticed[1]


def _pytest(
    copy: Path, tests: Sequence[str], *, seconds_max: int | None = _SECONDS_MAX
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *_PYTEST, *tests],
        cwd=copy,
        env=environment(copy) | {"GROAT_TEST_DATA": str(copy.parent / "data")},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds_max,
    )


class _Memory:
    """What was found out about this very tree: a run that broke off goes on."""

    def __init__(self, copy: Path) -> None:
        self._tree = _digest(copy)
        self._file = ROOT / ".mutation_cache" / "results.json"
        stored = json.loads(self._file.read_text()) if self._file.exists() else {}
        if stored.get("tree") != self._tree:
            stored = {}
        self._results: dict[str, Result] = stored.get("results", {})
        self._failing: dict[str, list[str]] = stored.get("failing", {})

    def result(self, mutant: Mutant) -> Result | None:
        return self._results.get(str(mutant))

    def keep(self, mutant: Mutant, result: Result) -> None:
        self._results[str(mutant)] = result
        self._save()

    def failing(self, tests: Sequence[str]) -> list[str] | None:
        return self._failing.get(str(tests))

    def keep_failing(self, tests: Sequence[str], failing: list[str]) -> None:
        self._failing[str(tests)] = failing
        self._save()

    def _save(self) -> None:
        self._file.parent.mkdir(exist_ok=True)
        self._file.write_text(json.dumps({"tree": self._tree, "results": self._results, "failing": self._failing}))


def _digest(copy: Path) -> str:
    digest = hashlib.sha256()
    for top in ("src", "client", "tests", "pyproject.toml"):
        for file in sorted((copy / top).rglob("*") if (copy / top).is_dir() else [copy / top]):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(copy)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _markdown(mutants: Sequence[Mutant], results: dict[str, Result]) -> str:
    rows = ["| Mutant | What it breaks | Caught by |", "| --- | --- | --- |"]
    for mutant in mutants:
        by = results[mutant.name]["by"].rpartition("::")[2].removeprefix("test_").replace("_", " ")
        rows.append(f"| `{mutant.name}` | {mutant.why} | {by} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
