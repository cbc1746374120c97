"""Help: every command has it, and it costs no import that only running the command needs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from groat_server.cli import app
from tests.services import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App

HEAVY = [
    "sqlalchemy",
    "fastapi",
    "starlette",
    "psycopg",
    "pydantic",
    "genai_prices",
    "rich.markdown",
    "uvicorn",
    "httpx2",
    "textual",
]
PROGRAM = """
import json, sys
from groat_server.cli import main
sys.argv = ["groat", *json.loads(sys.argv[1])]
try:
    main()
finally:
    print([name for name in json.loads(sys.stdin.read()) if name in sys.modules], file=sys.stderr)
"""


def commands(of: App, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield each command, groups too, as the words that call it."""
    yield above
    for name in of:
        if not name.startswith("-"):
            yield from commands(of[name], (*above, name))


COMMANDS = list(commands(app))


def test_the_commands_are_those_that_are_documented() -> None:
    assert {" ".join(command) for command in COMMANDS} >= {
        "up", "serve", "demo", "stop", "charge", "estimate", "import", "user add", "user list", "user show",
        "user admin", "user demo", "user allowance", "user set", "user anonymise", "audit", "report", "check",
        "token create", "token list", "token rotate", "token revoke",
        "balance", "statement", "hold place", "hold capture", "hold release", "hold renew", "hold list", "grant",
        "adjust", "refund", "void", "lots", "explain",
        "price list", "price set", "price diff", "price sync", "price book", "psql", "db migrate", "db roles", "db url",
        "db reader", "login", "tail", "top", "export", "grafana export",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_there_and_light(command: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([*command, "--help"])],
        input=json.dumps(HEAVY),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert ran.returncode == 0
    assert ran.stdout.startswith(" ".join(["Usage: groat", *command]))
    assert ran.stderr.splitlines()[-1] == "[]"
