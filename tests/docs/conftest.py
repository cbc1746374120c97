"""The services that the pages are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.running import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs_blocks import Demo


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Lend a service with sample data that pages may change: settings, prices, roles."""
    with running(["up", "--demo"], tmp_path_factory.mktemp("playground")) as service:
        yield service


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Lend a service whose ledger is empty."""
    with running(["up"], tmp_path_factory.mktemp("fresh")) as service:
        yield service
