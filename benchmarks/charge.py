"""Charging: Groat's operations against naive service code, PyPI peers, pgbench and COPY, on one durable server.

python -m benchmarks.charge [--small] [--peers PYTHON]

Groat has a database of its own, whose books are checked at the end; all others share one with the same tables, and a
third one has Groat without roll-ups.
"""

from __future__ import annotations

from collections import deque
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.engine import COPIED, SCRIPTS, Pgbench, copier
from benchmarks.harness import (
    CALLERS,
    MANY_CALLERS,
    Measured,
    Meter,
    Side,
    Size,
    Verdict,
    beside,
    in_turn,
    keep,
    on_server,
    read_size,
    show,
    show_verdicts,
)
from benchmarks.naive import DRIVERS, naive_charger
from benchmarks.peers import PEERS, peer
from benchmarks.rollups import without_rollups
from groat_server.bench.sampling import Draw, sample, usage_of
from groat_server.bench.sandbox import fill
from groat_server.core.outcomes import Outcome
from groat_server.operations.checks import run_checks
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.usage import charge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from groat_server.bench.sampling import Sample
    from groat_server.database import Address
    from groat_server.embedded import Server

FEW_CALLERS = 8
PGBENCH_CLIENTS = (1, FEW_CALLERS, 32, CALLERS)
ROLLED = {f"groat{kind}, {name}" for kind in ("", " without roll-ups") for name in ("64 callers", "batches of 1,000")}
VOID_BELOW = 0.06  # of pgbench's best: a naive side as slow as that is not honest, and the run is void
_REPEATED = 20_000  # charges that are remembered, to be repeated


class Groat:
    """Groat's own sides. Users 1 to `users` have credits, as many after them have none."""

    def __init__(self, ledger: Ledger, users: int) -> None:
        self._ledger = ledger
        self._spread, self._empty = Draw(1, users), Draw(users + 1, 2 * users)
        self._hot = Draw(1, 1)
        self._charged: deque[tuple[int, str]] = deque(maxlen=_REPEATED)
        self.recorded = 0

    async def _one(self, draw: Draw, *, enforce: bool, outcome: Outcome) -> int:
        user_id, key = draw.user(), draw.key()
        (receipt,) = await charge(self._ledger, [usage_of(user_id, key, enforce=enforce)])
        if receipt.outcome is not outcome:
            raise RuntimeError(f"{receipt.outcome} where {outcome} was due")
        if outcome is Outcome.RECORDED:
            self.recorded += 1
            self._charged.append((user_id, key))
        return 1

    async def spread(self, callers: int, seconds: float, *, enforce: bool = False) -> Sample:
        """Measure single charges over all users."""
        one = partial(self._one, self._spread, enforce=enforce, outcome=Outcome.RECORDED)
        return await sample(callers, seconds, one)

    async def hot(self, callers: int, seconds: float, *, enforce: bool = False) -> Sample:
        """Measure single charges of one user."""
        return await sample(callers, seconds, partial(self._one, self._hot, enforce=enforce, outcome=Outcome.RECORDED))

    async def refused(self, callers: int, seconds: float) -> Sample:
        """Measure charges of users who have no credits."""
        one = partial(self._one, self._empty, enforce=True, outcome=Outcome.INSUFFICIENT_CREDITS)
        return await sample(callers, seconds, one)

    async def replayed(self, callers: int, seconds: float) -> Sample:
        """Measure repeats of charges that were made before."""

        async def one() -> int:
            user_id, key = self._charged[0]
            self._charged.rotate(1)
            (receipt,) = await charge(self._ledger, [usage_of(user_id, key)])
            if receipt.outcome is not Outcome.REPLAYED:
                raise RuntimeError(f"{receipt.outcome} where a replay was due")
            return 1

        return await sample(callers, seconds, one)

    async def batches(self, length: int, callers: int, seconds: float, *, hot: bool = False) -> Sample:
        """Measure batches of so many charges."""
        draw = self._hot if hot else self._spread

        async def one() -> int:
            receipts = await charge(self._ledger, [usage_of(draw.user(), draw.key()) for _ in range(length)])
            self.recorded += sum(receipt.outcome is Outcome.RECORDED for receipt in receipts)
            return length

        return await sample(callers, seconds, one)


