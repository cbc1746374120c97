"""What holds are called: a name leads back to its user and number, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groat_server.core.holds import HoldName, read_hold_name

ids = st.integers(1, 2**63 - 1)


@given(ids, ids)
def test_a_name_leads_back_to_its_hold(user_id: int, hold_id: int) -> None:
    assert read_hold_name(str(HoldName(user_id, hold_id))) == HoldName(user_id, hold_id)


def test_the_largest_ids_have_names() -> None:
    largest = HoldName(2**63 - 1, 2**63 - 1)
    assert read_hold_name(str(largest)) == largest


def test_a_name_is_written_as_documented() -> None:
    assert str(HoldName(7, 12)) == "hold_7_12"


@pytest.mark.parametrize(
    "text",
    [
        None, 7, "", "hold", "hold_", "hold_7", "hold_7_", "hold_7_0", "hold_0_7", "hold_07_1", "hold_7_12_1",
        "hold_7_12 ", " hold_7_12", "hold_7_12\n", "Hold_7_12", "hold_-7_12", "hold_7_1e1", "hold_7_\u0661",
        f"hold_1_{2**63}", f"hold_{2**63}_1", "hold_1_" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="must be") as refusal:
        read_hold_name(text)
    assert str(refusal.value) == "must be the id of a hold"
