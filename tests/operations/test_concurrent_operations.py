"""Verbs that meet on one balance: the second waits for the first, and decides by what the first has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operations.psql import Psql, psql
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.embedded import Server


@pytest.fixture
def sessions(server: Server, ledger_address: Address) -> Iterator[tuple[Psql, Psql]]:
    """Open two psql sessions on a ledger whose user 1 has 100 credits and an event 1 of 10."""
    with psql(server, ledger_address) as one, psql(server, ledger_address) as other:
        one.run("INSERT INTO users (id, email, opening_allowance) VALUES (1, 'a@example.com', 110)")
        one.run(call([RawCharge(user_ids=1, keys="use", credits="10", costs="1")]))
        yield one, other


def meet(sessions: tuple[Psql, Psql], address: Address, first: str, second: str) -> list[str]:
    """Run the second statement while the first is not committed yet; returns both answers."""
    one, other = sessions
    one.run("BEGIN")
    (answer,) = one.run(first)
    other.send(second)
    assert other.waits(address)
    one.run("COMMIT")
    (following,) = other.answer()
    return ["|".join(answer), "|".join(following)]


def hold(key: str, amount: int) -> str:
    return f"SELECT outcome, available FROM place_hold(1, '{key}', {amount}, 900, 'chat', NULL, NULL, '{{}}')"  # noqa: S608 - a test's own text


def refund(key: str, amount: int | str) -> str:
    return f"SELECT outcome, amount FROM refund_event(1, '{key}', 1, {amount}, 'reason', 'token:1')"  # noqa: S608 - a test's own text


VOID = "SELECT outcome, amount FROM void_event(1, 'void', 1, 'reason', 'token:1')"
GRANT = "SELECT outcome, balance FROM grant_credits(1, 'key', 'purchase', 5, NULL, NULL, NULL, NULL, 'r', 'token:1')"
CHARGE = call([RawCharge(user_ids=1, keys="key", credits="60", costs="6", enforced=True)], columns="outcome, available")

MEETINGS = [
    (hold("a", 60), hold("b", 60), ["held|40", "insufficient_credits|40"]),
    (hold("a", 60), hold("b", 40), ["held|40", "held|0"]),
    (hold("a", 60), CHARGE, ["held|40", "insufficient_credits|40"]),
    (CHARGE, hold("a", 60), ["recorded|40", "insufficient_credits|40"]),
    (GRANT, CHARGE, ["granted|105", "idempotency_conflict|105"]),
    (CHARGE, GRANT, ["recorded|40", "idempotency_conflict|"]),
    (GRANT, GRANT, ["granted|105", "granted|105"]),
    (refund("a", 6), refund("b", 6), ["refunded|6", "refund_exceeds_charge|6"]),
    (refund("a", "NULL"), refund("b", "NULL"), ["refunded|10", "nothing_to_refund|0"]),
    (refund("a", 6), VOID, ["refunded|6", "event_refunded|"]),
    (VOID, refund("a", 6), ["voided|10", "event_voided|"]),
]


@pytest.mark.parametrize(("first", "second", "answers"), MEETINGS)
def test_of_two_verbs_at_once_the_second_sees_what_the_first_has_left(
    sessions: tuple[Psql, Psql], ledger_address: Address, first: str, second: str, answers: list[str]
) -> None:
    """Taken out: the lock in settle_account_at; two holds of 60 of 100 credits then both passed."""
    assert meet(sessions, ledger_address, first, second) == answers


def test_of_two_captures_of_one_hold_at_once_one_is_made(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    sessions[0].run(hold("hold", 60))
    captures = [
        call([RawCharge(user_ids=1, keys=key, credits="5", costs="0.5", holds=1)], columns="outcome, held")
        for key in ("a", "b")
    ]
    assert meet(sessions, ledger_address, *captures) == ["recorded|0", "hold_captured|0"]


def test_a_release_that_waited_for_the_capture_is_refused(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    sessions[0].run(hold("hold", 60))
    capture = call([RawCharge(user_ids=1, keys="a", credits="5", costs="0.5", holds=1)], columns="outcome, held")
    release = "SELECT outcome, held FROM release_hold(1, 1)"
    assert meet(sessions, ledger_address, capture, release) == ["recorded|0", "hold_captured|"]
