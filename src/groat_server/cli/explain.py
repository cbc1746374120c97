"""`groat explain`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_rows, say
from groat_server.cli.session import called, on_ledger

if TYPE_CHECKING:
    from groat_server.http.ledger_shapes import ExplanationShape
    from groat_server.operations.ledger import Ledger


def explain(
    user: Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")],
    event: Annotated[int, Parameter(help="The event's id.")],
    /,
    *,
    output: Output = TABLE,
) -> None:
    """Explain why an event was charged what it was: tokens, rates, factors, lots, and what became of it.

    As CSV, only the components of the cost.
    """
    from groat_server.http.ledger_shaping import explanation_shape
    from groat_server.operations.explain import explain_event
    from groat_server.operations.users import find_user

    name = called(user)

    async def run(ledger: Ledger) -> ExplanationShape:
        user_id = await find_user(ledger, name)
        return explanation_shape(user_id, await explain_event(ledger, user_id, event))

    found = on_ledger(run)
    if output.json:
        print_json(found)
    elif output.csv:
        print_rows(found.components, output)
    else:
        _tell(found)


def _tell(found: ExplanationShape) -> None:
    from rich.markup import escape

    event, price = found.event, found.price
    what = escape(" · ".join(str(part) for part in (event.action_type, event.model, event.description) if part))
    say(f"event {event.id}   {event.timestamp:%Y-%m-%d %H:%M:%S} UTC   {what}")
    if price.version is not None:
        named = escape("/".join(part for part in (price.provider, price.model) if part) or "the action's price")
        say(f"price {price.version}   {named}   {price.source}, matched {price.matched or 'by the action'}")
    else:
        say(f"price from {price.cost_source}")
    if found.components:
        columns = ("kind", "tokens", "rate", "priced_as", "above", "cost")
        print_rows(found.components, TABLE, columns=columns, title="USD per million tokens")
    say(_product(found))
    say(f"balance {found.balance_before} → {found.balance_after}")
    for lot in found.lots:
        say(f"  {lot.credits} from " + (f"lot {lot.lot_id} ({lot.kind})" if lot.lot_id else "no lot: debt"))
    for row in found.refunds:
        say(f"  {row.amount} refunded on {row.recorded_at:%Y-%m-%d}: {escape(row.reason or '')}")
    if found.hold is not None:
        marks = ", exceeded" * found.hold.exceeded_hold + ", late" * found.hold.late_capture
        say(f"captured {found.hold.id} of {found.hold.amount} credits{marks}")
    if found.voided:
        say(f"[red]voided[/] on {found.voided_at:%Y-%m-%d} by {found.voided_by}: {escape(found.void_reason or '')}")


def _product(found: ExplanationShape) -> str:
    price, event = found.price, found.event
    if found.flat is not None:
        ((unit, each),) = json.loads(bytes(found.flat), parse_float=str, parse_int=str).items()
        made = f"{each} {unit.replace('_', ' ')}" + ("" if event.quantity is None else f" x {event.quantity}")
    elif found.api_cost is not None:
        made = f"${found.api_cost} x {price.credits_per_dollar} credits per dollar x {price.multiplier}"
    else:
        made = "no price"
    rounded = "" if found.exact_credits == found.credits_charged else f" = {found.exact_credits}, rounded"
    return f"{made}{rounded} = {found.credits_charged} credits"
