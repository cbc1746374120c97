"""What the environment says of a process."""

from __future__ import annotations

import pytest

from groat_server.errors import CannotStart
from groat_server.settings import QueueSettings, read_settings


def test_the_bounds_of_the_queue_are_read() -> None:
    assert read_settings({}).queue == QueueSettings(charges_max=20_000, bytes_max=64 * 2**20, batch_max=1_000)
    said = {"GROAT_QUEUE_CHARGES": "7", "GROAT_QUEUE_BYTES": "1000", "GROAT_BATCH_CHARGES": "3"}
    assert read_settings(said).queue == QueueSettings(charges_max=7, bytes_max=1000, batch_max=3)


@pytest.mark.parametrize("name", ["GROAT_QUEUE_CHARGES", "GROAT_QUEUE_BYTES", "GROAT_BATCH_CHARGES"])
@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "²", "9" * 13])
def test_a_bound_that_makes_no_sense_is_refused(name: str, text: str) -> None:
    with pytest.raises(CannotStart, match=f"^{name} is "):
        read_settings({name: text})
