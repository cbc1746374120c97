"""`groat tail`: what it prints into pipes and on terminals, how it goes on, and how it ends."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from groat_server.core.usage import Usage
from groat_server.operations.corrections import Void, void_event
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.conftest import fresh_ledger
from tests.operations.ledgers import ask, connect, use
from tests.services import PATIENCE_SECONDS, on_ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from groat_server.database import Address
    from groat_server.embedded import Server

NAMES = (
    "kind,id,recorded_at,timestamp,user_id,email,action_type,model,input_tokens,output_tokens,quantity,credits,"
    "balance_after,event_id,actor"
)
WARNING = "durability is left to the provider: GROAT_DURABILITY=provider\n"  # of the test's server
HOSTILE_EMAIL = "a\x1b]0;owned\x07\x1b[31m[red]b[/red]\u202e\x9b2J\n\r@example.com"
HOSTILE_MODEL = "[bold]\x1b[2J"


@pytest.fixture(scope="module")
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger with two users of some past, one of whom has hostile names; the tests add to it."""
    with fresh_ledger(server, template) as address:

        async def begin(ledger: Ledger) -> None:
            ann = await create_user(ledger, "ann@example.com")
            bob = await create_user(ledger, "bob@example.com")
            for number in range(25):
                await charge(ledger, [use(ann.id, f"ann {number}", 1)])
            await charge(ledger, [use(bob.id, "bob", 2)])
            await charge(ledger, [chat(ann.id, "chat")])

        run(address, begin)
        yield address


def chat(user_id: int, key: str) -> Usage:
    return Usage(
        user_id=user_id, idempotency_key=key, action_type="chat", model="lamp", input_tokens=1200, output_tokens=34
    )


def run(address: Address, action: Callable[[Ledger], Awaitable[object]]) -> None:
    """Do something on the ledger."""

    async def on_it() -> None:
        async with open_ledger(address, provider_durability=True) as ledger:
            await action(ledger)

    asyncio.run(on_it())


def tail(address: Address, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `groat tail` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "groat_server", "tail", *options],
        env={**on_ledger(address), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE_SECONDS,
    )


def book(address: Address, usage: Usage) -> None:
    run(address, lambda ledger: charge(ledger, [usage]))


