"""`groat export`: a report as a file, whole or not at all."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

from cyclopts import Parameter

from groat_server.cli.output import say, written_to
from groat_server.cli.reports import NOTHING, Asked
from groat_server.cli.session import on_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

Form = Literal["csv", "xlsx", "parquet"]


def export(
    name: Annotated[str, Parameter(help="The report; `groat report list` names them.")],
    /,
    *,
    asked: Asked = NOTHING,
    csv: Annotated[bool, Parameter(negative="", help="Make CSV.")] = False,
    xlsx: Annotated[bool, Parameter(negative="", help="Make a workbook of Excel.")] = False,
    parquet: Annotated[bool, Parameter(negative="", help="Make Parquet, every digit kept.")] = False,
    file: Annotated[Path | None, Parameter(name=["--output", "-o"], help="Write to this file.")] = None,
    bom: Annotated[bool, Parameter(negative="", help="Begin CSV with the mark of UTF-8, for Excel.")] = False,
) -> None:
    """Write a report to a file, or to standard output; the form is as said, else as the file's name ends, else CSV.

    A file is there when all of it is: nothing is left of one that could not be completed.
    """
    import shutil

    from groat_server.operations.exports import export_report
    from groat_server.operations.reports import find_report

    find_report(name)
    form = _form({"csv": csv, "xlsx": xlsx, "parquet": parquet}, file, bom=bom)
    _refuse_terminal(form, file)
    given = asked.given()
    progress = _Progress()
    with (
        _whole(file) as target,
        progress.shown(),
        on_ledger(lambda ledger: export_report(ledger, name, form, bom=bom, wrote=progress.wrote, **given)) as made,
    ):
        shutil.copyfileobj(made, target)
    if file is not None:
        from rich.markup import escape

        say(f"[green]✓[/] {progress.rows:,} rows in {escape(str(file))}")


def _form(said: dict[str, bool], file: Path | None, *, bom: bool) -> Form:
    """Return the form to write. Raises Unprocessable where several are said, or the file's name tells none."""
    from groat_server.errors import Unprocessable

    chosen = [form for form, is_said in said.items() if is_said]
    if len(chosen) > 1:
        raise Unprocessable(f"A file has one form: say one of {', '.join(f'--{form}' for form in chosen)}.")
    form = chosen[0] if chosen else "csv" if file is None else file.suffix.removeprefix(".").lower()
    if form not in get_args(Form):
        raise Unprocessable(f"{file} does not tell its form: say --csv, --xlsx or --parquet.")
    if bom and form != "csv":
        raise Unprocessable("--bom is for CSV.")
    return cast("Form", form)


def _refuse_terminal(form: Form, file: Path | None) -> None:
    """Raise Unprocessable where bytes that are no text would be written to a terminal."""
    from groat_server.errors import Unprocessable

    if form != "csv" and file is None and sys.stdout.isatty():
        raise Unprocessable(f"{form} is nothing for a terminal: name a file with -o FILE.")


@contextmanager
def _whole(file: Path | None) -> Iterator[BinaryIO]:
    """Lend a file that takes its name when the block is over, and goes if that fails; None: standard output.

    What is no regular file, such as a pipe, is written to as it is. Raises Unprocessable where it cannot be written.
    """
    from groat_server.errors import Unprocessable

    if file is None or (file.exists() and not file.is_file()):
        with written_to(file) as target:
            yield target
        return
    place = file.resolve()  # what a link leads to
    partial = place.with_name(f".{place.name}.{token_hex(4)}.part")
    try:
        with partial.open("xb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        partial.replace(place)
    except OSError as error:
        raise Unprocessable(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)


class _Progress:
    """Tells on a terminal how many rows there are so far."""

    def __init__(self) -> None:
        self.rows = 0
        self._is_seen = sys.stderr.isatty()

    def wrote(self, rows: int) -> None:
        """Note the rows written so far."""
        self.rows = rows
        if self._is_seen:
            sys.stderr.write(f"\r{rows:,} rows")
            sys.stderr.flush()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Take the line away when the block is over."""
        try:
            yield
        finally:
            if self._is_seen:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
