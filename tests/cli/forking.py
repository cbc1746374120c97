"""A program that imports the command line once and forks for each command: real processes without their first second.

It reads an order a line, runs it, and answers with the exit code.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from groat_server import catalogue
from groat_server.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping

for _name in (
    "cli.explain",
    "cli.export",
    "cli.grafana",
    "cli.holds",
    "cli.ledger",
    "cli.login",
    "cli.people",
    "cli.prices",
    "cli.reports",
    "cli.usage",
    "http.admin_ledger",
    "http.admin_reports",
    "http.admin_users",
    "http.holds",
    "http.statements",
    "operations.checks",
    "operations.exports",
    "operations.imports",
    "operations.sessions",
    "migrations",
):
    import_module(f"groat_server.{_name}")
for _name in ("pyarrow.parquet", "rich.table", "xlsxwriter"):
    import_module(_name)
catalogue.load()


def run(order: Mapping[str, Any]) -> NoReturn:
    """Be the command."""
    os.environ.clear()
    os.environ.update(order["variables"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        setattr(sys, name, os.fdopen(descriptor, "w", encoding="utf-8", closefd=False))
    sys.argv = ["groat", *order["command"]]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code if isinstance(code, int) else 0)


def serve() -> None:
    """Take orders until there are no more."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the answer


serve()
