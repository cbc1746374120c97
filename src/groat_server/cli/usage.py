"""`groat charge`, `groat estimate`, `groat import`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_row, say
from groat_server.cli.session import called, checked, on_ledger

if TYPE_CHECKING:
    from groat_server.core.price_book import PriceVersion
    from groat_server.core.pricing import Charge
    from groat_server.http.shapes import EstimateShape, ReceiptShape, UntrackedShape
    from groat_server.operations.imports import ImportProgress, ImportReport
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.usage import Quote, Receipt


@Parameter(name="*", group="Use")
@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What was used. Token counts of cache and reasoning are parts of input and output."""

    action: Annotated[str, Parameter(help="The action type, such as ai_chat_message.")]
    model: Annotated[str | None, Parameter(help="The model, as the provider calls it.")] = None
    provider: Annotated[str | None, Parameter(help="The provider, where the model's name does not tell.")] = None
    input_tokens: Annotated[int | None, Parameter(help="Input tokens, cached ones included.")] = None
    output_tokens: Annotated[int | None, Parameter(help="Output tokens, reasoning included.")] = None
    cache_read_tokens: Annotated[int | None, Parameter(help="Input tokens read from a cache.")] = None
    cache_write_tokens: Annotated[int | None, Parameter(help="Input tokens written to a cache.")] = None
    reasoning_tokens: Annotated[int | None, Parameter(help="Output tokens spent on reasoning.")] = None
    quantity: Annotated[str | None, Parameter(help="Units, for an action priced per unit.")] = None
    api_cost: Annotated[str | None, Parameter(help="The cost in USD, in place of the catalogue's.")] = None
    occurred_at: Annotated[str | None, Parameter(help="When it happened (RFC 3339); absent: now.")] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields as the HTTP interface names them."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"action_type": values.pop("action"), **values}


def charge(
    user: Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")],
    /,
    *,
    use: Use,
    description: str | None = None,
    session_id: str | None = None,
    enforce: bool = False,
    backfill: bool = False,
    key: Annotated[str | None, Parameter(help="The idempotency key; absent: a new one.")] = None,
    output: Output = TABLE,
) -> None:
    """Charge one use of AI to a user.

    Parameters
    ----------
    description: What the user reads of it.
    session_id: What it belonged to.
    enforce: Refuse it where the credits do not suffice.
    backfill: Take it although it is more than 35 days old.

    """
    from uuid import uuid4

    from groat_server.http.shaping import receipt_shape
    from groat_server.http.usage import UsageRequest, usage_of
    from groat_server.operations import usage as operations
    from groat_server.operations.users import find_users_to_charge

    name = called(user)
    request = checked(
        UsageRequest,
        {
            **use.fields(),
            "user": 1,  # found below; the rest is checked as a request's
            "description": description,
            "session_id": session_id,
            "mode": "enforce" if enforce else "record",
            "backfill": backfill,
            "idempotency_key": key or f"cli-{uuid4()}",
        },
    )

    async def run(ledger: Ledger) -> Receipt:
        (user_id,) = await find_users_to_charge(ledger, [name])
        (receipt,) = await operations.charge(ledger, [usage_of(request, user_id, request.idempotency_key or "")])
        return receipt

    receipt = on_ledger(run)
    shape = receipt_shape(receipt)
    if output.json or output.csv:
        _print_priced(shape, output)
    else:
        say(_told(receipt))


def estimate(*, use: Use, output: Output = TABLE) -> None:
    """Price one use of AI by the prices of now, or of when it occurred; nothing is stored."""
    from groat_server.core.pricing import Unpriceable
    from groat_server.core.usage import Usage
    from groat_server.errors import Unprocessable
    from groat_server.http.shapes import EstimateShape
    from groat_server.http.shaping import price_shape
    from groat_server.http.usage import EstimateRequest, priced_fields
    from groat_server.operations import usage as operations

    request = checked(EstimateRequest, use.fields())

    async def run(ledger: Ledger) -> Quote | Unpriceable:
        return await operations.estimate(ledger, Usage(user_id=None, idempotency_key="", **priced_fields(request)))

    quote = on_ledger(run)
    if isinstance(quote, Unpriceable):
        raise Unprocessable(quote.detail, code=quote.code)
    if output.json or output.csv:
        price = price_shape(quote.charge, quote.version, request.model)
        _print_priced(EstimateShape(quote.charge.credits_charged, quote.charge.api_cost, price), output)
    else:
        say(f"{quote.charge.credits_charged} credits   ({_priced(quote.charge, quote.version)})")


