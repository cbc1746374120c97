"""The page that names the acceptance tests names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| (\d+) \| .* \| (.*) \|$", re.MULTILINE)
_NAME = re.compile(r"`(tests/\S+\.py)::(test_\w+)`")


def test_all_twenty_have_tests_that_exist() -> None:
    rows = dict(_ROW.findall((ROOT / "docs/acceptance.md").read_text()))
    assert list(rows) == [str(number) for number in range(1, 21)]
    for tests in rows.values():
        named = _NAME.findall(tests)
        assert named
        for path, name in named:
            assert f"def {name}(" in (ROOT / path).read_text(), (path, name)
