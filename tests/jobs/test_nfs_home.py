"""An orch home that behaves like NFS (`tests/lab/nfs_like.py`): nothing lost, nothing started twice."""

from __future__ import annotations

import errno
import fcntl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import nfs_like
from lab.nfs_like import NfsMount
from local_host import ENDED, LocalHost, sh, until

from jobs.atomic import exists, read_json, write_json
from jobs.attempt import publish, read_exit
from jobs.errors import OrchError
from jobs.folder import HostFolder
from jobs.homes import open_home
from jobs.pipe import ProcessPipe
from jobs.queue import Queue, ring
from jobs.wire import Wire, boot_arguments

pytestmark = pytest.mark.skipif(bool(nfs_like.lacking()), reason=nfs_like.lacking() or "everything is here")


class NfsHost(LocalHost):
    """A host with a name of its own; its home lies on its own mount, its host-local folder on a local disk."""

    def __init__(self, name: str, mount: NfsMount, local: Path, work: Path) -> None:
        self.name, self.mount = name, mount
        super().__init__(mount.path / "home", local, work)

    def connect(self) -> Wire:
        """Return another wire to another agent of this host, the home opened."""
        rename = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        own = ["env", f"ORCH_LOCAL={self.root}"]  # the test's own environment is that of the newest host
        wire = Wire(ProcessPipe(self.name, [*rename, *own, *boot_arguments(sys.executable)]), timeout=60)
        try:
            self.about = wire.call("open", home=self.home.path)
        except OrchError:
            wire.close()
            raise
        return wire


