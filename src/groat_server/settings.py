"""What the environment says, read once into one frozen value and nowhere else.

Only what belongs to a process is here. What all services on a ledger must agree on (prices, default allowance)
is stored in the database.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8000
_COUNT_MAX = 10**12
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtSettings:
    """Whose JWTs are taken: those of `issuer` for `audience`, signed by a key of `keys` (the URL or file of a JWKS).

    `user_by` says what names the user: the claim `sub` as external id, or the claim `email`.
    """

    issuer: str
    audience: str
    keys: str
    user_by: Literal["external_id", "email"] = "external_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How many charges may wait to be written, how many bytes they may take (about), how many are written at once."""

    charges_max: int = 20_000
    bytes_max: int = 64 * 2**20
    batch_max: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings.

    `database_url` (DATABASE_URL) absent means the embedded PostgreSQL under `data_dir` (GROAT_DATA_DIR). `schema`
    (GROAT_SCHEMA) is where the tables lie. `host` and `port` (GROAT_HOST, GROAT_PORT) are where the service listens.
    `provider_durability` (GROAT_DURABILITY=provider) trusts a hosted server to keep what it acknowledges without fsync.
    `jwt` (GROAT_JWT_…) lets users in with tokens of the host application. `queue` (GROAT_QUEUE_CHARGES,
    GROAT_QUEUE_BYTES, GROAT_BATCH_CHARGES) bounds what waits to be written.
    """

    data_dir: Path
    database_url: str | None = None
    schema: str = "public"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    provider_durability: bool = False
    jwt: JwtSettings | None = None
    queue: QueueSettings = QueueSettings()


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment. Raises CannotStart where a value makes no sense."""
    return Settings(
        data_dir=Path(environment.get("GROAT_DATA_DIR") or _user_data_dir(environment)).expanduser().absolute(),
        database_url=environment.get("DATABASE_URL") or None,
        schema=environment.get("GROAT_SCHEMA") or "public",
        host=environment.get("GROAT_HOST") or "127.0.0.1",
        port=_port(environment.get("GROAT_PORT") or str(DEFAULT_PORT)),
        provider_durability=_durability(environment.get("GROAT_DURABILITY") or "checked"),
        jwt=_jwt(environment),
        queue=_queue(environment),
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


def _queue(environment: Mapping[str, str]) -> QueueSettings:
    default = QueueSettings()
    return QueueSettings(
        charges_max=_count(environment, "GROAT_QUEUE_CHARGES", default.charges_max),
        bytes_max=_count(environment, "GROAT_QUEUE_BYTES", default.bytes_max),
        batch_max=_count(environment, "GROAT_BATCH_CHARGES", default.batch_max),
    )


def _count(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= _COUNT_MAX:
        raise CannotStart(f"{name} is {text!r}; it takes a whole number, 1 to {_COUNT_MAX}.")
    return int(text)


def _jwt(environment: Mapping[str, str]) -> JwtSettings | None:
    names = ("GROAT_JWT_ISSUER", "GROAT_JWT_AUDIENCE", "GROAT_JWT_JWKS")
    given = {name: environment[name] for name in names if environment.get(name)}
    if not given:
        return None
    if len(given) < len(names):
        missing = ", ".join(name for name in names if name not in given)
        raise CannotStart(f"To take JWTs, set {missing} too.")
    keys = given["GROAT_JWT_JWKS"]
    url = urlsplit(keys)
    if url.scheme != "https" and not (url.scheme == "http" and url.hostname in _LOOPBACK) and "://" in keys:
        raise CannotStart("GROAT_JWT_JWKS takes an https:// URL or a file: whoever can change the keys can be anybody.")
    user_by = environment.get("GROAT_JWT_USER") or "external_id"
    if user_by not in {"external_id", "email"}:
        raise CannotStart(f"GROAT_JWT_USER is {user_by!r}; it takes 'external_id' (default) or 'email'.")
    return JwtSettings(
        issuer=given["GROAT_JWT_ISSUER"],
        audience=given["GROAT_JWT_AUDIENCE"],
        keys=keys,
        user_by="email" if user_by == "email" else "external_id",
    )
