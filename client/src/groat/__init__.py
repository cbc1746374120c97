"""The client of Groat, the credit ledger for AI applications.

    from groat import Groat

    with Groat() as meter:
        receipt = meter.charge(
            "user@example.com",
            action="ai_chat_message",
            model="claude-3-5-sonnet",
            input_tokens=1000,
            output_tokens=500,
            idempotency_key=message_id,
        )

What is exported here is the whole public interface; every other module is private.
"""

from ._answers import Balance, Booking, Estimate, Price, Receipt, Refusal
from ._client import AsyncGroat, Groat
from ._errors import (
    APIError,
    Busy,
    Forbidden,
    GroatError,
    HoldClosed,
    HoldExhausted,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    NoAnswer,
    OutcomeUnknown,
    Unauthorized,
    UnknownUser,
)
from ._holds import AsyncHold, Hold
from ._requests import ExternalId, Usage
from ._tokens import TokenCounts, tokens_of
from ._version import __version__

__all__ = [
    "APIError",
    "AsyncGroat",
    "AsyncHold",
    "Balance",
    "Booking",
    "Busy",
    "Estimate",
    "ExternalId",
    "Forbidden",
    "Groat",
    "GroatError",
    "Hold",
    "HoldClosed",
    "HoldExhausted",
    "IdempotencyConflict",
    "InsufficientCredits",
    "InvalidRequest",
    "NoAnswer",
    "OutcomeUnknown",
    "Price",
    "Receipt",
    "Refusal",
    "TokenCounts",
    "Unauthorized",
    "UnknownUser",
    "Usage",
    "__version__",
    "tokens_of",
]
