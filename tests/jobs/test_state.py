"""The truth table, cell by cell: once as it is written here, once as docs/contract.md publishes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.state import ENDED, HOLES, STATES, Evidence, judge

CONTRACT = Path(__file__).resolve().parents[2] / "docs" / "contract.md"

# answers, attempt, result, due, exit, lock, stop -> state; `!` = with a warning
TABLE = """
no   any  any      any  any    any      any  unreachable
yes  no   any      any  any    any      no   queued
yes  no   any      any  any    any      yes  stopped
yes  yes  valid    any  0      any      any  done
yes  yes  valid    any  not_0  any      any  done!
yes  yes  valid    any  none   held     any  running
yes  yes  valid    any  none   free     any  done!
yes  yes  none     no   0      any      any  done
yes  yes  invalid  no   0      any      any  done!
yes  yes  other    yes  0      any      no   failed
yes  yes  other    yes  0      any      yes  stopped
yes  yes  other    any  not_0  any      no   failed
yes  yes  other    any  not_0  any      yes  stopped
yes  yes  other    any  none   held     any  running
yes  yes  other    any  none   free     no   interrupted
yes  yes  other    any  none   free     yes  stopped
yes  yes  any      any  none   unknown  any  unreachable
"""

Row = tuple[str, ...]
STATUSES = (None, 0, 1, 127, 137, 143, 255)


def cells() -> Iterator[Evidence]:
    """Every combination of evidence."""
    flags = (True, False)
    results, locks = ("valid", "invalid", "none"), ("held", "free", "unknown")
    for values in itertools.product(flags, flags, results, flags, STATUSES, locks, flags):
        reachable, attempt, result, due, status, lock, stop = values
        yield Evidence(reachable, attempt, result, due, status, lock, "proof", stop)


def words(seen: Evidence) -> tuple[set[str], ...]:
    """The words by which a table may call the parts of a cell."""

    def flag(value: bool) -> set[str]:
        return {"any", "yes" if value else "no"}

    status = "none" if seen.exit_status is None else "0" if seen.exit_status == 0 else "not_0"
    result = {"any", seen.result} | (set() if seen.result == "valid" else {"other"})
    lock = {"any", seen.lock}
    return (
        flag(seen.reachable),
        flag(seen.attempt),
        result,
        flag(seen.result_required),
        {"any", status},
        lock,
        flag(seen.stop),
    )


def look_up(rows: list[Row], seen: Evidence) -> str:
    found = [row[-1] for row in rows if all(cell in said for cell, said in zip(row[:-1], words(seen), strict=True))]
    assert len(found) == 1, f"{len(found)} rows for {seen}"
    return found[0]


def published() -> list[Row]:
    """The table in the contract."""
    lines = CONTRACT.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| host answers |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [tuple(cell.strip().strip("`").replace(" ", "_") for cell in row.strip("|").split("|")) for row in rows]


@pytest.mark.parametrize("source", ["test", "docs/contract.md"])
def test_every_cell_has_one_row_and_its_state(source: str) -> None:
    written = [tuple(line.split()) for line in TABLE.strip().splitlines()]
    rows = written if source == "test" else published()
    count = 0
    for seen in cells():
        verdict = judge(seen)
        assert verdict.state + "!" * bool(verdict.warning) == look_up(rows, seen), seen
        count += 1
    assert count == 2 * 2 * 3 * 2 * len(STATUSES) * 3 * 2


def test_every_row_is_needed() -> None:
    rows = published()
    used = {row for row in rows for seen in cells() if all(c in w for c, w in zip(row[:-1], words(seen), strict=True))}
    assert used == set(rows)


def test_silence_is_never_death() -> None:
    """Without a record, nothing but a free lock ends an attempt."""
    unproved = [seen for seen in cells() if seen.attempt and seen.exit_status is None and seen.lock != "free"]
    assert not [seen for seen in unproved if judge(seen).state in ENDED]


def test_an_unreachable_host_tells_nothing() -> None:
    assert {judge(seen).state for seen in cells() if not seen.reachable} == {"unreachable"}


def test_every_verdict_has_a_known_state_and_a_reason() -> None:
    verdicts = [judge(seen) for seen in cells()]
    assert {verdict.state for verdict in verdicts} == set(STATES)
    assert all(verdict.reason for verdict in verdicts)
    assert HOLES < ENDED < set(STATES)


def test_reasons_name_the_evidence() -> None:
    lost = judge(Evidence(lock="free", proof="the host was booted since"))
    assert lost.reason == "ended without a record (proof: the host was booted since)"
    assert judge(Evidence(exit_status=1, failure="bad data: x")).reason == "bad data: x"
    assert judge(Evidence(result="valid", exit_status=3)).warning.endswith("exit status 3")
    assert lost.to_json() == {"state": "interrupted", "reason": lost.reason, "warning": ""}
