"""Simulated prices: the same book changes nothing, others change what they say, and nothing is stored.

What would have happened is tried on a twin: a second user of the same history is really charged at the other price.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groat_server.core.price_list import PriceList, parse_price_list
from groat_server.errors import Unprocessable
from groat_server.operations.ledger import open_ledger
from groat_server.operations.periods import sweep
from groat_server.operations.prices import set_price, set_pricing
from groat_server.operations.simulation import read_price_list, simulate_prices
from groat_server.operations.usage import charge
from tests.operations.ledgers import ask, new_user, use

if TYPE_CHECKING:
    from pathlib import Path

    from groat_server.core.simulation import Tally
    from groat_server.core.usage import Usage
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.simulation import Simulation

pytestmark = pytest.mark.anyio

NOW = datetime.now(UTC)
AS_IT_IS = PriceList()
EVERYBODY = 100_000

factors = st.sampled_from([Decimal(text) for text in ("0", "0.5", "2", "3")])
costs = st.sampled_from([Decimal(text) for text in ("0", "0.0000000001", "0.1", "0.4", "1", "2.5")])
gaps = st.sampled_from(
    [timedelta(hours=1), timedelta(days=2), timedelta(days=9), timedelta(days=16), timedelta(days=40)]
)


def cost(user: int, key: str, dollars: Decimal, **changes: Any) -> Usage:
    """Make a usage at a cost that the caller states; its credits are ten times as many."""
    return use(user, key, action_type="chat", quantity=None, api_cost=dollars, **changes)


async def simulated(
    ledger: Ledger, prices: PriceList = AS_IT_IS, *, days: int = 366, as_of: datetime | None = None
) -> Simulation:
    """Simulate, with every user listed."""
    return await simulate_prices(ledger, prices, days=days, limit=EVERYBODY, as_of=as_of)


def of(found: Simulation, user: int) -> Tally:
    """Return one user's figures."""
    return next(each.tally for each in found.users if each.user_id == user)


def multiplied(factor: Decimal | str | int) -> PriceList:
    """Make a list that has no more than a multiplier."""
    return AS_IT_IS.with_factors(credits_per_dollar=None, multiplier=Decimal(factor))


def listed(*prices: str) -> PriceList:
    """Make a list of prices."""
    return parse_price_list(f"[{', '.join(prices)}]")


class History:
    """One course of events, on as many users as are to be charged at different prices."""

    def __init__(self, ledger: Ledger, address: Address, users: dict[int, Decimal]) -> None:
        self.ledger, self.address, self.factors = ledger, address, users
        self.at = NOW - timedelta(days=300)
        self.step = 0

    async def go(self, gap: timedelta, kind: str, dollars: Decimal) -> None:
        """Take one step, `gap` later, unless that would be in the future."""
        if self.at + gap >= NOW:
            return
        self.at, self.step = self.at + gap, self.step + 1
        for user, factor in self.factors.items():
            await self._take(user, kind, dollars, dollars * factor)

    async def _take(self, user: int, kind: str, dollars: Decimal, priced: Decimal) -> None:
        key = f"step {self.step}"
        match kind:
            case "charge" | "settled":
                await charge(self.ledger, [cost(user, key, priced)], at=self.at, settled=kind == "settled")
            case "late":
                late = self.at - timedelta(days=3)
                await charge(self.ledger, [cost(user, key, priced, occurred_at=late)], at=self.at)
            case "purchase" if dollars:
                self._call(
                    "grant_credits_at", user, key, "purchase", dollars * 5, None, None, None, None, None, "tests"
                )
            case "adjust" if dollars:
                self._call("adjust_credits_at", user, key, -dollars, None, "tests", "tests")
            case "refund" | "void":
                for (event,) in ask(
                    self.address,
                    "SELECT max(id) FROM credit_usage_events WHERE user_id = %s HAVING count(*) > 0",
                    [user],
                ):
                    amount = [None] if kind == "refund" else []
                    self._call(f"{kind}_event_at", user, key, event, *amount, "tests", "tests")
            case "raise":
                self._call("set_terms_at", user, key, 30 + dollars, "true", None, None, "tests")

    def _call(self, function: str, *arguments: object) -> None:
        places = ", ".join(["%s"] * (len(arguments) + 1))
        ask(self.address, f"SELECT * FROM {function}({places})", [self.at, *arguments])  # noqa: S608 - the test's own


async def begin(ledger: Ledger, address: Address, rollover: int, users: list[Decimal]) -> History:
    """Make users who were there all the while."""
    ids = [await new_user(ledger, 30, created_at=NOW - timedelta(days=320)) for _ in users]
    for user in ids:
        parameters = [NOW - timedelta(days=320), user, rollover]
        ask(address, "SELECT * FROM set_terms_at(%s, %s, NULL, NULL, false, 5, %s, 'tests')", parameters)
    return History(ledger, address, dict(zip(ids, users, strict=True)))


