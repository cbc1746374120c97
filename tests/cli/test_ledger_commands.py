"""Holds, grants, corrections and explanations on the command line: what they do and what they print."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest

from groat_server.cli.session import ACTOR
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from groat_server.database import Address
    from tests.cli.conftest import Groat

SONNET = ["--action", "chat", "--model", "claude-3-5-sonnet", "--input-tokens", "1000"]


def person(groat: Groat, name: str, allowance: str = "100") -> str:
    email = f"{name}@example.com"
    groat.json("user", "add", email, "--allowance", allowance)
    return email


def event_of(groat: Groat, user: str, quantity: str = "10") -> str:
    return str(groat.json("charge", user, "--action", "unit", "--quantity", quantity)["id"])


def test_a_hold_is_placed_renewed_and_captured(groat: Groat) -> None:
    user = person(groat, "holder")
    hold = groat.json("hold", "place", user, *SONNET, "--max-output-tokens", "500", "--ttl", "60", "--key", "h-1")
    assert (str(hold["amount"]), hold["idempotency_key"], hold["replayed"]) == ("0.1125", "h-1", False)
    again = groat.json("hold", "place", user, *SONNET, "--max-output-tokens", "500", "--ttl", "60", "--key", "h-1")
    assert again == {**hold, "replayed": True}
    renewed = groat("hold", "renew", hold["id"], "--ttl", "3600")
    assert (renewed.code, hold["id"] in renewed.out, "held 0.1125" in renewed.out) == (0, True, True)
    captured = groat.json("hold", "capture", hold["id"], *SONNET, "--output-tokens", "400")
    assert (str(captured["credits_charged"]), captured["hold"]["exceeded_hold"]) == ("0.09", False)
    assert captured["idempotency_key"].startswith("cli-")
    told = groat("hold", "capture", hold["id"], *SONNET, "--output-tokens", "400", "--key", captured["idempotency_key"])
    assert "captured before: 0.09 of 0.1125 credits" in told.out
    assert groat("hold", "release", hold["id"]).code == 1


def test_a_hold_is_of_credits_is_listed_and_released(groat: Groat) -> None:
    user = person(groat, "releaser")
    placed = groat("hold", "place", user, "--amount", "7.5", "--description", "[bold]x", "--key", "[red]k")
    assert placed.code == 0
    assert "7.5 credits until" in placed.out
    assert "held 7.5, available 92.5   key [red]k" in placed.out
    (listed,) = groat.json("hold", "list", user, "--state", "open")
    assert (listed["amount"], listed["description"]) == (7.5, "[bold]x")
    assert "is released   available 100" in groat("hold", "release", listed["id"]).out
    assert groat.json("hold", "list", user, "--state", "open") == []
    assert "7.5" in groat("hold", "list", user).out
    late = groat("hold", "capture", listed["id"], "--action", "unit", "--quantity", "9")
    assert "captured 9 of 7.5 credits   above the hold   late   balance 91" in late.out


def test_a_hold_of_a_user_in_demo_mode_is_none(groat: Groat) -> None:
    groat.json("user", "add", "demo-holder@example.com", "--demo")
    told = groat("hold", "place", "demo-holder@example.com", "--amount", "5")
    assert (told.code, told.out) == (0, "untracked: the user is in demo mode\n")
    row = groat.json("hold", "place", "demo-holder@example.com", "--amount", "5")
    assert (row["tracked"], row["amount"]) == (False, 5)


def test_credits_are_granted_and_lots_listed(groat: Groat, cli_ledger: Address) -> None:
    user = person(groat, "granted")
    told = groat("grant", user, "20.5", "--kind", "purchase", "--cost-basis", "0.08", "--reason", "invoice 7")
    assert "granted 20.5 credits   balance 120.5   key cli-" in told.out
    given = groat.json(
        "grant",
        user,
        "5",
        "--kind",
        "promotion",
        "--starts-at",
        "2090-01-01T00:00:00Z",
        "--priority",
        "3",
        "--key",
        "g",
    )
    assert (given["outcome"], given["priority"], given["balance"]) == ("scheduled", 3, 120.5)
    scheduled = groat(
        "grant",
        user,
        "5",
        "--kind",
        "promotion",
        "--starts-at",
        "2090-01-01T00:00:00Z",
        "--priority",
        "3",
        "--key",
        "g",
    )
    assert "done before: scheduled 5 credits   from 2090-01-01 00:00 UTC on" in scheduled.out
    rows = list(csv.DictReader(io.StringIO(groat("lots", user, "--csv").out)))
    assert [(row["kind"], row["remaining"]) for row in rows] == [
        ("promotion", "5"), ("purchase", "20.5"), ("allowance", "100"),
    ]  # fmt: skip
    actors = ask(cli_ledger, "SELECT DISTINCT actor FROM audit_log WHERE act = 'grant'")
    assert actors == [(ACTOR,)]
    assert ACTOR.startswith("cli:")
    assert len(ACTOR) > 4


def test_a_balance_is_adjusted_either_way(groat: Groat) -> None:
    user = person(groat, "adjusted")
    assert "adjusted by 2.5 credits   balance 102.5" in groat("adjust", user, "2.5", "--reason", "sorry").out
    down = groat.json("adjust", user, "-110", "--reason", "abuse", "--key", "down")
    assert (down["amount"], down["balance"], down["lot_id"]) == (-110, -7.5, None)
    assert groat.json("adjust", user, "-110", "--reason", "abuse", "--key", "down")["replayed"]


def test_an_event_is_refunded_and_another_voided(groat: Groat) -> None:
    user = person(groat, "corrected")
    first, second = event_of(groat, user), event_of(groat, user, "20")
    told = groat("refund", user, first, "--amount", "4", "--reason", "half of it")
    assert f"refunded 4 credits of event {first}   balance 74" in told.out
    assert groat.json("refund", user, first, "--reason", "the rest")["amount"] == 6
    voided = groat("void", user, second, "--reason", "never was", "--key", "v-1")
    assert f"voided event {second}: 20 credits are back   balance 100   key v-1" in voided.out
    assert groat.json("void", user, second, "--reason", "never was", "--key", "v-1")["replayed"]


def test_an_event_is_explained(groat: Groat) -> None:
    user = person(groat, "explained")
    event = groat.json(
        "charge", user, *SONNET, "--output-tokens", "500", "--cache-read-tokens", "100", "--description", "[bold]chat"
    )["id"]
    groat("refund", user, str(event), "--amount", "0.05", "--reason", "[red]late")
    told = groat("explain", user, str(event))
    assert told.code == 0
    for line in (
        "chat · claude-3-5-sonnet · [bold]chat",
        "anthropic/claude-3-5-sonnet   catalogue, matched exact",
        "$0.01023 x 10 credits per dollar x 1 = 0.1023 credits",
        "balance 100 → 99.8977",
        "0.1023 from lot",
        "0.05 refunded on",
        "[red]late",
    ):
        assert line in told.out, told.out
    assert [
        line.split() for line in told.out.splitlines() if line.strip().startswith(("input", "cache", "output"))
    ] == [
        ["input", "900", "3", "input", "0.0027"],
        ["cache_read", "100", "0.3", "cache_read", "0.00003"],
        ["output", "500", "15", "output", "0.0075"],
    ]
    explained = groat.json("explain", user, str(event))
    assert sum(part["cost"] for part in explained["components"]) == explained["api_cost"]
    assert len(list(csv.DictReader(io.StringIO(groat("explain", user, str(event), "--csv").out)))) == 3


def test_a_flat_price_a_hold_a_debt_and_a_void_are_explained(groat: Groat) -> None:
    user = person(groat, "explained-flat", "1")
    hold = groat.json("hold", "place", user, "--amount", "1")["id"]
    event = str(groat.json("hold", "capture", hold, "--action", "unit", "--quantity", "2.5")["id"])
    told = groat("explain", user, event).out
    assert "1 credits per unit x 2.5 = 2.5 credits" in told
    assert "1.5 from no lot: debt" in told
    assert f"captured {hold} of 1 credits, exceeded" in told
    groat.json("void", user, event, "--reason", "never was")
    voided = groat("explain", user, event).out
    assert f"by {ACTOR}: never was" in voided
    given = str(groat.json("charge", user, "--action", "chat", "--api-cost", "0.01")["id"])
    assert "price from caller" in groat("explain", user, given).out


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["hold", "place", "poor@example.com", "--amount", "6"], 3, "do not cover"),
        (["hold", "place", "poor@example.com"], 1, "either an amount or an action_type"),
        (["hold", "place", "nobody@example.com", "--amount", "6"], 1, "Nobody is known"),
        (["hold", "place", "poor@example.com", "--action", "chat", "--model", "no-such"], 1, "has no price"),
        (["hold", "place", "poor@example.com", "--amount", "1", "--ttl", "86401"], 1, "ttl_seconds"),
        (["hold", "release", "hold_1"], 1, "is no hold"),
        (["hold", "release", "hold_999999_1"], 1, "There is no such hold"),
        (["hold", "renew", "hold_999999_1"], 1, "There is no such hold"),
        (["hold", "list", "poor@example.com", "--state", "lost"], 2, "lost"),
        (["grant", "poor@example.com", "0", "--kind", "promotion"], 1, "amount"),
        (["grant", "poor@example.com", "1"], 2, "--kind"),
        (["adjust", "poor@example.com", "1"], 2, "--reason"),
        (["adjust", "nobody@example.com", "1", "--reason", "r"], 1, "Nobody is known"),
        (["refund", "poor@example.com", "999999", "--reason", "r"], 1, "no such event"),
        (["void", "poor@example.com", "999999", "--reason", "r"], 1, "no such event"),
        (["explain", "poor@example.com", "999999"], 1, "no such event"),
        (["explain", "poor@example.com", "x"], 2, "x"),
    ],
)
def test_what_is_refused_says_why(groat: Groat, command: list[str], code: int, told: str) -> None:
    groat("user", "add", "poor@example.com", "--allowance", "5")
    ended = groat(*command)
    assert (ended.code, ended.out) == (code, ""), ended
    assert told in ended.err
    assert "Traceback" not in ended.err
