"""`groat balance` and `groat statement`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, form_of, json_text, print_row, print_rows, written_to
from groat_server.cli.session import called, checked, on_ledger

if TYPE_CHECKING:
    from groat_server.http.report_shapes import StatementShape
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.statements import PastBalance, Statement

Form = Literal["table", "json", "csv", "html"]

User = Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")]


def balance(
    who: User,
    /,
    *,
    at: Annotated[str | None, Parameter(help="The instant (RFC 3339); absent: now.")] = None,
    output: Output = TABLE,
) -> None:
    """Tell a user's balance as it was at an instant, by when moves were booked."""
    from groat_server.http.statements import BalanceInstant, past_balance_shape
    from groat_server.operations.statements import balance_at
    from groat_server.operations.users import find_user

    name = called(who)
    asked = checked(BalanceInstant, {"at": at})

    async def run(ledger: Ledger) -> PastBalance:
        return await balance_at(ledger, await find_user(ledger, name), asked.at)

    shape = past_balance_shape(on_ledger(run))
    if output.json:
        print_row(shape, output)
    else:
        columns = ("at", "balance", "total_consumed", "version", "recorded_at")
        record = {"email": shape.user.email, **{column: getattr(shape, column) for column in columns}}
        print_row(record, output)


def statement(
    who: User,
    /,
    *,
    from_: Annotated[
        str | None, Parameter(name="--from", help="Its beginning (RFC 3339); absent: this period's.")
    ] = None,
    to: Annotated[str | None, Parameter(help="Its end, which is not in it; absent: now.")] = None,
    form: Annotated[Form | None, Parameter(name="--format", help="A table unless -o says otherwise.")] = None,
    file: Annotated[Path | None, Parameter(name=["--output", "-o"], help="Write to this file.")] = None,
) -> None:
    """Make a user's statement of a period, by when moves were booked; html is a page to print."""
    from groat_server.http.statements import StatementPeriod, statement_csv, statement_page, statement_shape
    from groat_server.operations.statements import make_statement
    from groat_server.operations.users import find_user

    name = called(who)
    period = checked(StatementPeriod, {"from": from_, "to": to})

    async def run(ledger: Ledger) -> Statement:
        return await make_statement(ledger, await find_user(ledger, name), start=period.start, end=period.end)

    chosen = form_of(form, file, get_args(Form))
    shape = statement_shape(on_ledger(run))
    match chosen:
        case "table":
            print_rows(_rows(shape), TABLE, title=f"{shape.user.email}, booked {_period(shape)}")
            return
        case "json":
            text = f"{json_text(shape)}\n"
        case "csv":
            text = statement_csv(shape)
        case "html":
            text = statement_page(shape)
    with written_to(file) as target:
        target.write(text.encode())


def _rows(shape: StatementShape) -> list[dict[str, object]]:
    """Return the opening balance, the lines and the closing balance, one under the other."""
    blank = {"action_type": None, "count": None}
    return [
        {"kind": "opening balance", **blank, "amount": shape.opening_balance},
        *(asdict(line) for line in shape.lines),
        {"kind": "closing balance", **blank, "amount": shape.closing_balance},
    ]


def _period(shape: StatementShape) -> str:
    return f"from {shape.period_start:%Y-%m-%d %H:%M} until before {shape.period_end:%Y-%m-%d %H:%M} UTC"
