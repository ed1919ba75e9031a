"""`orch gc` on a host: code is parked, brought back, deleted; and races with those who begin to use it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_host import LocalHost, until
from lumber import CODE, DAY, age, look, names, park, python, record, snapshot

from jobs.errors import ContractError, NotFound, OrchError

# --- Code ------------------------------------------------------------------------------------------------------------


def test_old_code_is_parked_brought_back_and_deleted(host: LocalHost) -> None:
    path = snapshot(host)
    Path(f"{path}.json").write_text("{}")
    (item,) = look(host).values()
    assert (item["kind"], item["files"], item["bytes"]) == ("code", 1, 14)
    assert 29 * DAY < item["age_s"] < 31 * DAY and "no sweep is pinned" in item["why"]
    assert path.exists() and not Path(host.home.parked).exists(), "looking changes nothing"

    (parked,) = park(host)["parked"]
    assert not path.exists() and Path(f"{path}.json").exists(), "the list of its files' hashes stays"
    assert host.wire.call("gc_look", older=DAY)["parked"][0]["name"] == parked["name"]
    host.wire.call("gc_restore", name=parked["name"])
    assert (path / "main.py").read_text() == "print('here')\n" and names(host.home.parked) == set()

    (parked,) = park(host)["parked"]
    assert host.wire.call("gc_empty", older=DAY)["deleted"] == [], "it was parked just now"
    assert [item["name"] for item in host.wire.call("gc_empty", older=0)["deleted"]] == [parked["name"]]
    assert not path.exists() and names(host.home.parked) == set()
    with pytest.raises(NotFound):
        host.wire.call("gc_restore", name=parked["name"])


def test_code_in_use_stays(host: LocalHost) -> None:
    """Pinned by a sweep; of an attempt that runs; of a job that waits; of one that failed; and what is not old."""
    pinned, runs, waits, failed, young, free = (snapshot(host, number) for number in range(6))
    os.utime(young)
    host.submit(host.job("f", ("/bin/false", str(failed))), parallel=1)
    host.finish(1)
    jobs = [host.job("r", ("/bin/sleep", "600"), cwd=str(runs)), host.job("w", python(waits))]
    host.submit(*jobs)
    until(lambda: host.states() == ["failed", "queued", "running"])
    host.wire.call("submit", record=record(pinned.name), jobs=[])
    for path in (pinned, runs, waits, failed):
        age(path)
    assert list(look(host, older=0)) == ["code/" + free.name]
    park(host, older=0)
    assert all(path.exists() for path in (pinned, runs, waits, failed, young)) and not free.exists()


def test_code_of_jobs_that_are_done_may_go(host: LocalHost) -> None:
    path = snapshot(host)
    assert host.run(host.job("d", python(path)))["verdict"]["state"] == "done"
    assert look(host) == {}, "it was used just now"
    age(path)
    assert list(look(host)) == ["code/" + path.name]


def test_queueing_dates_the_code_before_anything_waits(host: LocalHost) -> None:
    path = snapshot(host)
    host.submit(host.job("d", python(path)))
    assert path.stat().st_mtime > time.time() - DAY
    host.finish(1)


def test_a_job_whose_code_was_parked_is_not_queued(host: LocalHost) -> None:
    path = snapshot(host)
    park(host)
    with pytest.raises(ContractError, match=path.name) as caught:
        host.submit(host.job("d", python(path)))
    assert "orch gc --parked" in caught.value.hint and host.states() == []


@pytest.mark.parametrize("place", ["sweeps/s.json", "queue/h/1.jsonl"])
def test_what_cannot_be_read_keeps_everything(host: LocalHost, place: str) -> None:
    """Injected: a damaged record, a damaged batch. Nobody knows what they need, so nothing goes."""
    path = snapshot(host)
    damaged = Path(host.home.path, place)
    damaged.parent.mkdir(parents=True)
    damaged.write_text('{"na')
    with pytest.raises(ContractError, match="damaged"):
        park(host)
    assert path.exists()


def test_no_link_is_followed_out_of_the_home(host: LocalHost, tmp_path: Path) -> None:
    snapshot(host, 1)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").write_text("x")
    age(theirs)
    (Path(host.home.path) / CODE.format(2)).symlink_to(theirs)
    inner = Path(host.home.path) / CODE.format(1) / "link"
    inner.symlink_to(theirs)
    age(inner.parent)
    assert [item["pieces"] for item in park(host)["parked"]] == [[CODE.format(1)]]
    host.wire.call("gc_empty", older=0)
    assert (theirs / "precious").exists() and (Path(host.home.path) / CODE.format(2)).is_symlink()


def test_a_folder_of_snapshots_elsewhere_is_left_alone(host: LocalHost, tmp_path: Path) -> None:
    path = snapshot(host)
    path.parent.rename(tmp_path / "elsewhere")
    path.parent.symlink_to(tmp_path / "elsewhere")
    assert look(host) == {}


def test_what_is_not_known_stays(host: LocalHost) -> None:
    for name in ("mine", "0123", ".hidden", "0123456789abcdef.patch"):
        path = Path(host.home.code, name)
        path.mkdir(parents=True)
        age(path)
    assert look(host) == {}


# --- Races -----------------------------------------------------------------------------------------------------------

SUBMITTER = """
import json, sys
from jobs.folder import Home
from jobs.queue import Queue
from jobs.uses import announce
from jobs.errors import ContractError
home, job = Home(sys.argv[1]), json.loads(sys.argv[2])
for line in sys.stdin:
    try:
        announce(home, [job])
    except ContractError:
        print("gone", flush=True)
    else:
        Queue(home, "elsewhere").add([{**job, "attempt": int(line)}])
        print("queued", flush=True)
