"""The command line: thin over the same operations as the service.

Commands are imported when they are called, and import what they run when they run, so that `--help` is quick.

Exit codes: 0 done, 1 refused or a check failed, 2 the command line makes no sense, 3 not enough credits, 130 stopped.
"""

from __future__ import annotations

import sys

from cyclopts import App, CycloptsError

from groat_server import __version__
from groat_server.errors import GroatError, InsufficientCredits

app = App(
    name="groat",
    version=__version__,
    help="The credit ledger and monitor for AI applications.",
    help_format="plaintext",  # markdown would cost a quarter of a second of imports
    help_epilogue="Exit codes: 0 done, 1 refused or a check failed, 2 bad command line, 3 not enough credits.",
)

_here = __name__

app.command(
    f"{_here}.service:up", name="up", help="Run the service and, unless DATABASE_URL is set, its own PostgreSQL."
)
app.command(f"{_here}.service:serve", name="serve", help="Run one more service on the same ledger.")
app.command(
    f"{_here}.service:demo", name="demo", help="Start a service with sample data in the background, and charge once."
)
app.command(f"{_here}.service:stop", name="stop", help="Stop the service that `demo` or `up` has started.")
app.command(f"{_here}.login:login", name="login", help="Print a link that signs an administrator in to the dashboard.")
app.command(f"{_here}.usage:charge", name="charge", help="Charge one use of AI to a user.")
app.command(f"{_here}.usage:estimate", name="estimate", help="Price one use of AI without charging it.")
app.command(f"{_here}.usage:import_", name="import", help="Charge a file of past usage (CSV or JSONL), each row once.")
app.command(f"{_here}.holds:hold", name="hold", help="Set credits aside before a use, then capture or release them.")
app.command(f"{_here}.ledger:grant", name="grant", help="Give a user credits that were bought or are a present.")
app.command(f"{_here}.ledger:adjust", name="adjust", help="Correct a user's balance by hand, for a reason.")
app.command(f"{_here}.ledger:refund", name="refund", help="Give back what an event has cost, or a part of it.")
app.command(f"{_here}.ledger:void", name="void", help="Take an event out of the books that should not have been.")
app.command(f"{_here}.ledger:lots", name="lots", help="List a user's lots, with what is left of each.")
app.command(f"{_here}.explain:explain", name="explain", help="Explain why an event was charged what it was.")
app.command(f"{_here}.people:user", name="user", help="Add, list, show, change and anonymise users.")
app.command(f"{_here}.people:token", name="token", help="Create, list, rotate and revoke access tokens.")
app.command(f"{_here}.people:audit", name="audit", help="Show who did what by way of administration.")
app.command(f"{_here}.prices:price", name="price", help="List, set and synchronise prices.")
app.command(f"{_here}.settings:settings", name="settings", help="Show or change what all services share.")
app.command(f"{_here}.reports:report", name="report", help="Show a report.")
app.command(f"{_here}.export:export", name="export", help="Write a report to a file: CSV, XLSX or Parquet.")
app.command(f"{_here}.grafana:grafana", name="grafana", help="Make a dashboard and alert rules for Grafana.")
app.command(f"{_here}.tail:tail", name="tail", help="Show what was booked last, and go on with --follow.")
app.command(f"{_here}.top:top", name="top", help="Watch who uses how much, live.")
app.command(f"{_here}.statements:balance", name="balance", help="Tell a user's balance as it was at an instant.")
app.command(f"{_here}.statements:statement", name="statement", help="Make a user's statement of a period.")
app.command(f"{_here}.reports:check", name="check", help="Check the books; exits with 1 where they are wrong.")
app.command(
    f"{_here}.bench:bench", name="bench", help="Measure how many charges this machine takes, on a temporary PostgreSQL."
)
app.command(f"{_here}.database:psql", name="psql", help="Open psql on the ledger.")
app.command(
    f"{_here}.database:db", name="db", help="Migrate the database, make roll-ups anew, let a role in, print the URL."
)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        result = app(exit_on_error=False, print_error=True)
    except CycloptsError:
        sys.exit(2)
    except InsufficientCredits as error:
        _complain(error)
        sys.exit(3)
    except GroatError as error:
        _complain(error)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has gone (`groat report users | head`): end quietly, also when Python flushes at its exit.
        sys.stdout = None  # nothing more is printed
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)


def _complain(error: GroatError) -> None:
    print(f"groat: {error.detail}", file=sys.stderr)
    problems = error.members.get("errors")
    for problem in problems if isinstance(problems, list) else ():
        print(f"  {problem['field']}: {problem['message']}", file=sys.stderr)
