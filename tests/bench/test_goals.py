"""The harness says what a run proves: goals met and not met, medians, and when the naive side is too slow to count."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks.charge import judge, void
from benchmarks.harness import Figures, Measured, Verdict
from benchmarks.naive import DRIVERS
from benchmarks.plots import Line, plot
from benchmarks.rollups import cut


def _figures(rate: float) -> Figures:
    return Figures(rate=rate, p50=1.0, p99=2.0, postgres=3.0, backends=2.0, python=1.0, wal=500.0)


def _measured(naive: float) -> Measured:
    sides = {f"naive ({driver}), 64 callers": naive for driver in DRIVERS}
    sides |= {f"naive ({driver}), 64 callers, one user": naive / 2 for driver in DRIVERS}
    sides |= {
        "pgbench, 64 clients, cte": 5000,
        "pgbench, 64 clients, function": 4000,
        "pgbench, 64 clients, one user, cte": 1000,
        "pgbench, 1 client, cte": 2000,
        "pgbench, 32 clients, cte": 6000,
        "COPY, 1,000 rows a transaction": 80_000,
        "COPY, 1,000 rows a transaction, one user": 90_000,
        "groat, 1 caller": 1500,
        "groat, 64 callers": 20_000,
        "groat, 512 callers": 30_000,
        "groat, 64 callers, one user": 30_000,
        "groat, 64 callers, refused": 21_000,
        "groat, 64 callers, replayed": 19_000,
        "groat, batches of 1,000": 30_000,
        "groat, batches of 1,000, 2 callers": 40_000,
        "groat, batches of 1,000, one user": 40_000,
        "groat without roll-ups, 64 callers": 20_500,
        "groat without roll-ups, batches of 1,000": 30_300,
    }
    return Measured({name: [_figures(rate)] for name, rate in sides.items()})


def test_goals_are_ratios_to_the_fastest_of_each_kind() -> None:
    found = {(verdict.goal, verdict.bound): verdict for verdict in judge(_measured(500))}
    assert found["G1", 40].figure == 40
    assert found["G3", 3.5].figure == 4  # 20,000 to the faster script at 64 clients
    assert found["G3", 5].figure == 5  # 30,000 to the best number of clients
    assert found["G4", 0.5].figure == 0.5  # the better of one and two callers
    assert found["G6", 5].figure == pytest.approx(100 * (1 - 20_000 / 20_500))
    assert found["G7", 1].figure == 0.95
    assert not found["G7", 1].is_met


@pytest.mark.parametrize(("naive", "is_void"), [(359, True), (361, False)])
def test_a_run_whose_naive_side_is_too_slow_is_void(naive: float, *, is_void: bool) -> None:
    assert (void(_measured(naive)) is not None) == is_void


def test_a_median_is_of_the_rounds() -> None:
    measured = Measured({"side": [_figures(rate) for rate in (10, 1000, 20)]})
    assert measured.rate("side") == 20


def test_a_bound_is_met_at_the_bound() -> None:
    assert Verdict("G1", "", 40, 40).is_met
    assert not Verdict("G1", "", 39.9, 40).is_met
    assert Verdict("G9", "", 2.5, 2.5, at_least=False).is_met
    assert not Verdict("G9", "", 2.6, 2.5, at_least=False).is_met


def test_roll_ups_are_cut_out_at_their_marks() -> None:
    text = "a;\n-- roll-ups:begin\nb;\n-- roll-ups:end\nc;\n-- roll-ups:begin\nd;\n-- roll-ups:end\n"
    assert cut(text).split() == ["a;", "c;"]
    assert cut("a;") == "a;"


def test_a_plot_is_xml_with_every_line_named() -> None:
    drawn = plot("A <plot>", "x", "y", [Line("one & one", [(1, 10), (64, 1000)]), Line("two", [(1, 11), (64, 1001)])])
    texts = [element.text for element in ET.fromstring(drawn).iter() if element.tag.endswith("text")]  # noqa: S314 - our own
    assert {"A <plot>", "one & one", "two"} <= set(texts)
