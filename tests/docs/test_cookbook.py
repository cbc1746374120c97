"""Each recipe of the SQL cookbook runs, only reads, has the columns that the page says, and finds what is there."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.docs.running import printed
from tests.docs_blocks import text_of

if TYPE_CHECKING:
    from tests.docs_blocks import Demo

_DOCUMENT = "docs/cookbook.md"
_SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_GIVES = re.compile(r"^Gives (.+?)\.$", re.MULTILINE | re.DOTALL)
_AGED = {"Holds that are open too long": "UPDATE credit_holds SET created_at = created_at - interval '1 hour';"}
"""What only time does, done in the recipe's own transaction, which is rolled back."""

_USE = ["--action", "ai_chat_message", "--model", "claude-3-5-sonnet"]


@dataclass(frozen=True)
class Recipe:
    """A question, its query, and the columns that the page promises."""

    title: str
    query: str
    columns: list[str]


def _recipes() -> list[Recipe]:
    recipes = []
    for title, text in _SECTION.findall(text_of(_DOCUMENT)):
        (query,), (columns,) = _BLOCK.findall(text), _GIVES.findall(text)
        recipes.append(Recipe(title, query, re.findall(r"`(\w+)`", columns)))
    return recipes


_RECIPES = _recipes()


@pytest.fixture(scope="module")
def kitchen(playground: Demo) -> Demo:
    """Add to the sample data what its users never do: buy, be refunded, hold, overspend, fall silent."""

    def groat(*words: str) -> str:
        return printed(playground, ["groat", *words])

    def charge(user: str, *words: str) -> str:
        lines = groat("charge", user, *words, "--csv").splitlines()
        return next(csv.DictReader(lines))["id"]

    def days_ago(days: int) -> list[str]:
        return ["--occurred-at", (datetime.now(UTC) - timedelta(days=days)).isoformat()]

    for name in ("cook", "quiet", "sudden"):
        groat("user", "add", f"{name}@example.com", "--allowance", "10")
    groat("grant", "cook@example.com", "100", "--kind", "purchase", "--cost-basis", "0.08", "--reason", "invoice 1")
    later = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    groat("grant", "cook@example.com", "20", "--kind", "promotion", "--expires-at", later, "--reason", "welcome")
    cut_off = charge("cook@example.com", *_USE, "--input-tokens", "400000")
    groat("refund", "cook@example.com", cut_off, "--amount", "1", "--reason", "answer was cut off")
    mistaken = charge("cook@example.com", *_USE, "--input-tokens", "1000")
    groat("void", "cook@example.com", mistaken, "--reason", "charged by a test")
    charge("cook@example.com", *_USE, "--input-tokens", "1000000")
    groat("hold", "place", "cook@example.com", *_USE, "--max-output-tokens", "10")
    charge("user@example.com", *_USE, "--input-tokens", "1", "--key", "msg_cookbook")
    charge("quiet@example.com", *_USE, "--input-tokens", "1000", *days_ago(20))
    charge("sudden@example.com", *_USE, "--input-tokens", "1000", *days_ago(20))
    charge("sudden@example.com", *_USE, "--input-tokens", "400000")
    groat("price", "set", "gpt-4.1", "--provider", "openai", "--input", "1", "--output", "4", "--note", "contract")
    charge("cook@example.com", "--action", "code_review", "--model", "gpt-4.1", "--input-tokens", "1000")
    groat("price", "book", "--unknown-model", "unpriced")
    charge("cook@example.com", "--action", "ai_chat_message", "--model", "made-up-model", "--input-tokens", "1000")
    groat("price", "book", "--unknown-model", "reject")
    return playground


def _rows(service: Demo, recipe: Recipe) -> list[list[str]]:
    """Run a recipe in a transaction that cannot write; return its header and its rows."""
    script = f"BEGIN;{_AGED.get(recipe.title, '')} SET TRANSACTION READ ONLY;\n{recipe.query}\nROLLBACK;\n"
    command = ["psql", "-X", "-q", "--csv", "-v", "ON_ERROR_STOP=1", service.database_url]
    return list(csv.reader(io.StringIO(printed(service, command, script))))


def _recipe(title: str) -> Recipe:
    return next(recipe for recipe in _RECIPES if recipe.title == title)


def test_there_are_enough_recipes_and_no_two_of_a_name() -> None:
    titles = [recipe.title for recipe in _RECIPES]
    assert len(titles) == len(set(titles)) == len(_BLOCK.findall(text_of(_DOCUMENT)))
    assert len(titles) >= 20


@pytest.mark.parametrize("recipe", _RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_has_the_columns_that_the_page_says_and_finds_something(recipe: Recipe, kitchen: Demo) -> None:
    header, *rows = _rows(kitchen, recipe)
    assert header == recipe.columns
    assert rows
    assert any(value for value in rows[0])


def test_what_is_recognised_expired_and_outstanding_is_what_was_sold(kitchen: Demo) -> None:
    """Outstanding is what lots have left now; taking what they had at their last boundary makes this test fail."""
    header, row = _rows(kitchen, _recipe("Revenue recognised, and what we still owe"))
    figures = dict(zip(header, map(Decimal, row), strict=True))
    parts = ("recognised_dollars", "expired_dollars", "outstanding_dollars")
    assert sum(figures[part] for part in parts) == figures["sold_dollars"]
    buyers = "SELECT DISTINCT user_id FROM credit_lots WHERE kind = 'purchase' AND cost_basis IS NOT NULL"
    left = sum(
        Decimal(str(lot["remaining"]))
        for user in printed(kitchen, ["psql", "-XAtc", buyers, kitchen.database_url]).split()
        for lot in json.loads(printed(kitchen, ["groat", "lots", user, "--json"]))
        if lot["kind"] == "purchase" and lot["cost_basis"] is not None
    )
    assert 0 < figures["recognised_dollars"] < figures["sold_dollars"]
    assert figures["outstanding_credits"] == round(left, 2)


def test_margin_is_what_was_charged_less_what_it_cost(kitchen: Demo) -> None:
    header, *rows = _rows(kitchen, _recipe("What is our margin, model by model?"))
    charged, cost, margin = (header.index(name) for name in ("charged_dollars", "cost_dollars", "margin_dollars"))
    for row in rows:
        assert abs(Decimal(row[charged]) - Decimal(row[cost]) - Decimal(row[margin])) <= Decimal("0.01")


def test_a_timeline_has_no_gap(kitchen: Demo) -> None:
    recipe = _recipe("Everything that happened to one user")
    query = recipe.query.replace("user@example.com", "cook@example.com")
    header, *rows = _rows(kitchen, Recipe(recipe.title, query, recipe.columns))
    versions = [int(row[header.index("version")]) for row in rows]
    assert versions == list(range(len(versions), 0, -1))
    assert {"void", "refund", "purchase"} <= {row[header.index("what")] for row in rows}
