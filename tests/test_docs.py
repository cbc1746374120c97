"""The documents agree with the code and with each other."""

from __future__ import annotations

import ast
import re
import tomllib
from inspect import getsource
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from groat_server import settings
from groat_server.cli import app
from groat_server.core.outcomes import OperationOutcome, Outcome
from groat_server.core.scopes import Scope
from groat_server.core.usage import Usage
from groat_server.database import Address
from groat_server.errors import InsufficientCredits
from groat_server.http.application import create_app
from groat_server.http.ledger_shaping import operation_refusal
from groat_server.http.metrics import Gauges
from groat_server.http.service import Service
from groat_server.http.shaping import refusal
from groat_server.operations.checks import CHECKS
from groat_server.operations.reports import REPORTS
from groat_server.operations.usage import Receipt
from tests.docs_blocks import (
    DOCUMENTS,
    LANGUAGES,
    NOT_RUN,
    ROOT,
    Demo,
    Reader,
    blocks_of,
    demo,
    inline_code,
    prose_of,
    text_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cyclopts import App

__all__ = ["demo"]

_GENERATED = {"docs/api.md", "docs/cli.md"}
"""Pages that are made from the code; tests/docs/test_reference.py compares them with it."""

FOLLOWED = ("docs/client.md", "docs/dashboard.md", "docs/http.md", "docs/operations.md")

_DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
_COMMAND = re.compile(r"(?:^|[\s(|;\"'])(?:\.venv/bin/)?groat(?= |$)((?: [^\s|;&()\"'<>]+)*)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


# --- they run


@pytest.mark.parametrize("document", FOLLOWED)
def test_every_block_works(document: str, demo: Demo, tmp_path: Path) -> None:
    Reader(demo, tmp_path).follow(document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_of_a_kind_that_the_tests_know(document: str) -> None:
    """Pages that are not followed have no blocks that would be run."""
    followed = {"README.md", *FOLLOWED, "docs/guide.md"}
    # Those that tests/docs runs.
    followed |= {"docs/tutorial.md", "docs/cookbook.md", *(name for name in DOCUMENTS if "/howto/" in name)}
    known = LANGUAGES if document in followed else {"text", "console"}
    if document in _GENERATED:
        known = {"text", "json"}
    assert {block.language for block in blocks_of(document)} <= known


def test_few_blocks_are_not_run() -> None:
    """Sessions that install something or never end, and drawings: each is a page's choice, so they are counted."""
    blocks = [block for document in DOCUMENTS if document not in _GENERATED for block in blocks_of(document)]
    idle = [
        str(block)
        for block in blocks
        if block.language == "text"
        or (block.language == "console" and all(NOT_RUN.match(f"{command} ") for command in block.commands))
    ]
    assert len(idle) <= 5, idle
    assert len(blocks) - len(idle) >= 40


# --- what they name is really there


def _mentions(document: str) -> list[str]:
    lines = [*inline_code(document), *(line for block in blocks_of(document) for line in block.commands)]
    return [match[1] for line in lines for match in _COMMAND.finditer(line)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_flag_exists(document: str) -> None:
    for mention in _mentions(document):
        words = mention.split()
        _, apps, rest = app.parse_commands(words)
        command = apps[-1]
        assert not _is_group(command) or not rest or rest[0].startswith(("-", "…")), f"groat{mention}: no such command"
        if command.name[-1] == "psql":
            continue  # the rest is psql's
        for flag in (word.split("=")[0] for word in rest if word.startswith("--")):
            assert flag in _flags(command), f"groat{mention}: {flag}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_flag_that_stands_alone_is_one_of_some_command(document: str) -> None:
    known = {flag for command in _all_commands(app) for flag in _flags(command)}
    for flag in (code.split()[0] for code in inline_code(document) if code.startswith("--")):
        assert flag in known, flag


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [*inline_code(document), *(line for block in blocks_of(document) for line in block.commands)]
    named = {match[1] for line in lines if (match := re.match(r"make ([a-z-]+)", line))}
    assert named <= targets


def test_every_command_is_in_the_documents() -> None:
    mentioned = {" ".join(mention.split()) for document in DOCUMENTS for mention in _mentions(document)}
    for command in _all_commands(app):
        if not _is_group(command):
            path = " ".join((*_path(command),))
            assert any(f"{mention} ".startswith(f"{path} ") for mention in mentioned), f"groat {path} is nowhere"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    for target in _LINK.findall(prose_of(document)):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert found.exists(), target
        assert found.is_relative_to(ROOT), target
        if anchor:
            assert anchor in {_anchor(heading) for heading in _HEADING.findall(found.read_text())}, target


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name != "CHANGELOG.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    named = re.compile(r"(?:src|docs|tests|client|requirements|\.ci)/[\w./-]+")
    for code in inline_code(document):
        if named.fullmatch(code):
            assert (ROOT / code).exists(), code


# --- lists agree


def _table(document: str, header: str) -> list[list[str]]:
    """Return the rows of the table whose first heading is `header`."""
    lines = iter(text_of(document).splitlines())
    next(line for line in lines if line.startswith(f"| {header} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def test_the_outcomes_are_all_described_in_order_of_precedence() -> None:
    assert [row[0].strip("` ") for row in _table("docs/outcomes.md", "Outcome")] == [
        outcome.value for outcome in Outcome
    ]


def test_the_other_verbs_outcomes_are_all_described_in_order_of_precedence() -> None:
    assert [row[0].strip("` ") for row in _table("docs/outcomes.md", "Other outcome")] == [
        outcome.value for outcome in OperationOutcome
    ]


@pytest.mark.parametrize("row", _table("docs/outcomes.md", "Other outcome"), ids=lambda row: row[0].strip("` "))
def test_another_verbs_outcome_has_the_status_that_its_page_says(row: list[str]) -> None:
    outcome = OperationOutcome(row[0].strip("` "))
    repeatable = {OperationOutcome.UNTRACKED, OperationOutcome.RENEWED, OperationOutcome.RELEASED}
    done = 200 if outcome in repeatable else 201
    assert int(row[1]) == (operation_refusal(outcome).status if outcome.is_refusal else done)


@pytest.mark.parametrize("row", _table("docs/outcomes.md", "Outcome"), ids=lambda row: row[0].strip("` "))
def test_an_outcome_has_the_status_that_its_page_says(row: list[str]) -> None:
    outcome = Outcome(row[0].strip("` "))
    usage = Usage(user_id=1, idempotency_key="k", action_type="a")
    accepted = {Outcome.RECORDED: 201, Outcome.REPLAYED: 200, Outcome.UNTRACKED: 200}
    if outcome in accepted:
        status = accepted[outcome]
    elif outcome is Outcome.INSUFFICIENT_CREDITS:
        status = InsufficientCredits.status
    else:
        status = refusal(Receipt(outcome, usage)).status
    assert int(row[1]) == status


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_every_setting_is_described(document: str) -> None:
    read = {
        node.value
        for node in ast.walk(ast.parse(getsource(settings)))
        if isinstance(node, ast.Constant) and re.fullmatch(r"GROAT_[A-Z_]+|DATABASE_URL", str(node.value))
    }
    assert read == {row[0].strip("` ") for row in _table(document, "Variable")}


def test_every_variable_that_is_named_is_read_somewhere() -> None:
    sources = "".join(
        path.read_text() for place in ("src", "client/src", "tests") for path in (ROOT / place).rglob("*.py")
    )
    for document in DOCUMENTS:
        for name in re.findall(r"\bGROAT_[A-Z_]*[A-Z]\b", text_of(document)):
            assert name in sources, f"{document}: {name}"


def test_every_check_is_described() -> None:
    assert tuple(row[0].strip("` ") for row in _table("docs/operations.md", "Check")) == CHECKS


def test_every_metric_is_described() -> None:
    registry = CollectorRegistry()
    Gauges(registry)
    helped = re.findall(r"^# HELP (\w+) ", generate_latest(registry).decode(), re.MULTILINE)
    named = [re.sub(r"\{.*\}", "", row[0].strip("` ")) for row in _table("docs/operations.md", "Metric")]
    assert sorted(named) == sorted(name for name in helped if not name.endswith("_created"))


def test_every_scope_is_described() -> None:
    assert sorted(row[0].strip("` ") for row in _table("docs/http.md", "Scope")) == sorted(Scope)


def test_every_route_is_described_and_every_described_route_exists() -> None:
    document = create_app(Service(Address("postgresql://nowhere"))).openapi()
    routes = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    described = set()
    for row in _table("docs/http.md", "Route"):
        first = ""
        for route in re.findall(r"`([^`]+)`", row[0]):
            if " " in route:
                first = route
            described.add(route if " " in route else f"{first.rpartition('/')[0]}{route}")
    assert described == routes


def test_every_report_of_the_guides_table_is_a_report() -> None:
    five = {row[0].strip("` ").partition("/")[0] for row in _table("docs/guide.md", "Endpoint")}
    assert five - {"user"} <= set(REPORTS)


def test_the_layers_are_those_of_the_linter() -> None:
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in configured if contract["type"] == "layers")
    drawn = next(block.text for block in blocks_of("docs/architecture.md") if block.language == "text")
    assert [line.strip() for line in drawn.splitlines()[2:]] == layers


# --- decisions


def test_the_decisions_are_numbered_without_gaps_and_listed() -> None:
    assert [int(path.name[:4]) for path in _DECISIONS] == list(range(1, len(_DECISIONS) + 1))
    listed = re.findall(r"^\| \[\d{4}\]\(([^)]+)\)", text_of("docs/decisions/README.md"), re.MULTILINE)
    assert listed == [path.name for path in _DECISIONS]


@pytest.mark.parametrize("path", _DECISIONS, ids=lambda path: path.name[:4])
def test_a_decision_is_one_page_of_four_parts(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.name[:4]}: ")
    assert _HEADING.findall(text)[1:] == ["Context", "Decision", "Consequences", "Measured"]
    assert len(text.splitlines()) <= 70


# --- the command line


def _all_commands(parent: App) -> list[App]:
    """Return every command below `parent`, groups included."""
    found = []
    for name in parent:
        if name.startswith("-"):
            continue
        child = parent[name]
        found += [child, *_all_commands(child)]
    return found


def _is_group(command: App) -> bool:
    return command.default_command is None


def _flags(command: App) -> set[str]:
    if _is_group(command):
        return {"--help"}
    arguments = command.assemble_argument_collection()
    return {name for argument in arguments for name in argument.names if name.startswith("--")} | {
        "--help",
        "--version",
    }


def _path(command: App) -> tuple[str, ...]:
    """Return the words that call a command: its own name, under the group that it belongs to."""
    for group in (app, *_all_commands(app)):
        for name in group:
            if group[name] is command:
                return (*(() if group is app else _path(group)), name)
    raise AssertionError(command.name)