"""


@contextlib.contextmanager
def elsewhere(host: LocalHost, job: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Another host of the same home, whose queue's lock is not ours: it queues the job at each line that it gets."""
    command = [sys.executable, "-c", SUBMITTER, host.home.path, json.dumps(job)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def test_a_job_queued_on_another_host_while_code_is_parked_finds_it_or_is_refused(host: LocalHost) -> None:
    """Injected: 60 times, another host of the home queues a job at the moment in which its code is parked.

    Lost: nothing. Either the job waits and its code is there, or the submit was refused and the code is parked.
    """
    path = snapshot(host)
    job = host.job("late", python(path))
    outcomes, delay = set(), 0.001  # seconds; it stays near the rename, however slow the machine is
    with elsewhere(host, job) as other:
        assert other.stdin and other.stdout
        for number in range(60):
            age(path)
            go = threading.Timer(delay, lambda n=number: print(n + 1, file=other.stdin, flush=True))
            go.start()
            park(host)
            go.join()
            said = other.stdout.readline().strip()
            outcomes.add(said)
            delay = delay * 1.3 if said == "queued" else delay / 1.3
            assert path.exists() or said == "gone", number
            _as_before(host, path)
    assert outcomes == {"queued", "gone"}, "the moments lay on both sides of the rename"


def _as_before(host: LocalHost, path: Path) -> None:
    for batch in Path(host.home.queue("elsewhere")).glob("*"):
        batch.unlink()
    for item in host.wire.call("gc_parked")["parked"]:
        host.wire.call("gc_restore", name=item["name"])
    assert path.exists()


def test_what_is_dated_between_the_look_and_the_rename_is_put_back(host: LocalHost) -> None:
    from jobs.shelving import locked, park

    path = snapshot(host)
    (item,) = look(host).values()
    os.utime(path)
    with locked(host.home):
        assert park(host.home, item, "me") is None
    assert path.exists() and host.wire.call("gc_parked")["parked"] == []


@pytest.mark.parametrize("moved", [False, True])
def test_a_parking_that_was_killed_loses_nothing(host: LocalHost, moved: bool) -> None:
    """Injected: killed between the record and the rename, and after the rename: both can be undone."""
    path = snapshot(host)
    parked = park(host)["parked"][0]
    place = Path(host.home.parked, parked["name"], "0")
    if not moved:
        place.rename(path)
    assert [item["name"] for item in host.wire.call("gc_parked")["parked"]] == [parked["name"]]
    host.wire.call("gc_restore", name=parked["name"])
    assert path.exists() and names(host.home.parked) == set()


def test_a_place_that_is_taken_is_not_written_over(host: LocalHost) -> None:
    path = snapshot(host)
    parked = park(host)["parked"][0]
    snapshot(host)
    (path / "main.py").write_text("new")
    with pytest.raises(OrchError, match="there again"):
        host.wire.call("gc_restore", name=parked["name"])
    assert (path / "main.py").read_text() == "new" and len(host.wire.call("gc_parked")["parked"]) == 1


@pytest.mark.parametrize("piece", ["{}", "../theirs", "a/../../theirs", "./x", "a//x", "", "a\0b", "link/x"])
def test_a_record_that_names_another_place_is_not_ours(host: LocalHost, tmp_path: Path, piece: str) -> None:
    """Injected: one edited record a case. Neither brought back nor deleted; nothing appears outside the home."""
    snapshot(host)
    parked = park(host)["parked"][0]
    (tmp_path / "elsewhere").mkdir()
    Path(host.home.path, "link").symlink_to(tmp_path / "elsewhere")
    item = Path(host.home.parked, parked["name"], "item.json")
    record = json.loads(item.read_text())
    item.write_text(json.dumps({**record, "pieces": [piece.format(tmp_path / "theirs")]}))
    with pytest.raises(OrchError, match="nothing is parked"):
        host.wire.call("gc_restore", name=parked["name"])
    assert list(host.wire.call("gc_empty", older=0)) is not None
    assert not (tmp_path / "theirs").exists() and not list((tmp_path / "elsewhere").iterdir())
    assert (item.parent / "0").exists()
