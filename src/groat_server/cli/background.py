"""The service in the background: who runs it, how `groat demo` begins it and `groat stop` ends it.

Whoever runs `groat up` holds a lock on a file of the data directory with its pid inside. The lock, not the pid,
says whether the service runs, so a pid that the system has given to somebody else is never signalled.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2

from groat_server.cli.login import login_link
from groat_server.cli.output import TABLE, print_rows, say
from groat_server.cli.session import on_ledger
from groat_server.core.credits import trimmed
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from groat_server.operations.ledger import Ledger
    from groat_server.settings import Settings

_START_SECONDS = 120
_STOP_SECONDS = 35
_POLL_SECONDS = 0.1
_LOCK_SECONDS = 1
_ADMIN = "admin@example.com"
_USER = "user@example.com"


@contextmanager
def service_lock(settings: Settings) -> Iterator[None]:
    """Be the service of this data directory. Raises CannotStart where there is one already."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with _lock_file(settings).open("a+") as file:
        # Waits a moment: somebody may be looking whether the lock is held.
        if not _until(lambda: _locked(file.fileno()), _LOCK_SECONDS):
            raise CannotStart(
                f"A service runs in {settings.data_dir} already. `groat stop` ends it; `groat serve` adds another one."
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def stop_service(settings: Settings) -> None:
    """Ask the service to end and wait until it has. Raises CannotStart where it does not."""
    pid = _running_pid(settings)
    if pid is None:
        say("no service is running")
        return
    with suppress(ProcessLookupError):  # it has ended this very moment
        os.kill(pid, signal.SIGTERM)
    if not _until(lambda: _running_pid(settings) is None, _STOP_SECONDS):
        raise CannotStart(f"The service (pid {pid}) has not ended within {_STOP_SECONDS} s; its log may say why.")
    say("[green]✓[/] stopped")


def show_demo(settings: Settings) -> None:
    """Have the service running with sample data, charge once over HTTP, and say what to try next."""
    base = f"http://localhost:{settings.port}"
    if _running_pid(settings) is None:
        _start(settings)
    _await_ready(settings, base)
    _tell_contents()
    token = _admin_token(settings, base)
    _charge_once(base, token)
    _show_balances()
    say(f" Dashboard  {on_ledger(lambda ledger: login_link(ledger, base, _ADMIN))}   (one-time link)")
    say(f" API docs   {base}/docs      Metrics  {base}/metrics")
    say(f" Admin      {_ADMIN}   TOKEN={token}")
    say(f"            (also in {_credentials_file(settings)})      Stop: make stop, or groat stop")


def _start(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with _log_file(settings).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "groat_server", "up", "--demo"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_ready(settings: Settings, base: str) -> None:
    started = time.monotonic()
    has_run = False

    def is_ready() -> bool:
        nonlocal has_run
        has_run = has_run or _running_pid(settings) is not None
        if has_run and _running_pid(settings) is None:
            raise CannotStart(f"The service has ended:\n{_log_tail(settings)}")
        try:
            return httpx2.get(f"{base}/readyz", timeout=5).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    if not _until(is_ready, _START_SECONDS):
        raise CannotStart(f"The service is not ready after {_START_SECONDS} s:\n{_log_tail(settings)}")
    say(f" [green]✓[/] service ready on {base}   {time.monotonic() - started:.1f} s")


def _tell_contents() -> None:
    from groat_server.migrations import head
    from groat_server.operations.reports import run_report

    async def read(ledger: Ledger) -> tuple[str, dict[str, str]]:
        stats = await run_report(ledger, "quick-stats")
        return ledger.server_version, {stat.metric: stat.value for stat in stats}

    version, stats = on_ledger(read)
    say(
        f" [green]✓[/] PostgreSQL {version} · schema {head()} · {stats['Users with Balance']} users with a balance · "
        f"{int(stats['Total Events']):,} events"
    )


def _admin_token(settings: Settings, base: str) -> str:
    """Return the administrator's token from the credentials file, or make one; either way the file has it."""
    token = _kept_token(settings)
    if token is None or not _is_valid(base, token):

        async def make(ledger: Ledger) -> str:
            from groat_server.operations.tokens import create_token
            from groat_server.operations.users import find_user

            made = await create_token(ledger, name="demo", user_id=await find_user(ledger, _ADMIN))
            return made.token

        token = on_ledger(make)
    descriptor = os.open(_credentials_file(settings), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": base, "email": _ADMIN, "token": token}, file)
    return token


def _kept_token(settings: Settings) -> str | None:
    try:
        return str(json.loads(_credentials_file(settings).read_text())["token"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _is_valid(base: str, token: str) -> bool:
    answer = httpx2.get(f"{base}/api/v1/me/credits", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    return answer.status_code == httpx2.codes.OK


def _charge_once(base: str, token: str) -> None:
    body: dict[str, Any] = {
        "user": _USER,
        "action_type": "ai_chat_message",
        "model": "claude-3-5-sonnet",
        "input_tokens": 1000,
        "output_tokens": 500,
        "description": "A first charge",
        "idempotency_key": f"demo-{time.time_ns()}",
    }
    answer = httpx2.post(f"{base}/api/v1/usage", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=30)
    if answer.status_code != httpx2.codes.CREATED:
        raise CannotStart(f"The first charge was not taken: {answer.text}")
    told = json.loads(answer.text, parse_float=Decimal, parse_int=Decimal)
    rates = told["price"]["rates"]
    before = trimmed(told["balance"] + told["credits_charged"])
    say(
        f" [green]✓[/] charged {_USER} {told['credits_charged']} credits   (${told['api_cost']} · "
        f"{told['price']['provider']}/{told['price']['model']} · ${rates['input']}/${rates['output']} per M)   "
        f"balance {before} → {told['balance']}"
    )


def _show_balances() -> None:
    from groat_server.operations.reports import run_report

    rows = on_ledger(lambda ledger: run_report(ledger, "users", limit=5))
    columns = ("email", "current_balance", "current_month_consumed", "total_consumed")
    print_rows(rows, TABLE, columns=columns)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _running_pid(settings: Settings) -> int | None:
    """Return the pid of the service that holds the lock, or None where nobody does."""
    try:
        with _lock_file(settings).open() as file:
            if _locked(file.fileno(), shared=True):
                return None
            return int(file.read() or 0) or None
    except FileNotFoundError:
        return None


def _locked(descriptor: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file(settings: Settings) -> Path:
    return settings.data_dir / "service.pid"


def _log_file(settings: Settings) -> Path:
    return settings.data_dir / "service.log"


def _log_tail(settings: Settings) -> str:
    path = _log_file(settings)
    return path.read_text(errors="replace")[-2000:] if path.exists() else ""


def _credentials_file(settings: Settings) -> Path:
    return settings.data_dir / "credentials.json"
