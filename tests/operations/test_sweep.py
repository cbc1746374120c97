"""The sweep: everybody who is due, however many they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from groat_server.operations.periods import sweep
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

MORE_THAN_A_BATCH = 501


@pytest.mark.anyio
async def test_a_sweep_goes_on_until_nobody_is_due(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: the loop over batches; whoever came after the first 500 was not reset."""
    ask(
        ledger_address,
        """
        INSERT INTO users (email, created_at)
        SELECT 'user-' || number || '@example.com', now() - interval '40 days' FROM generate_series(1, %s) AS number
        """,
        [MORE_THAN_A_BATCH],
    )
    assert await sweep(ledger) == MORE_THAN_A_BATCH
    assert await sweep(ledger) == 0
