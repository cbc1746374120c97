"""`groat up`, `groat serve`, `groat demo`, `groat stop`."""

from __future__ import annotations

import signal
import socket
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from groat_server.cli.output import say
from groat_server.errors import CannotStart, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.http.service import Service
    from groat_server.settings import Settings

_BACKLOG = 1024
_WORKERS_MAX = 64


def up(
    *,
    demo: Annotated[bool, Parameter(negative="", help="Load sample data: 50 users, 90 days.")] = False,
    live: Annotated[bool, Parameter(negative="", help="Add a trickle of new usage.")] = False,
) -> None:
    """Run the service and, unless DATABASE_URL is set, its own PostgreSQL, until interrupted.

    The data lie in GROAT_DATA_DIR, the service listens on GROAT_HOST (loopback unless told) and GROAT_PORT (8000).
    """
    from groat_server.cli.background import service_lock
    from groat_server.operations.sample import load_sample, trickle
    from groat_server.settings import read_settings

    settings = read_settings()
    with _ended_by_sigterm(), service_lock(settings), _listening(settings) as listener, _ledger(settings) as address:
        _prepare(address, settings, demo=demo)
        service = _service(
            address, settings, prepare=load_sample if demo else None, accompany=trickle if live else None
        )
        _announce(settings)
        _run(service, listener)


def serve(
    *,
    workers: Annotated[int, Parameter(help="So many processes, each a service of its own, share the port.")] = 1,
) -> None:
    """Run one more service on the same ledger, on its own GROAT_PORT, until interrupted.

    With workers, one that dies is replaced, and /metrics counts for all of them.
    """
    from groat_server.cli.workers import run_workers
    from groat_server.settings import read_settings

    if not 1 <= workers <= _WORKERS_MAX:
        raise CannotStart(f"--workers takes 1 to {_WORKERS_MAX}.")
    settings = read_settings()
    with _ended_by_sigterm(), _listening(settings) as listener, _ledger(settings) as address:
        if workers == 1:
            _announce(settings)
            _serve(listener, address, settings)
        else:
            _announce(settings, workers)
            run_workers(workers, listener, _serve, address, settings)


def demo() -> None:
    """Start a service with sample data in the background, charge once over HTTP, and show what to try next."""
    from groat_server.cli.background import show_demo
    from groat_server.settings import read_settings

    show_demo(read_settings())


def stop() -> None:
    """Stop the service of this GROAT_DATA_DIR, and with it its PostgreSQL."""
    from groat_server.cli.background import stop_service
    from groat_server.settings import read_settings

    stop_service(read_settings())


def _service(address: Address, settings: Settings, **jobs: Any) -> Service:
    from groat_server.http.service import Service

    return Service(
        address, provider_durability=settings.provider_durability, queue=settings.queue, jwt=settings.jwt, **jobs
    )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind what is inside, as an interrupt does: the embedded PostgreSQL is then gone when we are.

    The web server handles the signal while it runs, and raises it again once it has drained.
    """

    def end(*_: object) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ledger(settings: Settings) -> Iterator[Address]:
    from groat_server.database import ledger_address

    began = time.monotonic()
    with ledger_address(settings) as address:
        if settings.database_url is None:
            say(f"[green]✓[/] embedded PostgreSQL   {time.monotonic() - began:.1f} s")
        yield address


def _prepare(address: Address, settings: Settings, *, demo: bool) -> None:
    import asyncio

    from groat_server.cli.login import login_link, service_url
    from groat_server.operations.ledger import open_ledger
    from groat_server.operations.preparation import prepare
    from groat_server.operations.sample import check_sample

    async def run() -> None:
        migrated = await prepare(address, provider_durability=settings.provider_durability)
        async with open_ledger(address, provider_durability=settings.provider_durability) as ledger:
            if demo:
                await check_sample(ledger)
            say(f"[green]✓[/] PostgreSQL {ledger.server_version}, schema at {migrated.after}")
            with suppress(NotFound):  # there is no administrator before the sample data, or before `groat user add`
                say(f"[green]✓[/] dashboard {await login_link(ledger, service_url(settings))}   (one-time link)")

    asyncio.run(run())


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """Take the port before anything is started, so that a port in use is said at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise CannotStart(
                f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
                "Set GROAT_PORT to a free port."
            ) from error
        listener.listen(_BACKLOG)
        yield listener


def _serve(listener: socket.socket, address: Address, settings: Settings) -> None:
    _run(_service(address, settings), listener)


def _run(service: Service, listener: socket.socket) -> None:
    from groat_server.cli.logs import configure_logs
    from groat_server.http.server import run_server

    configure_logs()
    if not run_server(service, listener):
        raise CannotStart("The service could not start; its log says why.")


def _announce(settings: Settings, workers: int = 1) -> None:
    from groat_server.cli.login import service_url

    by = "" if workers == 1 else f"   {workers} workers"
    say(f"[green]✓[/] service on {service_url(settings)}{by}   API docs at /docs   (Ctrl-C ends it)")
