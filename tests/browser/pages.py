"""What the tests of several pages have in common: how a page must look, what it says, and hostile texts to show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import httpx2

from groat_server.core.usage import Usage
from groat_server.operations.prices import set_price, set_pricing
from groat_server.operations.reports import bind
from groat_server.operations.tokens import create_token
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user, find_user
from tests.browser.conftest import ADMIN, DESKTOP, PHONE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from playwright.sync_api import Page

    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

REQUESTS_MAX = 3
LOOKS: Sequence[tuple[int, Literal["light", "dark"]]] = [
    (width, theme) for width in (DESKTOP, PHONE) for theme in ("light", "dark")
]
HOSTILE = "<script>document.title='hacked'</script><b onclick=x>\"'&{{7*7}}"
FORMULA = "=cmd|'/c calc'!A1"

# Each width and each theme by axe-core, not each of one in each of the other.
_EXAMINED = {(DESKTOP, "light"), (PHONE, "dark")}

_CELLS = """
(selector) => [...document.querySelectorAll(`${selector} tbody tr`)].map((row) => [...row.cells].map((cell) => {
  const exact = cell.querySelector('data, time');
  return exact ? exact.value ?? exact.dateTime : cell.innerText.trim();
}))
"""


def cells(page: Page, selector: str) -> list[list[str]]:
    """Return a table's rows: of figures and times the exact values, of other cells the text."""
    found: list[list[str]] = page.evaluate(_CELLS, selector)
    return found


def figure(page: Page, selector: str) -> Decimal:
    """Return the exact value of the figure in an element."""
    value = page.locator(f"{selector} data").first.get_attribute("value")
    assert value is not None
    return Decimal(value)


def looks_right(somebody: Visitor, path: str, name: str) -> None:
    """Open a page at both widths in both themes, keep the pictures, and hold each against what all pages keep."""
    for width, theme in LOOKS:
        somebody.turn_to(width, theme)
        somebody.goto(path)
        is_right(somebody, name, width, theme)
        assert len([url for url in somebody.requests if "/ui/static/" not in url]) <= REQUESTS_MAX


def is_right(somebody: Visitor, name: str, width: int, theme: str) -> None:
    """Keep the picture of the page as it is, and hold it against what all pages keep."""
    page = somebody.page
    somebody.picture(f"{name}-{theme}-{width}")
    if (width, theme) in _EXAMINED:
        violations = somebody.violations()
        assert violations == [], "\n".join(violations)
    assert page.locator("h1").count() == 1
    assert page.evaluate("document.documentElement.classList.contains('dark')") == (theme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def is_harmless(page: Page, *texts: str) -> None:
    """Hold that these texts stand on a page as texts, and that nothing of them was run."""
    shown = page.locator("main").inner_text()
    for text in texts:
        assert text in shown
    assert page.title() != "hacked"
    assert page.locator("main script:not([type='application/json']), main [onclick], main img[onerror]").count() == 0


@dataclass(frozen=True)
class Api:
    """Somebody who asks by the API."""

    url: str
    token: str

    def text(self, path: str, **query: object) -> str:
        """Return what an address answers."""
        parameters = {name: str(value) for name, value in query.items()}
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx2.get(f"{self.url}{path}", params=parameters or None, headers=headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.text

    def get(self, path: str, **query: object) -> Any:
        """Return the JSON that an address answers."""
        return json.loads(self.text(path, **query), parse_float=Decimal)


_tokens: dict[str, str] = {}


def api(site: Site) -> Api:
    """Return an administrator who asks by the API."""

    async def make(ledger: Ledger) -> str:
        return (await create_token(ledger, name="tests", user_id=await find_user(ledger, ADMIN))).token

    if site.url not in _tokens:
        _tokens[site.url] = site.ask(make)
    return Api(site.url, _tokens[site.url])


def told(site: Site, name: str, **given: Any) -> list[dict[str, Any]]:
    """Return a report's rows as the API tells them, having held them against the report's published SQL."""

    async def published(ledger: Ledger) -> Sequence[Any]:
        query = await bind(ledger, name, **given)
        async with ledger.database.read() as connection:
            return await query.published.all(connection, **query.values)

    rows: list[dict[str, Any]] = api(site).get(f"/api/v1/admin/reports/{name}", **given)["rows"]
    expected = [
        {column: getattr(row, column) for column in told_row} for row, told_row in _pairs(site.ask(published), rows)
    ]
    assert [{column: _comparable(value) for column, value in row.items()} for row in rows] == [
        {column: _comparable(value) for column, value in row.items()} for row in expected
    ]
    return rows


def _pairs(found: Sequence[Any], rows: Sequence[dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    return list(zip(found, rows, strict=True))


def _comparable(value: Any) -> str:
    """Return a value as text that is equal for what means the same, in JSON and in Python."""
    match value:
        case None | bool() | str():
            return str(value)
        case int() | Decimal():
            return f"{Decimal(value).normalize():f}"
        case list():
            return str(value)
    return str(value.isoformat()).replace("+00:00", "Z")


@dataclass(frozen=True)
class HostileUser:
    """A user whose texts are hostile, with an event of an unpriced model whose name is so too, and a dear one."""

    user_id: int
    email: str
    full_name: str
    model: str
    description: str
    unpriced_event_id: int
    dear_event_id: int


_made: dict[str, HostileUser] = {}


def hostile_user(site: Site) -> HostileUser:
    """Return the hostile user of this site."""
    if site.url not in _made:
        _made[site.url] = site.ask(_make_hostile)
    return _made[site.url]


async def _make_hostile(ledger: Ledger) -> HostileUser:
    email = "<script>document.title='hacked'</script>\"'&@example.com"
    model = f"{HOSTILE} model"
    user = await create_user(ledger, email, full_name=f"{HOSTILE} name", monthly_allowance=Decimal(1000))
    metadata: Mapping[str, Any] = {HOSTILE: [HOSTILE, {"x": FORMULA}]}
    async with ledger.database.act("tests") as connection:
        await set_pricing(connection, unknown_model="unpriced")
    usage = Usage(
        user_id=user.id,
        idempotency_key=str(uuid4()),
        action_type="hostile",
        model=model,
        input_tokens=1,
        description=f"{HOSTILE} described",
        metadata=metadata,
    )
    (unpriced,) = await charge(ledger, [usage])
    async with ledger.database.act("tests") as connection:
        await set_pricing(connection, unknown_model="reject")
        await set_price(
            connection, kind="action", name="hostile_dear", rates={"credits_per_use": 5}, note=f"{HOSTILE} note"
        )
    (dear,) = await charge(
        ledger,
        [
            Usage(
                user_id=user.id,
                idempotency_key=str(uuid4()),
                action_type="hostile_dear",
                model=model,
                description=FORMULA,
                metadata=metadata,
            )
        ],
    )
    assert unpriced.booking is not None
    assert dear.booking is not None
    events = (unpriced.booking.event_id, dear.booking.event_id)
    return HostileUser(user.id, email, f"{HOSTILE} name", model, f"{HOSTILE} described", *events)
