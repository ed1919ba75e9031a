"""The laptop of the lab's three hosts: a home, a project with a site file, and `orch` as a user starts it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from harness import clean_environment

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from lab.cluster import Lab  # noqa: E402

HOSTS = ("nodal", "grace", "ada")
_ORCH = "import sys; from orchestrator.cli import main; sys.exit(main())"


class Done(NamedTuple):
    """What a command printed (stdout, stderr), its seconds of wall and CPU, and its largest resident set, MB."""

    out: str
    err: str
    wall: float
    cpu: float
    rss_mb: float


class Desk:
    """A folder with the project; `ssh` there uses the lab's configuration, and no agent of the person at work.

    Parameters
    ----------
    keys:
        What the site file says of each host besides its ssh name.
    config:
        Lines for ssh, before the lab's own.
    """

    def __init__(self, lab: Lab, folder: Path, keys: str = "shared_home: lab", config: str = "") -> None:
        self.lab, self.folder = lab, folder
        (folder / "bin").mkdir(parents=True)
        ssh = folder / "bin" / "ssh"
        settings = folder / "ssh_config"
        settings.write_text(f"{config}\nInclude {lab.ssh_config}\n")
        ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F "{settings}" "$@"\n')
        ssh.chmod(0o755)
        (folder / "orch.yaml").write_text("{}\n")
        lines = "".join(f"  {name}: {{ssh: {name}, {keys}}}\n" for name in HOSTS)
        (folder / "site.yaml").write_text(f"hosts:\n{lines}")
        self.env = clean_environment(folder)
        self.env |= {"PATH": f"{folder / 'bin'}{os.pathsep}{self.env['PATH']}"}
        self.env.pop("SSH_AUTH_SOCK", None)

    def orch(self, *words: str) -> Done:
        """Run `orch` where the laptop is.

        Raises
        ------
        SystemExit
            It ended with another status than 0 or 6 (something was found).
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        with self.lab.laptop():
            child = subprocess.Popen(
                [sys.executable, "-c", _ORCH, *words],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=(self.folder / "stderr.txt").open("w+"),
                text=True,
            )
        assert child.stdout
        out = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        err = (self.folder / "stderr.txt").read_text()
        if child.returncode not in (0, 6):
            raise SystemExit(f"orch {' '.join(words)} ended with {child.returncode}:\n{err[-2000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Done(out, err, wall, cpu, usage.ru_maxrss / 1024)

    def connections(self) -> dict[str, int]:
        """Connections that each sshd has taken so far."""
        return {name: self.lab[name].connections for name in HOSTS}
