"""Commands about people and access: terms, anonymisation, rotation, the audit log, the service's role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from groat_server.database import Address
    from tests.cli.conftest import Groat


def test_a_user_is_set_to_other_terms(groat: Groat) -> None:
    groat.json("user", "add", "terms@example.com", "--allowance", "10")
    changed = groat.json(
        "user", "set", "terms@example.com", "--name", "Ter Ms", "--time-zone", "Asia/Tokyo", "--overdraft", "5.5",
        "--rollover", "3", "--allowance", "30", "--now", "--key", "raise",
    )  # fmt: skip
    assert (changed["full_name"], changed["time_zone"], changed["current_balance"]) == ("Ter Ms", "Asia/Tokyo", 30)
    assert (str(changed["overdraft_limit"]), changed["rollover_cap"]) == ("5.5", 3)
    again = groat.json("user", "set", "terms@example.com", "--allowance", "30", "--now")
    assert again["current_balance"] == 30
    moved = groat.json("user", "set", "terms@example.com", "--email", "moved@example.com")
    assert moved["id"] == changed["id"]
    conflict = groat("user", "set", "moved@example.com", "--allowance", "40", "--now", "--key", "raise")
    assert (conflict.code, "used before" in conflict.err) == (1, True)
    for nothing in ([], ["--now"]):
        assert groat("user", "set", "moved@example.com", *nothing).code == 1
    for wrong in (["--overdraft", "-1"], ["--time-zone", "Nowhere"], ["--period-anchor", "tomorrow"]):
        assert groat("user", "set", "moved@example.com", *wrong).code == 1


def test_a_user_is_anonymised_when_that_is_meant(groat: Groat) -> None:
    added = groat.json("user", "add", "gone@example.com", "--name", "Go Ne", "--external-id", "gone-1")
    groat.json("charge", "gone@example.com", "--action", "unit", "--quantity", "2", "--description", "gone")
    asked = groat("user", "anonymise", "gone@example.com")
    assert (asked.code, "--yes" in asked.err) == (1, True)
    gone = groat.json("user", "anonymise", "external:gone-1", "--yes")
    assert (gone["id"], gone["full_name"], gone["current_balance"]) == (added["id"], None, 98)
    assert groat("user", "show", "gone@example.com").code == 1
    assert groat.json("user", "show", str(added["id"])) == gone
    (act,) = groat.json("audit", str(added["id"]), "--act", "anonymise")
    assert (act["actor"].partition(":")[0], act["user_id"]) == ("cli", added["id"])


def test_a_token_is_rotated(groat: Groat) -> None:
    made = groat.json("token", "create", "--service", "rotated", "--scope", "usage:write", "--days", "30")
    rotated = groat.json("token", "rotate", str(made["id"]), "--grace-hours", "48")
    assert rotated["token"].startswith("groat_")
    listed = {row["id"]: row for row in groat.json("token", "list")}
    old, new = listed[made["id"]], listed[rotated["id"]]
    assert (old["replaced_by"], old["expires_in_days"], new["expires_in_days"]) == (rotated["id"], 1, 29)
    again = groat("token", "rotate", str(made["id"]))
    assert (again.code, "rotated before" in again.err) == (1, True)
    assert groat("token", "rotate", str(rotated["id"]), "--grace-hours", "-1").code == 1


def test_what_was_done_at_the_command_line_is_told(groat: Groat) -> None:
    groat.json("user", "add", "told@example.com")
    groat.json("user", "admin", "told@example.com")
    acts = groat.json("audit", "told@example.com")
    assert [act["act"] for act in acts] == ["user_changed", "user_created"]
    (actor,) = {act["actor"] for act in acts}
    assert actor.startswith("cli:")
    assert groat.json("audit", "--actor", actor, "--limit", "1")[0]["id"] >= acts[0]["id"]
    assert groat.json("audit", "told@example.com", "--before", str(acts[0]["id"])) == acts[1:]
    groat.json("price", "book", "--multiplier", "1")
    groat.json("settings", "--create-users")
    groat.json("settings", "--no-create-users")
    groat.json("price", "set", "told-action", "--action", "--per-use", "1")
    newest = groat.json("audit", "--limit", "3")
    assert [act["act"] for act in newest] == ["price_set", "ledger_settings_changed", "ledger_settings_changed"]
    assert {act["actor"] for act in newest} == {actor}
    assert "told@example.com" in groat("audit", "told@example.com").out


def test_a_role_for_the_service_is_set_up(groat: Groat, cli_ledger: Address) -> None:
    missing = groat("db", "roles", "no_such_role")
    assert (missing.code, "CREATE ROLE no_such_role" in missing.err) == (1, True)
    ask(cli_ledger, "CREATE ROLE cli_service")
    try:
        done = groat("db", "roles", "cli_service")
        assert (done.code, "cli_service" in done.out) == (0, True)
        allowed = "SELECT has_table_privilege('cli_service', %s, %s)"
        assert ask(cli_ledger, allowed, ["users", "INSERT"]) == [(True,)]
        assert ask(cli_ledger, allowed, ["credit_usage_events", "INSERT"]) == [(False,)]
        assert groat("check", "service_role").code == 0
    finally:
        ask(cli_ledger, "DROP OWNED BY cli_service")
        ask(cli_ledger, "DROP ROLE cli_service")
