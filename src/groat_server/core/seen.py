"""What the live feed has told already, so that it tells nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from groat_server.core.feed_rows import FeedEvent


class Seen:
    """Events by the second in which they were booked: what is asked of the last of them looks at those alone."""

    def __init__(self) -> None:
        self._seconds: dict[int, set[tuple[bool, int]]] = {}

    def __contains__(self, event: FeedEvent) -> bool:
        return event.key in self._seconds.get(_second(event.recorded_at), ())

    def add(self, events: Iterable[FeedEvent]) -> None:
        """Remember them."""
        for event in events:
            self._seconds.setdefault(_second(event.recorded_at), set()).add(event.key)

    def ids(self, since: datetime | None, *, acts: bool) -> str:
        """Return the ids of charges, or of acts, that were booked since then, as a PostgreSQL array.

        As text: psycopg makes an array of a list ten times more slowly, and charges wait meanwhile.
        """
        least = None if since is None else _second(since)
        seconds = (keys for second, keys in self._seconds.items() if least is None or second >= least)
        return f"{{{','.join(str(id_) for keys in seconds for is_act, id_ in keys if is_act is acts)}}}"

    def forget(self, before: datetime) -> None:
        """Forget what was booked before then, to the second."""
        least = _second(before)
        self._seconds = {second: keys for second, keys in self._seconds.items() if second >= least}

    def clear(self) -> None:
        """Forget everything."""
        self._seconds.clear()


def _second(at: datetime) -> int:
    return int(at.timestamp())
