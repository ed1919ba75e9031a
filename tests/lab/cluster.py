"""The lab: nodal (x86_64), grace and ada (aarch64), a laptop, a switch; all ends with the process that made it.

    with Lab(folder) as lab, lab.laptop():
        subprocess.run(["ssh", "-F", lab.ssh_config, "grace", "uname", "-m"])

Each lab has network namespaces of its own, so that several stand side by side with the same addresses, and nothing is
added to the machine's own network. Faults: `cut`, `heal`, `kill`, `boot`, `drop`, `slow`, `end_sessions`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import system
from .rootfs import aarch64_root

NETWORK = "10.77.0"
ADDRESSES = {"laptop": f"{NETWORK}.1", "nodal": f"{NETWORK}.11", "grace": f"{NETWORK}.12", "ada": f"{NETWORK}.13"}
INNER = {"nodal": "10.78.0.11", "grace": "10.78.0.12", "ada": "10.78.0.13"}  # a second network, without the laptop
HOSTS = ("nodal", "grace", "ada")
USER, UID = "alice", 5001
_H100 = {"index": 0, "name": "NVIDIA GH200 480GB", "memory.total": 97871, "memory.used": 1, "memory.free": 97870}
_H100 |= {"compute_cap": "9.0", "utilization.gpu": 0, "mig.mode.current": "Disabled", "pci.bus_id": "00000009:01:00.0"}
CARDS: dict[str, dict[str, object]] = {
    "nodal": {"index": 0, "uuid": "GPU-a10", "name": "NVIDIA A10", "compute_cap": "8.6", "utilization.gpu": 0}
    | {"memory.total": 23028, "memory.used": 200, "memory.free": 22828, "pci.bus_id": "00000000:01:00.0"},
    "grace": _H100 | {"uuid": "GPU-grace"},
    "ada": _H100 | {"uuid": "GPU-ada"},
}
DRIVERS = {"nodal": {"driver": "545.23.08", "cuda": "12.3"}}
DRIVERS |= {name: {"driver": "550.54.15", "cuda": "12.4"} for name in ("grace", "ada")}
BOOT_WAIT = 60.0  # seconds; a loaded machine takes some to boot three hosts


class LabHost:
    """One host of the lab.

    Attributes
    ----------
    name, address:
        Its name and IPv4 address.
    folder:
        Everything that is its own: `upper` (what differs from its lower root), `vartmp`, `console.log`.
    """

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name, self.address = lab, name, ADDRESSES[name]
        self.arm = name != "nodal"
        self.folder = lab.folder / name
        self.folder.mkdir()
        self.init = self.sshd = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """Its root as seen from here, while it runs."""
        return Path(f"/proc/{self.sshd}/root")

    @property
    def console(self) -> str:
        """What its sshd has logged (verbose), over all boots."""
        return (self.folder / "console.log").read_text(errors="replace")

    @property
    def connections(self) -> int:
        """Connections that its sshd has taken so far."""
        return self.console.count("Connection from ")

    @property
    def is_on(self) -> bool:
        """It has power."""
        return self._process is not None and self._process.poll() is None

    def gpu(self, *cards: dict[str, object], driver: str = "545.23.08", cuda: str = "12.3", fault: str = "") -> None:
        """Let its nvidia-smi tell of these cards (see `programs/nvidia-smi`)."""
        state = {"driver": driver, "cuda": cuda, "fault": fault, "cards": cards}
        (self.root / "etc/gpu.json").write_text(json.dumps(state))

    def boot(self) -> None:
        """Start it; returns before its sshd answers (`Lab.wait`)."""
        told = self.folder / "told.json"
        told.unlink(missing_ok=True)
        (self.folder / "about.json").write_text(json.dumps(self._about(told)))
        program = Path(__file__).with_name("inside.py")
        inner = [sys.executable, "-I", "-B", str(program), str(self.folder / "about.json")]
        unshare = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child=KILL", "--"]
        command = ["setpriv", "--pdeathsig", "KILL", *unshare, *inner]
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        until(told.exists, f"{self.name} boots: {self.console[-800:]}")
        ids = json.loads(told.read_text())
        self.init, self.sshd = ids["init"], ids["sshd"]
        self.plug()

    def _about(self, told: Path) -> dict[str, object]:
        return {
            "name": self.name,
            "told": str(told),
            "folder": str(self.folder),
            "lower": str(aarch64_root()) if self.arm else "/",
            "arm": self.arm,
            "home": str(self.lab.home),
            "key": str(self.lab.keys / f"host_{self.name}"),
            "programs": str(Path(__file__).with_name("programs")),
            "hosts": "127.0.0.1 localhost\n" + "".join(f"{place} {name}\n" for name, place in ADDRESSES.items()),
            "user": USER,
            "uid": UID,
        }

    def plug(self) -> None:
        """Lay its cable to the switch."""
        self.lab.cable(self.name, self.init)
        inner = f"addr add {INNER[self.name]}/24 dev eth0\n"
        in_network(self.init, f"addr add {self.address}/24 dev eth0\n{inner}link set eth0 up\n")

    def kill(self) -> None:
        """Cut its power: all of it ends at once, the network with it; disks stay."""
        assert self._process
        self.cut()
        self._process.kill()
        self._process.wait()
        until(lambda: not Path(f"/proc/{self.init}").exists(), f"{self.name} is off")

    def cut(self) -> None:
        """Pull its cable: what is sent vanishes."""
        self.lab.switch(f"link set {self.name} down\n")

    def heal(self) -> None:
        """Put the cable back and take every other fault away."""
        self.lab.switch(f"link set {self.name} up\n")
        self._run_network("iptables", "-F")
        self.lab.tool("tc", "qdisc", "del", "dev", self.name, "root", check=False)

    def drop(self, percent: float) -> None:
        """Lose this share of what it is sent."""
        share = ["-m", "statistic", "--mode", "random", "--probability", str(percent / 100)]
        self._run_network("iptables", "-A", "INPUT", *share, "-j", "DROP")

    def slow(self, kilobits: int) -> None:
        """Let no more than this many kbit/s go to it."""
        shape = ["tbf", "rate", f"{kilobits}kbit", "burst", "8kb", "latency", "800ms"]
        self.lab.tool("tc", "qdisc", "replace", "dev", self.name, "root", *shape)

    def refuse(self) -> None:
        """Answer connections with a reset, as a host does whose sshd is not running."""
        reset = ["-j", "REJECT", "--reject-with", "tcp-reset"]
        self._run_network("iptables", "-A", "INPUT", "-p", "tcp", "--dport", "22", *reset)

    def door(self, port: int, password: str, *lines: str) -> Path:
        """Let a second sshd with rules of its own listen, which asks for a password through PAM; return its log.

        It ends with the host, or by `close_door`.
        """
        shadow = self.root / "etc/shadow"
        told = subprocess.run(["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True)
        rows = [row for row in shadow.read_text().splitlines() if not row.startswith(f"{USER}:")]
        shadow.write_text("\n".join([*rows, f"{USER}:{told.stdout.strip()}:19000:0:99999:7:::"]) + "\n")
        rules = ["HostKey /etc/ssh/lab_key", f"Port {port}", "UsePAM yes", "KbdInteractiveAuthentication yes", *lines]
        rules += ["PasswordAuthentication no", "UseDNS no", "LogLevel VERBOSE", "PidFile /run/door.pid"]
        (self.root / "etc/ssh/door").write_text("\n".join(rules) + "\n")
        log = self.root / "run/door.log"
        log.unlink(missing_ok=True)
        self.run("/usr/sbin/sshd", "-f", "/etc/ssh/door", "-E", "/run/door.log")
        until(lambda: "Server listening" in log.read_text(), f"a second sshd on {self.name}")
        return log

    def close_door(self) -> None:
        """End the second sshd; nobody has a password any more."""
        self.run("/bin/sh", "-c", f"kill $(cat /run/door.pid); sed -i 's/^{USER}:[^:]*:/{USER}:*:/' /etc/shadow")

    def end_sessions(self) -> None:
        """Kill the processes of all ssh sessions; sshd itself stays. (qemu hides titles, so by parent.)"""
        for child in children(self.sshd):
            for pid in (*children(child), child):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)

    def run(self, *argv: str, user: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root or as the lab's user."""
        become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"] if user == USER else []
        enter = [sys.executable, "-I", "-B", str(Path(__file__).with_name("enter.py")), str(self.sshd)]
        home = f"/home/{USER}" if user == USER else "/root"
        variables = ["/usr/bin/env", "-i", f"HOME={home}", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
        command = [*enter, *variables, *become, *argv]
        return subprocess.run(command, capture_output=True, text=True, check=check, timeout=120)

    def _run_network(self, *argv: str) -> None:
        subprocess.run(["nsenter", f"--net=/proc/{self.init}/ns/net", *argv], check=True, capture_output=True)


class Lab:
    """All of it.

    Parameters
    ----------
    folder:
        Empty folder for keys, the shared home and the hosts' disks.
    hosts:
        Names of the hosts to bring up.

    Attributes
    ----------
    home:
        The folder that all hosts see as `/home`.
    keys:
        Keys, `known_hosts` and `ssh_config` of the laptop.
    """

    def __init__(self, folder: Path, hosts: Sequence[str] = HOSTS) -> None:
        self.folder, self.home, self.keys = folder, folder / "home", folder / "keys"
        self.keys.mkdir(mode=0o700, parents=True)
        self._namespaces = {name: self._namespace() for name in ("switch", "laptop")}
        self._make_keys(hosts)
        self.switch("link set lo up\nlink add bridge type bridge forward_delay 0\nlink set bridge up\n")
        laptop = self._namespaces["laptop"].pid
        self.cable("laptop", laptop)
        in_network(laptop, f"link set lo up\naddr add {ADDRESSES['laptop']}/24 dev eth0\nlink set eth0 up\n")
        self.hosts = {name: LabHost(self, name) for name in hosts}
        for host in self.hosts.values():
            host.boot()
            host.gpu(CARDS[host.name], **DRIVERS[host.name])
        self.wait()

    def __getitem__(self, name: str) -> LabHost:
        return self.hosts[name]

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    @property
    def ssh_config(self) -> str:
        """Configuration file for `ssh -F`."""
        return str(self.keys / "ssh_config")

    @property
    def user_home(self) -> Path:
        """The lab user's home, the same on all hosts."""
        return self.home / USER

    def wait(self) -> None:
        """Wait until the sshd of every host answers."""
        with self.laptop():
            for host in self.hosts.values():
                until(lambda host=host: _answers(host.address), f"{host.name} answers: {host.console[-800:]}")  # type: ignore[misc]

    def repair(self) -> None:
        """Take all faults away and boot what is off."""
        for host in self.hosts.values():
            if host.is_on:
                host.heal()
            else:
                host.boot()
            host.gpu(CARDS[host.name], **DRIVERS[host.name])
        self.wait()

    @contextlib.contextmanager
    def laptop(self) -> Iterator[None]:
        """Stand where the laptop is: this thread, and the threads and processes that it starts."""
        here = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        descriptor = os.open(here, os.O_RDONLY)
        try:
            system.setns(f"/proc/{self._namespaces['laptop'].pid}/ns/net", system.NEWNET)
            yield
        finally:
            system.setns(f"/proc/self/fd/{descriptor}", system.NEWNET)
            os.close(descriptor)

    def cable(self, name: str, pid: int) -> None:
        """Lay a cable from the switch to the network of a process."""
        self.tool("ip", "link", "del", name, check=False)  # the former one, which can outlive a host without power
        card = "02:00:00:00:00:" + ADDRESSES[name].rpartition(".")[2]  # a host keeps its card over a reboot
        peer = f"peer name eth0 address {card} netns {pid}"
        self.switch(f"link add {name} type veth {peer}\nlink set {name} master bridge up\n")

    def switch(self, commands: str) -> None:
        """Run lines of ip(8) in the switch."""
        in_network(self._namespaces["switch"].pid, commands)

    def tool(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the switch."""
        enter = ["nsenter", f"--net=/proc/{self._namespaces['switch'].pid}/ns/net"]
        return subprocess.run([*enter, *argv], check=check, capture_output=True)

    def close(self) -> None:
        """Switch everything off and delete the disks."""
        processes = [host._process for host in self.hosts.values() if host._process] + list(self._namespaces.values())
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _namespace(self) -> subprocess.Popen[bytes]:
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--", "sleep", "infinity"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd="/")
        mine = Path("/proc/self/ns/net").readlink()
        until(lambda: Path(f"/proc/{process.pid}/ns/net").readlink() != mine, "a network")
        return process

    def _make_keys(self, hosts: Sequence[str]) -> None:
        user = self.home / USER
        (user / ".ssh").mkdir(parents=True)
        for path in (self.folder, self.home):
            path.chmod(0o755)
        for name in ("id", *(f"host_{host}" for host in hosts)):
            make_key(self.keys / name)
        authorized = user / ".ssh" / "authorized_keys"
        shutil.copy(self.keys / "id.pub", authorized)
        for path, mode in ((user, 0o700), (user / ".ssh", 0o700), (authorized, 0o600)):
            os.chown(path, UID, UID)
            path.chmod(mode)
        known = ""
        for name in hosts:
            key = " ".join((self.keys / f"host_{name}.pub").read_text().split()[:2])
            known += f"{ADDRESSES[name]},{INNER[name]},{name} {key}\n"
        (self.keys / "known_hosts").write_text(known)
        blocks = [self.block(name, ADDRESSES[name]) for name in hosts]
        blocks += [self.block("inner-ada", INNER["ada"], ProxyJump="nodal")]
        (self.keys / "ssh_config").write_text("\n".join(blocks))

    def block(self, alias: str, address: str, **more: str) -> str:
        """Return one block of an ssh configuration; options given here win."""
        options = {
            "HostName": address,
            "User": USER,
            "IdentityFile": str(self.keys / "id"),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.keys / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": "10",
            **more,
        }
        return f"Host {alias}\n" + "".join(f"    {key} {value}\n" for key, value in options.items())


def make_key(path: Path, passphrase: str = "") -> None:
    """Make an ed25519 key pair."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def in_network(pid: int, commands: str) -> None:
    """Run lines of ip(8) in the network of a process."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"]
    done = subprocess.run(command, input=commands, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{commands}{done.stderr}"


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found


def until(condition: object, what: str, seconds: float = BOOT_WAIT) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"did not happen within {seconds:g} s: {what}"
        time.sleep(0.01)


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
