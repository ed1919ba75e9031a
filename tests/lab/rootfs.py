"""An aarch64 Debian as a folder: its packages unpacked, nothing configured, nothing emulated; made once per machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from .system import SEARCH

RELEASE = "bookworm"
PACKAGES = "python3,python3-venv,openssh-server,procps,iproute2,util-linux,ca-certificates"
VERSION = 1  # raise it when the way of making changes


def cache() -> Path:
    """Folder that survives between test runs: in the real user's cache (tests have a HOME of their own)."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "orch-lab")


def aarch64_root() -> Path:
    """Return the root folder; the first caller makes it (half a minute, most of it downloading), others wait.

    Raises
    ------
    subprocess.CalledProcessError
        Debian's archive cannot be reached.
    """
    key = hashlib.sha256(f"{VERSION} {RELEASE} {PACKAGES}".encode()).hexdigest()[:12]
    root = cache() / f"aarch64-{key}"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            fresh = root.with_suffix(".new")
            shutil.rmtree(fresh, ignore_errors=True)
            _make(fresh)
            fresh.rename(root)
    return root


def _make(root: Path) -> None:
    environment = {**os.environ, "PATH": SEARCH, "LC_ALL": "C"}
    debs = cache() / "debs"
    debs.mkdir(exist_ok=True)
    bootstrap = ["debootstrap", "--arch=arm64", "--variant=minbase", "--foreign", f"--cache-dir={debs}"]
    bootstrap += [f"--include={PACKAGES}", RELEASE, str(root), *_mirror()]
    done = subprocess.run(bootstrap, env=environment, capture_output=True, text=True, check=False, timeout=500)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, bootstrap, done.stdout[-2000:], done.stderr[-2000:])
    for package in sorted(root.glob("var/cache/apt/archives/*.deb")):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], env=environment, check=True)
        package.unlink()
    users = root / "usr/share/base-passwd"
    shutil.copy(users / "passwd.master", root / "etc/passwd")
    shutil.copy(users / "group.master", root / "etc/group")


def _mirror() -> list[str]:
    """The archive that this machine uses itself, if that can be told."""
    path = Path("/etc/apt/sources.list.d/debian.sources")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.startswith("URIs:")][:1]
