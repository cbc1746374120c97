"""What the live feed has told already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from groat_server.core.feed_rows import USAGE, FeedEvent
from groat_server.core.seen import Seen

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def booked(id_: int, seconds: float, kind: str = USAGE) -> FeedEvent:
    at = NOON + timedelta(seconds=seconds)
    return FeedEvent(kind, id_, at, at, 1, None, None, None, None, None, None, None, None, None, None)


def seen(*events: FeedEvent) -> Seen:
    made = Seen()
    made.add(events)
    return made


def ids(text: str) -> set[int]:
    assert (text[0], text[-1]) == ("{", "}")
    return {int(each) for each in text[1:-1].split(",") if each}


def test_a_charge_and_an_act_of_the_same_id_are_two() -> None:
    found = seen(booked(1, 0))
    assert booked(1, 0) in found
    assert booked(1, 0, "grant") not in found
    assert booked(2, 0) not in found


def test_what_is_asked_of_the_last_seconds_leaves_out_what_came_before() -> None:
    found = seen(booked(1, -60), booked(2, -5.5), booked(3, -5.0), booked(4, 0), booked(5, 0, "refund"))
    assert ids(found.ids(NOON - timedelta(seconds=5), acts=False)) == {3, 4}
    assert ids(found.ids(NOON - timedelta(seconds=5.2), acts=False)) == {2, 3, 4}  # to the second, rather too much
    assert ids(found.ids(None, acts=False)) == {1, 2, 3, 4}
    assert ids(found.ids(None, acts=True)) == {5}
    assert Seen().ids(None, acts=True) == "{}"


def test_what_is_forgotten_is_new_again() -> None:
    found = seen(booked(1, -91), booked(2, -90), booked(3, 0))
    found.forget(NOON - timedelta(seconds=90))
    assert [event in found for event in (booked(1, -91), booked(2, -90), booked(3, 0))] == [False, True, True]
    found.clear()
    assert booked(3, 0) not in found
