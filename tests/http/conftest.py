"""One service on one ledger for all tests over HTTP, an administrator's client, and users to charge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import fresh_ledger
from tests.http.api import Api
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.embedded import Server
    from tests.services import Service


@pytest.fixture(scope="session")
def shared_ledger(server: Server, template: str) -> Iterator[Address]:
    """Lend the ledger of all tests that need none of their own; it is audited when the last of them is over."""
    with fresh_ledger(server, template) as address:
        yield address


@pytest.fixture(scope="session")
def service(shared_ledger: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service on the shared ledger."""
    with serving(shared_ledger, tmp_path_factory.mktemp("service")) as (running,):
        yield running


@pytest.fixture(scope="session")
def api(service: Service, shared_ledger: Address) -> Iterator[Api]:
    """Lend a client of that service with an administrator's token."""
    with Api.as_admin(service.url, shared_ledger) as client:
        yield client
