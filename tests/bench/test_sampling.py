"""What callers did is counted, none of it lost; answers over HTTP are recognised however they arrive."""

from __future__ import annotations

import asyncio

import pytest

from groat_server.bench.http_load import is_complete
from groat_server.bench.sampling import KEY_LENGTH, Draw, percentile, sample

_ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\nserver: x\r\n\r\nabc"


def test_charges_of_callers_at_the_same_time_are_all_counted() -> None:
    """Seen to fail with `charges += await one()`: what others added while one waited was lost."""
    made = 0

    async def one() -> int:
        nonlocal made
        await asyncio.sleep(0)
        made += 3
        return 3

    seen = asyncio.run(sample(8, 0.05, one))
    assert seen.charges == made > 0
    assert 0 <= seen.p50 <= seen.p99 <= seen.seconds


@pytest.mark.parametrize(("share", "expected"), [(0.5, 51), (0.99, 100), (1, 100)])
def test_a_percentile_is_one_of_the_times(share: float, expected: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], share) == expected


def test_keys_are_as_long_as_a_uuid_and_differ_between_two_runs() -> None:
    first, second = Draw(1, 5), Draw(1, 5)
    assert [first.user() for _ in range(20)] == [second.user() for _ in range(20)]
    keys = {draw.key() for draw in (first, second) for _ in range(100)}
    assert len(keys) == 200
    assert {len(key) for key in keys} == {KEY_LENGTH}


@pytest.mark.parametrize("length", range(len(_ANSWER)))
def test_an_answer_is_complete_with_its_last_byte(length: int) -> None:
    assert not is_complete(_ANSWER[:length])
    assert is_complete(_ANSWER)


def test_an_answer_without_its_length_is_not_waited_for() -> None:
    with pytest.raises(RuntimeError, match="without its length"):
        is_complete(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
