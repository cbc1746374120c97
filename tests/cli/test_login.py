"""`groat login`: the link that signs an administrator in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.services import on_ledger

if TYPE_CHECKING:
    from groat_server.database import Address
    from tests.cli.conftest import Groat


@pytest.fixture
def groat(groat: Groat, ledger_address: Address) -> Groat:
    """Run commands on a ledger of the test's own, where nobody is an administrator yet."""
    return replace(groat, variables=on_ledger(ledger_address))


def test_without_an_administrator_it_says_what_to_do(groat: Groat) -> None:
    refused = groat("login")
    assert (refused.code, "groat user add you@example.com --admin" in refused.err) == (1, True)


def test_it_prints_a_link_of_the_first_administrator_or_of_another(groat: Groat) -> None:
    groat.json("user", "add", "plain@example.com")
    for email in ("first@example.com", "second@example.com"):
        groat.json("user", "add", email, "--admin")
    links = [groat("login"), groat("login", "second@example.com", "--url", "https://groat.example.com/")]
    assert [link.code for link in links] == [0, 0]
    assert re.fullmatch(r"http://localhost:\d+/\?login=[\w-]{43}\n", links[0].out)
    assert re.fullmatch(r"https://groat\.example\.com/\?login=[\w-]{43}\n", links[1].out)
    made = groat.json("audit", "--act", "login_link_made")
    assert [act["email"] for act in made] == ["second@example.com", "first@example.com"]


def test_nobody_else_is_signed_in_by_a_link(groat: Groat) -> None:
    groat.json("user", "add", "nobody@example.com")
    assert groat("login", "nobody@example.com").code == 1
    assert groat("login", "unknown@example.com").code == 1
