"""Prices: those in force, the history of one, models without a price, margins; and the act of setting one.

Prices are told as the reports have them. What a new one replaces is what a use at that time would be priced by.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.credits import MAX_CREDITS, MAX_MULTIPLIER
from groat_server.core.price_book import Kind
from groat_server.core.rates import MAX_RATE, MAX_REQUEST_RATE, parse_action_price, parse_rates, rates_json
from groat_server.core.scopes import Scope
from groat_server.errors import Busy, Unprocessable
from groat_server.http import types
from groat_server.http.dashboard.access import page_router, session_of
from groat_server.http.dashboard.forms import checked, faults, read_fields, with_offsets
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery, View, say_on_next_page
from groat_server.http.dependencies import LedgerOf
from groat_server.operations.prices import hold_pricing, set_price, show_pricing
from groat_server.operations.rehearsal import rehearsing
from groat_server.operations.reports import LIMIT_MAX, run_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from groat_server.core.price_book import Found, PriceBook
    from groat_server.core.table_rows import PriceInForce
    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.prices import BookRow

router = page_router()
acts = page_router(Scope.ADMIN)

MODEL_KINDS = {
    "input": "input",
    "output": "output",
    "cache_read": "cache read",
    "cache_write": "cache write",
    "reasoning": "reasoning",
    "request": "request",
}
ACTION_KINDS = {"credits_per_use": "a use", "credits_per_unit": "a unit"}
_EVER, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_FIELDS = ("kind", "name", "provider", *MODEL_KINDS, *ACTION_KINDS, "multiplier", "valid_from", "valid_to", "note")


class PricesQuery(PageQuery):
    """Which prices: whose name or provider contains `search`, of one kind, so many."""

    search: types.Search | None = None
    kind: Kind | None = None
    limit: types.Limit = 50


class PriceQuery(PageQuery):
    """Whose price is to be set."""

    kind: Kind = "model"
    name: types.Model | None = None
    provider: types.Provider | None = None


_Rate = Annotated[Decimal, types.amount(MAX_RATE)]
_Credits = Annotated[Decimal, types.amount(MAX_CREDITS)]


class PriceForm(types.Body):
    """A price as it is written down: rates in USD per million tokens, or credits of an action.

    Times without an offset are of the zone that the page is in. `book_version` is the price book that was looked at.
    """

    kind: Kind
    name: types.Model
    provider: types.Provider | None = None
    input: _Rate | None = None
    output: _Rate | None = None
    cache_read: _Rate | None = None
    cache_write: _Rate | None = None
    reasoning: _Rate | None = None
    request: Annotated[Decimal, types.amount(MAX_REQUEST_RATE)] | None = None
    credits_per_use: _Credits | None = None
    credits_per_unit: _Credits | None = None
    multiplier: Annotated[Decimal, types.amount(MAX_MULTIPLIER)] | None = None
    valid_from: types.Instant | None = None
    valid_to: types.Instant | None = None
    note: types.Reason
    book_version: types.Id | None = None
    confirmed: bool = False

    @property
    def rates(self) -> dict[str, Decimal]:
        """The rates that are given, as `set_price` takes them."""
        kinds = MODEL_KINDS if self.kind == "model" else ACTION_KINDS
        return {kind: rate for kind in kinds if (rate := getattr(self, kind)) is not None}


@dataclass(frozen=True, slots=True)
class Figure:
    """One rate: of what, from which number of input tokens on (None: of any), in which unit."""

    title: str
    above: int | None
    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A price in a list, its rates told apart."""

    row: PriceInForce
    figures: Sequence[Figure]


@router.get("/ui/prices")
async def prices(request: Request, query: Annotated[PricesQuery, Query()], ledger: LedgerOf) -> Response:
    """List the prices in force."""
    asked = {"search": query.search, "kind": query.kind, "limit": query.limit}
    rows, book = await asyncio.gather(run_report(ledger, "prices", **asked), _book(ledger))
    return page(
        request,
        "prices.html",
        query=query,
        asked=asked,
        prices=[_listed(row) for row in rows],
        is_cut=len(rows) == query.limit < LIMIT_MAX,
        limit_max=LIMIT_MAX,
        book=book,
        fallback=[] if book.fallback_rates is None else _figures("model", book.fallback_rates),
    )


