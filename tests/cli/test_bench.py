"""`groat bench` measures on a server of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from groat_server.cli.bench import bench
from groat_server.cli.output import Output
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from pathlib import Path


def test_it_tells_charges_a_second_of_every_way_to_charge(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")  # the ledger, which it leaves alone
    monkeypatch.setenv("GROAT_DATA_DIR", str(tmp_path))
    bench(seconds=0.1, users=10, output=Output(json=True))
    lines = json.loads(capsys.readouterr().out)
    assert [line["measured"].split(",")[0] for line in lines] == ["in process"] * 4 + ["HTTP"] * 4
    assert all(line["charges_per_second"] > 0 and 0 < line["p50_ms"] <= line["p99_ms"] for line in lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("said", [{"seconds": 0}, {"seconds": 4000}, {"users": 0}, {"users": 10**7}])
def test_it_takes_reasonable_figures_only(said: dict[str, float]) -> None:
    with pytest.raises(Unprocessable):
        bench(**said)  # type: ignore[arg-type] # a table of different parameters
