"""`groat top`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from groat_server.cli.session import on_ledger

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger
    from groat_server.settings import Settings

_SIZE = 128, 32
_SERVICE_SECONDS = 1.0


def top(
    *,
    screenshot: Annotated[Path | None, Parameter(help="Write one picture (SVG) and end.")] = None,
) -> None:
    """Watch who uses how much: credits a minute, the last minutes, today, balances. Full screen, until `q`.

    s sorts (c by credits, b by balance, e by e-mail), / searches, space pauses, enter shows a user's newest events.
    """
    from groat_server.errors import Unprocessable
    from groat_server.settings import read_settings

    if screenshot is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Unprocessable("`groat top` needs a terminal; `groat tail` and `groat report` print.")
    settings = read_settings()

    async def run(ledger: Ledger) -> None:
        from groat_server.cli.live.app import Top

        if screenshot is None:
            await Top(ledger, service=lambda: _service_state(settings)).run_async()
            return
        app = Top(ledger, service=lambda: _service_state(settings), look_seconds=0)

        async def take(_: Any) -> None:
            await app.look()
            await app.animator.wait_until_complete()
            app.save_screenshot(screenshot.name, str(screenshot.parent))
            app.exit()

        await app.run_async(headless=True, size=_SIZE, auto_pilot=take)

    on_ledger(run)


async def _service_state(settings: Settings) -> str:
    """Say whether the service of this machine answers."""
    import httpx2

    from groat_server.cli.login import service_url

    url = service_url(settings)
    try:
        async with httpx2.AsyncClient(timeout=_SERVICE_SECONDS) as client:
            answer = await client.get(f"{url}/readyz")
    except httpx2.TransportError:
        return f"no service on {url}"
    return f"service on {url}" if answer.status_code == httpx2.codes.OK else f"service on {url} is not ready"
