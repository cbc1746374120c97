"""Sample data for a demonstration: invented users, and ninety days of what they did, charged like any real use.

Who they are and what they do is drawn in `core.sample_plan`; here it is booked through the ledger's own path, slice
after slice of time with the slice's end as the instant, so that periods really end and begin on the way.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

from groat_server.core.import_rows import Instant, SampleState
from groat_server.core.outcomes import DETAILS, Outcome
from groat_server.core.rows import Count
from groat_server.core.sample_plan import (
    FIRST_KEY,
    IMAGE_CREDITS,
    LAST_KEY,
    MAIN_AGE,
    MAIN_EMAIL,
    TRANSCRIPTION_CREDITS,
    WINDOW,
    draw_usage,
    sample_people,
    sample_usages,
)
from groat_server.errors import Busy, CannotStart, GroatError, NotFound
from groat_server.operations.prices import set_price
from groat_server.operations.usage import BATCH_MAX, charge
from groat_server.operations.users import create_user, find_users, list_users
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from groat_server.core.sample_plan import SamplePerson
    from groat_server.core.usage import Usage
    from groat_server.operations.ledger import Ledger

_STATE = Statement("sample/state", SampleState)
_CLOCK = Statement("sample/clock", Instant)
_ROLL = Statement("sample/roll", Count)

_SLICES = 180
_SLICE = WINDOW / _SLICES
_PAUSE_MIN, _PAUSE_MAX = 0.2, 3.0  # of the mean interval between two live charges
_PRICES = (
    ("image_generation", {"credits_per_use": IMAGE_CREDITS}),
    ("transcription", {"credits_per_unit": TRANSCRIPTION_CREDITS}),
)


@dataclass(frozen=True, slots=True)
class SampleReport:
    """What a load has made; nothing, where the sample data (or a user of its main address) was there already."""

    already_there: bool
    users: int = 0
    events: int = 0
    seconds: float = 0.0


async def check_sample(ledger: Ledger) -> None:
    """Raise CannotStart where the ledger has users who are not the sample's: invented ones have no place among them."""
    async with ledger.database.read() as connection:
        present = (await _CLOCK.one(connection)).instant
    invented = {person.email for person in sample_people(present)}
    users = await list_users(ledger, limit=len(invented) + 1)
    if any(user.email not in invented for user in users):
        raise CannotStart(
            "This ledger has users of its own; sample data goes into an empty one (start without --demo)."
        )


async def load_sample(ledger: Ledger, *, now: datetime | None = None) -> SampleReport:
    """Make the sample data that ends at `now` (absent: the database's present), once; the same `now` makes the same.

    A load that broke off is completed, with the `now` it had. Raises GroatError (sample_refused) where the ledger does
    not take it, as without a price catalogue.
    """
    started = time.monotonic()
    async with ledger.database.write() as connection:
        state = await _STATE.maybe(connection, email=MAIN_EMAIL, first_key=FIRST_KEY, last_key=LAST_KEY)
        present = (await _CLOCK.one(connection)).instant
    if state is not None and (state.has_last or not state.has_first):
        return SampleReport(already_there=True)
    now = (now or present) if state is None else state.created_at + MAIN_AGE
    if state is None:
        await _set_prices(ledger, now)
    people = sample_people(now)
    user_ids = await _create(ledger, people)
    events = await _charge(ledger, sample_usages(now, user_ids), now)
    async with ledger.database.write() as connection:
        await _ROLL.one(connection, at=now, batch=len(people))
    return SampleReport(already_there=False, users=len(people), events=events, seconds=time.monotonic() - started)


async def trickle(ledger: Ledger, *, interval: float = 2.0) -> None:
    """Charge one ordinary use of a sample user about every `interval` seconds, until cancelled.

    Raises NotFound (no_sample) where there is no sample data.
    """
    random = Random()  # noqa: S311 - nothing hangs on it
    async with ledger.database.read() as connection:
        present = (await _CLOCK.one(connection)).instant
    people = [person for person in sample_people(present) if not person.demo_mode and person.until == present]
    found = await find_users(ledger, [person.email for person in people])
    active = [(id_, person.weight) for id_, person in zip(found, people, strict=True) if id_ is not None]
    if not active:
        raise NotFound("There is no sample data to add to.", code="no_sample")
    user_ids, weights = zip(*active, strict=True)
    while True:
        await asyncio.sleep(interval * min(max(random.expovariate(1), _PAUSE_MIN), _PAUSE_MAX))
        (user_id,) = random.choices(user_ids, weights)
        await _charge_live(ledger, draw_usage(random, user_id, f"sample-live-{uuid4()}", None))


async def _charge_live(ledger: Ledger, usage: Usage) -> None:
    try:
        await charge(ledger, [usage])
    except Busy:  # a demonstration can do without one charge
        return


async def _set_prices(ledger: Ledger, now: datetime) -> None:
    async with ledger.database.write() as connection:
        for action, rates in _PRICES:
            await set_price(connection, kind="action", name=action, rates=rates, valid_from=now - 2 * WINDOW)


async def _create(ledger: Ledger, people: Sequence[SamplePerson]) -> dict[str, int]:
    """Create those who do not exist, the main user last; return the ids of all who are tracked."""
    found = await find_users(ledger, [person.email for person in people])
    user_ids = {}
    for person, id_ in zip(people, found, strict=True):
        user_id = id_
        if user_id is None:
            created = await create_user(
                ledger,
                person.email,
                full_name=person.full_name,
                demo_mode=person.demo_mode,
                is_admin=person.is_admin,
                monthly_allowance=person.allowance,
                created_at=person.created_at,
            )
            user_id = created.id
        if not person.demo_mode:
            user_ids[person.email] = user_id
    return user_ids


async def _charge(ledger: Ledger, usages: Sequence[Usage], now: datetime) -> int:
    """Charge in order of time, each slice at its end; return how many events there are now."""
    for at, part in _slices(usages, now):
        for receipt in await charge(ledger, part, at=at):
            if receipt.outcome not in {Outcome.RECORDED, Outcome.REPLAYED}:
                raise GroatError(
                    f"The sample data was not taken ({receipt.usage.model or receipt.usage.action_type}: "
                    f"{DETAILS[receipt.outcome]}).",
                    code="sample_refused",
                )
    return len(usages)


def _slices(usages: Sequence[Usage], now: datetime) -> Iterator[tuple[datetime, Sequence[Usage]]]:
    """Yield parts of the uses, which are in order of time, and the instant at which each is booked."""
    start = now - WINDOW
    for number, group in groupby(usages, lambda usage: int(((usage.occurred_at or now) - start) / _SLICE)):
        part = list(group)
        for first in range(0, len(part), BATCH_MAX):
            yield min(start + (number + 1) * _SLICE, now), part[first : first + BATCH_MAX]
