"""The sample plan is the same from one version of Groat to the next."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

import pytest

from groat_server.core.sample_plan import SamplePerson, draw_usage, sample_people, sample_usages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from groat_server.core.usage import Usage

NOW = datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC)
PEOPLE = "982c01d2ebd0a92e"
USES = "8d3e21ba44c78ea0"
DRAWN = "1721a7acbc0d9c0f"


def digest(drawn: Iterable[Usage | SamplePerson]) -> str:
    """Return a digest of what these say; times to the second, since the last bit of a logarithm is the platform's."""
    lines = (repr([(name, _plain(value)) for name, value in asdict(each).items() if value]) for each in drawn)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    match value:
        case datetime():
            return value.isoformat(timespec="seconds")
        case float():
            return round(value, 9)
        case _:
            return value


def test_the_plan_is_what_it_was() -> None:
    """A load that broke off before an upgrade goes on after it: another plan would leave half of each.

    If the plan is to change, so are the keys of its uses, and these digests.
    """
    people = sample_people(NOW)
    ids = {person.email: number for number, person in enumerate(people, 1) if not person.demo_mode}
    assert digest(people) == PEOPLE
    assert digest(sample_usages(NOW, ids)) == USES


@pytest.mark.parametrize("at", [None, NOW])
def test_a_drawn_use_is_what_it_was(at: datetime | None) -> None:
    random = Random(1)
    drawn = [draw_usage(random, 7, f"key-{number}", at) for number in range(200)]
    assert {(use.occurred_at, use.backfill) for use in drawn} == {(at, at is not None)}
    assert digest(replace(use, occurred_at=None, backfill=False) for use in drawn) == DRAWN
