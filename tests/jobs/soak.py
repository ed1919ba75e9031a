"""`make soak`: the state machine for as long as is wanted, each round from a seed of its own; then what was endured.

SOAK_MINUTES=30 says how long, SOAK_SEED= runs one round again.
"""

from __future__ import annotations

import os
import secrets
import sys
import time

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Host
from promises import SETTINGS

ROUND = settings(SETTINGS, max_examples=5, stateful_step_count=100)


def main() -> int:
    """Run rounds until the time is over or one fails; return the exit code."""
    minutes, given = float(os.environ.get("SOAK_MINUTES") or 30), os.environ.get("SOAK_SEED")
    deadline, failed = time.monotonic() + 60 * minutes, False
    while not failed and (given or time.monotonic() < deadline):
        number = int(given) if given else secrets.randbelow(1 << 32)
        try:
            run_state_machine_as_test(seed(number)(Host), settings=ROUND)
        except Exception:
            failed = True
            sys.stderr.write(f"\nthe same round again: make soak SOAK_SEED={number}\n\n")
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        if given:
            break
        sys.stderr.write(f"  {Host.tally['steps']} steps, {Host.tally['jobs']} jobs\n")
    for name, count in sorted(Host.tally.items()):
        sys.stdout.write(f"{count:8}  {name}\n")
    sys.stdout.write("       ?  lost or doubled: see above\n" if failed else "       0  lost\n       0  doubled\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
