"""Running an operation from the command line: on DATABASE_URL, or on the embedded server, started if need be."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pydantic import BaseModel

    from groat_server.operations.ledger import Ledger
    from groat_server.operations.users import UserName


def _os_user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container that runs as a number
        return str(os.getuid())


ACTOR = f"cli:{_os_user()}"
"""How the command line is named in the books."""

Result = TypeVar("Result")
Model = TypeVar("Model", bound="BaseModel")


def on_ledger(action: Callable[[Ledger], Awaitable[Result]]) -> Result:
    """Open the ledger, do `action` on it, and return its result."""
    import asyncio

    from groat_server.database import ledger_address
    from groat_server.operations.ledger import open_ledger
    from groat_server.settings import read_settings

    settings = read_settings()

    async def run() -> Result:
        async with open_ledger(address, provider_durability=settings.provider_durability) as ledger:
            return await action(ledger)

    with ledger_address(settings) as address:
        return asyncio.run(run())


def new_key() -> str:
    """Make an idempotency key for an act that was given none."""
    from uuid import uuid4

    return f"cli-{uuid4()}"


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Return `values` (those that are not None) under the rules of the HTTP interface. Raises Unprocessable."""
    from pydantic import ValidationError

    from groat_server.errors import Unprocessable
    from groat_server.http.problems import field_errors

    try:
        return model.model_validate({key: value for key, value in values.items() if value is not None})
    except ValidationError as error:
        raise Unprocessable("This cannot be taken:", members={"errors": field_errors(error.errors())}) from error


def called(name: str) -> UserName:
    """Return the user named on the command line: an id, an e-mail address, or `external:ID`. Raises Unprocessable."""
    from groat_server.errors import Unprocessable
    from groat_server.http.types import user_name

    try:
        if name.startswith("external:"):
            return user_name({"external_id": name.removeprefix("external:")})
        return user_name(int(name) if name.isascii() and name.isdigit() else name)
    except ValueError as error:
        raise Unprocessable(f"{name!r} is no user: give an id, an e-mail address, or external:ID.") from error
