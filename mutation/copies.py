"""A copy of the work tree in a temporary directory: mutants are made there, and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
_SOURCES = ("src", "client/src")
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "dist", "*.egg-info")


@contextmanager
def copied_tree() -> Iterator[Path]:
    """Lend a copy of the tree whose code is what Python imports under `environment`, as was seen by asking it."""
    with TemporaryDirectory(prefix="groat-mutation-") as directory:
        copy = Path(directory).resolve() / "tree"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
        # Compiled once, and known by hash: two mutants of one length within a second have the same time and size.
        _python(copy, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", *_SOURCES, "tests")
        imported = _python(copy, "-c", "import app, groat, groat_server as it; print(app, groat, it, sep='\\n')")
        if imported.count(str(copy)) != imported.count("\n"):
            raise RuntimeError(f"the tests would not run the copy in {copy}, but {imported}")
        yield copy


def environment(copy: Path) -> dict[str, str]:
    """Return the variables under which a process runs the copy's code, and writes no bytecode of it."""
    paths = os.pathsep.join(str(copy / each) for each in _SOURCES)
    return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1", "COLUMNS": "200"}


def _python(copy: Path, *arguments: str) -> str:
    answer = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment(copy), check=True, capture_output=True, text=True
    )
    return answer.stdout