@pytest.fixture
def run(ledger_address: Address) -> Any:
    """Run coroutines one by one on one open ledger: hypothesis calls a plain function many times."""
    with asyncio.Runner() as runner:
        opened = open_ledger(ledger_address, provider_durability=True)
        ledger = runner.run(opened.__aenter__())
        yield lambda function, *arguments: runner.run(function(ledger, ledger_address, *arguments))
        runner.run(opened.__aexit__(None, None, None))


everything = st.sampled_from(["charge", "charge", "late", "settled", "purchase", "adjust", "refund", "void", "raise"])


def test_the_same_book_makes_no_difference_to_any_history(run: Any) -> None:
    """Taken out: the caller's cost, and a reset's own rollover."""

    async def compare(ledger: Ledger, address: Address, steps: list[Any], rollover: int) -> None:
        history = await begin(ledger, address, rollover, [Decimal(1)])
        for step in steps:
            await history.go(*step)
        found = await simulated(ledger)
        assert {user.balance_difference for user in found.users} <= {Decimal(0)}
        for each in (found.total, *(user.tally for user in found.users), *found.by_action_type.values()):
            assert each.difference == 0
            assert (each.newly_refused, each.newly_accepted, each.unpriceable) == (0, 0, 0)
            assert each.exceeding == each.exceeding_simulated

    @settings(max_examples=25)
    @given(st.lists(st.tuples(gaps, everything, costs), max_size=12), st.sampled_from([0, 7]))
    def check(steps: list[Any], rollover: int) -> None:
        run(compare, steps, rollover)

    check()


ordinary = st.sampled_from(["charge", "charge", "charge", "late", "settled", "purchase", "raise"])


def test_what_would_have_happened_is_what_happens_to_a_twin_at_that_price(run: Any) -> None:
    """Taken out: the drift, what expires and rolls over at a reset, paid debt, raises, settled history."""

    async def compare(ledger: Ledger, address: Address, steps: list[Any], factor: Decimal, rollover: int) -> None:
        history = await begin(ledger, address, rollover, [Decimal(1), factor])
        for step in steps:
            await history.go(*step)
        user, twin = history.factors
        await sweep(ledger)
        found = await simulated(ledger, multiplied(factor))
        if not any(each.user_id == user for each in found.users):
            return
        tally = of(found, user)
        (was,), (would_be,) = [
            ask(address, "SELECT current_balance FROM user_credit_balances WHERE user_id = %s", [each])
            for each in (user, twin)
        ]
        assert next(each for each in found.users if each.user_id == user).balance_difference == would_be[0] - was[0]
        assert tally.credits_simulated == of(await simulated(ledger), twin).credits_charged
        assert tally.credits_simulated == tally.credits_charged * factor
        assert [tally.exceeding, tally.exceeding_simulated] == [exceeding(address, each) for each in (user, twin)]

    @settings(max_examples=40)
    @given(st.lists(st.tuples(gaps, ordinary, costs), max_size=14), factors, st.sampled_from([0, 7]))
    def check(steps: list[Any], factor: Decimal, rollover: int) -> None:
        run(compare, steps, factor, rollover)

    check()


def exceeding(address: Address, user: int) -> int:
    """Count a user's charges that were above what was available, settled ones aside."""
    ((count,),) = ask(
        address,
        "SELECT count(*) FROM credit_usage_events AS event WHERE user_id = %s AND credits_charged > 0"
        " AND available_after < 0 AND NOT EXISTS (SELECT FROM credit_ledger_entries AS entry"
        " WHERE entry.user_id = event.user_id AND entry.recorded_at = event.recorded_at"
        " AND entry.reason = 'settled history')",
        [user],
    )
    return int(count)


async def test_a_doubled_multiplier_doubles_what_the_books_multiplier_made(ledger: Ledger) -> None:
    user = await new_user(ledger)
    await set_multiplier_of(ledger, "lamp-with-margin", "1.5")
    await charge(ledger, [cost(user, "caller", Decimal("0.000000000001")), lamp(user, "model"), use(user, "flat", 7)])
    await charge(ledger, [lamp(user, "own", model="lamp-with-margin")])
    found = await simulated(ledger, multiplied(2), days=1)
    assert {name: (each.credits_charged, each.difference) for name, each in found.by_model.items()} == {
        "": (Decimal("7.00000000001"), Decimal("0.00000000001")),  # what an action costs is in credits already
        "lamp": (20, 20),
        "lamp-with-margin": (30, 0),
    }