@router.get("/ui/prices/usage")
async def usage(request: Request, query: Annotated[PageQuery, Query()], ledger: LedgerOf) -> Response:  # noqa: ARG001 - the page's address is read
    """Show what was used without a price, and what each model earned. A page of its own, for it reads many events."""
    unpriced, margins = await asyncio.gather(run_report(ledger, "unpriced-models"), run_report(ledger, "margin"))
    return page(request, "prices_usage.html", unpriced=unpriced, margins=margins)


@router.get("/ui/prices/{kind}/{name:path}")
async def price(
    request: Request,
    kind: Kind,
    name: types.Model,
    query: Annotated[PageQuery, Query()],  # noqa: ARG001 - the page's address is read
    ledger: LedgerOf,
) -> Response:
    """Show all prices that a model or an action had, has and will have."""
    asked = {"kind": kind, "priced": name, "limit": LIMIT_MAX}
    history = await run_report(ledger, "price-history", **asked)
    return page(
        request,
        "prices_one.html",
        kind=kind,
        name=name,
        asked=asked,
        prices=[(_listed(row), state) for row, state in zip(history, states(history, datetime.now(UTC)), strict=True)],
    )


@acts.get("/ui/prices/set")
async def ask_for_price(request: Request, query: Annotated[PriceQuery, Query()]) -> Response:
    """Ask for a price."""
    given = {"kind": query.kind, "name": query.name, "provider": query.provider}
    return _form(request, {name: value for name, value in given.items() if value is not None})


@acts.post("/ui/prices/set")
async def give_price(request: Request, ledger: LedgerOf) -> Response:
    """Show what a price replaces; once that is confirmed, set it."""
    fields = await read_fields(request)
    try:
        form = checked(PriceForm, with_offsets(fields, ("valid_from", "valid_to"), View(request).zone))
        _check_rates(form)
        actor = session_of(request).caller.actor
        if not form.confirmed or not await _set_unless_moved_on(ledger, form, actor=actor):
            return _confirmation(request, form, fields, await _rehearsed(ledger, form))
    except (Busy, Unprocessable) as error:
        errors, problem = faults(error)
        return _form(request, fields, errors=errors, problem=problem, status_code=error.status)
    answer = Response(status_code=200, headers={"HX-Redirect": _address(form.kind, form.name)})
    say_on_next_page(answer, f"The price of {form.name} was set.")
    return answer


def _form(
    request: Request,
    fields: Mapping[str, str],
    *,
    errors: Mapping[str, str] | None = None,
    problem: str | None = None,
    status_code: int = 200,
) -> Response:
    kind = fields.get("kind", "model")
    return page(
        request,
        "prices_form.html",
        status_code=status_code,
        kind=kind if kind in {"model", "action"} else "model",
        rate_kinds=ACTION_KINDS if kind == "action" else MODEL_KINDS,
        fields={name: fields.get(name, "") for name in _FIELDS},
        errors=errors or {},
        problem=problem,
    )


def _confirmation(request: Request, form: PriceForm, fields: Mapping[str, str], book: PriceBook) -> Response:
    at = max(form.valid_from or datetime.now(UTC), datetime.now(UTC))
    old = _found(book, form, at)
    before = {} if old.version is None else _rates(old.version.rates)
    after = _stated(form.kind, form.rates)
    kinds = MODEL_KINDS if form.kind == "model" else ACTION_KINDS
    return page(
        request,
        "prices_confirm.html",
        form=form,
        fields={name: fields[name] for name in _FIELDS if name in fields},
        book=book,
        moved_on=form.confirmed,
        old=old.version,
        old_multiplier=book.multiplier if old.multiplier is None else old.multiplier,
        new_multiplier=book.multiplier if form.multiplier is None else form.multiplier,
        changes=[
            (kinds[kind], _of_kind(form.kind, kind, before), _of_kind(form.kind, kind, after))
            for kind in kinds
            if kind in before or kind in after
        ],
    )


