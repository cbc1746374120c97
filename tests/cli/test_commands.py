"""Commands on a ledger: what they do, what they print, which code they end with."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.operations.checks import CHECKS
from groat_server.operations.reports import REPORTS
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from pathlib import Path

    from groat_server.database import Address
    from tests.cli.conftest import Groat

SONNET = ["--action", "chat", "--model", "claude-3-5-sonnet", "--input-tokens", "1000", "--output-tokens", "500"]


@pytest.fixture(scope="module")
def person(groat: Groat) -> str:
    """Add a user whom nobody charges below what the tests say."""
    groat.json("user", "add", "person@example.com", "--name", "Per Son", "--allowance", "50.5")
    return "person@example.com"


def test_users_are_added_shown_listed_and_changed(groat: Groat) -> None:
    added = groat.json(
        "user", "add", "Ann@Example.com ", "--name", "=Ann", "--external-id", "a-1", "--allowance", "12.5"
    )
    assert (added["email"], added["current_balance"]) == (
        "ann@example.com",
        groat.json("user", "show", "external:a-1")["current_balance"],
    )
    assert groat.json("user", "admin", "ann@example.com")["is_admin"] is True
    groat.json("user", "add", "another@example.com", "--admin")  # the last administrator stays
    assert groat.json("user", "admin", str(added["id"]), "--off")["is_admin"] is False
    assert groat.json("user", "demo", "ann@example.com")["current_balance"] is None
    assert groat.json("user", "demo", "ann@example.com", "--off")["demo_mode"] is False
    assert groat.json("user", "allowance", "ann@example.com", "30")["current_balance"] == added["current_balance"]
    assert groat.json("user", "allowance", "ann@example.com", "40", "--now")["current_balance"] == 40
    (listed,) = groat.json("user", "list", "--search", "ann@")
    assert (listed["monthly_allowance"], listed["full_name"]) == (40, "=Ann")
    (row,) = csv.DictReader(io.StringIO(groat("user", "list", "--search", "ann@", "--csv").out))
    assert (row["current_balance"], row["full_name"]) == ("40", "'=Ann")
    table = groat("user", "list").out
    assert "ann@example.com" in table
    assert "\x1b[" not in table


def test_a_demo_user_and_an_admin_can_be_added_at_once(groat: Groat) -> None:
    assert groat.json("user", "add", "demo@example.com", "--demo")["demo_mode"] is True
    assert groat.json("user", "add", "boss@example.com", "--admin")["is_admin"] is True


def test_tokens_are_created_listed_and_revoked(groat: Groat, person: str, cli_ledger: Address) -> None:
    made = groat.json("token", "create", person)
    assert made["token"].startswith("groat_")
    plain = groat(
        "token", "create", "--service", "app", "--scope", "usage:write", "--scope", "balance:read", "--days", "7"
    )
    assert (plain.code, plain.out.startswith("groat_"), plain.out.count("\n")) == (0, True, 1)
    listed = groat.json("token", "list", person)
    assert [row["id"] for row in listed] == [made["id"]]
    assert made["token"] not in str(listed)
    assert groat("token", "revoke", str(made["id"])).code == 0
    assert groat.json("token", "list", person)[0]["revoked_at"] is not None
    assert groat("token", "revoke", "999999").code == 1
    scopes = ask(cli_ledger, "SELECT scopes FROM access_tokens WHERE name = 'app'")
    assert sorted(scopes[0][0]) == ["balance:read", "usage:write"]
    for command in (
        ["token", "create"],
        ["token", "create", person, "--service", "x"],
        ["token", "create", "--service", "x"],
    ):
        assert groat(*command).code == 1


def test_a_charge_is_told_and_repeated_with_its_key(groat: Groat) -> None:
    groat.json("user", "add", "charged@example.com")
    first = groat("charge", "charged@example.com", *SONNET, "--key", "k-1")
    assert first.code == 0
    assert "charged 0.105 credits" in first.out
    assert "100 → 99.895" in first.out
    again = groat.json("charge", "charged@example.com", *SONNET, "--key", "k-1")
    assert (again["replayed"], str(again["balance"]), str(again["api_cost"])) == (True, "99.895", "0.0105")
    estimate = groat.json("estimate", *SONNET)
    assert str(estimate["credits_charged"]) == "0.105"
    assert groat("estimate", *SONNET).out.startswith("0.105 credits")
    conflict = groat("charge", "charged@example.com", *SONNET, "--key", "k-1", "--provider", "anthropic")
    assert (conflict.code, conflict.out) == (1, "")
    assert str(groat.json("user", "show", "charged@example.com")["total_consumed"]) == "0.105"


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["charge", "person@example.com", "--action", "unit", "--quantity", "51", "--enforce"], 3, "do not cover"),
        (["charge", "nobody@example.com", *SONNET], 1, "Nobody is known"),
        (["charge", "nobody", *SONNET], 1, "is no user"),
        (["charge", "person@example.com", "--action", "chat", "--model", "no-such-model"], 1, "No price is known"),
        (["charge", "person@example.com", "--action", "unit", "--quantity", "-1"], 1, "quantity"),
        (["charge", "person@example.com", *SONNET, "--occurred-at", "yesterday"], 1, "occurred_at"),
        (["charge", "person@example.com"], 2, "--action"),
        (["charge"], 2, "requires an argument"),
        (["no-such-command"], 2, "no-such-command"),
        (["user", "show", "person@example.com", "--no-such-option"], 2, "--no-such-option"),
        (["user", "add", "person@example.com"], 1, "has this e-mail"),
        (["user", "add", "no-address"], 1, "email"),
        (["report", "no-such-report"], 1, "There is no report"),
        (["report", "overview", "--days", "0"], 1, "days"),
        (["report", "users", "--sort-by", "nonsense"], 1, "sort_by"),
        (["report", "overview", "--limit", "3"], 1, "limit"),
        (["report", "user-events"], 1, "user"),
        (["balance", "person@example.com", "--at", "2999-01-01T00:00:00Z"], 1, "at"),
        (["balance", "person@example.com", "--at", "2098-01-01T00:00:00Z"], 1, "still to come"),
        (["statement", "person@example.com", "--from", "2030-01-01T00:00:00Z"], 1, "ends after it begins"),
        (["check", "no_such_check"], 1, "There is no check"),
        (["price", "set", "x", "--input", "-1"], 1, "input"),
        (["price", "set", "x", "--input", "dear"], 1, "input"),
        (["price", "set", "x", "--input", "NaN"], 1, "input"),
        (["import", "no-such-file.csv"], 1, "no-such-file.csv"),
    ],
)
def test_a_command_that_fails_says_why_on_standard_error(
    groat: Groat, person: str, command: list[str], code: int, told: str
) -> None:
    ended = groat(*command)
    assert ended.code == code, (person, ended)
    assert ended.out == ""
    assert told in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_is_shown_in_each_form(groat: Groat, person: str, name: str) -> None:
    groat("charge", person, "--action", "unit", "--quantity", "1.5", "--key", "reported", "--description", "=evil")
    said = {"user": person, "priced": "lamp", "kind": "model"}
    needed = [parameter.name for parameter in REPORTS[name].parameters if parameter.is_required]
    command = ["report", name, *(word for key in needed for word in (f"--{key}", said[key]))]
    columns = list(REPORTS[name].columns)
    rows = groat.json(*command)
    assert all(list(row) == columns for row in rows)
    printed = groat(*command, "--csv").out
    assert [list(row) for row in csv.DictReader(io.StringIO(printed))] == [columns] * len(rows)
    assert groat(*command).code == 0
    script = groat(*command, "--sql").out
    assert script.startswith("--")
    assert REPORTS[name].statement.source.rstrip() in script


def test_a_past_balance_and_a_statement_are_told(groat: Groat, tmp_path: Path) -> None:
    born = groat.json("user", "add", "statement@example.com", "--name", "<b>Name</b>")["created_at"]
    groat("charge", "statement@example.com", "--action", "unit", "--quantity", "2.5")
    assert groat.json("balance", "statement@example.com")["balance"] == Decimal("97.5")
    assert groat.json("balance", "statement@example.com", "--at", born)["balance"] == 100
    assert "97.5" in groat("balance", "statement@example.com").out
    told = groat("statement", "statement@example.com", "--from", "2020-01-01T00:00:00Z", "--format", "json").json
    assert [(line["kind"], line["amount"]) for line in told["lines"]] == [
        ("allowance", 100),
        ("charge", Decimal("-2.5")),
    ]
    assert "closing balance" in groat("statement", "statement@example.com").out
    assert groat("statement", "statement@example.com", "--format", "csv").out.startswith(
        "kind,action_type,count,amount"
    )
    file = tmp_path / "statement.html"
    assert groat("statement", "statement@example.com", "-o", str(file)).code == 0
    assert "&lt;b&gt;Name&lt;/b&gt;" in file.read_text()


def test_reports_are_listed_and_take_their_parameters(groat: Groat, person: str) -> None:
    assert {row["name"] for row in groat.json("report", "list")} == set(REPORTS)
    assert len(groat.json("report", "users", "--limit", "1", "--sort-by", "email")) == 1
    assert "person" in person
    assert groat.json("report", "daily-trend", "--days", "3")


def test_a_spreadsheet_runs_nothing_of_an_export(groat: Groat) -> None:
    groat.json("user", "add", "evil@example.com", "--name", "=HYPERLINK(1)")
    told = groat("report", "users", "--limit", "500", "--csv").out
    assert "'=HYPERLINK(1)" in told


def test_check_ends_with_one_where_the_books_are_wrong_and_repairs_nothing(
    groat: Groat, person: str, cli_ledger: Address
) -> None:
    named = ["ledger_equals_balance", "balance_chain"]
    good = groat("check", *named)
    assert good.code == 0, good.out
    move = (
        b"UPDATE user_credit_balances SET current_balance = current_balance + %s"
        b" FROM users WHERE users.id = user_id AND email = %s"
    )
    with psycopg.connect(cli_ledger.url, autocommit=True) as connection:
        connection.execute(move, (1, person))
        try:
            bad, told = groat("check", *named), groat("check", *named, "--json")
            everything = groat("check", "--csv")
        finally:
            connection.execute(move, (-1, person))
    assert (bad.code, told.code, everything.code) == (1, 1, 1)
    verdicts = {row["check"]: row for row in told.json}
    assert verdicts["ledger_equals_balance"]["verdict"] == "fail"
    assert len(verdicts["ledger_equals_balance"]["findings"]) == 1
    assert {row["check"] for row in csv.DictReader(io.StringIO(everything.out))} == set(CHECKS)
    assert groat("check", *named).code == 0


def test_check_tells_the_sql_of_a_check_and_runs_nothing(groat: Groat, cli_ledger: Address) -> None:
    told = groat("check", "--sql", "total_consumed", "lots_equal_balance")
    assert told.code == 0
    assert told.out.count("AS finding") == 2
    for part in told.out.split("-- Groat's published SQL")[1:]:
        assert ask(cli_ledger, f"--{part}".replace("%", "%%")) == []
    assert groat("check", "--sql", "no_such_check").code == 1


def test_prices_are_listed_set_and_synchronised(groat: Groat) -> None:
    (row,) = groat.json("price", "list", "lamp")
    assert (row["kind"], row["rates"]) == ("model", "input 1, output 2")
    told = groat.json("price", "set", "house-model", "--input", "0.5", "--output", "1.25", "--note", "ours")
    assert (told["name"], told["rates"]) == ("house-model", "input 0.5, output 1.25")
    estimate = groat.json("estimate", "--action", "chat", "--model", "house-model", "--input-tokens", "1000000")
    assert str(estimate["api_cost"]) == "0.5"
    assert groat.json("price", "set", "page", "--action", "--per-unit", "0.01")["rates"] == "credits_per_unit 0.01"
    assert groat.json("price", "diff") == []
    assert groat("price", "diff").out == "nothing to change\n"
    assert groat("price", "sync").code == 0
    assert groat.json("price", "book")["credits_per_dollar"] == 10


def test_the_book_can_be_changed_and_changed_back(groat: Groat) -> None:
    changed = groat.json("price", "book", "--multiplier", "1.5", "--unknown-model", "unpriced")
    try:
        assert (str(changed["multiplier"]), changed["unknown_model"]) == ("1.5", "unpriced")
        estimate = groat.json("estimate", *SONNET)
        assert str(estimate["credits_charged"]) == "0.1575"
    finally:
        groat.json("price", "book", "--multiplier", "1", "--unknown-model", "reject")
    assert str(groat.json("estimate", *SONNET)["credits_charged"]) == "0.105"


def test_a_file_is_imported_once(groat: Groat, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("import") / "usage.csv"
    file.write_text(
        "occurred_at,email,action_type,quantity\n"
        "2026-01-01T00:00:00Z,imported@example.com,unit,2\n"
        "2026-01-02T00:00:00Z,imported@example.com,unit,oops\n"
        "2026-01-03T00:00:00Z,imported@example.com,unit,3\n"
    )
    first = groat.json("import", str(file), "--create-users")
    assert (first["recorded"], first["rejected"], first["credits"]) == (2, 1, 5)
    again = groat("import", str(file), "--create-users")
    assert again.code == 0
    assert "nothing has changed" in again.out
    assert groat.json("user", "show", "imported@example.com")["total_consumed"] == 5


def test_the_database_is_migrated_again_and_its_url_opens_it(groat: Groat, cli_ledger: Address) -> None:
    assert groat("db", "migrate").code == 0
    url = groat("db", "url").out.strip()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM price_versions").fetchone() == (True,)
    assert ask(cli_ledger, "SELECT count(*) FROM ledger_settings") == [(1,)]


def test_psql_opens_the_ledger_and_passes_its_exit_code_on(groat: Groat, postgres_programs: str) -> None:
    path = {"PATH": postgres_programs}
    told = groat("psql", "-At", "-c", "SELECT 6 * 7", **path)
    assert (told.code, told.out) == (0, "42\n"), told.err
    assert groat("psql", "-v", "ON_ERROR_STOP=1", "-c", "SELECT nothing", **path).code == 1


def test_a_database_without_the_schema_is_said_to_be_one(groat: Groat, cli_ledger: Address) -> None:
    url = cli_ledger.url.replace(cli_ledger.url.split("?")[0].rpartition("/")[2], "template1", 1)
    told = groat("user", "list", DATABASE_URL=url)
    assert (told.code, told.out) == (1, "")
    assert "groat db migrate" in told.err


@pytest.mark.parametrize(
    ("variable", "value"), [("GROAT_PORT", "0"), ("GROAT_PORT", "http"), ("GROAT_DURABILITY", "yes")]
)
def test_a_setting_that_makes_no_sense_is_named(groat: Groat, variable: str, value: str) -> None:
    told = groat("serve", **{variable: value})
    assert told.code == 1
    assert variable in told.err
    assert "Traceback" not in told.err


def test_a_server_that_is_not_there_is_said_to_be_missing(groat: Groat) -> None:
    told = groat("user", "list", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert told.code == 1
    assert "Traceback" not in told.err
    assert told.err
