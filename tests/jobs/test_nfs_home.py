"""An orch home that behaves like NFS (`tests/lab/nfs_like.py`): nothing lost, nothing started twice."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import nfs_like
from lab.nfs_like import NfsMount
from local_host import ENDED, LocalHost, sh, until

from jobs.errors import OrchError
from jobs.pipe import ProcessPipe
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
        wire = Wire(ProcessPipe(self.name, [*rename, *boot_arguments(sys.executable)]), timeout=60)
        self.about = wire.call("open", home=self.home.path)
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


def check_injected(mount: NfsMount, switches: dict[str, Any]) -> None:
    """Each fault that was switched on did happen; flock is never asked for on the home, so nothing is refused."""
    counts = mount.set()
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
    check_injected(mount, FAULTS[faults])