def _found(book: PriceBook, form: PriceForm, at: datetime) -> Found:
    """Return what a use at `at` would be priced by as things are."""
    if form.kind == "action":
        return book.find_action(form.name, at)
    return book.find_model(form.name, form.provider, at)


def _check_rates(form: PriceForm) -> None:
    """Raise Unprocessable where the rates, taken together, are none."""
    (parse_rates if form.kind == "model" else parse_action_price)(form.rates)


async def _rehearsed(ledger: Ledger, form: PriceForm) -> PriceBook:
    """Return the price book as it is, once the price has been set and taken back: what is confirmed can be done."""
    async with rehearsing(ledger) as rehearsed, rehearsed.database.write() as connection:
        book = await ledger.current_book(connection)
        await _append(connection, form)
    return book


async def _set_unless_moved_on(ledger: Ledger, form: PriceForm, *, actor: str) -> bool:
    """Set the price where the book is still the one that was looked at, and tell whether it was.

    The book is held from the look at its version on: of two who confirm at once, one looks when the other has set.
    """
    async with ledger.database.act(actor) as connection:
        if (await hold_pricing(connection)).version != form.book_version:
            return False
        await _append(connection, form)
    return True


async def _append(connection: Connection, form: PriceForm) -> None:
    await set_price(
        connection,
        kind=form.kind,
        name=form.name,
        provider=form.provider,
        rates=form.rates,
        multiplier=form.multiplier,
        valid_from=form.valid_from,
        valid_to=form.valid_to,
        note=form.note,
    )


async def _book(ledger: Ledger) -> BookRow:
    async with ledger.database.read() as connection:
        return await show_pricing(connection)


def _listed(row: PriceInForce) -> Listed:
    return Listed(row, _figures(row.kind, json.loads(row.rates, parse_float=Decimal, parse_int=Decimal)))


def _rates(rates: Any) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads(rates_json(rates), parse_float=Decimal, parse_int=Decimal)
    return stated


def _stated(kind: Kind, rates: Mapping[str, object]) -> dict[str, Any]:
    return _rates(parse_rates(rates) if kind == "model" else parse_action_price(rates))


def _of_kind(kind: str, rate: str, rates: Mapping[str, Any]) -> list[Figure]:
    return _figures(kind, {rate: rates[rate]}) if rate in rates else []


def _figures(kind: str, rates: Mapping[str, Any]) -> list[Figure]:
    """Return the figures of a price as JSON has it."""
    titles = MODEL_KINDS if kind == "model" else ACTION_KINDS
    unit = "dollars" if kind == "model" else "credits"
    return [
        Figure(titles.get(name, name), None if above is None else int(above), Decimal(value), unit)
        for name, rate in rates.items()
        for above, value in (rate if isinstance(rate, list | tuple) else [(None, rate)])
    ]


def states(history: Sequence[PriceInForce], now: datetime) -> list[str]:
    """Return what each version of a price is at `now`, in words; the latest start comes first, as in its report.

    Of the versions of one provider, source and hours, the one that started last is in force. One that started earlier
    is past, unless it ends later: then it holds again.
    """
    found: list[str] = []
    stated: set[tuple[object, ...]] = set()
    until: dict[tuple[object, ...], datetime] = {}
    for row in history:
        of = (row.provider, row.source, row.daily_from, row.daily_to)
        starts, ends = row.valid_from or _EVER, row.valid_to or _NEVER
        if (*of, row.valid_from) in stated:
            found.append("replaced")
            continue
        stated.add((*of, row.valid_from))
        if starts > now:
            found.append("to come")
        elif ends <= now:
            found.append("past")
        elif of in until:
            found.append("set aside" if ends > until[of] else "past")
        else:
            found.append("in force" if row.daily_from is None else "in force at its hours")
        if starts <= now < ends:
            until[of] = max(ends, until.get(of, ends))
    return found


def _address(kind: str, name: str) -> str:
    return f"/ui/prices/{kind}/{quote(name)}"
