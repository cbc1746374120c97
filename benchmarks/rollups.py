"""Groat without roll-ups, for the measurement of what they cost and for nothing else."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import psycopg

from groat_server.migrations.rights import defined_functions, secure_functions

if TYPE_CHECKING:
    from groat_server.database import Address

_MARKED = re.compile(r"-- roll-ups:begin.*?-- roll-ups:end", re.DOTALL)


def cut(text: str) -> str:
    """Return a definition without what stands between its marks."""
    return _MARKED.sub("", text)


def without_rollups(address: Address) -> None:
    """Install the functions that charge without what keeps the roll-ups, with the same rights as before."""
    folder = files("groat_server.sql").joinpath("definitions")
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".sql")]
    marked = [text for text in texts if cut(text) != text]
    with psycopg.connect(address.url, autocommit=True, options=address.options()) as connection:
        for text in marked:
            connection.execute(cut(text).encode())
        secure_functions(connection, defined_functions(marked))
