"""What can be done by hand to a user or an event: each act's form, and the operation that it comes to.

Each does the same as the API's route of that name, under the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import model_validator

from groat_server.core import values
from groat_server.core.credits import plain
from groat_server.core.outcomes import OperationOutcome
from groat_server.core.scopes import Scope
from groat_server.errors import NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.admin_tokens import LIFETIME_DAYS_MAX
from groat_server.http.ledger_shaping import operation_refusal
from groat_server.operations import corrections, grants, tokens
from groat_server.operations.users import Terms, anonymise_user, update_user

if TYPE_CHECKING:
    from groat_server.core.rows import OperationRow
    from groat_server.operations.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Target:
    """To whom or to what something is done, and who does it."""

    user_id: int
    part_id: int | None
    actor: str

    @property
    def named_part(self) -> int:
        """The event or the token that the address names."""
        assert self.part_id is not None  # noqa: S101 - the routes of these acts name one
        return self.part_id


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, in a sentence; `replayed`: under this key it had been done before."""

    said: str
    replayed: bool = False


class ActForm(types.Body):
    """What every form of an act has."""

    title: ClassVar[str]
    scope: ClassVar[Scope] = Scope.ADMIN
    fields_template: ClassVar[str]
    labels: ClassVar[tuple[tuple[str, str], ...]] = ()
    is_rehearsed: ClassVar[bool] = True
    """Whether it is tried out before it is confirmed."""
    keeps_reason: ClassVar[bool] = False
    """Whether the operation itself writes the reason down."""

    reason: types.Reason
    key: types.Key
    confirmed: bool = False
    edit: bool = False

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Do it on this ledger. Raises the GroatError that a refusal is."""
        raise NotImplementedError

    def told(self) -> list[tuple[str, str]]:
        """Return what was filled in, to be looked at once more."""
        found = ((label, getattr(self, name)) for name, label in self.labels)
        return [(label, _said(value)) for label, value in found if value is not None]


def _said(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return plain(value)
        case _:
            return str(value)


def _credits(amount: Decimal | None) -> str:
    number = plain(amount or Decimal(0))
    return f"{number} {'credit' if number == '1' else 'credits'}"


def _answer(row: OperationRow, said: str) -> Done:
    outcome = OperationOutcome(row.outcome)
    if outcome.is_refusal:
        raise operation_refusal(outcome)
    return Done(said, bool(row.replayed))


class GrantForm(ActForm):
    """Credits to give."""

    title = "Grant credits"
    scope = Scope.GRANTS_WRITE
    fields_template = "act_grant.html"
    labels = (
        ("kind", "Kind"),
        ("amount", "Credits"),
        ("priority", "Priority"),
        ("cost_basis", "USD paid for each credit"),
        ("starts_at", "From"),
        ("expires_at", "Expires"),
    )
    keeps_reason = True

    kind: Literal["purchase", "promotion"]
    amount: types.Credits
    priority: Annotated[int, types.whole(0, values.PRIORITY_MAX)] | None = None
    cost_basis: types.CostBasis | None = None
    starts_at: types.Instant | None = None
    expires_at: types.Instant | None = None

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Grant them."""
        given = self.model_dump(exclude={"confirmed", "edit"})
        row = await grants.grant_credits(ledger, grants.Grant(**given, user_id=target.user_id, actor=target.actor))
        begins = "To come:" if row.outcome == OperationOutcome.SCHEDULED else "Granted"
        return _answer(row, f"{begins} {_credits(self.amount)}.")


class AdjustForm(ActForm):
    """A correction of the balance, up or down."""

    title = "Adjust the balance"
    scope = Scope.GRANTS_WRITE
    fields_template = "act_adjust.html"
    labels = (
        ("amount", "Credits"),
        ("expires_at", "Expires"),
    )
    keeps_reason = True

    amount: types.SignedCredits
    expires_at: types.Instant | None = None

    @model_validator(mode="after")
    def _only_what_is_given_expires(self) -> AdjustForm:
        if self.amount < 0 and self.expires_at is not None:
            raise ValueError("Only credits that are given can expire.")
        return self

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Adjust it."""
        given = self.model_dump(exclude={"confirmed", "edit"})
        asked = grants.Adjustment(**given, user_id=target.user_id, actor=target.actor)
        return _answer(await grants.adjust_credits(ledger, asked), f"The balance was adjusted by {plain(self.amount)}.")


class RefundForm(ActForm):
    """Credits of an event to give back: so many, or all that is left of it."""

    title = "Refund"
    scope = Scope.GRANTS_WRITE
    fields_template = "act_refund.html"
    labels = (("amount", "Credits"),)
    keeps_reason = True

    amount: types.Credits | None = None

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Give them back."""
        given = self.model_dump(exclude={"confirmed", "edit"})
        asked = corrections.Refund(**given, user_id=target.user_id, event_id=target.named_part, actor=target.actor)
        row = await corrections.refund_event(ledger, asked)
        return _answer(row, f"Refunded {_credits(row.amount)}.")


