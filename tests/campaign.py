"""Compares the ledger with its model for longer than a test run should: `make campaign`.

The search is cut into shards, each with a seed and a PostgreSQL of its own. A shard that ends is written down as a line
of JSON, so that a campaign that was stopped (Ctrl-C) goes on where it was. What a shard that failed has printed stands
beside: the shortest course of events that fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DIRECTORY = Path(__file__).parent.parent / ".campaign"
TEST = "tests/operations/test_ledger_against_model.py::test_the_ledger_does_what_the_model_does"
SHARDS = 400
EXAMPLES = 50  # a shard, of 50 steps each: the profile `campaign` of conftest.py


def main() -> int:
    """Run the shards that are still to be run; returns 1 where one has ever failed, 130 where it was stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=SHARDS)
    shards: int = parser.parse_args().shards
    DIRECTORY.mkdir(exist_ok=True)
    ledger = DIRECTORY / "seeds.jsonl"
    done = _read(ledger)
    for seed in range(1, shards + 1):
        if seed in done:
            continue
        began = time.monotonic()
        try:
            done[seed] = _run(seed)
        except KeyboardInterrupt:
            print(f"\nstopped at seed {seed}; the same command goes on there", flush=True)
            return 130
        seconds = round(time.monotonic() - began, 1)
        with ledger.open("a", encoding="utf-8") as lines:
            lines.write(
                json.dumps({"seed": seed, "examples": EXAMPLES, "passed": done[seed], "seconds": seconds}) + "\n"
            )
        verdict = "passed" if done[seed] else f"FAILED: {_output(seed)}"
        print(f"seed {seed} of {shards}: {verdict} ({EXAMPLES} courses of events in {seconds} s)", flush=True)
    failed = [seed for seed, passed in sorted(done.items()) if not passed]
    print(f"{len(done) * EXAMPLES} courses of events; seeds that failed: {failed or 'none'}")
    return int(bool(failed))


def _run(seed: int) -> bool:
    """Run one shard, out of reach of the terminal's Ctrl-C, which is passed on so that its server ends as well."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", f"--hypothesis-seed={seed}", TEST]
    environment = os.environ | {"GROAT_TEST_PROFILE": "campaign"}
    with _output(seed).open("wb") as output:
        shard = subprocess.Popen(command, stdout=output, stderr=output, env=environment, start_new_session=True)
        try:
            passed = shard.wait() == 0
        except KeyboardInterrupt:
            shard.send_signal(signal.SIGINT)
            shard.wait()
            _output(seed).unlink()
            raise
    if passed:
        _output(seed).unlink()
    return passed


def _read(ledger: Path) -> dict[int, bool]:
    lines = ledger.read_text("utf-8").splitlines() if ledger.exists() else []
    return {shard["seed"]: shard["passed"] for shard in map(json.loads, lines)}


def _output(seed: int) -> Path:
    return DIRECTORY / f"seed-{seed}.txt"


if __name__ == "__main__":
    sys.exit(main())
