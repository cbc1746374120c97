"""`groat grant`, `adjust`, `refund`, `void`, `lots`: credits moved by hand, and what there is of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_rows, tell
from groat_server.cli.session import ACTOR, called, checked, new_key, on_ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from groat_server.core.rows import LotRow, OperationRow
    from groat_server.operations.ledger import Ledger

User = Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")]
EventId = Annotated[int, Parameter(help="The event's id.")]
Reason = Annotated[str, Parameter(help="Why; it is kept.")]
Key = Annotated[str | None, Parameter(help="The idempotency key; absent: a new one, which is printed.")]


def grant(
    user: User,
    amount: Annotated[str, Parameter(help="How many credits.")],
    /,
    *,
    kind: Annotated[Literal["purchase", "promotion"], Parameter(help="Bought, or a present.")],
    priority: Annotated[
        int | None, Parameter(help="0 to 100, lower is spent sooner; absent: as the kind has it.")
    ] = None,
    cost_basis: Annotated[str | None, Parameter(help="USD paid for each credit.")] = None,
    starts_at: Annotated[str | None, Parameter(help="When they come (RFC 3339); absent: now.")] = None,
    expires_at: Annotated[str | None, Parameter(help="When they end (RFC 3339); absent: never.")] = None,
    reason: Annotated[str | None, Parameter(help="Why; it is kept.")] = None,
    key: Key = None,
    output: Output = TABLE,
) -> None:
    """Give a user credits, now or from an instant on."""
    from groat_server.http.admin_ledger import GrantRequest, told
    from groat_server.http.ledger_shapes import GrantShape
    from groat_server.http.ledger_shaping import operation_shape
    from groat_server.operations.grants import Grant, grant_credits

    key = key or new_key()
    body = checked(
        GrantRequest,
        {
            "user": 1,  # found below; the rest is checked as a request's
            "kind": kind,
            "amount": amount,
            "priority": priority,
            "cost_basis": cost_basis,
            "starts_at": starts_at,
            "expires_at": expires_at,
            "reason": reason,
            "idempotency_key": key,
        },
    )
    row = _done(
        user, lambda ledger, user_id: grant_credits(ledger, Grant(**told(body), user_id=user_id, key=key, actor=ACTOR))
    )
    answer = operation_shape(GrantShape, row)
    when = f"   from {answer.starts_at:%Y-%m-%d %H:%M} UTC on" if answer.outcome == "scheduled" else ""
    _tell(f"{answer.outcome} {answer.amount} credits{when}", answer, output, key)


def adjust(
    user: User,
    amount: Annotated[str, Parameter(help="How many credits; below 0 takes some.", allow_leading_hyphen=True)],
    /,
    *,
    reason: Reason,
    expires_at: Annotated[str | None, Parameter(help="When they end (RFC 3339); absent: never.")] = None,
    key: Key = None,
    output: Output = TABLE,
) -> None:
    """Correct a user's balance by hand."""
    from groat_server.http.admin_ledger import AdjustmentRequest, told
    from groat_server.http.ledger_shapes import AdjustmentShape
    from groat_server.http.ledger_shaping import operation_shape
    from groat_server.operations.grants import Adjustment, adjust_credits

    key = key or new_key()
    given = {"user": 1, "amount": amount, "reason": reason, "expires_at": expires_at, "idempotency_key": key}
    body = checked(AdjustmentRequest, given)
    row = _done(
        user,
        lambda ledger, user_id: adjust_credits(ledger, Adjustment(**told(body), user_id=user_id, key=key, actor=ACTOR)),
    )
    answer = operation_shape(AdjustmentShape, row)
    _tell(f"adjusted by {answer.amount} credits", answer, output, key)


def refund(
    user: User,
    event: EventId,
    /,
    *,
    reason: Reason,
    amount: Annotated[str | None, Parameter(help="How many credits; absent: all that is left of it.")] = None,
    key: Key = None,
    output: Output = TABLE,
) -> None:
    """Give back what an event has cost, or a part of it; the event stays."""
    from groat_server.http.admin_ledger import RefundRequest, told
    from groat_server.http.ledger_shapes import CorrectionShape
    from groat_server.http.ledger_shaping import operation_shape
    from groat_server.operations.corrections import Refund, refund_event

    key = key or new_key()
    given = {"user": 1, "event_id": event, "amount": amount, "reason": reason, "idempotency_key": key}
    body = checked(RefundRequest, given)
    row = _done(
        user, lambda ledger, user_id: refund_event(ledger, Refund(**told(body), user_id=user_id, key=key, actor=ACTOR))
    )
    answer = operation_shape(CorrectionShape, row)
    _tell(f"refunded {answer.amount} credits of event {answer.event_id}", answer, output, key)


def void(user: User, event: EventId, /, *, reason: Reason, key: Key = None, output: Output = TABLE) -> None:
    """Take an event out of the books that should not have been, and give its credits back."""
    from groat_server.http.admin_ledger import VoidRequest, told
    from groat_server.http.ledger_shapes import CorrectionShape
    from groat_server.http.ledger_shaping import operation_shape
    from groat_server.operations.corrections import Void, void_event

    key = key or new_key()
    body = checked(VoidRequest, {"user": 1, "event_id": event, "reason": reason, "idempotency_key": key})
    row = _done(
        user, lambda ledger, user_id: void_event(ledger, Void(**told(body), user_id=user_id, key=key, actor=ACTOR))
    )
    answer = operation_shape(CorrectionShape, row)
    _tell(f"voided event {answer.event_id}: {answer.amount} credits are back", answer, output, key)


def lots(user: User, /, *, limit: int = 50, output: Output = TABLE) -> None:
    """List a user's newest lots, with what is left of each as of now."""
    from groat_server.operations.accounts import list_lots
    from groat_server.operations.users import find_user

    name = called(user)

    async def run(ledger: Ledger) -> list[LotRow]:
        return await list_lots(ledger, await find_user(ledger, name), limit=limit)

    columns = ("id", "kind", "amount", "remaining", "priority", "cost_basis", "starts_at", "expires_at", "reason")
    print_rows(on_ledger(run), output, columns=columns)


def _done(user: str, act: Callable[[Ledger, int], Awaitable[OperationRow]]) -> OperationRow:
    """Find the user, and do it."""
    from groat_server.operations.users import find_user

    name = called(user)

    async def run(ledger: Ledger) -> OperationRow:
        return await act(ledger, await find_user(ledger, name))

    return on_ledger(run)


def _tell(what: str, answer: Any, output: Output, key: str) -> None:
    before = "done before: " if answer.replayed else ""
    tell(answer, f"[green]✓[/] {before}{what}   balance {answer.balance}", output, key=key)
