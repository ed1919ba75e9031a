"""A login node on this machine: a real sshd on loopback, with keys and rules of its own, that can be cut off."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .cluster import children, make_key, until
from .slurm import free_ports
from .system import SEARCH

TOOLS = {"sshd": "openssh-server", "ssh": "openssh-client", "unshare": "util-linux", "setpriv": "util-linux"}
_RULES = """
ListenAddress 127.0.0.1
Port {port}
HostKey {base}/host_key
AuthorizedKeysFile {base}/id.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv {variables}
"""
_CLIENT = """
Host {alias}
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile {base}/id
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {base}/known_hosts
    GlobalKnownHostsFile /dev/null
"""


def lacking() -> str:
    """Return what no login node can be brought up without; empty when it can."""
    packages = sorted({package for name, package in TOOLS.items() if not shutil.which(name, path=SEARCH)})
    return f"a login node of our own needs more packages: apt-get install {' '.join(packages)}" if packages else ""


class LoginNode:
    """That sshd; what it starts outlives it, as on any login node.

    Parameters
    ----------
    base:
        Folder for its keys, its log and a program `ssh` (`PATH` must name the folder) that knows the node.
    alias:
        The name by which `ssh` knows it.
    variables:
        What every session there has in its environment.
    """

    def __init__(self, base: Path, alias: str, variables: Mapping[str, str]) -> None:
        self.base, self.alias = base, alias
        (self.port,) = free_ports(1)
        base.mkdir(parents=True)
        for name in ("host_key", "id"):
            make_key(base / name)
        (base / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {(base / 'host_key.pub').read_text()}")
        (base / "ssh_config").write_text(_CLIENT.format(alias=alias, port=self.port, base=base))
        program = base / "ssh"
        program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{base}/ssh_config" "$@"\n')
        program.chmod(0o755)
        words = " ".join(f'"{name}={value}"' for name, value in variables.items())
        (base / "rules").write_text(_RULES.format(port=self.port, base=base, variables=words))
        self._sshd: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let people in: an sshd in a /run of its own (it wants a folder there), in the foreground."""
        words = "mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -f $0 -E $1"
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", words]
        self._sshd = subprocess.Popen([*command, str(self.base / "rules"), str(self.base / "log")])
        until(self._answers, "the login node lets people in")

    def cut(self) -> None:
        """Kill the sshd, and the sshd of every session: nobody says goodbye."""
        assert self._sshd
        sessions = _below(self._sshd.pid)
        self._sshd.kill()
        self._sshd.wait()
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._sshd = None

    def close(self) -> None:
        """End it, if it runs."""
        if self._sshd:
            self.cut()

    @property
    def sessions(self) -> int:
        """How many it has let in, over its whole life."""
        return (self.base / "log").read_text().count("Accepted publickey")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
        return False


def _below(sshd: int) -> list[int]:
    """Processes of an sshd's sessions that are sshd themselves."""
    own = [pid for pid in children(sshd) if Path(f"/proc/{pid}/comm").read_text().startswith("sshd")]
    return own + [further for pid in own for further in _below(pid)]
