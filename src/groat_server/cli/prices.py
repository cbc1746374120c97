"""`groat price …`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_row, print_rows, say
from groat_server.cli.session import ACTOR, checked, on_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.price_book import PriceVersion
    from groat_server.core.price_changes import PriceChange
    from groat_server.core.rates import ActionPrice, Rates
    from groat_server.core.simulation import Tally
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.prices import BookRow, SyncReport

price = App(name="price", help="List, set and synchronise prices.")

_CHANGES_SHOWN = 40


@price.command(name="list")
def list_(
    query: Annotated[str | None, Parameter(help="A part of the name or the provider.")] = None,
    /,
    *,
    at: Annotated[str | None, Parameter(help="Prices as of this time (RFC 3339); absent: now.")] = None,
    limit: int = 50,
    output: Output = TABLE,
) -> None:
    """List the prices in force: USD per million tokens for models, credits for actions."""
    from groat_server.operations.prices import list_prices

    instant = _instant(at) or datetime.now(UTC)

    async def run(ledger: Ledger) -> list[PriceVersion]:
        async with ledger.database.read() as connection:
            return await list_prices(connection, query, instant, limit)

    print_rows([_row(version) for version in on_ledger(run)], output)


@price.command(name="set")
def set_(
    name: Annotated[str, Parameter(help="The model, or with --action the action type.")],
    /,
    *,
    action: Annotated[bool, Parameter(negative="", help="The name is an action type's.")] = False,
    provider: str | None = None,
    input: Annotated[str | None, Parameter(help="USD per million input tokens.")] = None,  # noqa: A002 - what it is called everywhere
    output_rate: Annotated[str | None, Parameter(name="--output", help="USD per million output tokens.")] = None,
    cache_read: Annotated[str | None, Parameter(help="USD per million cached tokens read.")] = None,
    cache_write: Annotated[str | None, Parameter(help="USD per million cached tokens written.")] = None,
    reasoning: Annotated[str | None, Parameter(help="USD per million reasoning tokens.")] = None,
    per_use: Annotated[str | None, Parameter(help="Credits per use of an action.")] = None,
    per_unit: Annotated[str | None, Parameter(help="Credits per unit of an action.")] = None,
    multiplier: Annotated[str | None, Parameter(help="In place of the book's multiplier.")] = None,
    since: Annotated[str | None, Parameter(name="--from", help="From when on (RFC 3339); absent: now.")] = None,
    until: Annotated[str | None, Parameter(help="Until when (RFC 3339); absent: until superseded.")] = None,
    note: str | None = None,
    output: Output = TABLE,
) -> None:
    """Set a price of our own, before the catalogue's. Old prices are superseded, never edited."""
    from groat_server.operations.prices import set_price

    rates = {
        "input": input, "output": output_rate, "cache_read": cache_read, "cache_write": cache_write,
        "reasoning": reasoning, "credits_per_use": per_use, "credits_per_unit": per_unit,
    }  # fmt: skip
    given = {kind: _number(kind, text) for kind, text in rates.items() if text is not None}

    async def run(ledger: Ledger) -> PriceVersion:
        async with ledger.database.act(ACTOR) as connection:
            return await set_price(
                connection,
                kind="action" if action else "model",
                name=name,
                provider=provider,
                rates=given,
                multiplier=None if multiplier is None else _number("multiplier", multiplier),
                valid_from=_instant(since),
                valid_to=_instant(until),
                note=note,
            )

    print_row(_row(on_ledger(run)), output)


@price.command
def diff(*, output: Output = TABLE) -> None:
    """Show what `sync` would change: the installed catalogue against the stored one."""
    from groat_server.operations.prices import diff_catalogue

    async def run(ledger: Ledger) -> list[PriceChange]:
        async with ledger.database.read() as connection:
            return await diff_catalogue(connection)

    _print_changes(on_ledger(run), output)


@price.command
def sync(*, output: Output = TABLE) -> None:
    """Take over the installed catalogue's prices; `diff` shows them first. History never re-prices itself."""
    from groat_server.operations.prices import sync_catalogue

    async def run(ledger: Ledger) -> SyncReport:
        async with ledger.database.act(ACTOR) as connection:
            return await sync_catalogue(connection)

    report = on_ledger(run)
    _print_changes(report.changes, output)
    if not (output.json or output.csv):
        say(f"[green]✓[/] {report.catalogue_version}; the price book is at version {report.book_version}")


@price.command
def book(
    *,
    credits_per_dollar: str | None = None,
    multiplier: str | None = None,
    unknown_model: Literal["reject", "fallback", "unpriced"] | None = None,
    fallback: Annotated[str | None, Parameter(help='Rates as JSON, such as {"input": 3, "output": 15}.')] = None,
    output: Output = TABLE,
) -> None:
    """Show what is common to all prices, or change it: credits a dollar, margin, what happens to unknown models."""
    from groat_server.operations.prices import set_pricing, show_pricing

    changes: dict[str, Any] = {
        "credits_per_dollar": None if credits_per_dollar is None else _number("credits_per_dollar", credits_per_dollar),
        "multiplier": None if multiplier is None else _number("multiplier", multiplier),
        "unknown_model": unknown_model,
        "fallback_rates": None if fallback is None else _rates(fallback),
    }

    async def run(ledger: Ledger) -> BookRow:
        async with ledger.database.act(ACTOR) as connection:
            if any(value is not None for value in changes.values()):
                return await set_pricing(connection, **changes)
            return await show_pricing(connection)

    print_row(on_ledger(run), output)