def groat_sides(groat: Groat) -> list[Side]:
    """Return what is measured of Groat."""
    batches = groat.batches
    return [
        Side("groat, 1 caller", partial(groat.spread, 1)),
        Side(f"groat, {FEW_CALLERS} callers", partial(groat.spread, FEW_CALLERS)),
        Side(f"groat, {CALLERS} callers", partial(groat.spread, CALLERS)),
        Side(f"groat, {MANY_CALLERS} callers", partial(groat.spread, MANY_CALLERS)),
        Side(f"groat, {CALLERS} callers, one user", partial(groat.hot, CALLERS)),
        Side(f"groat, {CALLERS} callers, enforced", partial(groat.spread, CALLERS, enforce=True)),
        Side(f"groat, {CALLERS} callers, one user, enforced", partial(groat.hot, CALLERS, enforce=True)),
        Side(f"groat, {CALLERS} callers, refused", partial(groat.refused, CALLERS)),
        Side(f"groat, {CALLERS} callers, replayed", partial(groat.replayed, CALLERS)),
        Side("groat, batches of 100", partial(batches, 100, 1)),
        Side("groat, batches of 1,000", partial(batches, 1000, 1)),
        Side("groat, batches of 1,000, 2 callers", partial(batches, 1000, 2)),
        Side("groat, batches of 1,000, one user", partial(batches, 1000, 1, hot=True)),
    ]


def naive_sides(charger: Callable[[int, str], Awaitable[object]], driver: str, users: int) -> list[Side]:
    """Return what is measured of the naive code."""
    spread, hot = Draw(1, users), Draw(1, 1)

    def side(callers: int, draw: Draw) -> Callable[[float], Awaitable[Sample]]:
        async def one() -> int:
            await charger(draw.user(), draw.key())
            return 1

        return lambda seconds: sample(callers, seconds, one)

    name = f"naive ({driver})"
    return [
        Side(f"{name}, 1 caller", side(1, spread)),
        Side(f"{name}, {FEW_CALLERS} callers", side(FEW_CALLERS, spread)),
        Side(f"{name}, {CALLERS} callers", side(CALLERS, spread)),
        Side(f"{name}, {MANY_CALLERS} callers", side(MANY_CALLERS, spread)),
        Side(f"{name}, {CALLERS} callers, one user", side(CALLERS, hot)),
    ]


def pgbench_sides(pgbench: Pgbench, size: Size) -> list[Side]:
    """Return what is measured of pgbench: every script, at each number of clients."""
    sides = []
    users = size.users
    for clients in (1, CALLERS) if size.is_small else PGBENCH_CLIENTS:
        for script in SCRIPTS:
            name = f"pgbench, {clients} client{'s' if clients > 1 else ''}, {script}"
            sides.append(Side(name, partial(pgbench.run, script, clients, (1, users)), is_python=False))
    for script in SCRIPTS:
        name = f"pgbench, {CALLERS} clients, one user, {script}"
        sides.append(Side(name, partial(pgbench.run, script, CALLERS, (1, 1)), is_python=False))
    return sides


def peer_sides(name: str, run: Callable[[int, tuple[int, int], float], Awaitable[Sample]], users: int) -> list[Side]:
    """Return what is measured of a peer."""
    return [
        Side(f"{name}, 1 caller", partial(run, 1, (1, users)), is_python=False),
        Side(f"{name}, {CALLERS} callers", partial(run, CALLERS, (1, users)), is_python=False),
        Side(f"{name}, {CALLERS} callers, one user", partial(run, CALLERS, (1, 1)), is_python=False),
    ]


def copy_sides(copy: Callable[[Draw, float], Awaitable[Sample]], users: int) -> list[Side]:
    """Return what is measured of COPY."""
    return [
        Side(f"COPY, {COPIED:,} rows a transaction", partial(copy, Draw(1, users))),
        Side(f"COPY, {COPIED:,} rows a transaction, one user", partial(copy, Draw(1, 1))),
    ]


