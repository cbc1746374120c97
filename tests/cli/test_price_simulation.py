"""`groat price simulate`: what it prints in each form, and what it makes of files and options."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Groat

FIGURES = [
    "events", "credits_charged", "credits_simulated", "difference", "exceeding", "exceeding_simulated",
    "newly_refused", "newly_accepted", "unpriceable",
]  # fmt: skip


@pytest.fixture(scope="module")
def spender(groat: Groat) -> str:
    """Add a user with 10 credits who has used 6 of them, by an action and a model of their own."""
    groat.json("user", "add", "spender@example.com", "--allowance", "10")
    groat.json("price", "set", "torch", "--input", "1")
    use = ["--action", "simulated", "--model", "torch", "--input-tokens", "600000"]
    groat.json("charge", "spender@example.com", *use, "--key", "one")
    return "spender@example.com"


def test_a_multiplier_is_simulated_for_each_user_action_and_model(groat: Groat, spender: str) -> None:
    found = groat.json("price", "simulate", "--multiplier", "2")
    (user,) = [row for row in found["by_user"] if row["email"] == spender]
    (action,) = [row for row in found["by_action"] if row["action_type"] == "simulated"]
    (model,) = [row for row in found["by_model"] if row["model"] == "torch"]
    for row in (user, action, model):
        assert [row[name] for name in FIGURES] == [1, 6, 12, 6, 0, 1, 1, 0, 0]
    assert found["days"] == 30
    assert [found["total"][name] for name in ("events", "difference")] == [
        sum(row[name] for row in found["by_action"]) for name in ("events", "difference")
    ]


def test_a_file_of_prices_is_simulated_and_an_option_goes_before_it(groat: Groat, spender: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    price = {"kind": "model", "name": "torch", "rates": {"input": "0.25"}}
    file.write_text(json.dumps({"multiplier": 100, "prices": [price]}))
    command = ["price", "simulate", str(file), "--multiplier", "2", "--credits-per-dollar", "20"]
    (row,) = [row for row in groat.json(*command, "--days", "1")["by_user"] if row["email"] == spender]
    assert row["credits_simulated"] == 6
    printed = groat(*command, "--by", "model", "--csv").out
    (of_model,) = [row for row in csv.DictReader(io.StringIO(printed)) if row["model"] == "torch"]
    assert [*of_model] == ["model", *FIGURES]
    assert of_model["credits_simulated"] == "6"


def test_a_table_has_the_total_first(groat: Groat, spender: str) -> None:
    printed = groat("price", "simulate", "--multiplier", "0.5").out
    assert printed.split()[:2] == ["users", "events"]
    assert printed.index("email") < printed.index(spender)
    assert "simulated" in groat("price", "simulate", "--by", "action").out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["absent.json"], "absent.json"),
        (["--multiplier", "x"], "multiplier must be a number"),
        (["--credits-per-dollar", "0"], "credits_per_dollar must not be 0"),
        (["--days", "0"], "days is from 1 to 366"),
        (["--limit", "0"], "limit is from 1"),
    ],
)
def test_what_makes_no_sense_is_refused(groat: Groat, options: list[str], words: str) -> None:
    told = groat("price", "simulate", *options)
    assert (told.code, told.out) == (1, "")
    assert words in told.err