@price.command
def simulate(
    file: Annotated[
        Path | None, Parameter(help="A price list as JSON (docs/operations.md); absent: the book's.")
    ] = None,
    /,
    *,
    multiplier: Annotated[str | None, Parameter(help="In place of the book's multiplier.")] = None,
    credits_per_dollar: Annotated[str | None, Parameter(help="In place of the book's.")] = None,
    days: Annotated[int, Parameter(help="How many days back.")] = 30,
    by: Annotated[Literal["user", "action", "model"], Parameter(help="What a row of the table or CSV is.")] = "user",
    limit: Annotated[int, Parameter(help="How many users, those whose cost changes most.")] = 50,
    output: Output = TABLE,
) -> None:
    """Show what the last days would have cost at other prices. Changes nothing; options go before the file."""
    from groat_server.core.price_list import credits_per_dollar_of, multiplier_of
    from groat_server.operations.simulation import read_price_list, simulate_prices

    prices = read_price_list(file).with_factors(
        credits_per_dollar=credits_per_dollar_of(credits_per_dollar), multiplier=multiplier_of(multiplier)
    )
    found = on_ledger(lambda ledger: simulate_prices(ledger, prices, days=days, limit=limit))
    total = {"users": found.user_count, **_tallied(found.total)}
    rows = {
        "user": [
            {
                "user_id": user.user_id,
                "email": user.email,
                **_tallied(user.tally),
                "balance_difference": user.balance_difference,
            }
            for user in found.users
        ],
        "action": [{"action_type": name, **_tallied(tally)} for name, tally in sorted(found.by_action_type.items())],
        "model": [{"model": name, **_tallied(tally)} for name, tally in sorted(found.by_model.items())],
    }
    if output.json:
        print_json({"days": days, "total": total, **{f"by_{name}": listed for name, listed in rows.items()}})
        return
    if not output.csv:
        print_row(total, output)
    columns = [name for name in rows[by][0] if name != "user_id"] if rows[by] else ()
    print_rows(rows[by], output, columns=columns)


def _tallied(tally: Tally) -> dict[str, Any]:
    from groat_server.core.credits import trimmed

    return {
        "events": tally.events,
        "credits_charged": trimmed(tally.credits_charged),
        "credits_simulated": trimmed(tally.credits_simulated),
        "difference": tally.difference,
        "exceeding": tally.exceeding,
        "exceeding_simulated": tally.exceeding_simulated,
        "newly_refused": tally.newly_refused,
        "newly_accepted": tally.newly_accepted,
        "unpriceable": tally.unpriceable,
    }


def _row(version: PriceVersion) -> dict[str, Any]:
    return {
        "id": version.id,
        "kind": version.kind,
        "name": version.name,
        "provider": version.provider,
        "rates": _rates_told(version.rates),
        "multiplier": version.multiplier,
        "valid_from": version.valid_from,
        "valid_to": version.valid_to,
        "source": version.source,
    }


def _rates_told(rates: Rates | ActionPrice) -> str:
    from groat_server.core.rates import rates_json

    told: dict[str, object] = json.loads(rates_json(rates), parse_float=str, parse_int=str)
    return ", ".join(f"{kind} {figure if isinstance(figure, str) else 'tiered'}" for kind, figure in told.items())


def _print_changes(changes: Sequence[PriceChange], output: Output) -> None:
    rows = [
        {
            "change": change.outcome,
            "provider": change.after.provider,
            "model": change.after.name,
            "valid_from": change.after.valid_from,
            "before": None if change.before is None else _rates_told(change.before.rates),
            "after": _rates_told(change.after.rates),
        }
        for change in changes
    ]
    if output.json or output.csv:
        print_rows(rows, output)
    elif not rows:
        say("nothing to change")
    else:
        print_rows(rows[:_CHANGES_SHOWN], output)
        if len(rows) > _CHANGES_SHOWN:
            say(f"… and {len(rows) - _CHANGES_SHOWN} more (--csv shows them all)")


def _number(name: str, text: str) -> Decimal:
    from groat_server.errors import Unprocessable

    try:
        return Decimal(text)
    except ArithmeticError as error:
        raise Unprocessable(f"{name} is {text!r}; it takes a number.") from error


def _rates(text: str) -> Any:
    from groat_server.errors import Unprocessable

    try:
        return json.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise Unprocessable("The fallback rates are not JSON.") from error


def _instant(text: str | None) -> datetime | None:
    from groat_server.http.usage import EstimateRequest

    return None if text is None else checked(EstimateRequest, {"action_type": "x", "occurred_at": text}).occurred_at