async def test_credits_per_dollar_and_a_list_with_factors(ledger: Ledger) -> None:
    user = await new_user(ledger)
    await charge(ledger, [lamp(user, "a")])
    prices = parse_price_list('{"credits_per_dollar": 7, "multiplier": 0.5}')
    assert of(await simulated(ledger, prices, days=1), user).credits_simulated == 7
    overruled = prices.with_factors(credits_per_dollar=Decimal(3), multiplier=None)
    assert of(await simulated(ledger, overruled, days=1), user).credits_simulated == 3


async def test_a_list_replaces_our_own_prices_of_its_models_and_actions_and_no_others(ledger: Ledger) -> None:
    user = await new_user(ledger)
    await set_price_now(ledger, "lamp", {"input": 3, "output": 3})
    await charge(ledger, [lamp(user, "a"), use(user, "b", 7), sonnet(user, "c")])
    lamps = '{"kind": "model", "name": "lamp", "rates": {"input": "0.5", "output": 0}}'
    units = '{"kind": "action", "name": "unit", "rates": {"credits_per_use": 2}, "note": "flat"}'
    found = await simulated(ledger, listed(lamps, units), days=1)
    assert {name: (each.credits_charged, each.credits_simulated) for name, each in found.by_model.items()} == {
        "lamp": (45, 5),
        "": (7, 2),
        "claude-3-5-sonnet": (Decimal("0.105"), Decimal("0.105")),
    }


async def test_a_listed_price_holds_in_its_time_and_a_late_event_is_priced_by_when_it_happened(ledger: Ledger) -> None:
    """Taken out: `created_at` (for `recorded_at`) as the time of the price."""
    user = await new_user(ledger, created_at=NOW - timedelta(days=40))
    since = NOW - timedelta(days=5)
    early = lamp(user, "early", occurred_at=since - timedelta(microseconds=1))
    await charge(ledger, [early, lamp(user, "late", occurred_at=since)])
    price = f'{{"kind": "model", "name": "lamp", "rates": {{"input": 2}}, "valid_from": "{since.isoformat()}"}}'
    ended = f'{{"kind": "model", "name": "lamp", "rates": {{"input": 1}}, "valid_to": "{since.isoformat()}"}}'
    assert of(await simulated(ledger, listed(ended, price)), user).credits_simulated == 30
    found = of(await simulated(ledger, listed(price)), user)
    assert (found.credits_simulated, found.unpriceable) == (
        Decimal(20 + 20),
        1,
    )  # before it, nobody would have had a price


async def test_what_has_no_price_is_taken_as_it_was_charged_and_counted(ledger: Ledger) -> None:
    user = await new_user(ledger)
    await charge(ledger, [lamp(user, "a", model="nobody", api_cost=Decimal(1)), lamp(user, "b")])
    gone = '{"kind": "model", "name": "lamp", "rates": {}}'
    found = of(await simulated(ledger, listed(gone).with_factors(credits_per_dollar=None, multiplier=Decimal(3))), user)
    assert (found.credits_simulated, found.unpriceable) == (Decimal(30 + 20), 1)


async def test_an_unpriced_event_gets_the_price_that_a_list_has_for_it(ledger: Ledger) -> None:
    user = await new_user(ledger)
    async with ledger.database.write() as connection:
        await set_pricing(connection, unknown_model="unpriced")
    await charge(ledger, [lamp(user, "a", model="new")])
    found = of(await simulated(ledger, listed('{"kind": "model", "name": "new", "rates": {"input": 4}}'), days=1), user)
    assert (found.credits_charged, found.credits_simulated) == (Decimal(0), Decimal(40))


async def test_the_window_is_of_when_the_use_happened_and_voided_events_are_not_in_it(
    ledger: Ledger, ledger_address: Address
) -> None:
    user = await new_user(ledger, created_at=NOW - timedelta(days=40))
    times = {"before": 7 * 24 * 3600, "first": 7 * 24 * 3600 - 1, "last": 0, "after": -1}
    for key, seconds in times.items():
        when = NOW - timedelta(seconds=seconds)
        await charge(ledger, [use(user, key, 1, occurred_at=when)], at=NOW + timedelta(seconds=2))
    voided = await charge(ledger, [use(user, "voided", 50)], at=NOW - timedelta(days=1))
    assert voided[0].booking is not None
    parameters = [user, voided[0].booking.event_id]
    ask(ledger_address, "SELECT * FROM void_event(%s, 'void', %s, 'tests', 'tests')", parameters)
    found = await simulated(ledger, days=7, as_of=NOW)
    assert (found.total.events, found.total.credits_charged, found.total.exceeding) == (2, Decimal(2), 0)


