"""What has to be appended to the stored catalogue for it to say what another one says.

Nothing stored is edited or deleted, so a price that is no longer offered is taken back by a row of the same start and
hours, which replaces it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Literal, TypeAlias

from groat_server.core.price_book import find

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from groat_server.core.price_book import PriceVersion

ModelKey: TypeAlias = tuple[str | None, str]

_Start: TypeAlias = tuple[ModelKey, datetime | None, time | None, time | None]

_FIRST = datetime.min.replace(tzinfo=UTC)
_BEFORE_ALL_USE = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PriceChange:
    """One row to append. `added`: a new start or model; `changed`: other rates; `withdrawn`: no longer offered.

    `before` is the stored row that `after` replaces. The id of `after` means nothing.
    """

    outcome: Literal["added", "changed", "withdrawn"]
    before: PriceVersion | None
    after: PriceVersion


def price_changes(
    stored: Iterable[PriceVersion], offered: Sequence[PriceVersion], *, untouched: Collection[ModelKey] = ()
) -> list[PriceChange]:
    """Return the rows to append so that `stored` prices every use as `offered` does, in the order of its ids.

    A model that is no longer offered at all keeps its prices: it may still be in use, and its past was priced so.
    Nothing is withdrawn from models in `untouched` (provider, name).
    """
    newest = {_start(version): version for version in sorted(stored, key=_id)}
    models: dict[ModelKey, list[PriceVersion]] = {}
    wanted = {_start(version): version for version in sorted(offered, key=_id)}
    for version in sorted(wanted.values(), key=_id):
        models.setdefault(_model(version), []).append(version)
    changes = [change for versions in models.values() for change in _appended(versions, newest)]
    for start, version in newest.items():
        model = _model(version)
        if start not in wanted and model in models and model not in untouched:
            after = _withdrawn(version, models[model])
            if _terms(after) != _terms(version):
                changes.append(PriceChange("withdrawn", version, after))
    return changes


def _appended(offered: Sequence[PriceVersion], newest: Mapping[_Start, PriceVersion]) -> Iterator[PriceChange]:
    """Yield the rows of one model that are new or other.

    Where hours overlap, the newest row wins: one with hours is appended again if one listed before it would be newer.
    """
    newest_hours: float = 0
    for version in offered:
        before = newest.get(_start(version))
        has_hours = version.daily_from is not None
        if before is None:
            yield PriceChange("added", None, version)
        elif _terms(before) != _terms(version) or (has_hours and before.id < newest_hours):
            yield PriceChange("changed", before, version)
        else:
            newest_hours = before.id if has_hours else newest_hours
            continue
        newest_hours = math.inf if has_hours else newest_hours


def _withdrawn(version: PriceVersion, offered: Sequence[PriceVersion]) -> PriceVersion:
    """Return the row that takes a version back: hours end before any use; a start goes on with what holds there now."""
    if version.daily_from is not None:
        return replace(version, valid_to=_BEFORE_ALL_USE)
    all_day = tuple(each for each in offered if each.daily_from is None)
    holding = find(all_day, version.valid_from or _FIRST).version
    return version if holding is None else replace(version, rates=holding.rates, valid_to=holding.valid_to)


def _id(version: PriceVersion) -> int:
    return version.id


def _model(version: PriceVersion) -> ModelKey:
    return version.provider, version.name


def _start(version: PriceVersion) -> _Start:
    return _model(version), version.valid_from, version.daily_from, version.daily_to


def _terms(version: PriceVersion) -> tuple[object, ...]:
    return version.rates, version.valid_to
