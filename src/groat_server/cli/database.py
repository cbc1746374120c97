"""`groat psql` and `groat db …`."""

from __future__ import annotations

import shutil
import subprocess
from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from groat_server.cli.output import say
from groat_server.errors import CannotStart

db = App(name="db", help="Migrate the database, set up a role for the service, or print the URL.")


def psql(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True, help="What psql is given.")]) -> int:
    """Open psql on the ledger; what follows goes to psql, such as -c 'SELECT …' or -f FILE."""
    from groat_server import embedded
    from groat_server.settings import read_settings

    settings = read_settings()
    program = shutil.which("psql")
    if settings.database_url is not None:
        if program is None:
            raise CannotStart("There is no psql on the PATH; install PostgreSQL's client.")
        return _psql(program, settings.database_url, settings.schema, arguments)
    with embedded.hold(settings.data_dir) as server:
        return _psql(program or str(server.binaries / "psql"), server.url, settings.schema, arguments)


def _psql(program: str, url: str, schema: str, arguments: tuple[str, ...]) -> int:
    return subprocess.run([program, _with_schema(url, schema), *arguments], check=False).returncode


@db.command
def migrate(
    *, schema: Annotated[str | None, Parameter(help="The schema of the tables (GROAT_SCHEMA).")] = None
) -> None:
    """Bring the database to the schema of this version; safe beside running services, and again.

    A new ledger gets the prices of the catalogue; prices that are there are left alone (`groat price sync`).
    """
    import asyncio
    from dataclasses import replace

    from groat_server.database import ledger_address
    from groat_server.operations.preparation import prepare
    from groat_server.settings import read_settings

    settings = read_settings()
    settings = replace(settings, schema=schema or settings.schema)
    with ledger_address(settings) as address:
        done = asyncio.run(prepare(address, provider_durability=settings.provider_durability))
    was = "empty" if done.before is None else f"at {done.before}"
    changed = f", {len(done.definitions)} definitions renewed" if done.definitions else ""
    say(f"[green]✓[/] schema at {done.after} (it was {was}{changed})")


@db.command
def roles(
    service_role: Annotated[str, Parameter(help="The role as which the service is to connect; it exists already.")],
    /,
    *,
    schema: Annotated[str | None, Parameter(help="The schema of the tables (GROAT_SCHEMA).")] = None,
) -> None:
    """Give a role what a service needs and no more; run as the owner of the tables. Migrations keep that up.

    It may read every table, write users, tokens, settings and prices, and move credits by the ledger's functions alone.
    """
    from groat_server.database import ledger_address
    from groat_server.migrations import let_service_in
    from groat_server.settings import read_settings

    with ledger_address(read_settings()) as address:
        let_service_in(address.url, service_role, schema=schema or address.schema)
    say(f"[green]✓[/] {service_role} may do what a service needs; set DATABASE_URL to connect as it")


@db.command
def reader(
    role: Annotated[str, Parameter(help="The role as which the tool is to connect; it exists already.")],
    /,
    *,
    schema: Annotated[str | None, Parameter(help="The schema of the tables (GROAT_SCHEMA).")] = None,
) -> None:
    """Let a role read the views v_… and nothing else, for a tool that makes charts; run as the owner of the tables.

    Whatever else the role had of the ledger is taken. Migrations keep that up.
    """
    from groat_server.database import ledger_address
    from groat_server.migrations import let_reader_in
    from groat_server.settings import read_settings

    with ledger_address(read_settings()) as address:
        let_reader_in(address.url, role, schema=schema or address.schema)
    say(f"[green]✓[/] {role} may read the views and nothing else")


@db.command(name="rebuild-rollups")
def rebuild_rollups() -> None:
    """Make the roll-ups again from the events, while charges run, and print what was repaired.

    `groat check rollups_by_hour rollups_by_day rollups_by_user` says beforehand what is wrong.
    """
    from dataclasses import asdict

    from groat_server.cli.session import on_ledger
    from groat_server.operations import rollups

    rebuilt = asdict(on_ledger(rollups.rebuild_rollups))
    repaired = [f"{count:,} {_REBUILT[name]}" for name, count in rebuilt.items() if count]
    say(f"[green]✓[/] roll-ups are what the events say; repaired: {', '.join(repaired) or 'nothing'}")


_REBUILT = {
    "accounts": "newest days of users",
    "user_days": "other days of users",
    "actions": "added-up actions of users' days",
    "hours": "sums of hours",
    "days": "sums of days",
    "users": "counts of a day's users",
    "refunds": "sums of refunds",
}


@db.command
def url() -> None:
    """Print a URL that psql and other clients take; on the embedded server it is the superuser's."""
    from groat_server import embedded
    from groat_server.settings import read_settings

    settings = read_settings()
    if settings.database_url is not None:
        print(_with_schema(settings.database_url, settings.schema))
        return
    with embedded.hold(settings.data_dir) as server:
        print(_with_schema(server.url, settings.schema))


def _with_schema(address: str, schema: str) -> str:
    if schema == "public":
        return address
    joint = "&" if "?" in address else "?"
    return f"{address}{joint}options={quote(f'-csearch_path={schema}')}"
