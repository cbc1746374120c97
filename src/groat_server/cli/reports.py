"""`groat report` and `groat check`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_rows, say
from groat_server.cli.session import on_ledger

_MARKS = {"pass": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
_FINDINGS_SHOWN = 10


def report(
    name: Annotated[str, Parameter(help="The report; `groat report list` names them.")],
    /,
    *,
    days: Annotated[int | None, Parameter(help="The window, for reports that have one.")] = None,
    limit: Annotated[int | None, Parameter(help="How many rows, for reports that can be long.")] = None,
    sort_by: Annotated[str | None, Parameter(help="The order of `users`.")] = None,
    sql: Annotated[bool, Parameter(negative="", help="Print the report's SQL instead.")] = False,
    output: Output = TABLE,
) -> None:
    """Show a report: overview, users, top-consumers, daily-trend, recent-activity, usage-by-action, and more."""
    from groat_server.cli.session import checked
    from groat_server.http.admin_credits import BalancePage, TopWindow
    from groat_server.operations.reports import REPORTS, run_report

    if name == "list":
        print_rows([{"name": key, "title": found.title} for key, found in REPORTS.items()], output)
        return
    if sql and name in REPORTS:
        print(REPORTS[name].statement.source, end="")
        return
    checked(TopWindow, {"days": _text(days), "limit": _text(limit)})
    checked(BalancePage, {"sort_by": sort_by})
    rows = on_ledger(lambda ledger: run_report(ledger, name, days=days, limit=limit, sort_by=sort_by))
    hidden = {"sort_number", "sort_text", "total", "user_id"}
    columns = [column for column in REPORTS[name].statement.columns if column not in hidden]
    print_rows(rows, output, columns=columns, title=REPORTS[name].title)


def check(*names: Annotated[str, Parameter(help="Which checks; none: all.")], output: Output = TABLE) -> int:
    """Check the books. Exits with 1 where a check fails; nothing is ever repaired."""
    from groat_server.operations.checks import CHECKS, run_checks

    results = on_ledger(lambda ledger: run_checks(ledger, names or CHECKS))
    if output.json or output.csv:
        rows = [
            {"check": found.name, "verdict": found.verdict, "promise": found.promise, "findings": len(found.findings)}
            for found in results
        ]
        if output.json:
            rows = [{**row, "findings": list(found.findings)} for row, found in zip(rows, results, strict=True)]
            print_json(rows)
        else:
            print_rows(rows, output)
    else:
        for found in results:
            say(f"{_MARKS[found.verdict]} {found.name:<24} {found.promise}")
            for finding in found.findings[:_FINDINGS_SHOWN]:
                say(f"    {finding.subject}: {finding.finding}")
            if len(found.findings) > _FINDINGS_SHOWN:
                say(f"    … and {len(found.findings) - _FINDINGS_SHOWN} more")
    return 1 if any(found.verdict == "fail" for found in results) else 0


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
