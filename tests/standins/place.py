"""All stand-ins together, made once a session, and how a test's host is pointed at them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from . import channel, index

CONDA = Path(__file__).with_name("conda.py")
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCH = platform.machine()


class Standins:
    """Addresses of a conda channel, of torch's indexes and of a small PyPI; a conda to copy.

    Attributes
    ----------
    channel, index, pypi:
        Addresses.
    folder:
        Where it all lies.
    """

    def __init__(self, folder: Path, seen: str = "", python: str = "", minor: str = MINOR) -> None:
        pytest.importorskip("rattler", reason="py-rattler is missing: pip install py-rattler")
        self.folder, self.seen = folder, Path(seen or folder)
        python = python or getattr(sys, "_base_executable", sys.executable)
        tag = "cp" + minor.replace(".", "")
        channel.make(folder / "channel", python, minor, str(sys.version_info.micro))
        for arch in ("x86_64", "aarch64"):
            index.torch(folder, "2.6.0", "cu126", arch, tag)
            index.torch(folder, "2.6.0", "cpu", arch, tag)
            index.torch(folder, "2.13.0", "cu130", arch, tag)
        index.torch(folder, "2.7.1", "cu126", "x86_64", tag)
        index.pypi(folder / "pypi")
        shutil.copy(CONDA, folder / "conda.py")
        self.channel, self.index, self.pypi = (self.address(name) for name in ("channel", "whl", "pypi"))

    def address(self, name: str) -> str:
        """Return the address under which a host finds something of ours."""
        return (self.seen / name).as_uri()

    def sources(self, backend: str = "cu126") -> dict[str, Any]:
        """Return what the verb `provision` is told, without the conda."""
        return {"channel": self.channel, "index": f"{self.index}/{backend}", "wheelhouse": None}

    def conda(self, root: Path, platform: str = "", python: str = sys.executable) -> Path:
        """Install a conda; with `platform` it says that it is for that one."""
        (root / "bin").mkdir(parents=True)
        (root / "lib").mkdir()
        shutil.copy(CONDA, root / "lib" / "conda.py")
        if platform:
            (root / "platform.txt").write_text(platform)
        program = root / "bin" / "conda"
        program.write_text(f'#!/bin/sh\nexec "{python}" -I "$(dirname "$0")/../lib/conda.py" "$@"\n')
        program.chmod(0o755)
        return program

    def miniforge(self, path: Path, python: str = sys.executable, site: str = "") -> str:
        """Write an installer like Miniforge's (`sh FILE -b -p FOLDER`), its SHA-256 beside it; return its address.

        Parameters
        ----------
        python, site:
            What runs the installed conda, and the folder on the host in which py-rattler lies, if it needs one.
        """
        text = f"""#!/bin/sh
test "$1" = -b && test "$2" = -p || exit 2
echo "PREFIX=$3"; mkdir -p "$3/bin" "$3/lib"
cp '{self.seen}/conda.py' "$3/lib/conda.py"
test -z '{site}' || ln -s '{site}' "$3/site"
printf '#!/bin/sh\\nexec "{python}" -I "$(dirname "$0")/../lib/conda.py" "$@"\\n' > "$3/bin/conda"
chmod 755 "$3/bin/conda"
"""
        path.write_text(text)
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        path.with_name(path.name + ".sha256").write_text(f"{sha256}  {path.name}\n")
        return path.as_uri()

    def point(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Let this machine find the small PyPI and nothing else, no conda, and no conda in a user's home."""
        for name in [name for name in os.environ if name.startswith(("PIP_", "CONDA", "MAMBA"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", self.pypi)
        home = tmp_path / "user"
        home.mkdir(exist_ok=True)
        monkeypatch.setenv("HOME", str(home))


def nvidia_smi(driver: str = "545.23.08", name: str = "NVIDIA A10", capability: str = "8.6") -> str:
    """Return an nvidia-smi with one card; it answers the query's columns in any order."""
    card = {"index": "0", "uuid": "GPU-1", "driver_version": driver, "memory.total": "23028", "memory.used": "100"}
    card |= {"utilization.gpu": "0", "compute_cap": capability, "name": name}
    return f"""#!{sys.executable} -I
import sys
columns = next(word for word in sys.argv if word.startswith("--query-gpu=")).partition("=")[2].split(",")
print(", ".join({card!r}[column] for column in columns))
"""
