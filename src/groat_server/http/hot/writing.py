"""Receipts as answers, without a shape in between: the texts that `http.shapes` and the encoder of `http.json` make.

What priced a charge is the same for many: it is written once for each price, model and multiplier.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from groat_server.core.outcomes import Outcome
from groat_server.core.rows import ChargeRow
from groat_server.http.json import encode
from groat_server.http.shaping import price_shape, receipt_shape
from groat_server.http.usage import result_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.price_book import PriceVersion
    from groat_server.core.pricing import Charge
    from groat_server.operations.usage import Receipt

_PRICES_KNOWN_MAX = 1024

_TIMES_KNOWN_MAX = 1024

_plain = Decimal.__format__
_columns = itemgetter(
    *(
        [field.name for field in fields(ChargeRow)].index(name)
        for name in ("event_id", "created_at", "balance", "available", "version", "voided", "instant")
    )
)


class ReceiptWriter:
    """Writes the receipts of one ledger."""

    def __init__(self) -> None:
        self._prices: dict[tuple[int | None, bool, str | None, str, str, str], str] = {}

    def text(self, receipt: Receipt) -> str:
        """Return the JSON of the answer to a charge that was not refused, without its braces."""
        charge, answer = receipt.charge, receipt.answer
        if receipt.outcome is Outcome.UNTRACKED or charge is None or answer is None:
            return encode(receipt_shape(receipt)).decode()[1:-1]
        event_id, created_at, balance, available, version, voided, instant = _columns(answer)
        if created_at is None:  # not repeated for an event that was booked now
            occurred_at = receipt.usage.occurred_at
            created_at = instant if occurred_at is None else occurred_at.isoformat()
        cost = "null" if charge.api_cost is None else _plain(charge.api_cost, "f")
        return (
            f'"id":{event_id},"outcome":"{receipt.outcome}","tracked":true,'
            f'"credits_charged":{_plain(charge.credits_charged, "f")},"api_cost":{cost},'
            f'"balance":{balance},"available":{available},"overdrawn":{_flag(balance[0] == "-")},"version":{version},'
            f'"replayed":{_flag(receipt.outcome is Outcome.REPLAYED)},"voided":{_flag(voided)},'
            f'"created_at":{_time(created_at)},'
            f'"price":{self._price(charge, receipt.version, receipt.usage.model)}'
        )

    def batch_text(self, receipts: Sequence[Receipt]) -> str:
        """Return the JSON of the answer to a batch all of whose items were valid."""
        results = ",".join([self._result(index, receipt) for index, receipt in enumerate(receipts)])
        outcomes = [receipt.outcome for receipt in receipts]
        recorded, replayed, untracked = map(outcomes.count, (Outcome.RECORDED, Outcome.REPLAYED, Outcome.UNTRACKED))
        refused = len(outcomes) - recorded - replayed - untracked
        return (
            f'{{"results":[{results}],"recorded":{recorded},"replayed":{replayed},'
            f'"untracked":{untracked},"refused":{refused}}}'
        )

    def _result(self, index: int, receipt: Receipt) -> str:
        if receipt.outcome.is_refusal:
            return encode({"index": index, **result_of(receipt)}).decode()
        return f'{{"index":{index},{self.text(receipt)}}}'

    def _price(self, charge: Charge, version: PriceVersion | None, model: str | None) -> str:
        rate, multiplier = _plain(charge.credits_per_dollar, "f"), _plain(charge.multiplier, "f")
        key = (charge.price_id, version is None, model, charge.cost_source, rate, multiplier)
        text = self._prices.get(key)
        if text is None:
            if len(self._prices) >= _PRICES_KNOWN_MAX:
                self._prices.clear()
            text = self._prices[key] = encode(price_shape(charge, version, model)).decode()
        return text


@lru_cache(_TIMES_KNOWN_MAX)
def _time(text: str) -> str:
    """Return the JSON of an instant in UTC; all charges of a batch have the same."""
    return encode(datetime.fromisoformat(text)).decode()


def _flag(value: object) -> str:
    return "true" if value else "false"
