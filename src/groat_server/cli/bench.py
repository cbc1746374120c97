"""`groat bench`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_rows

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from groat_server.bench.http_load import Answered
    from groat_server.bench.sampling import Draw, Sample
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

CALLERS, BATCHERS = 64, 8


@dataclass(frozen=True, slots=True)
class Line:
    """What is printed of one measurement; the times are those of a call, in milliseconds."""

    measured: str
    charges_per_second: int
    p50_ms: float
    p99_ms: float


def bench(
    *,
    seconds: Annotated[float, Parameter(help="How long each figure is measured.")] = 2.0,
    users: Annotated[int, Parameter(help="How many users are charged.")] = 10_000,
    output: Output = TABLE,
) -> None:
    """Measure this machine: charges a second and how long they take, on a temporary PostgreSQL of its own.

    Nothing of your ledger is touched. Each charge is durable when it is answered. The load shares the machine with what
    it measures, so a service that is called from elsewhere does better.
    """
    import uvloop

    from groat_server.bench.sandbox import temporary_server
    from groat_server.database import Address
    from groat_server.errors import Unprocessable

    if not 0 < seconds <= 3600 or not 0 < users <= 1_000_000:  # noqa: PLR2004 - said in the message
        raise Unprocessable("--seconds takes up to 3600, --users up to 1,000,000.")
    with temporary_server() as server:
        lines = uvloop.run(_measure(Address(server.socket_url), users, seconds))
    print_rows(lines, output, title=f"Charges, {users:,} users, PostgreSQL {server.version}")


async def _measure(address: Address, users: int, seconds: float) -> list[Line]:
    from groat_server.bench.sandbox import fill
    from groat_server.operations.ledger import open_ledger

    await fill(address, users)
    async with open_ledger(address) as ledger:
        return await _operations(ledger, users, seconds) + await _http(ledger, address, users, seconds)


async def _operations(ledger: Ledger, users: int, seconds: float) -> list[Line]:
    from groat_server.bench.sampling import Draw, sample, usage_of
    from groat_server.operations.usage import charge

    def charging(draw: Draw, length: int = 1) -> Callable[[], Awaitable[int]]:
        async def one() -> int:
            await charge(ledger, [usage_of(draw.user(), draw.key()) for _ in range(length)])
            return length

        return one

    everybody, somebody = Draw(1, users), Draw(1, 1)
    todo = [
        ("in process, 1 caller", 1, charging(everybody)),
        (f"in process, {CALLERS} callers", CALLERS, charging(everybody)),
        (f"in process, {CALLERS} callers, one user", CALLERS, charging(somebody)),
        ("in process, batches of 1,000", 1, charging(everybody, 1000)),
    ]
    return [_line(name, await sample(callers, seconds, one)) for name, callers, one in todo]


async def _http(ledger: Ledger, address: Address, users: int, seconds: float) -> list[Line]:
    from groat_server.bench.http_load import Load, run_load
    from groat_server.bench.sandbox import running_service, service_token

    token = await service_token(ledger)
    with running_service(address) as (port, _):

        def load(connections: int, last_user: int, batch: int = 1) -> Load:
            return Load(
                port=port,
                path="/api/v1/usage" if batch == 1 else "/api/v1/usage/batch",
                connections=connections,
                seconds=seconds,
                first_user=1,
                last_user=last_user,
                token=token,
                batch=batch,
            )

        todo = [
            ("HTTP, 1 connection", load(1, users)),
            (f"HTTP, {CALLERS} connections", load(CALLERS, users)),
            (f"HTTP, {CALLERS} connections, one user", load(CALLERS, 1)),
            (f"HTTP, {BATCHERS} connections, batches of 100", load(BATCHERS, users, 100)),
        ]
        return [_line(name, await run_load(each)) for name, each in todo]


def _line(name: str, seen: Sample | Answered) -> Line:
    return Line(name, round(seen.rate), round(seen.p50 * 1e3, 2), round(seen.p99 * 1e3, 2))
