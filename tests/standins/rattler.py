"""py-rattler for a lab host: the wheel for its processor, of the version that runs here, unpacked and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

GLIBC = ("2_17", "2_28", "2_34")


def unpacked(cache: Path, arch: str) -> Path:
    """Return a folder that can stand in `sys.path`; skips the test when the wheel cannot be had."""
    version = metadata.version("py-rattler")
    folder = cache / f"rattler-{version}-{arch}"
    if not folder.exists():
        fresh = folder.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        platforms = [word for glibc in GLIBC for word in ("--platform", f"manylinux_{glibc}_{arch}")]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            *platforms,
        ]
        command += ["--platform", f"manylinux2014_{arch}", "--dest", str(fresh), f"py-rattler=={version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no py-rattler for {arch}: {done.stderr.strip().splitlines()[-1]}")
        (wheel,) = fresh.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(fresh)
        wheel.unlink()
        fresh.rename(folder)
    return folder
