"""`groat hold …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from groat_server.cli.output import TABLE, Output, print_rows, tell
from groat_server.cli.session import called, checked, new_key, on_ledger
from groat_server.cli.usage import Use

if TYPE_CHECKING:
    from groat_server.core.holds import HoldName
    from groat_server.core.pricing import Unpriceable
    from groat_server.core.rows import HoldRow
    from groat_server.http.ledger_shapes import HoldShape
    from groat_server.operations.holds import Placement
    from groat_server.operations.ledger import Ledger

hold = App(name="hold", help="Set credits aside before a use, then capture or release them.")

User = Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")]
Hold = Annotated[str, Parameter(help="A hold's id, such as hold_7_12.")]
Key = Annotated[str | None, Parameter(help="The idempotency key; absent: a new one, which is printed.")]
Seconds = Annotated[int | None, Parameter(help="For how many seconds from now; absent: 900.")]
State = Literal["open", "captured", "released", "expired"]


@hold.command
def place(
    user: User,
    /,
    *,
    amount: Annotated[str | None, Parameter(help="So many credits; absent: what the use can cost at most.")] = None,
    action: Annotated[str | None, Parameter(help="The action type, such as ai_chat_message.")] = None,
    model: Annotated[str | None, Parameter(help="The model, as the provider calls it.")] = None,
    provider: Annotated[str | None, Parameter(help="The provider, where the model's name does not tell.")] = None,
    input_tokens: Annotated[int | None, Parameter(help="Input tokens, at most.")] = None,
    max_output_tokens: Annotated[int | None, Parameter(help="Output tokens, at most.")] = None,
    quantity: Annotated[str | None, Parameter(help="Units, for an action priced per unit.")] = None,
    ttl: Seconds = None,
    description: Annotated[str | None, Parameter(help="What the hold is for.")] = None,
    key: Key = None,
    output: Output = TABLE,
) -> None:
    """Set credits of a user aside; refused where they are not available (exit code 3)."""
    from groat_server.core.outcomes import OperationOutcome
    from groat_server.core.pricing import Unpriceable
    from groat_server.errors import Unprocessable
    from groat_server.http.holds import HoldRequest, new_hold
    from groat_server.http.ledger_shapes import UntrackedHoldShape
    from groat_server.http.ledger_shaping import operation_refusal, placement_shape
    from groat_server.operations import holds as operations
    from groat_server.operations.users import find_users_to_charge

    name, key = called(user), key or new_key()
    request = checked(
        HoldRequest,
        {
            "user": 1,  # found below; the rest is checked as a request's
            "amount": amount,
            "action_type": action,
            "model": model,
            "provider": provider,
            "input_tokens": input_tokens,
            "max_output_tokens": max_output_tokens,
            "quantity": quantity,
            "ttl_seconds": ttl,
            "description": description,
            "idempotency_key": key,
        },
    )

    async def run(ledger: Ledger) -> Placement | Unpriceable:
        (user_id,) = await find_users_to_charge(ledger, [name])
        if user_id is None:
            raise operation_refusal(OperationOutcome.UNKNOWN_USER)
        return await operations.place_hold(ledger, new_hold(request, user_id, key))

    placement = on_ledger(run)
    if isinstance(placement, Unpriceable):
        raise Unprocessable(placement.detail, code=placement.code)
    answer = placement_shape(placement)
    if isinstance(answer, UntrackedHoldShape):
        tell(answer, "[yellow]untracked[/]: the user is in demo mode", output)
    else:
        tell(answer, _told(answer), output, key=key)


@hold.command
def capture(
    which: Hold,
    /,
    *,
    use: Use,
    description: Annotated[str | None, Parameter(help="What the user reads of it.")] = None,
    session_id: Annotated[str | None, Parameter(help="What it belonged to.")] = None,
    key: Key = None,
    output: Output = TABLE,
) -> None:
    """Charge a use to its hold, in full, and free the rest; also where the hold was too small or has ended."""
    from groat_server.http.holds import CaptureRequest, captured_usage
    from groat_server.http.ledger_shaping import capture_shape
    from groat_server.http.shapes import UntrackedShape
    from groat_server.operations import holds as operations

    name, key = _named(which), key or new_key()
    given = {**use.fields(), "description": description, "session_id": session_id, "idempotency_key": key}
    usage = captured_usage(checked(CaptureRequest, given), name, key)
    answer = capture_shape(on_ledger(lambda ledger: operations.capture_hold(ledger, usage)))
    if isinstance(answer, UntrackedShape):
        tell(answer, "[yellow]untracked[/]: the user is in demo mode", output)
        return
    verb = "captured before:" if answer.replayed else "captured"
    marks = "   [yellow]above the hold[/]" * answer.hold.exceeded_hold + "   [yellow]late[/]" * answer.hold.late_capture
    told = f"[green]✓[/] {verb} {answer.credits_charged} of {answer.hold.amount} credits{marks}"
    tell(answer, f"{told}   balance {answer.balance}, available {answer.available}", output, key=key)


@hold.command
def release(which: Hold, /, *, output: Output = TABLE) -> None:
    """Let a hold go; what it set aside is available again."""
    from groat_server.http.ledger_shaping import hold_shape
    from groat_server.operations import holds as operations

    name = _named(which)
    answer = hold_shape(name.user_id, on_ledger(lambda ledger: operations.release_hold(ledger, name)))
    tell(answer, f"[green]✓[/] {answer.id} is {answer.state}   available {answer.available}", output)


@hold.command
def renew(which: Hold, /, *, ttl: Seconds = None, output: Output = TABLE) -> None:
    """Let an open hold last longer, seven days in all."""
    from groat_server.http.holds import RenewalRequest
    from groat_server.http.ledger_shaping import hold_shape
    from groat_server.operations import holds as operations

    name, seconds = _named(which), checked(RenewalRequest, {"ttl_seconds": ttl}).ttl_seconds
    answer = hold_shape(name.user_id, on_ledger(lambda ledger: operations.renew_hold(ledger, name, seconds=seconds)))
    tell(answer, _told(answer), output)


@hold.command(name="list")
def list_(
    user: User,
    /,
    *,
    state: Annotated[State | None, Parameter(help="Only those in this state.")] = None,
    limit: int = 50,
    output: Output = TABLE,
) -> None:
    """List a user's newest holds."""
    from groat_server.http.ledger_shaping import hold_details_shape
    from groat_server.operations.holds import list_holds
    from groat_server.operations.users import find_user

    name = called(user)

    async def run(ledger: Ledger) -> list[HoldRow]:
        return await list_holds(ledger, await find_user(ledger, name), state=state, limit=limit)

    columns = ("id", "state", "amount", "created_at", "expires_at", "event_id", "action_type", "model", "description")
    print_rows([hold_details_shape(row) for row in on_ledger(run)], output, columns=columns)


def _told(answer: HoldShape) -> str:
    return (
        f"[green]✓[/] {answer.id}   {answer.amount} credits until {answer.expires_at:%Y-%m-%d %H:%M:%S} UTC   "
        f"held {answer.held}, available {answer.available}"
    )


def _named(which: str) -> HoldName:
    from groat_server.core.holds import read_hold_name
    from groat_server.errors import Unprocessable

    try:
        return read_hold_name(which)
    except ValueError as error:
        raise Unprocessable(f"{which!r} is no hold: give an id such as hold_7_12.") from error
