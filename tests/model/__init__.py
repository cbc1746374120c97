"""A model of the ledger in plain Python, written from the product's rules, not from its SQL. No database, no clock.

It is naive on purpose: each charge draws on lots the moment it is booked and keeps the pieces it got. The ledger does
that only where lots change, for all charges since at once; it must come to the same.
"""

from tests.model.account import Account, Entry, Event, Hold
from tests.model.answers import Answer
from tests.model.charging import ModelUsage
from tests.model.ledger import ModelLedger, ModelUser
from tests.model.lots import Lot, Lots, Piece
from tests.model.periods import boundary, following_boundary, period_start

__all__ = [
    "Account",
    "Answer",
    "Entry",
    "Event",
    "Hold",
    "Lot",
    "Lots",
    "ModelLedger",
    "ModelUsage",
    "ModelUser",
    "Piece",
    "boundary",
    "following_boundary",
    "period_start",
]
