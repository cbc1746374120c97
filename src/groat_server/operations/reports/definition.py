"""What a report is: a published statement, what may be said to it, and what is run in its place.

Here are the kinds and the parameters that several reports share; the reports themselves stand in the other modules of
this package, by what they are about.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from groat_server.core.cells import CellType, cell_types
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

UserSort = Literal["consumed", "total_consumed", "balance", "email", "next_reset_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What may be said to a report. A `user` is named as in any request and becomes the statement's `user_id`."""

    name: str
    type: Literal["integer", "instant", "choice", "user"]
    description: str
    default: int | str | None = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        """Whether the report cannot do without it."""
        return self.type == "user"


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
USER = Parameter(name="user", type="user", description="The user: an id or an e-mail address.")
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

    `paging` is what else the statement takes, and `paging_columns` what else it returns, for pages.
    """

    title: str
    statement: Statement[Any]
    parameters: tuple[Parameter, ...]
    rolled_up: Statement[Any] | None = None
    paging: Mapping[str, object] = field(default_factory=dict)
    paging_columns: frozenset[str] = frozenset()

    @property
    def columns(self) -> dict[str, CellType]:
        """The columns that every surface shows, with their types."""
        return {name: kind for name, kind in cell_types(self.statement.row).items() if name not in self.paging_columns}


def limited(default: int) -> Parameter:
    """Return the parameter `limit` with a default."""
    return replace(LIMIT, default=default)


def rolled_up(title: str, name: str, row: type[Any], parameters: tuple[Parameter, ...]) -> Report:
    """Return a report that is run from the roll-ups; both statements are called `name`."""
    return Report(title, Statement(f"reports/{name}", row), parameters, Statement(f"rollups/{name}", row))
