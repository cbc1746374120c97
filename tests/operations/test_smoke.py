import pytest
from tests.operations.ledgers import new_user, use, outcomes
from groat_server.operations.usage import charge
pytestmark = pytest.mark.anyio
async def test_x(ledger):
    u = await new_user(ledger)
    r = await charge(ledger, [use(u, "a", 3)])
    print(r)
    assert outcomes(r) == ["recorded"]
