"""From run folders into the index: everything once, by offset, whoever asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ground import Ground, until

from orchestrator.collect import fresh_index, index_path, known_index, refresh
from orchestrator.config import Settings
from orchestrator.fleet import Fleet
from orchestrator.store import Index

JOB = """
for step in 1 2 3; do
  echo '{"seq":'$step',"t":2.0,"kind":"metrics","step":'$step',"values":{"loss":0.5}}'
done >> "$ORCH_RUN/events.jsonl"
echo '{"contract":1,"values":{"score":1}}' > "$ORCH_RUN/result.json"
"""


@pytest.fixture
def settings(ground: Ground) -> Settings:
    return Settings({}, ground.environment, ground.project)


@pytest.fixture
def swept(ground: Ground) -> Iterator[Ground]:
    """Two sweeps that have ended, of which no index knows."""
    ground.write("job.sh", JOB)
    for name in ("a", "b"):
        ground.write(f"sweeps/{name}.yaml", 'command: [sh, job.sh, "{n}"]', "grid: {n: [1, 2]}")
        assert ground.orch("sweep", name).code == 0
    ground.settle()
    for path in ground.index.parent.iterdir():
        path.unlink()
    return ground


def test_news_come_once(swept: Ground, settings: Settings) -> None:
    with Fleet.open(settings, ["local"]) as fleet, Index.open(swept.index) as index:
        first = refresh(fleet, index)
        assert len(first.spans) == 2 and min(first.spans.values()) >= 0  # both sweeps have the same cells
        assert {len(curves["loss"].values) for curves in index.metrics("a").values()} == {3}
        assert refresh(fleet, index).spans == {}
    with Fleet.open(settings, ["local"]) as fleet, Index.open(swept.index) as index:
        assert refresh(fleet, index).spans == {}  # another connection: the index says what it has
        assert [row.name for row in index.sweeps()] == ["a", "b"]
        assert {row.state for row in index.jobs()} == {"done"}


def test_only_the_sweeps_that_are_asked_for(swept: Ground, settings: Settings) -> None:
    with Fleet.open(settings, ["local"]) as fleet, Index.open(swept.index) as index:
        refresh(fleet, index, ["b"])
        assert [row.name for row in index.sweeps()] == ["b"]
        refresh(fleet, index)
        assert [row.name for row in index.sweeps()] == ["a", "b"]


def test_two_collectors_at_once_write_the_same_rows(swept: Ground, settings: Settings) -> None:
    with (
        Fleet.open(settings, ["local"]) as one,
        Fleet.open(settings, ["local"]) as two,
        Index.open(swept.index) as left,
        Index.open(swept.index) as right,
    ):
        refresh(one, left)
        refresh(two, right)
        assert left.content() == right.content()
        assert len(left.scores("a")) == 2


def test_events_that_come_later_are_added(ground: Ground, settings: Settings) -> None:
    script = 'cat part1 >> "$ORCH_RUN/events.jsonl"; while ! test -e go; do sleep 0.02; done; '
    ground.sweep("s", script + 'cat part2 >> "$ORCH_RUN/events.jsonl"')
    line = '{{"seq":{0},"t":1.0,"kind":"metrics","step":{0},"values":{{"loss":0.5}}}}'
    ground.write("part1", *(line.format(n) for n in range(3)))
    ground.write("part2", *(line.format(n) for n in range(3, 5)))
    assert ground.orch("sweep", "s", "--detach").code == 0
    with Fleet.open(settings, ["local"]) as fleet, Index.open(ground.index) as index:
        until(lambda: steps(fleet, index) == [0, 1, 2], what="the first part")
        assert index.jobs("s")[0].state == "running"
        ground.write("go")
        until(lambda: steps(fleet, index) == [0, 1, 2, 3, 4], what="the second part")


def steps(fleet: Fleet, index: Index) -> list[int]:
    refresh(fleet, index)
    return [step for curves in index.metrics("s").values() for step in curves["loss"].steps]


def test_the_index_of_last_time(swept: Ground, settings: Settings) -> None:
    assert known_index(settings) is None
    with fresh_index(settings) as (fleet, index):
        assert index.path == index_path(settings, fleet.first.home_id) == swept.index
    assert known_index(settings) == swept.index
    assert Path(swept.index).stat().st_mode & 0o077 == 0