def import_(
    file: Path,
    /,
    *,
    until: Annotated[Literal["now"] | None, Parameter(help="Shift all times so that the last event is now.")] = None,
    create_users: Annotated[bool, Parameter(negative="", help="Create users whom nobody knows yet.")] = False,
    settled: Annotated[bool, Parameter(negative="", help="Paid for elsewhere: no balance moves.")] = False,
    rejects: Annotated[Path | None, Parameter(help="Where bad rows go; absent: FILE.rejects.csv.")] = None,
    output: Output = TABLE,
) -> None:
    """Charge a file of past usage, each row once, however often the file is imported.

    Columns: occurred_at, email (or user), action_type, and as the action needs model, provider, input_tokens,
    output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, quantity, api_cost, description, session_id,
    metadata, idempotency_key.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from groat_server.operations.imports import import_file

    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("import", total=None)

        def show(progress: ImportProgress) -> None:
            bar.update(task, completed=progress.rows_done, total=progress.rows_total)

        async def run(ledger: Ledger) -> ImportReport:
            return await import_file(
                ledger,
                file,
                until_now=until == "now",
                create_users=create_users,
                settled=settled,
                rejects=rejects,
                progress=show,
            )

        report = on_ledger(run)
    if output.json or output.csv:
        print_row(report, output)
    else:
        _tell_import(report)


def _print_priced(answer: ReceiptShape | UntrackedShape | EstimateShape, output: Output) -> None:
    """Print an answer as JSON, or as one row of CSV without what priced it."""
    if output.json:
        print_json(answer)
        return
    names = [field.name for field in fields(answer) if field.name != "price"]
    print_row({name: getattr(answer, name) for name in names}, output)


def _told(receipt: Receipt) -> str:
    from groat_server.core.credits import trimmed

    charge_, booking = receipt.charge, receipt.booking
    priced = f"({_priced(charge_, receipt.version)})" if charge_ else ""
    if booking is None or charge_ is None:
        return f"[yellow]untracked[/]: the user is in demo mode   {priced}"
    verb = "charged before:" if receipt.outcome.value == "replayed" else "charged"
    before = trimmed(booking.balance + charge_.credits_charged)
    overdrawn = "   [red]overdrawn[/]" if booking.balance < 0 else ""
    return (
        f"[green]✓[/] {verb} {charge_.credits_charged} credits   {priced}   "
        f"balance {before} → {booking.balance}{overdrawn}"
    )


def _priced(charge_: Charge, version: PriceVersion | None) -> str:
    from groat_server.core.rates import Rates

    cost = f"${charge_.api_cost}" if charge_.api_cost is not None else "no API cost"
    if version is None:
        return f"{cost} · {charge_.cost_source}"
    if not isinstance(version.rates, Rates):
        return f"{cost} · price of the action {version.name}"
    rates = "/".join(f"${rate}" for rate in (version.rates.input, version.rates.output) if not isinstance(rate, tuple))
    return f"{cost} · {version.provider}/{version.name} · {rates} per M"


def _tell_import(report: ImportReport) -> None:
    if report.already_finished:
        say("[green]✓[/] this file was imported before; nothing has changed")
        return
    say(
        f"[green]✓[/] {report.rows} rows: {report.recorded} recorded, {report.replayed} replayed, "
        f"{report.untracked} untracked, {report.rejected} rejected"
    )
    say(f"  {report.credits} credits   ${report.api_cost}   {report.seconds:.1f} s")
    if report.rejects is not None:
        say(f"  rejected rows and their reasons: {report.rejects}")
