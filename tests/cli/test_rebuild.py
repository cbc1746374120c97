"""`groat db rebuild-rollups`: what was repaired is printed, and a second time there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from groat_server.database import Address
    from tests.cli.conftest import Groat


def test_roll_ups_are_rebuilt_and_what_was_wrong_is_printed(groat: Groat, cli_ledger: Address) -> None:
    assert groat("user", "add", "rolled@example.com").code == 0
    assert groat("charge", "rolled@example.com", "--action", "unit", "--quantity", "2").code == 0
    ask(cli_ledger, "UPDATE usage_hourly SET credits = credits + 1")
    ask(cli_ledger, "DELETE FROM usage_daily_users")
    assert groat("check", "rollups_by_hour", "rollups_by_day").code == 1
    repaired = groat("db", "rebuild-rollups")
    assert repaired.code == 0
    assert "sums of hours" in repaired.out
    assert "counts of a day's users" in repaired.out
    assert groat("check", "rollups_by_hour", "rollups_by_day", "rollups_by_user").code == 0
    assert "repaired: nothing" in groat("db", "rebuild-rollups").out
