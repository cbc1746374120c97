"""What a report is: a published statement, what may be said to it, and what is run in its place.

Here are the kinds and the parameters that several reports share; the reports themselves stand in the other modules of
this package, by what they are about.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args
from zoneinfo import available_timezones

from groat_server.core.cells import CellType, cell_types
from groat_server.core.price_book import Kind
from groat_server.core.scopes import Scope
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

DAYS_MAX = 366
LIMIT_MAX = 500
FILE_ROWS_MAX = 10_000_000
"""Rows of a report in a file, which is made on disk (about a gigabyte then) before any of it is sent."""

SHEET_ROWS_MAX = 2**20 - 1
"""Rows of a report in XLSX: a sheet ends there, its header included."""

OPEN_HOLDS_MAX = 100
"""Open holds in the report of one user."""

TEXT_LENGTH_MAX = 200
"""Characters of a text that a report looks for."""

SERIES_MAX = 20
"""Groups that keep their name in the report of usage."""

BUCKETS_MAX = 400
"""Hours or days of a window that are told apart."""

FACTOR_MAX = 1000

UserSort = Literal["consumed", "total_consumed", "balance", "email", "next_reset_at"]
Bucket = Literal["hour", "day", "all"]
Group = Literal["none", "action", "model", "user"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What may be said to a report, by the name that requests use; `column` is what the statement calls it, if not so.

    A `user` is named as in any request and becomes its id. A `text` has 1 to TEXT_LENGTH_MAX characters, a `zone` is
    the IANA name of a time zone.
    """

    name: str
    type: Literal["integer", "instant", "choice", "user", "text", "zone"]
    description: str
    column: str | None = None
    is_required: bool = False
    default: int | str | None = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """What the statement calls it."""
        return self.column or self.name


DAYS = Parameter(
    name="days",
    type="integer",
    description="How many days, of 24 hours each, are counted back from as_of.",
    default=30,
    minimum=1,
    maximum=DAYS_MAX,
)
AS_OF = Parameter(
    name="as_of",
    type="instant",
    description="The present that days are counted back from; null: now. What happened after it is in the window too.",
)
WINDOW = (DAYS, AS_OF)
SORT_BY = Parameter(
    name="sort_by",
    type="choice",
    description="The order: amounts most first, email and next_reset_at ascending.",
    default="consumed",
    choices=get_args(UserSort),
)
USER = Parameter(
    name="user", type="user", column="user_id", is_required=True, description="The user: an id or an e-mail address."
)
OPTIONAL_USER = replace(USER, is_required=False, description="Only this user: an id or an e-mail address; null: all.")
FROM = Parameter(name="from", type="instant", column="since", description="The first instant of the window.")
TO = Parameter(name="to", type="instant", column="until", description="The end of the window, excluded; null: no end.")
TIME_ZONE = Parameter(
    name="time_zone", type="zone", default="UTC", description="The time zone that days are of: its IANA name."
)
SEARCH = Parameter(
    name="search",
    type="text",
    description="Only whose e-mail address or name contains this, in capitals or not; null: all.",
)
MODEL = Parameter(name="model", type="text", description="Only what was used of this model; null: of all.")
ACTION_TYPE = Parameter(
    name="action_type", type="text", description="Only what was used by actions of this type; null: of all."
)
ONLY = (ACTION_TYPE, MODEL, OPTIONAL_USER)
"""What leaves out usage of the window."""

BUCKET = Parameter(
    name="bucket",
    type="choice",
    description="What a row is of: each hour, each day, or the whole window.",
    default="day",
    choices=get_args(Bucket),
)
GROUP = Parameter(
    name="group",
    type="choice",
    description="What tells series apart, if anything does.",
    default="none",
    choices=get_args(Group),
)
SERIES = Parameter(
    name="series",
    type="integer",
    description="How many series, those of most credits in the window, keep their name; the others are one.",
    default=8,
    minimum=1,
    maximum=SERIES_MAX,
)
FACTOR = Parameter(
    name="factor",
    type="integer",
    description="How many times the daily mean of the 28 days before the last 24 hours exceed.",
    default=5,
    minimum=1,
    maximum=FACTOR_MAX,
)
PRICE_KIND = Parameter(
    name="kind", type="choice", description="Only prices of models, or of actions; null: both.", choices=get_args(Kind)
)
PRICE_NAME = Parameter(
    name="priced",
    type="text",
    column="name",
    is_required=True,
    description="The model or the action type whose prices these are.",
)
LIMIT = Parameter(
    name="limit",
    type="integer",
    description=f"How many rows at most; in a file up to {FILE_ROWS_MAX:,}, in XLSX {SHEET_ROWS_MAX:,}.",
    minimum=1,
    maximum=LIMIT_MAX,
)


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its published statement, what may be said to it, and the statement that is run in its place, if any.

    `of_users` is run instead of that one where a user is named or users are told apart; `by_user` where users are told
    apart and nothing else is asked for. With `rolled_up_for` it takes one of these parameters for it. With
    `buckets_max` a window has no more hours or days than so many. `paging` is what else the statement takes, and
    `paging_columns` what else it returns, for pages.
    """

    title: str
    statement: Statement[Any]
    parameters: tuple[Parameter, ...]
    rolled_up: Statement[Any] | None = None
    of_users: Statement[Any] | None = None
    by_user: Statement[Any] | None = None
    rolled_up_for: tuple[Parameter, ...] = ()
    buckets_max: int | None = None
    paging: Mapping[str, object] = field(default_factory=dict)
    paging_columns: frozenset[str] = frozenset()
    scope: Scope = Scope.REPORTS_READ

    @property
    def columns(self) -> dict[str, CellType]:
        """The columns that every surface shows, with their types."""
        return {name: kind for name, kind in cell_types(self.statement.row).items() if name not in self.paging_columns}

    def in_place(self, values: Mapping[str, object]) -> Statement[Any] | None:
        """Return the statement that is run in place of the published one with these values, if any."""
        is_by_user = values.get(GROUP.name) == "user"
        is_of_users = is_by_user or values.get(USER.variable) is not None
        if is_by_user and self.by_user is not None and all(values.get(each.variable) is None for each in ONLY):
            return self.by_user
        if is_of_users and self.of_users is not None:
            return self.of_users
        is_needed = not self.rolled_up_for or any(values.get(each.variable) is not None for each in self.rolled_up_for)
        return self.rolled_up if is_needed else None


@cache
def zone_names() -> frozenset[str]:
    """Return the time zones' names: not what else lies in their directory, which the database does not know."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def limited(default: int) -> Parameter:
    """Return the parameter `limit` with a default."""
    return replace(LIMIT, default=default)


def rolled_up(title: str, name: str, row: type[Any], parameters: tuple[Parameter, ...]) -> Report:
    """Return a report that is run from the roll-ups; both statements are called `name`."""
    return Report(title, Statement(f"reports/{name}", row), parameters, Statement(f"rollups/{name}", row))
