"""The lists of mutants fit the tree as it is, and the runner tells what was noticed from what could not be tried."""

from __future__ import annotations

import re
from subprocess import CompletedProcess

import pytest

from mutation.copies import ROOT
from mutation.mutants import Change, DoesNotApply, Mutant, load
from mutation.run import of_day, verdict

MUTANTS = [pytest.param(mutant, id=mutant.name) for name in ("sql", "seeded") for mutant in load(name)]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_changes_the_tree_as_it_is(mutant: Mutant) -> None:
    for file, text in mutant.mutated(ROOT).items():
        assert text != file.read_text()
        if file.suffix == ".py":
            compile(text, file, "exec")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_tests_that_must_notice_a_mutant_are_there(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        file, _, function = test.partition("::")
        assert (ROOT / file).exists(), test
        assert not function or re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_there_are_as_many_mutants_as_was_promised() -> None:
    assert len({mutant.name for mutant in load("sql")}) == len(load("sql")) >= 60
    assert len({mutant.name for mutant in load("seeded")}) == len(load("seeded")) >= 30


def test_the_page_has_each_seeded_bug() -> None:
    _, _, table = (ROOT / "docs" / "mutation.md").read_text().partition("## The seeded bugs")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)
    assert listed == [mutant.name for mutant in load("seeded")]


def test_five_a_day_are_all_of_them_in_time() -> None:
    mutants = load("seeded")
    days = range(739_000, 739_000 + len(mutants) // 5 + 1)
    tried = [mutant.name for day in days for mutant in of_day(mutants, 5, day)]
    assert len(tried) == 5 * len(days)
    assert set(tried) == {mutant.name for mutant in mutants}


def test_a_change_whose_place_is_not_there_once_is_refused() -> None:
    for text in ("", "a a"):
        with pytest.raises(DoesNotApply):
            Change("x.py", "a", "b").applied(text)
    assert Change("x.py", "a", "b").applied("xa") == "xb"


TEST = "tests/core/test_x.py::test_y"
RUNS = [
    (0, "5 passed", ("survived", "")),
    (1, f"FAILED {TEST}[1-2] - assert", ("killed", TEST)),
    (1, f"E   AssertionError\nERROR at teardown of test_y\nERROR {TEST} - assert", ("killed", TEST)),
    (1, f"ERROR at setup of test_y\nERROR {TEST} - psycopg", ("broken", "ERROR at setup of")),
    (1, f"E  psycopg.errors.SyntaxError: x\nFAILED {TEST}", ("broken", "errors.SyntaxError")),
    (2, "ERROR collecting tests/x.py", ("broken", "ERROR collecting tests/x.py")),
    (4, "no such test", ("broken", "no such test")),
]


@pytest.mark.parametrize(("code", "said", "expected"), RUNS)
def test_what_a_run_of_the_tests_means(code: int, said: str, expected: tuple[str, str]) -> None:
    assert verdict(CompletedProcess([], code, said)) == expected
