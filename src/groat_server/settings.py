"""What the environment says, read once into one frozen value and nowhere else.

Only what belongs to a process is here. What all services on a ledger must agree on (prices, default allowance)
is stored in the database.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings.

    `database_url` (DATABASE_URL) absent means the embedded PostgreSQL under `data_dir` (GROAT_DATA_DIR). `schema`
    (GROAT_SCHEMA) is where the tables lie. `host` and `port` (GROAT_HOST, GROAT_PORT) are where the service listens.
    `provider_durability` (GROAT_DURABILITY=provider) trusts a hosted server to keep what it acknowledges without fsync.
    """

    data_dir: Path
    database_url: str | None = None
    schema: str = "public"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    provider_durability: bool = False


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment. Raises CannotStart where a value makes no sense."""
    return Settings(
        data_dir=Path(environment.get("GROAT_DATA_DIR") or _user_data_dir(environment)).expanduser().absolute(),
        database_url=environment.get("DATABASE_URL") or None,
        schema=environment.get("GROAT_SCHEMA") or "public",
        host=environment.get("GROAT_HOST") or "127.0.0.1",
        port=_port(environment.get("GROAT_PORT") or str(DEFAULT_PORT)),
        provider_durability=_durability(environment.get("GROAT_DURABILITY") or "checked"),
    )


def _user_data_dir(environment: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/groat")
    return Path(environment.get("XDG_DATA_HOME") or "~/.local/share") / "groat"


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**16:
        raise CannotStart(f"GROAT_PORT is {text!r}; it takes a port number, 1 to 65535.")
    return int(text)


def _durability(text: str) -> bool:
    if text not in {"checked", "provider"}:
        raise CannotStart(f"GROAT_DURABILITY is {text!r}; it takes 'checked' (default) or 'provider'.")
    return text == "provider"