class Site:
    """Hosts that share one home, each through a mount of its own; jobs write into a folder on a real disk."""

    def __init__(self, base: Path, patch: pytest.MonkeyPatch) -> None:
        self.base, self.patch = base, patch
        self.mounts: dict[str, NfsMount] = {}
        self.hosts: dict[str, NfsHost] = {}
        for name in ("backing", "work"):
            (base / name).mkdir()

    def mount(self, name: str) -> NfsMount:
        """Mount the home for a host."""
        self.mounts[name] = NfsMount(self.base / "backing", self.base / f"home-{name}")
        return self.mounts[name]

    def host(self, name: str) -> NfsHost:
        """Bring up a host; its processes are told apart by their ORCH_LOCAL."""
        mount = self.mounts.get(name) or self.mount(name)
        self.patch.setenv("ORCH_LOCAL", str(self.base / name))
        self.hosts[name] = NfsHost(name, mount, self.base / name, self.base / "work")
        return self.hosts[name]

    def begun(self) -> Counter[str]:
        """How often each job has begun."""
        path = self.base / "work" / "begun"
        return Counter(path.read_text().split() if path.exists() else ())

    def close(self) -> None:
        """Take the faults away, end everything, unmount."""
        for mount in self.mounts.values():
            mount.set()
        for host in self.hosts.values():
            host.close()
        for mount in self.mounts.values():
            mount.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A site without hosts."""
    found = Site(tmp_path, monkeypatch)
    yield found
    found.close()


def counting(host: LocalHost, names: list[str], script: str = ":", **more: Any) -> list[dict[str, Any]]:
    """Jobs that append their label to a file on a real disk before they do anything else."""
    return [host.job(name, sh(f"echo {name} >> begun; {script}"), **more) for name in names]


def insist(work: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Do what a person does who is told of disk trouble: the same again; anything but an `OrchError` is a fault."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except OrchError as error:
            assert error.code == "DISK" and time.monotonic() < deadline, error
            time.sleep(0.05)


def seen_anew(host: NfsHost) -> list[str]:
    """What a new connection is told, with nothing known before."""
    host.wire.close()
    host.wire = insist(host.connect)
    host.known.clear()
    return list(insist(host.states))


FAULTS: dict[str, dict[str, Any]] = {
    "caches": {"attr_cache": 3},
    "late": {"late": 0.003},
    "repeats": {"repeat": 0.3},
    "every call repeated": {"repeat": 1},
    "stale": {"stale": 0.004},
    "no flock": {"no_flock": True},
    "several": {"attr_cache": 2, "late": 0.003, "repeat": 0.3, "stale": 0.01, "no_flock": True},
}
LEAST = {"attr_cache": ("outdated", 10), "late": ("late", 100), "repeat": ("repeat", 10), "stale": ("stale", 1)}


def check_injected(switches: dict[str, Any], *mounts: NfsMount) -> None:
    """Each fault that was switched on did happen; flock is never asked for on the home, so nothing is refused."""
    counts = sum((mount.set() for mount in mounts), Counter())
    for kind, least in (LEAST[switch] for switch in switches if switch in LEAST):
        assert counts[kind] >= least, counts
    assert counts["no_flock"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("faults", FAULTS)
def test_jobs_run_once_whatever_the_home_answers(site: Site, faults: str) -> None:
    """Injected: one kind of fault at a time, then several together, from the home's first moment to the last look.

    12 jobs are submitted (twice), 2 of them fail, 1 is stopped while it runs, and what was not done is submitted again.
    Each fault hits at least as often as `LEAST` says. Lost: none. Started twice: none.
    """
    mount = site.mount("grace")
    mount.set(**FAULTS[faults])
    host = insist(lambda: site.host("grace"))
    names = [f"j{number}" for number in range(12)]
    wait_for_go = "until test -e go; do sleep 0.02; done"
    jobs = counting(host, names, wait_for_go + '; case "$ORCH_RUN" in *attempt-01) exit $CODE;; esac')
    jobs = [{**job, "env": {"CODE": "3" if number < 2 else "0"}} for number, job in enumerate(jobs)]
    slow = host.job("slow", sh("echo slow >> begun; sleep 60"))
    for _ in range(2):
        insist(lambda: host.submit(*jobs, slow, parallel=3))
    (host.work / "go").touch()
    until(lambda: site.begun()["slow"], 60, "the slow one runs")
    insist(lambda: host.wire.call("stop", jobs=[[slow["sweep"], slow["id"]]], grace=5.0))
    until(lambda: sum(state in ENDED for state in insist(host.states)) == 13, 60, "all ended")
    assert Counter(insist(host.states)) == {"done": 10, "failed": 2, "stopped": 1}
    assert site.begun() == Counter([*names, "slow"])
    insist(lambda: host.submit(*jobs))
    until(lambda: insist(host.states).count("done") == 12, 60, "those that failed were done at the second try")
    assert site.begun() == Counter([*names, *names[:2], "slow"])
    check_injected(FAULTS[faults], mount)


@pytest.mark.slow
def test_two_hosts_share_a_home_whose_caches_lag(site: Site) -> None:
    """Injected: on both hosts attributes and listings up to 2 s old, 3 of 10 changing calls repeated, late answers.

    Both submit the same 20 jobs at once, 3 times, from two agents each; 10 more stand in both queues from the
    beginning, as when neither host saw the other's. Lost: none. Started twice: none. Both see the same end of all.
    """
    faults = {"attr_cache": 2, "repeat": 0.3, "late": 0.001}
    for name in ("grace", "ada"):
        site.mount(name).set(**faults)
    hosts = [insist(lambda name=name: site.host(name)) for name in ("grace", "ada")]
    names = [f"j{number}" for number in range(30)]
    jobs = counting(hosts[0], names)
    for host in hosts:
        twice = [{**job, "attempt": 1, "resume": None} for job in jobs[:10]]
        Queue(host.home, host.name).add(twice)
    wires = [(host, wire) for host in hosts for wire in (host.wire, host.connect())]

    def submit(host: NfsHost, wire: Wire) -> None:
        for _ in range(3):
            insist(lambda: host.submit(*jobs[10:], wire=wire, parallel=2))

    threads = [threading.Thread(target=submit, args=pair) for pair in wires]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for host in hosts:
        until(lambda host=host: seen_anew(host) == ["done"] * 30, 90, "both hosts see the end of all")
    assert site.begun() == Counter(names)
    check_injected(faults, *site.mounts.values())
    for _, wire in wires:
        wire.close()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["write", "close"])
def test_no_exit_is_lost_to_a_quota_and_what_waits_goes_on(site: Site, when: str) -> None:
    """Injected: EDQUOT at each write, or at each close and sync, from when 3 of 8 jobs run until those have ended.

    Their exit records go to the spool. The other 5 have not begun meanwhile, nor been given up. Lost: none.
    """
    host = site.host("grace")
    names = [f"j{number}" for number in range(8)]
    jobs = counting(host, names, "until test -e end; do sleep 0.02; done; exit 5", policy={"unknown": "never"})
    host.submit(*jobs, parallel=3)
    until(lambda: len(site.begun()) == 3, what="3 run")
    site.mounts["grace"].set(quota=when)
    (host.work / "end").touch()
    spool = Path(host.local.spool)
    until(lambda: spool.is_dir() and len(list(spool.glob("*.json"))) == 3, what="3 exit records are in the spool")
    until(lambda: "quota is used up" in Path(host.local.keeper_log).read_text(), what="the keeper has met the quota")
    states = Counter(host.states())
    assert (states["failed"], states["queued"]) == (3, 5), "the spooled records count at once"
    assert len(site.begun()) == 3
    with pytest.raises(OrchError, match="quota"):
        host.submit(host.job("late", sh(":")))
    assert site.mounts["grace"].set()["quota"] >= 10
    host.finish(8, 60)
    assert {(read_exit(host.folder(job)) or {})["status"] for job in jobs} == {5}


@pytest.fixture
def lied_to(tmp_path: Path) -> Iterator[NfsMount]:
    """A mount without a host."""
    (tmp_path / "backing").mkdir()
    mount = NfsMount(tmp_path / "backing", tmp_path / "mount")
    yield mount
    mount.set()
    mount.close()


def names(path: str | Path) -> list[str]:
    """What lies in a folder."""
    return sorted(found.name for found in Path(path).iterdir())


def refusal(call: Callable[[], Any]) -> int | None:
    """The error number of a call."""
    try:
        call()
    except OSError as error:
        return error.errno
    return None


def test_the_mount_lies_as_a_file_server_does(lied_to: NfsMount, tmp_path: Path) -> None:
    """Injected: each fault of `nfs_like` once or more; what other tests rely on."""
    path, behind = lied_to.path, tmp_path / "backing"
    for name in ("a", "b", "c"):
        (path / name).write_text(name)
    lied_to.set(repeat=1)
    assert refusal(lambda: (path / "d").mkdir()) == errno.EEXIST and (behind / "d").is_dir()
    assert refusal(lambda: (path / "e").hardlink_to(path / "a")) == errno.EEXIST and (behind / "e").exists()
    assert refusal(lambda: (path / "f").touch(exist_ok=False)) == errno.EEXIST and (behind / "f").exists()
    assert refusal(lambda: (path / "b").rename(path / "g")) == errno.ENOENT and (behind / "g").read_text() == "b"
    assert refusal(lambda: (path / "c").unlink()) == errno.ENOENT and not (behind / "c").exists()
    lied_to.set(attr_cache=60)
    assert not (path / "late").exists() and "late" not in names(path)
    (behind / "late").write_text("")
    assert not (path / "late").exists() and "late" not in names(path)
    (path / "own").touch()
    assert "late" in names(path), "an own change lets a folder be read anew"
    lied_to.set(stale=1)
    assert refusal(lambda: (path / "a").read_text()) == errno.ESTALE
    for when in ("write", "close"):
        lied_to.set(quota=when)
        assert refusal(lambda: (path / "a").write_text("more")) == errno.EDQUOT
    lied_to.set(no_flock=True)
    with (path / "a").open() as handle:
        assert refusal(lambda: fcntl.flock(handle, fcntl.LOCK_EX)) == errno.ENOLCK
    assert (behind / "a").read_text() == ""


def test_what_was_done_is_not_undone_by_a_second_answer(lied_to: NfsMount, tmp_path: Path) -> None:
    """Injected: every changing call repeated, names believed absent for 1 s. Lost, or taken for others': nothing."""
    lied_to.set(repeat=1, attr_cache=1)
    home, identity = open_home(str(lied_to.path / "home"))
    assert open_home(home.path)[1] == identity
    folder, local = home.attempt("s", "0123456789abcdef", 1), HostFolder(str(tmp_path / identity["id"]))
    assert not exists(folder.job)
    assert publish(folder, {"argv": ["x"]}, {}, local), "it is ours, and it is seen"
    assert not publish(folder, {"argv": ["x"]}, {}, local), "the second one is told so"
    assert not exists(folder.result)
    write_json(folder.result, {"value": 1})
    assert read_json(folder.result) == {"value": 1}
    assert names(folder.path) == ["exit.json", "job.json", "log.txt", "result.json"]
    assert names(home.path) == ["begun", "home.json", "runs"]


def test_a_keeper_outlives_a_home_that_does_not_answer(site: Site) -> None:
    """Injected: a full quota, so that the keeper has no watcher; then ESTALE for every look; then nothing more.

    Lost: none. Without a keeper that begins anew the job would wait for the next contact.
    """
    host = site.host("grace")
    host.submit(*counting(host, ["first"], "until test -e end; do sleep 0.02; done"), parallel=1)
    until(lambda: site.begun()["first"], what="the first one runs")
    host.submit(*counting(host, ["second"]))
    site.mounts["grace"].set(quota="write")
    (host.work / "end").touch()
    log = Path(host.local.keeper_log)
    until(lambda: "quota is used up" in log.read_text(), what="the second one is refused")
    site.mounts["grace"].set(stale=1)
    assert ring(host.local.wake), "it looks"
    until(lambda: "Traceback" in log.read_text(), what="the keeper has met ESTALE")
    site.mounts["grace"].set()
    until(lambda: site.begun()["second"], 60, "it goes on by itself")
