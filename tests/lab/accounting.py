"""The same Slurm with accounting: MariaDB and slurmdbd beside it, so with limits, QOS, preemption and sacct."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .slurm import Slurm, free_ports, lacking
from .system import SEARCH

DAEMONS = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server"}
_CONF = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={base}/munge/sock
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
PreemptType=preempt/qos
PreemptMode=CANCEL
PriorityType=priority/basic
"""
_DBD = """
AuthType=auth/munge
AuthInfo=socket={base}/munge/sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={db}
StorageUser=slurm
StoragePass=lab
StorageLoc=slurm_acct_db
LogFile={base}/log/dbd.log
PidFile={base}/run/dbd.pid
"""
_GRANT = (
    "create database slurm_acct_db; create user slurm@'127.0.0.1' identified by 'lab'; create user slurm@localhost "
    "identified by 'lab'; grant all on slurm_acct_db.* to slurm@'127.0.0.1'; grant all on slurm_acct_db.* to "
    "slurm@localhost"
)


def lacking_accounting() -> str:
    """Return why no Slurm with accounting can be brought up here; empty when it can."""
    packages = sorted({package for name, package in DAEMONS.items() if not shutil.which(name, path=SEARCH)})
    return lacking() or (f"accounting needs more packages: apt-get install {' '.join(packages)}" if packages else "")


class Accounted(Slurm):
    """A Slurm that keeps books: the account `lab` with the QOS `normal`, `limited` (4 jobs at once) and `urgent`.

    `urgent` takes nodes away from `normal`, whose jobs get 2 s to leave.
    """

    def __init__(self, base: Path, nodes: int = 3) -> None:
        self.dbd_port, self.db_port = free_ports(2)
        super().__init__(base, nodes)
        with self.conf.open("a") as conf:
            conf.write(_CONF.format(port=self.dbd_port, base=base))
        dbd = base / "slurmdbd.conf"
        dbd.write_text(_DBD.format(port=self.dbd_port, db=self.db_port, base=base))
        dbd.chmod(0o600)

    def prepare(self) -> None:
        """Bring up the database and slurmdbd, and write down who may do what, before the controller comes."""
        base, sock = self.base, self.base / "run" / "db.sock"
        common = ["--no-defaults", "--user=root", f"--datadir={base}/db"]
        install = ["mariadb-install-db", *common, "--skip-test-db", "--auth-root-authentication-method=normal"]
        subprocess.run(install, check=True, capture_output=True)
        small = [
            "--innodb-buffer-pool-size=32M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-lock-wait-timeout=900",
        ]
        where = [
            f"--socket={sock}",
            "--bind-address=127.0.0.1",
            f"--port={self.db_port}",
            f"--pid-file={base}/run/db.pid",
        ]
        self.start("mariadbd", *common, *small, *where)
        self._wait(sock.is_socket, "the database")
        client = ["mariadb", "--no-defaults", "-uroot", f"--socket={sock}"]
        subprocess.run([*client, "-e", _GRANT], check=True, capture_output=True)
        self.start_books()
        for words in (
            "cluster lab",
            "account lab Cluster=lab",
            "user root Account=lab",
            "qos limited MaxSubmitJobsPerUser=4",
            "qos urgent Priority=1000 Preempt=normal",
        ):
            self.ask("sacctmgr", "-i", "add", *words.split())
        self.ask("sacctmgr", "-i", "modify", "qos", "normal", "set", "GraceTime=2")
        self.ask("sacctmgr", "-i", "modify", "user", "root", "set", "qos=normal,limited,urgent", "DefaultQOS=normal")

    def start_books(self) -> None:
        """Start slurmdbd, and wait until it answers."""
        self.start("slurmdbd", "-D")
        self._wait(lambda: _answers(self.dbd_port), "slurmdbd")

    def forget(self) -> None:
        """Let the controller forget all jobs: only the books still have them."""
        self.end("slurmctld")
        self.start("slurmctld", "-D", "-c")
        self._until_idle()

    def repair(self) -> None:
        """Start slurmdbd again, too, if it was ended."""
        if self.daemons["slurmdbd"].poll() is not None:
            self.start_books()
        super().repair()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def accounted_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounted]:
    """One Slurm with accounting per test process."""
    if lacking_accounting():
        pytest.skip(lacking_accounting())
    with Accounted(tmp_path_factory.mktemp("accounted") / "s") as slurm:
        yield slurm


@pytest.fixture
def accounted(accounted_session: Accounted, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accounted]:
    """That Slurm, as its login node sees it; afterwards all its daemons work again and its queue is empty."""
    monkeypatch.setenv("SLURM_CONF", str(accounted_session.conf))
    yield accounted_session
    accounted_session.repair()
