"""Amounts: exact decimals of USD and of credits, their bounds, and the one place where anything is rounded.

Every amount is a finite `Decimal` with at most 12 decimals. Sums and products are taken under a context of their own:
the interpreter's default one has 28 digits, and a product of three stored factors may need more.
"""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation

DECIMALS = 12
"""Decimals that a stored amount has at most, in USD as in credits."""

MAX_TOKENS = 10**9
"""Tokens of one kind in one use, at most."""

MAX_API_COST = Decimal(10) ** 6
"""USD of one use, at most."""

MAX_CREDITS = Decimal(10) ** 12
"""Credits of one charge, at most."""

MAX_CREDITS_PER_DOLLAR = Decimal(10) ** 6
MAX_MULTIPLIER = Decimal(10) ** 3


class Amount(Decimal):
    """A decimal that prints in plain notation wherever it is turned into text: `0.0000005`, never `5E-7`."""

    __slots__ = ()

    def __str__(self) -> str:
        return Decimal.__format__(self, "f")

    def __format__(self, specifier: str, /, *_locale: object) -> str:
        return Decimal.__format__(self, specifier or "f")


ZERO = Amount(0)

EXACT = Context(prec=120, Emax=MAX_EMAX, Emin=MIN_EMIN, capitals=1, clamp=0, traps=[Inexact, InvalidOperation])
"""For sums and products of amounts: it holds any that the bounds allow, and raises `Inexact` rather than round."""

_ROUNDING = Context(prec=120, rounding=ROUND_HALF_UP, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation])
_SMALLEST = Decimal(1).scaleb(-DECIMALS)
_WHOLE = Decimal(0)  # added, it brings a positive exponent down to its own, 0, and takes the sign from a zero


def credits_for(api_cost: Decimal, credits_per_dollar: Decimal, multiplier: Decimal) -> Decimal:
    """Return the credits owed for `api_cost` USD: the exact product, rounded half up to 12 decimals once, trimmed.

    Raises `decimal.Inexact` if a factor has so many digits that the product would not be exact before rounding.
    """
    return rounded(EXACT.multiply(EXACT.multiply(api_cost, credits_per_dollar), multiplier))


def rounded(amount: Decimal) -> Amount:
    """Return `amount` rounded half up (away from zero) to 12 decimals, trimmed."""
    return trimmed(_ROUNDING.quantize(amount, _SMALLEST))


def trimmed(amount: Decimal) -> Amount:
    """Return the same amount without trailing zeros, exponent at most 0, and zero without a sign.

    The result equals what PostgreSQL's `trim_scale` gives. Raises `ValueError` for NaN and infinities.
    """
    if not amount.is_finite():
        raise ValueError(f"{amount} is not an amount")
    return Amount(EXACT.add(EXACT.normalize(amount), _WHOLE))


def plain(amount: Decimal) -> str:
    """Return `amount` in plain notation: no exponent, no trailing zeros, never "-0".

    Raises `ValueError` for NaN and infinities.
    """
    return format(trimmed(amount), "f")