def beside_each_other(sides: list[Side]) -> list[Side]:
    """Return the sides in an order in which those that are compared with each other are neighbours."""

    def kind(side: Side) -> tuple[str, bool]:
        name = side.name.partition(", ")[2].replace("client", "caller")
        return "batch" if "batch" in name or "row" in name else name.partition(" caller")[0], "one user" in name

    return sorted(sides, key=kind)


def fastest_driver(measured: Measured) -> str:
    """Return the name of the naive side with the faster driver."""
    return max(
        (f"naive ({driver})" for driver in DRIVERS), key=lambda name: measured.rate(f"{name}, {CALLERS} callers")
    )


def base_of(measured: Measured, name: str) -> str:
    """Return the side of naive code that a side is compared with."""
    naive = fastest_driver(measured)
    first = name.replace("client", "caller").replace("callers", "caller")
    callers = next((count for count in (1, FEW_CALLERS, MANY_CALLERS) if f", {count} caller" in first), CALLERS)
    user = ", one user" if "one user" in name else ""
    wanted = f"{naive}, {callers} caller{'s' if callers > 1 else ''}{user}"
    return wanted if wanted in measured.samples else f"{naive}, {CALLERS} callers{user}"


def judge(measured: Measured) -> list[Verdict]:
    """Return the goals of charging."""
    at_64, at_512, hot = (f"groat, {name}" for name in ("64 callers", "512 callers", "64 callers, one user"))
    naive = fastest_driver(measured)
    batches = max(("groat, batches of 1,000", "groat, batches of 1,000, 2 callers"), key=measured.rate)
    copy, copy_hot = f"COPY, {COPIED:,} rows a transaction", f"COPY, {COPIED:,} rows a transaction, one user"
    # One connection's backend has the whole charge; batches come one after another.
    spent, spent_hot, copied, copied_hot = (
        measured.median(name).backends
        for name in ("groat, batches of 1,000", "groat, batches of 1,000, one user", copy, copy_hot)
    )
    pgbench_hot = measured.best(f"pgbench, {CALLERS} clients, one user")
    spread_only = [name for name in measured.samples if name.startswith("pgbench") and "one user" not in name]
    pgbench_64 = max((name for name in spread_only if ", 64 clients" in name), key=measured.rate)
    pgbench_best = max(spread_only, key=measured.rate)
    seen, alone = measured.median(at_64), measured.median("groat, 1 caller")
    single = min((name for name in spread_only if ", 1 client," in name), key=lambda name: measured.median(name).p50)
    accepted = f"groat, {CALLERS} callers"
    refusals = min(measured.ratio(f"{accepted}, {kind}", accepted) for kind in ("refused", "replayed"))
    return [
        Verdict("G1", "64 callers, 10,000 users, against naive", measured.ratio(at_64, f"{naive}, 64 callers"), 40),
        Verdict(
            "G2", "64 callers, one user, against naive", measured.ratio(hot, f"{naive}, 64 callers, one user"), 150
        ),
        Verdict("G2", "one user against 10,000 users", measured.ratio(hot, at_64), 1),
        Verdict("G3", f"64 callers against {pgbench_64}", measured.ratio(at_64, pgbench_64), 3.5),
        Verdict("G3", f"512 callers against {pgbench_best}", measured.ratio(at_512, pgbench_best), 5),
        Verdict("G3", f"one user against {pgbench_hot}", measured.ratio(hot, pgbench_hot), 28),
        Verdict("G4", f"{batches.removeprefix('groat, ')} against COPY", measured.ratio(batches, copy), 0.5),
        Verdict("G5", "PostgreSQL CPU a charge against COPY", spent / copied, 1.8, at_least=False),
        Verdict("G5", "the same, one user", spent_hot / copied_hot, 1.4, at_least=False),
        Verdict("G6", "roll-ups' cost, 64 callers", _cost(measured, "64 callers"), 5, at_least=False, unit=" %"),
        Verdict(
            "G6", "roll-ups' cost, batches of 1,000", _cost(measured, "batches of 1,000"), 3, at_least=False, unit=" %"
        ),
        Verdict("G7", "refusals and replays against accepted", refusals, 1),
        Verdict(
            "G8", "one charge alone against pgbench, p50", alone.p50 / measured.median(single).p50, 1.3, at_least=False
        ),
        Verdict("G9", "p99 against p50 at 64 callers", seen.p99 / seen.p50, 2.5, at_least=False),
    ]


