"""A real Slurm on this machine: munge, slurmctld and several slurmd on free ports; all ends with its maker."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .system import SEARCH

DAEMONS = {"munged": "munge", "slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "sbatch": "slurm-wlm"}
UP_WAIT = 60.0  # seconds; a loaded machine takes some to bring all nodes up
_CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge/sock
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/run/ctld.pid
SlurmdPidFile={base}/run/slurmd-%n.pid
SlurmctldLogFile={base}/log/ctld.log
SlurmdLogFile={base}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
JobRequeue=1
KillWait=5
MinJobAge=300
SlurmdTimeout=10
MessageTimeout=5
MaxArraySize={array_size}
MaxJobCount=50000
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
SlurmdParameters=config_overrides
"""


def lacking() -> str:
    """Return why no Slurm can be brought up here, and the command that would do it; empty when it can."""
    if platform.system() != "Linux" or os.getuid() != 0:
        return "a Slurm of our own needs Linux and root: sudo .venv/bin/python -m pytest tests/orchestrator/cli"
    packages = sorted({package for name, package in DAEMONS.items() if not shutil.which(name, path=SEARCH)})
    return f"a Slurm of our own needs more packages: apt-get install {' '.join(packages)}" if packages else ""


class Slurm:
    """The daemons, each of which can be ended and started again.

    Attributes
    ----------
    base:
        Folder with configuration, logs and state.
    conf:
        What `SLURM_CONF` must name.
    array_size:
        One more than the jobs that an array may have: few, so that tests have several arrays.
    """

    def __init__(self, base: Path, nodes: int = 3, array_size: int = 13) -> None:
        self.base, self.conf, self.array_size = base, base / "slurm.conf", array_size
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("log", "spool", "state", "run", "munge"):
            (base / name).mkdir(parents=True)
        base.chmod(0o755)
        self._configure()

    def __enter__(self) -> Slurm:
        try:
            self._munge()
            self.prepare()
            self.start("slurmctld", "-D")
            for node in self.nodes:
                (self.base / "spool" / node).mkdir()
                self.start("slurmd", "-D", "-N", node)
            self._until_idle()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def close(self) -> None:
        """End all daemons, the nodes first."""
        for name in reversed(self.daemons):
            self.kill(name)

    def start(self, *words: str) -> None:
        """Start a daemon in the foreground."""
        name = words[-1] if words[0] == "slurmd" else words[0]
        with (self.base / "log" / f"{name}.out").open("ab") as log:
            program = shutil.which(words[0], path=SEARCH) or words[0]
            environment = {**os.environ, "SLURM_CONF": str(self.conf)}
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def end(self, name: str) -> None:
        """End a daemon in order: it writes down its state."""
        self.daemons[name].terminate()
        self.daemons[name].wait()

    def repair(self) -> None:
        """Start again the controller and the nodes that were ended; empty the queue."""
        for name, daemon in list(self.daemons.items()):
            if daemon.poll() is not None and name in ("slurmctld", *self.nodes):
                self.start(*(("slurmctld", "-D") if name == "slurmctld" else ("slurmd", "-D", "-N", name)))
        self.ask("scancel", "-u", "root")
        self._until_idle()

    def ask(self, *words: str) -> str:
        """Run one of Slurm's programs; return what it printed."""
        done = subprocess.run(
            words,
            env={**os.environ, "SLURM_CONF": str(self.conf)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout.strip()

    def prepare(self) -> None:
        """What must be up before the controller is: nothing."""

    def kill(self, name: str) -> None:
        """Kill a daemon: it writes down nothing more."""
        self.daemons[name].kill()
        self.daemons[name].wait()

    def _munge(self) -> None:
        folder, key = self.base / "munge", self.base / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        names = {"key-file": key, "socket": folder / "sock", "pid-file": folder / "pid"}
        names |= {"log-file": folder / "log", "seed-file": folder / "seed"}
        self.start("munged", "-F", "--force", *(f"--{name}={path}" for name, path in names.items()))
        self._wait(lambda: (folder / "sock").is_socket(), "munge")

    def _configure(self) -> None:
        ports = free_ports(len(self.nodes) + 1)
        lines = [_CONF.format(host=platform.node(), port=ports[0], base=self.base, array_size=self.array_size)]
        gres = []
        for node, port in zip(self.nodes, ports[1:], strict=True):
            os.mknod(self.base / f"card-{node}", stat.S_IFCHR | 0o666, os.makedev(1, 3))  # the null device plays a card
            lines.append(
                f"NodeName={node} NodeHostname={platform.node()} NodeAddr=127.0.0.1 Port={port} CPUs=4 RealMemory=4000 "
                "Gres=gpu:h100:1 State=UNKNOWN"
            )
            gres.append(f"NodeName={node} Name=gpu Type=h100 File={self.base}/card-{node}")
        lines.append("PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP")
        self.conf.write_text("\n".join(lines) + "\n")
        (self.base / "gres.conf").write_text("\n".join(gres) + "\n")
        (self.base / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")

    def _until_idle(self) -> None:
        count = str(len(self.nodes))
        self._wait(lambda: self.ask("sinfo", "-h", "-t", "idle", "-o", "%D") == count, "all nodes are idle")

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + UP_WAIT
        while not condition():
            gone = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if gone or time.monotonic() > deadline:
                told = (self.base / "log" / f"{gone[0]}.out").read_text()[-2000:] if gone else ""
                raise RuntimeError(f"{what}: waited in vain; ended: {gone} {told}")
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Return numbers of ports that nobody listens on."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


@pytest.fixture(scope="session")
def slurm_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """One Slurm per test process: three nodes of four cores and a card each, without accounting."""
    if lacking():
        pytest.skip(lacking())
    with Slurm(tmp_path_factory.mktemp("slurm") / "s") as slurm:
        yield slurm


@pytest.fixture
def slurm(slurm_session: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """That Slurm, as its login node sees it; afterwards its controller works again and its queue is empty."""
    monkeypatch.setenv("SLURM_CONF", str(slurm_session.conf))
    yield slurm_session
    slurm_session.repair()
