"""What the statements of imports and of sample data return: one frozen dataclass a result, field by column name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class ImportJob:
    """The import of one file with its options. `instant` is the database's present, the rest as it is stored.

    Lines before `next_line` are done; the counters are of all runs. `shift` is added to each time in the file.
    """

    id: int
    shift: timedelta
    next_line: int
    recorded: int
    replayed: int
    rejected: int
    finished_at: datetime | None
    instant: datetime


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether a claim succeeded."""

    claimed: bool


@dataclass(frozen=True, slots=True)
class NextLine:
    """The first line of an import that is not done."""

    next_line: int


@dataclass(frozen=True, slots=True)
class Instant:
    """The database's present."""

    instant: datetime


@dataclass(frozen=True, slots=True)
class SampleState:
    """What there is of the sample data: when its first user was created, and which of its outer events are booked."""

    created_at: datetime
    has_first: bool
    has_last: bool
