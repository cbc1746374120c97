"""How figures and times stand on a page: rounded to read, with the exact value beside for who copies or compares it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from jinja2 import pass_context
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from jinja2.runtime import Context

    from groat_server.http.dashboard.view import View

_NOTHING = Markup("\N{EN DASH}")
_MINUS = "\N{MINUS SIGN}"
_CENT = Decimal("0.01")
_SIGNIFICANT_DIGITS = 3


def amount(value: Decimal | None) -> Markup:
    """Show credits: rounded to read, with the exact value in `value` and on hover."""
    return _figure(value, "")


def dollars(value: Decimal | None) -> Markup:
    """Show USD: rounded to read, with the exact value in `value` and on hover."""
    return _figure(value, "$")


def count(value: int | None) -> Markup:
    """Show how many there are."""
    return _NOTHING if value is None else Markup('<data value="{}">{}</data>').format(value, f"{value:,}")


def percent(value: Decimal | None) -> Markup:
    """Show a percentage with its sign."""
    if value is None:
        return _NOTHING
    return Markup('<data value="{}">{}</data>').format(f"{value:f}", f"{value:+,.1f} %".replace("-", _MINUS))


def change(current: Decimal | int, previous: Decimal | int) -> Markup:
    """Show by how much of the previous figure the present one is more or less."""
    if previous == 0:
        return Markup("new") if current else _NOTHING
    return percent((Decimal(current) - previous) * 100 / previous)


def difference(current: int, previous: int) -> Markup:
    """Show by how many the present figure is more or less than the previous one."""
    more = current - previous
    return Markup('<data value="{}">{}</data>').format(more, f"{more:+,d}".replace("-", _MINUS) if more else "±0")


def rounded(value: Decimal) -> str:
    """Return an amount as people read it: two decimals, or three digits of what is smaller than that."""
    if value == 0 or abs(value) >= 1:
        shown = f"{value.quantize(_CENT):,f}"
    else:
        shown = f"{value:.{_SIGNIFICANT_DIGITS - 1 - value.adjusted()}f}"
    return shown.replace("-", _MINUS)


def _figure(value: Decimal | None, unit: str) -> Markup:
    if value is None:
        return _NOTHING
    shown = rounded(value)
    text = f"{_MINUS}{unit}{shown[1:]}" if shown.startswith(_MINUS) else f"{unit}{shown}"
    return Markup('<data value="{0}" title="{0}">{1}</data>').format(f"{value:f}", text)


@pass_context
def instant(context: Context, value: datetime | None, *, seconds: bool = False) -> Markup:
    """Show an instant in the zone of the view."""
    if value is None:
        return _NOTHING
    view: View = context["view"]
    local = view.local(value)
    shown = f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%Y-%m-%d %H:%M}"
    return Markup('<time datetime="{}" title="{} {}">{}</time>').format(
        value.isoformat(), f"{local:%Y-%m-%d %H:%M:%S.%f}", view.zone_name, shown
    )


def day(value: date) -> Markup:
    """Show a day."""
    return Markup('<time datetime="{0}">{0}</time>').format(value.isoformat())


FILTERS: Mapping[str, Callable[..., Any]] = {
    "amount": amount,
    "dollars": dollars,
    "count": count,
    "percent": percent,
    "change": change,
    "difference": difference,
    "instant": instant,
    "day": day,
}