def _cost(measured: Measured, name: str) -> float:
    """Return by how many per cent roll-ups lower the rate."""
    return 100 * (1 - measured.ratio(f"groat, {name}", f"groat without roll-ups, {name}"))


def void(measured: Measured) -> str | None:
    """Return why the run proves nothing, if it does not."""
    naive = measured.rate(f"{fastest_driver(measured)}, {CALLERS} callers")
    best = measured.rate(measured.best("pgbench"))
    if naive < VOID_BELOW * best:
        return f"VOID: the naive side reaches {100 * naive / best:.1f} % of pgbench, less than {100 * VOID_BELOW:.0f} %"
    return None


async def gate(ledger: Ledger, recorded: int) -> Verdict:
    """Check the books, and that there are as many events as receipts (G19): the figure is what is wrong."""
    async with ledger.database.read() as connection:
        found = await connection.execute("SELECT count(*) FROM credit_usage_events")
        events = (await found.fetchone() or (0,))[0]
    results = await run_checks(ledger, statement_timeout="1h")
    wrong = [f"{result.name}: {result.count}" for result in results if result.verdict == "fail"]
    if wrong or events != recorded:
        print(f"the books are wrong: {events} events of {recorded} receipts; {wrong}")
    return Verdict(
        "G19", f"books wrong after {recorded:,} charges", len(wrong) + (events != recorded), 0, at_least=False, unit=""
    )


async def main(size: Size, python: Path | None, server: Server, address: Address) -> None:
    """Make the databases, measure, print, check."""
    plain, bare = beside(address, "plain"), beside(address, "bare")
    async with AsyncExitStack() as stack:
        for each in (address, bare, plain):
            await fill(each, size.users)
        await fill(address, size.users, allowance=0)
        without_rollups(bare)
        ledger = await stack.enter_async_context(open_ledger(address))
        other = await stack.enter_async_context(open_ledger(bare))
        groat, groat_bare = Groat(ledger, size.users), Groat(other, size.users)
        meter = Meter(address.url)
        groat.recorded = meter.ask("SELECT count(*) FROM credit_usage_events")
        stack.callback(meter.close)
        sides = groat_sides(groat)
        sides += [
            Side("groat without roll-ups, 64 callers", partial(groat_bare.spread, CALLERS)),
            Side("groat without roll-ups, batches of 1,000", partial(groat_bare.batches, 1000, 1)),
        ]
        sides += [side for side in sides[::-1] if side.name in ROLLED]  # a difference of a few per cent: twice a round
        for driver in DRIVERS:
            charger = await stack.enter_async_context(naive_charger(plain, driver))
            sides += naive_sides(charger, driver, size.users)
        sides += pgbench_sides(Pgbench(server.binaries, plain), size)
        sides += copy_sides(await stack.enter_async_context(copier(plain)), size.users)
        for name in PEERS if python else ():
            run = await stack.enter_async_context(peer(python or Path(), name, beside(address, "peers"), size.users))
            sides += peer_sides(name, run, size.users)
        measured = await in_turn(beside_each_other(sides), meter, size)
        show("Charges, medians; ratio: to the naive side", measured, lambda name: base_of(measured, name))
        verdicts = [*judge(measured), await gate(ledger, groat.recorded)]
    show_verdicts(verdicts)
    sync = machine.sync_seconds() * 1e3
    print(f"to make a page durable takes {sync:.2f} ms here")
    reason = void(measured)
    if reason:
        print(reason)
    keep(size, "charge", measured, verdicts, void=reason, sync_ms=sync)


if __name__ == "__main__":
    found, options = read_size(__doc__, ("--peers", {"type": Path, "help": "the Python that has the peers installed"}))
    on_server(partial(main, found, options.peers))