@contextmanager
def following(address: Address, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `groat tail -f` into a pipe."""
    with subprocess.Popen(
        [sys.executable, "-m", "groat_server", "tail", "-f", *options],
        env=on_ledger(address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_last_twenty_events_stand_a_line_each_oldest_first(address: Address) -> None:
    told = tail(address)
    lines = told.stdout.splitlines()
    assert (told.returncode, told.stderr, len(lines)) == (0, WARNING, 20)
    assert "\x1b" not in told.stdout
    newest = lines[-1].split()
    assert newest[2:] == ["ann@example.com", "chat", "lamp", "1,200+34", *newest[-2:]]
    assert lines[-2].split()[2:] == ["bob@example.com", "unit", "x", "2", "2", "98"]


def test_json_is_one_object_a_line_and_csv_a_row(address: Address) -> None:
    told = tail(address, "--json", "-n", "2")
    bob, ann = (json.loads(line) for line in told.stdout.splitlines())
    assert list(bob) == NAMES.split(",")
    assert (bob["kind"], bob["email"], bob["credits"], bob["model"]) == ("usage", "bob@example.com", 2, None)
    assert (ann["action_type"], ann["model"], ann["input_tokens"]) == ("chat", "lamp", 1200)
    rows = list(csv.DictReader(io.StringIO(tail(address, "--csv", "-n", "2").stdout)))
    assert [row["email"] for row in rows] == ["bob@example.com", "ann@example.com"]
    assert rows[0]["recorded_at"] == bob["recorded_at"]
    assert tail(address, "--csv", "-n", "0").stdout == f"{NAMES}\n"


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--user", "bob@example.com"], 1),
        (["--action", "chat"], 1),
        (["--model", "lamp"], 1),
        (["--action", "unit", "--model", "lamp"], 0),
        (["-n", "3"], 3),
        (["-n", "0"], 0),
    ],
    ids=str,
)
def test_only_what_was_asked_for_is_shown(address: Address, options: list[str], count: int) -> None:
    told = tail(address, *options)
    assert (told.returncode, len(told.stdout.splitlines())) == (0, count)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--user", "nobody@example.com"], "Nobody is known"),
        (["-n", "1001"], "--last takes 0 to 1000"),
        (["-n", "-1"], "--last takes 0 to 1000"),
        (["--action", "No Such"], "action_type"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(address: Address, options: list[str], complaint: str) -> None:
    told = tail(address, *options)
    assert told.returncode == 1
    assert complaint in told.stderr


def test_following_shows_what_is_booked_afterwards_a_line_at_a_time(address: Address) -> None:
    (bob,) = ask(address, "SELECT id FROM users WHERE email = 'bob@example.com'")[0]
    with following(address, "--json", "-n", "1", "--user", "bob@example.com") as process:
        assert process.stdout is not None
        past = json.loads(process.stdout.readline())  # it is subscribed by now
        assert past["email"] == "bob@example.com"
        book(address, use(bob, "followed", 3))
        event = json.loads(process.stdout.readline())
        assert (event["credits"], event["user_id"]) == (3, bob)
        run(
            address,
            lambda ledger: void_event(
                ledger, Void(user_id=bob, key="void", event_id=event["id"], reason="test", actor="cli:test")
            ),
        )
        act = json.loads(process.stdout.readline())
        assert (act["kind"], act["credits"], act["event_id"], act["actor"]) == ("void", 3, event["id"], "cli:test")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert process.stderr.read() == WARNING


def test_a_reader_that_goes_away_ends_it_quietly(address: Address) -> None:
    (ann,) = ask(address, "SELECT id FROM users WHERE email = 'ann@example.com'")[0]
    with following(address, "-n", "1") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        book(address, use(ann, "into the void", 1))
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr.read() == WARNING


def test_following_survives_the_loss_of_its_connection(address: Address) -> None:
    (ann,) = ask(address, "SELECT id FROM users WHERE email = 'ann@example.com'")[0]
    with following(address, "--json", "-n", "1") as process:
        assert process.stdout is not None
        process.stdout.readline()
        ask(
            address,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'groat reports' AND datname = current_database()",
        )
        book(address, use(ann, "after the loss", 7))
        assert json.loads(process.stdout.readline())["credits"] == 7


def on_terminal(address: Address, *options: str, columns: str = "100", **variables: str) -> bytes:
    """Run `groat tail` on a terminal and return all that it sends there."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "groat_server", "tail", *options],
            env={**on_ledger(address), "COLUMNS": columns, "TERM": "xterm", **variables},
            stdin=follower,
            stdout=follower,
            stderr=subprocess.DEVNULL,
        )
        os.close(follower)
        sent = b""
        while True:
            ready, _, _ = select.select([leader], [], [], PATIENCE_SECONDS)
            assert ready, sent
            try:
                part = os.read(leader, 65_536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            sent += part
        assert process.wait(PATIENCE_SECONDS) == 0
        return sent
    finally:
        os.close(leader)


def test_a_terminal_has_colour_and_lines_that_fit_unless_it_says_no(address: Address) -> None:
    coloured = on_terminal(address, "-n", "1", "--user", "bob@example.com", NO_COLOR="")
    assert b"\x1b[2m" in coloured
    for variables in ({"NO_COLOR": "1"}, {"NO_COLOR": "", "TERM": "dumb"}):
        plain = on_terminal(address, "-n", "5", **variables)
        assert b"\x1b" not in plain
        assert {len(line) <= 100 for line in plain.decode().splitlines()} == {True}


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]], ids=str)
def test_hostile_names_steer_no_terminal(server: Server, template: str, form: list[str]) -> None:
    """Taken out: `plain` in cli/live/plain.py."""
    with fresh_ledger(server, template) as hostile:
        ask(hostile, "INSERT INTO users (email) VALUES ('hostile@example.com')")
        ask(hostile, "INSERT INTO action_types (name) VALUES ('unit') ON CONFLICT DO NOTHING")
        (user_id,) = ask(hostile, "SELECT id FROM users")[0]
        book(hostile, use(user_id, "a"))
        with_guards_off(hostile, HOSTILE_EMAIL, HOSTILE_MODEL)
        try:
            sent = on_terminal(hostile, *form, columns="400")
            text = sent.decode().replace("\r\n", "\n")
            assert not [each for each in text if each != "\n" and not each.isprintable()]
            assert "[red]b[/red]" in text
            assert "[bold]" in text
            assert len(text.splitlines()) == (2 if form == ["--csv"] else 1)
            if form == ["--json"]:
                assert json.loads(text)["email"] == HOSTILE_EMAIL
        finally:
            with_guards_off(hostile, "hostile@example.com", None)


def with_guards_off(address: Address, email: str, model: str | None) -> None:
    """Put names into the tables that no surface of ours would take."""
    with connect(address, session_replication_role="replica") as connection:
        connection.execute("UPDATE users SET email = %s", (email,))
        connection.execute("UPDATE user_emails SET email = %s", (email,))
        connection.execute("UPDATE credit_usage_events SET model_used = %s", (model,))