class VoidForm(ActForm):
    """An event that should not have been."""

    title = "Void"
    fields_template = "act_void.html"
    keeps_reason = True

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Take it out of the books."""
        given = self.model_dump(exclude={"confirmed", "edit"})
        asked = corrections.Void(**given, user_id=target.user_id, event_id=target.named_part, actor=target.actor)
        row = await corrections.void_event(ledger, asked)
        return _answer(row, f"Voided. Given back: {_credits(row.amount)}.")


class TermsForm(ActForm):
    """Allowance, overdraft and rollover; what is left empty stays as it is."""

    title = "Change the terms"
    fields_template = "act_terms.html"
    labels = (
        ("monthly_allowance", "Allowance of a period"),
        ("effective", "Counts from"),
        ("overdraft_limit", "Overdraft"),
        ("rollover_cap", "Rollover, at most"),
    )

    monthly_allowance: types.Allowance | None = None
    overdraft_limit: types.Allowance | None = None
    rollover_cap: types.Allowance | None = None
    effective: Literal["next_period", "now"] = "next_period"

    @model_validator(mode="after")
    def _changes_something(self) -> TermsForm:
        if self.monthly_allowance is None and self.overdraft_limit is None and self.rollover_cap is None:
            raise ValueError("Nothing is to change: fill in at least one.")
        return self

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Change them."""
        grant_now = self.effective == "now" and self.monthly_allowance is not None
        terms = Terms(
            allowance=self.monthly_allowance,
            overdraft_limit=self.overdraft_limit,
            rollover_cap=self.rollover_cap,
            grant_now=grant_now,
            key=self.key if grant_now else None,
        )
        replayed = await update_user(ledger, target.user_id, terms=terms, actor=target.actor)
        return Done("The terms were changed.", replayed)


class DemoModeForm(ActForm):
    """Whether a user's use is charged at all."""

    title = "Demo mode"
    fields_template = "act_demo_mode.html"
    labels = (("demo_mode", "In demo mode"),)

    demo_mode: bool

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Turn it on or off."""
        await update_user(ledger, target.user_id, demo_mode=self.demo_mode, actor=target.actor)
        return Done(f"Demo mode is {'on' if self.demo_mode else 'off'}.")


class AdministratorForm(ActForm):
    """Whether a user may do everything here."""

    title = "Administrator"
    fields_template = "act_administrator.html"
    labels = (("is_admin", "Is an administrator"),)

    is_admin: bool

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Make the user one, or one no more."""
        await update_user(ledger, target.user_id, is_admin=self.is_admin, actor=target.actor)
        return Done(f"This user is {'now' if self.is_admin else 'no longer'} an administrator.")


class AnonymiseForm(ActForm):
    """That this cannot be undone is confirmed with the user's id. A reason would be one more text about the user."""

    title = "Anonymise"
    fields_template = "act_anonymise.html"
    labels = (("confirm", "Id of the user"),)
    is_rehearsed = False  # it would write all of the user's events
    keeps_reason = True

    reason: str = ""
    confirm: types.Id

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Take out who the user was."""
        self.check(target)
        await anonymise_user(ledger, target.user_id, actor=target.actor)
        return Done("Who this user was is no longer known. Amounts and totals are as they were.")

    def check(self, target: Target) -> None:
        """Raise Unprocessable where it is another user's id."""
        if self.confirm != target.user_id:
            errors = [{"field": "confirm", "message": "must be this user's id"}]
            raise Unprocessable("This is not this user's id.", members={"errors": errors})


class NewTokenForm(ActForm):
    """A token with the user's own rights."""

    title = "Create a token"
    fields_template = "act_token.html"
    labels = (
        ("name", "Name"),
        ("lifetime_days", "Days that it works"),
    )
    is_rehearsed = False

    name: types.TokenName = "token"
    lifetime_days: Annotated[int, types.whole(1, LIFETIME_DAYS_MAX)] | None = None


class RevokeForm(ActForm):
    """A token to take away."""

    title = "Revoke a token"
    fields_template = "act_revoke.html"
    is_rehearsed = False

    async def do(self, ledger: Ledger, target: Target) -> Done:
        """Take it away. Raises NotFound where it is not this user's."""
        if not await tokens.list_tokens(ledger, user_id=target.user_id, token_id=target.named_part):
            raise NotFound("This user has no such token.", code="unknown_token")
        await tokens.revoke_token(ledger, target.named_part, actor=target.actor)
        return Done("The token works no more.")


def blank(form: type[ActForm], **given: Any) -> dict[str, str]:
    """Return a form's fields before anything is filled in."""
    return {name: str(given.get(name, "")) for name in form.model_fields if name not in {"confirmed", "edit"}}
