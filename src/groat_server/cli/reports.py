"""`groat report` and `groat check`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_rows, say, written_to
from groat_server.cli.session import called, checked, on_ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARKS = {"pass": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
_FINDINGS_SHOWN = 10
_CHECK_TIMEOUT = "1h"
_WIRE_NAMES = {"since": "from", "until": "to"}


@Parameter(name="*", group="Asked")
@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What reports take, each what its entry in the list names."""

    days: Annotated[int | None, Parameter(help="How many days are counted back.")] = None
    as_of: Annotated[str | None, Parameter(help="From when they are counted back (RFC 3339); absent: now.")] = None
    limit: Annotated[int | None, Parameter(help="How many rows; in a file up to 10,000,000.")] = None
    sort_by: Annotated[str | None, Parameter(help="The order of `users`.")] = None
    user: Annotated[str | None, Parameter(help="Whose: an id, an e-mail address, or external:ID.")] = None
    since: Annotated[str | None, Parameter(name="--from", help="The window's first instant (RFC 3339).")] = None
    until: Annotated[str | None, Parameter(name="--to", help="The window's end, excluded (RFC 3339).")] = None
    time_zone: Annotated[str | None, Parameter(help="The zone that days are of, such as Europe/Berlin.")] = None
    bucket: Annotated[str | None, Parameter(help="What a row is of: hour, day or all.")] = None
    group: Annotated[str | None, Parameter(help="What series are of: none, action, model or user.")] = None
    series: Annotated[int | None, Parameter(help="How many series keep their name.")] = None
    action_type: Annotated[str | None, Parameter(help="Only this action type.")] = None
    model: Annotated[str | None, Parameter(help="Only this model.")] = None
    search: Annotated[str | None, Parameter(help="Only whose e-mail address or name contains this.")] = None
    factor: Annotated[int | None, Parameter(help="How many times the daily mean.")] = None
    kind: Annotated[str | None, Parameter(help="Only prices of a model or of an action.")] = None
    priced: Annotated[str | None, Parameter(help="The model or action type whose prices they are.")] = None

    def given(self) -> dict[str, Any]:
        """Return what was given, under the rules of the HTTP interface. Raises Unprocessable."""
        from groat_server.http.admin_reports import ReportParameters

        said = {_WIRE_NAMES.get(name, name): value for name, value in asdict(self).items()}
        texts = {name: str(value) for name, value in said.items() if value is not None}
        user = texts.pop("user", None)
        given = checked(ReportParameters, texts).given()
        return given if user is None else {**given, "user": called(user)}


NOTHING = Asked()


def report(
    name: Annotated[str, Parameter(help="The report; `groat report list` names them.")],
    /,
    *,
    asked: Asked = NOTHING,
    sql: Annotated[bool, Parameter(negative="", help="Print the SQL instead, as psql takes it.")] = False,
    output: Output = TABLE,
) -> None:
    """Show a report: overview, users, top-consumers, runway, and more; `groat export` makes files of them."""
    from groat_server.operations.reports import FILE_ROWS_MAX, REPORTS, explain_report, find_report, run_report

    if name == "list":
        print_rows([{"name": key, "title": found.title} for key, found in REPORTS.items()], output)
        return
    columns = list(find_report(name).columns)
    given = asked.given()
    if sql:
        print(on_ledger(lambda ledger: explain_report(ledger, name, rows_max=FILE_ROWS_MAX, **given)), end="")
    elif output.csv:
        _print_csv(name, given)
    else:
        rows = on_ledger(lambda ledger: run_report(ledger, name, **given))
        if output.json:
            print_json([{column: getattr(row, column) for column in columns} for row in rows])
        else:
            shown = [column for column in columns if column != "user_id"]
            print_rows(rows, TABLE, columns=shown, title=REPORTS[name].title)


def _print_csv(name: str, given: Mapping[str, Any]) -> None:
    """Print a report of any length as CSV."""
    import shutil

    from groat_server.operations.exports import export_report

    made = on_ledger(lambda ledger: export_report(ledger, name, "csv", **given))
    with made, written_to(None) as target:
        shutil.copyfileobj(made, target)


def check(
    *names: Annotated[str, Parameter(help="Which checks; none: all.")],
    sql: Annotated[bool, Parameter(negative="", help="Print the SQL instead, as psql takes it.")] = False,
    output: Output = TABLE,
) -> int:
    """Check the books. Exits with 1 where a check fails; nothing is ever repaired."""
    from groat_server.operations.checks import CHECKS, find_check, run_checks

    if sql:
        from groat_server.core.psql_script import psql_script

        print("\n".join(psql_script([(find_check(name).source, {})]) for name in names or CHECKS), end="")
        return 0
    results = on_ledger(lambda ledger: run_checks(ledger, names or CHECKS, statement_timeout=_CHECK_TIMEOUT))
    if output.json or output.csv:
        rows = [
            {"check": found.name, "verdict": found.verdict, "promise": found.promise, "findings": found.count}
            for found in results
        ]
        if output.json:
            rows = [
                {**row, "findings": list(found.findings), "count": found.count}
                for row, found in zip(rows, results, strict=True)
            ]
            print_json(rows)
        else:
            print_rows(rows, output)
    else:
        from rich.markup import escape

        for found in results:
            say(f"{_MARKS[found.verdict]} {found.name:<24} {found.promise}")
            for finding in found.findings[:_FINDINGS_SHOWN]:
                say(escape(f"    {finding.subject}: {finding.finding}"))
            if found.count > _FINDINGS_SHOWN:
                say(f"    … and {found.count - _FINDINGS_SHOWN} more")
    return 1 if any(found.verdict == "fail" for found in results) else 0
