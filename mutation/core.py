"""Runs mutmut on `core/` in a copy of the tree, and prints every mutant that no test noticed.

    python -m mutation.core [PATTERN …]

Patterns choose mutants by name, such as `groat_server.core.rates*`. Fails where fewer than 95 % are killed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from mutation.copies import copied_tree, environment

if TYPE_CHECKING:
    from pathlib import Path

PERCENT_MIN = 95
_KILLED = {"killed", "timeout", "segfault", "caught_by_type_check"}
_NOT_ASKED = {"total", "skipped", "not_checked"}


def main(patterns: list[str]) -> int:
    """Run it, print what survived and the share that was killed, and return 0 where that is enough."""
    with copied_tree() as copy:
        _mutmut(copy, "run", "--max-children", "1", *patterns)
        for line in _mutmut(copy, "results", show=False).splitlines():
            name, _, outcome = line.strip().partition(": ")
            if outcome and outcome != "not checked":
                print(f"\n{outcome}: {_mutmut(copy, 'show', name, show=False)}")
        _mutmut(copy, "export-cicd-stats", show=False)
        counts: dict[str, int] = json.loads((copy / "mutants" / "mutmut-cicd-stats.json").read_text())
    tried = {outcome: count for outcome, count in counts.items() if outcome not in _NOT_ASKED and count}
    killed, total = sum(tried.get(outcome, 0) for outcome in _KILLED), sum(tried.values())
    print(f"{killed} of {total} mutants were killed, {100 * killed / total:.1f} %: {tried}")
    return int(100 * killed < PERCENT_MIN * total)


def _mutmut(copy: Path, *arguments: str, show: bool = True) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=copy,
        env=environment(copy),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=None if show else subprocess.PIPE,
        text=True,
    )
    return answer.stdout or ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
