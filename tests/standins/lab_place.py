"""The stand-ins on the lab's shared home: a conda for x86_64, an installer for aarch64, indexes and a small PyPI."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.cluster import USER, Lab
from lab.rootfs import cache

from .place import Standins
from .rattler import unpacked

PYTHON = "/usr/bin/python3"
MINOR = "3.11"  # of Debian 12, on which the lab's hosts stand
MADE = (".orch", "standins", "miniforge3", ".config", ".conda")  # what stands in the home afterwards


def rattlers() -> dict[str, Path]:
    """Return py-rattler for both processors; to be fetched before one moves to the lab's laptop without internet."""
    return {arch: unpacked(cache(), arch) for arch in ("x86_64", "aarch64")}


def furnish(lab: Lab, programs: dict[str, Path]) -> list[str]:
    """Put everything into the user's home, as people and mirrors would; return the words that tell `orch setup` of it.

    A conda for x86_64 stands there, as a person left it, and none for aarch64.
    """
    home, inside = lab.user_home, f"/home/{USER}"
    standins = Standins(home / "standins", f"{inside}/standins", PYTHON, MINOR)
    for arch, folder in programs.items():
        shutil.copytree(folder, home / "standins" / f"site-{arch}")
    standins.conda(home / "miniforge3", "linux-64", PYTHON)
    (home / "miniforge3" / "site").symlink_to(f"{inside}/standins/site-x86_64")
    standins.miniforge(home / "standins" / "aarch64.sh", PYTHON, f"{inside}/standins/site-aarch64")
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text(f"[global]\nindex-url = {standins.pypi}\n")
    owner = home.stat()
    subprocess.run(["chown", "-R", "-h", f"{owner.st_uid}:{owner.st_gid}", str(home)], check=True)
    mirrors = ["--wheels", standins.index, "--channel", standins.channel]
    return [*mirrors, "--miniforge", f"{standins.address('')}/{{arch}}.sh", "--python-version", MINOR]


def clear(lab: Lab) -> None:
    """Take it all away again, and what was made with it."""
    for name in MADE:
        shutil.rmtree(lab.user_home / name, ignore_errors=True)
    for host in lab.hosts.values():  # a host remembers where a home stood, and misses it
        host.run("/bin/sh", "-c", "rm -rf /var/tmp/orch-*")
