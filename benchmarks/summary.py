"""All goals of a run in one table, as Markdown, and the two plots.

python -m benchmarks.summary DIRECTORY [--plots DIRECTORY]

The directory has what the scripts have left by `--into`.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.harness import Verdict
from benchmarks.plots import Line, plot

SCRIPTS = ("charge", "http", "live", "reads", "pages", "footprint", "imports", "lots")
_VARIANT = re.compile(r" \((?:asyncpg|psycopg)\)|, (?:cte|function|pipeline)$")
_CALLERS = re.compile(r"^(?P<side>[^,]+), (?P<callers>\d+) (?:callers?|clients?)$")


def read(directory: Path) -> dict[str, dict[str, Any]]:
    """Return what each script has left."""
    files = {name: directory / f"{name}.json" for name in SCRIPTS}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}


def goals(found: dict[str, dict[str, Any]]) -> str:
    """Return the table of goals."""
    verdicts = [Verdict(**each) for kept in found.values() for each in kept["verdicts"]]
    verdicts.sort(key=lambda verdict: (not verdict.goal.startswith("G"), int(verdict.goal.strip("Gitem "))))
    lines = ["| # | measure | goal | figure | |", "| --- | --- | ---: | ---: | --- |"]
    lines += [f"| {' | '.join(verdict.shown())} |" for verdict in verdicts]
    if reason := found.get("charge", {}).get("void"):
        lines.append(f"\n{reason}")
    return "\n".join(lines)


def sides(kept: dict[str, Any]) -> str:
    """Return a table of all sides."""
    lines = [
        "| measured | charges/s | p50 ms | p99 ms | PG CPU µs | Python CPU µs | log B |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, seen in fastest(kept["sides"]).items():
        cells = [f"{seen['rate']:,.0f}", f"{seen['p50']:.2f}", f"{seen['p99']:.2f}", f"{seen['postgres']:.0f}"]
        cells += [f"{seen['python']:.0f}" if seen["python"] else "", f"{seen['wal']:,.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def fastest(kept: dict[str, Any]) -> dict[str, Any]:
    """Return the sides, but of pgbench's scripts and of drivers only the fastest, wherever there are several."""
    best: dict[str, str] = {}
    for name, seen in kept.items():
        plain = _VARIANT.sub("", name)
        if plain not in best or seen["rate"] > kept[best[plain]]["rate"]:
            best[plain] = name
    return {plain: kept[name] for plain, name in best.items()}


def by_callers(kept: dict[str, Any]) -> list[Line]:
    """Return throughput against callers."""
    points: dict[str, list[tuple[float, float]]] = {}
    for name, seen in fastest(kept["sides"]).items():
        if match := _CALLERS.match(name):
            points.setdefault(match["side"], []).append((float(match["callers"]), seen["rate"]))
    return [Line(name, sorted(drawn)) for name, drawn in points.items() if len(drawn) > 1]


def by_events(kept: dict[str, Any]) -> list[Line]:
    """Return the time of reads against events."""
    seconds = {int(events): seen for events, seen in kept["seconds"].items()}
    names = ("overview", "top-consumers", "daily-trend")
    shown = [name for each in names for name in (each, f"{each}, raw")]
    return [Line(name, [(events, seen[name] * 1e3) for events, seen in sorted(seconds.items())]) for name in shown]


def main() -> None:
    """Print, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--plots", type=Path)
    given = parser.parse_args()
    found = read(given.directory)
    print(goals(found))
    for name, kept in found.items():
        if kept["sides"]:
            print(f"\n{name}\n\n{sides(kept)}")
    if given.plots is None:
        return
    given.plots.mkdir(parents=True, exist_ok=True)
    if "charge" in found:
        drawn = plot("Charges a second against callers", "callers", "charges/s", by_callers(found["charge"]))
        (given.plots / "callers.svg").write_text(drawn)
    if "reads" in found:
        drawn = plot("Milliseconds of a read against events", "events", "ms", by_events(found["reads"]))
        (given.plots / "events.svg").write_text(drawn)


if __name__ == "__main__":
    main()