async def test_an_overdraft_and_holds_count_as_they_did(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: `available_after` (for `balance_after`)."""
    user = await new_user(ledger, 10)
    ask(ledger_address, "SELECT * FROM set_terms(%s, NULL, NULL, false, 4, NULL, 'tests')", [user])
    await charge(ledger, [cost(user, "within the overdraft", Decimal("1.2"))])
    doubled = of(await simulated(ledger, multiplied(2), days=1), user)
    assert (doubled.exceeding, doubled.exceeding_simulated, doubled.newly_refused) == (0, 1, 1)
    holder = await new_user(ledger, 10)
    ask(ledger_address, "SELECT * FROM place_hold(%s, 'h', 6, 900, NULL, NULL, NULL, '{}')", [holder])
    await charge(ledger, [cost(holder, "more than is not held", Decimal("0.5"))])
    halved = of(await simulated(ledger, multiplied("0.5"), days=1), holder)
    assert (halved.exceeding, halved.exceeding_simulated, halved.newly_accepted) == (1, 0, 1)


async def test_users_are_listed_by_how_much_they_change_and_all_are_counted(ledger: Ledger) -> None:
    users = [await new_user(ledger) for _ in range(4)]
    for user, dollars in zip(users, ("1", "3", "0", "3"), strict=True):
        await charge(ledger, [cost(user, "a", Decimal(dollars))])
    await new_user(ledger)
    found = await simulate_prices(ledger, multiplied("0.5"), days=1, limit=2)
    assert (found.user_count, found.total.events, found.total.difference) == (4, 4, Decimal(-35))
    assert [each.user_id for each in found.users] == [users[1], users[3]]
    assert sum(each.events for each in found.by_model.values()) == 4


async def test_nothing_is_stored(ledger: Ledger, ledger_address: Address) -> None:
    user = await new_user(ledger)
    await charge(ledger, [cost(user, "a", Decimal(1))])
    tables = ("price_book", "price_versions", "credit_usage_events", "user_credit_balances")
    state = "SELECT count(*), max(xmin::text) FROM {}"
    before = [ask(ledger_address, state.format(table)) for table in tables]
    await simulated(ledger, listed('{"kind": "action", "name": "chat", "rates": {"credits_per_use": 1}}'), days=1)
    assert [ask(ledger_address, state.format(table)) for table in tables] == before
    receipts = await charge(ledger, [cost(user, "b", Decimal(1))])
    assert [receipt.charge and receipt.charge.credits_charged for receipt in receipts] == [10]


@pytest.mark.parametrize(("days", "limit"), [(0, 1), (367, 1), (1, 0), (1, 100_001)])
async def test_windows_and_limits_have_bounds(ledger: Ledger, days: int, limit: int) -> None:
    with pytest.raises(Unprocessable):
        await simulate_prices(ledger, AS_IT_IS, days=days, limit=limit)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    assert read_price_list(None) == AS_IT_IS
    (tmp_path / "latin.json").write_bytes(b"\xff")
    (tmp_path / "large.json").write_text("[" + " " * 16 * 1024 * 1024)
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf[]")
    assert read_price_list(tmp_path / "marked.json") == AS_IT_IS
    for name in ("latin.json", "large.json", "absent.json", ""):
        with pytest.raises(Unprocessable, match=name or "cannot be read"):
            read_price_list(tmp_path / name)


def lamp(user: int, key: str, **changes: Any) -> Usage:
    """Make a usage of a million tokens in and half a million out: 2 USD at the prices of `lamp`."""
    changes = {"model": "lamp", "input_tokens": 1_000_000, "output_tokens": 500_000, **changes}
    return use(user, key, action_type="chat", quantity=None, **changes)


def sonnet(user: int, key: str) -> Usage:
    """Make a usage of 0.105 credits by the catalogue's price."""
    return lamp(user, key, model="claude-3-5-sonnet", input_tokens=1000, output_tokens=500)


async def set_multiplier_of(ledger: Ledger, name: str, multiplier: str) -> None:
    """Give a model the price of `lamp`, with a multiplier of its own."""
    async with ledger.database.write() as connection:
        rates = {"input": 1, "output": 2}
        await set_price(connection, kind="model", name=name, rates=rates, multiplier=Decimal(multiplier))


async def set_price_now(ledger: Ledger, name: str, rates: dict[str, object]) -> None:
    """Set a price of a model from a moment ago on."""
    async with ledger.database.write() as connection:
        since = NOW - timedelta(hours=1)
        await set_price(connection, kind="model", name=name, rates=rates, valid_from=since)
