"""The dashboard's pages at 1 million and 10 million events, over HTTP, as a browser asks for them: p50, p95, bytes.

python -m benchmarks.pages [--small] [--data DIRECTORY]

The service runs in a process of its own. Pages take turns, round by round; the first round warms. With `--data` the
datasets are kept there for the next run; else they are removed.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import httpx2
import uvloop
from rich.table import Table

from benchmarks.dataset import build_in
from benchmarks.harness import Size, Verdict, console, keep, read_size, show_verdicts
from benchmarks.reads import ensure_rollups
from groat_server import embedded
from groat_server.bench.sandbox import running_service
from groat_server.database import Address
from groat_server.migrations import migrate
from groat_server.operations.ledger import open_ledger
from groat_server.operations.preparation import prepare
from groat_server.operations.sessions import sign_in_by_token
from groat_server.operations.tokens import create_token
from groat_server.operations.users import ensure_users, find_user, update_user

EVENTS, SMALL_EVENTS = (1_000_000, 10_000_000), (2_000, 20_000)
_P95_MILLISECONDS = 300
_TIMES = 20  # in a round
_ADMIN = "pages@example.com"
_HEAVIEST = 1  # the user of most events
PAGES = {
    "usage, 30 days": "/ui/usage",
    "usage, 30 days: what comes later": "/ui/usage/later",
    "usage, 7 days by model": "/ui/usage?days=7&group=model",
    "usage, 30 days by user": "/ui/usage?group=user",
    "usage, today": "/ui/usage?days=1",
    "usage, 30 days in Berlin": "/ui/usage?tz=Europe/Berlin",
    "usage, 30 days of one model": "/ui/usage?model=gpt-4o",
    "usage, 30 days of one user": f"/ui/usage?user={_HEAVIEST}",
    "events": "/ui/events",
    "events of one model": "/ui/events?days=30&model=mistral-large",
    "users": "/ui/users",
    "users, by balance": "/ui/users?sort_by=balance",
    "users, searched": "/ui/users?search=99",
    "the heaviest user": f"/ui/users/{_HEAVIEST}",
    "alerts": "/ui/alerts",
    "prices": "/ui/prices",
    "checks": "/ui/checks",
    "reports": "/ui/reports",
    "live": "/ui/live",
    "tokens": "/ui/tokens",
    "audit log": "/ui/audit",
    "sessions": "/ui/sessions",
}

Seen = dict[str, list[float]]


async def _session(address: Address) -> str:
    """Sign an administrator in."""
    async with open_ledger(address) as ledger:
        async with ledger.database.write() as connection:
            await ensure_users(connection, [_ADMIN])
        user_id = await find_user(ledger, _ADMIN)
        await update_user(ledger, user_id, is_admin=True)
        made = await create_token(ledger, name="pages", user_id=user_id)
        return await sign_in_by_token(ledger, made.token, user_agent="benchmark")


def _ask(client: httpx2.Client, size: Size) -> tuple[Seen, dict[str, int]]:
    """Return the seconds that each page took, and its bytes on the wire."""
    seen: Seen = {name: [] for name in PAGES}
    weights: dict[str, int] = {}
    for number in range(-1, size.rounds):
        for name, path in PAGES.items():
            for _ in range(1 if size.is_small else _TIMES):
                started = time.perf_counter()
                with client.stream("GET", path) as answer:
                    content = b"".join(answer.iter_raw())
                if answer.status_code != httpx2.codes.OK:
                    raise RuntimeError(f"{path}: {answer.status_code}")
                if number >= 0:
                    seen[name].append(time.perf_counter() - started)
                weights[name] = len(content)
    return seen, weights


def _p95(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]


async def measure(directory: Path, events: int, size: Size) -> tuple[Seen, dict[str, int]]:
    """Measure one dataset on its own server."""
    if not (directory / "cluster").exists():
        await asyncio.to_thread(build_in, directory, events)
    with embedded.hold(directory) as server:
        address = Address(server.socket_url)
        await asyncio.to_thread(migrate, address.url)
        await prepare(address)
        async with open_ledger(address) as ledger:
            await ensure_rollups(ledger)
        cookies = {"groat_session": await _session(address)}
        with running_service(address) as (port, _):
            base = f"http://127.0.0.1:{port}"
            with httpx2.Client(
                base_url=base, cookies=cookies, headers={"Accept-Encoding": "gzip"}, timeout=120
            ) as client:
                return await asyncio.to_thread(_ask, client, size)


async def main(size: Size, directories: dict[int, Path]) -> None:
    """Measure each dataset, and print what came of it."""
    found = {events: await measure(directory, events, size) for events, directory in directories.items()}
    few, many = sorted(found)
    table = Table(title="Pages: milliseconds, and kilobytes compressed", title_justify="left")
    for name in ("page", f"p50, {few:,}", f"p95, {few:,}", f"p50, {many:,}", f"p95, {many:,}", "ratio of p50", "KB"):
        table.add_column(name, justify="left" if name == "page" else "right")
    for name in PAGES:
        small, large = found[few][0][name], found[many][0][name]
        figures = [statistics.median(small), _p95(small), statistics.median(large), _p95(large)]
        ratio = figures[2] / figures[0]
        table.add_row(
            name, *(f"{figure * 1e3:,.1f}" for figure in figures), f"{ratio:.2f}", f"{found[many][1][name] / 1e3:.1f}"
        )
    console().print(table)
    slowest = max(_p95(seconds) for seconds in found[many][0].values()) * 1e3
    verdicts = [
        Verdict(
            "pages", f"p95 of the slowest page, {many:,} events", slowest, _P95_MILLISECONDS, at_least=False, unit=" ms"
        )
    ]
    show_verdicts(verdicts)
    keep(size, "pages", None, verdicts, seconds={str(events): seen for events, (seen, _) in found.items()})


if __name__ == "__main__":
    chosen, options = read_size(__doc__, ("--data", {"type": Path, "help": "keep the datasets there"}))
    with tempfile.TemporaryDirectory(prefix="groat-pages-") as temporary:
        root = options.data or Path(temporary)
        counts = SMALL_EVENTS if chosen.is_small else EVENTS
        uvloop.run(main(chosen, {count: root / f"events-{count}" for count in counts}))
