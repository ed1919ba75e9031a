"""What `orch data copy` costs over ssh, beside plain scp and rsync in the same run.

Method. The lab of the tests is brought up; a data set of random bytes (they do not pack) goes from the laptop to nodal,
whose orch home is on a disk of its own. Each way begins with nothing there, and takes turns with the others. `orch`
reads every byte once here, and once more there before a file gets its name; scp and rsync compare nothing. "again" is
the same command when all is there: both ends' hashes are compared. Seconds are those of the whole command.

    nice -n -5 python benchmarks/bench_data.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from labdesk import Desk  # first: it finds the lab

from lab import system  # isort: skip
from lab.cluster import USER, Lab  # isort: skip

HOST, HOME, PLAIN = "nodal", "/var/tmp/bench-home", "/var/tmp/bench-plain"
PARTS = 8  # volumes, each with a mask of a hundredth of its size


def register(desk: Desk, megabytes: int) -> list[Path]:
    """Make volumes and the manifest that `orch data add` would write; return the volumes."""
    cases, paths = [], []
    for number in range(PARTS):
        case: dict[str, Any] = {"case": f"c-{number}", "group": f"p-{number}", "shape": [1, 1, 1], "labels": [1]}
        for role, size in (("image", megabytes * 10**6 // PARTS), ("label", megabytes * 10**4 // PARTS)):
            path = desk.folder / f"{role}-{number}.nii.gz"
            path.write_bytes(os.urandom(size))
            case |= {role: str(path), f"{role}_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            paths.append(path)
        cases.append({**case, "spacing": [1, 1, 1]})
    known = {"contract": 1, "name": "bench", "hash": "b" * 16, "classes": ["duct"], "cases": cases, "sizes": {}}
    manifest = desk.folder / ".orch" / "data" / "bench" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({**known, "source": {}}))
    return paths


def plain(desk: Desk, *command: str) -> float:
    """Return the seconds of a program other than ours."""
    began = time.perf_counter()
    with desk.lab.laptop():
        subprocess.run(command, cwd=desk.folder, env=desk.env, check=True, capture_output=True)
    return time.perf_counter() - began


def ways(desk: Desk, paths: list[Path], rsync: bool) -> dict[str, Callable[[], float]]:
    """Return each way with a function that sends everything by it."""
    words, to = [str(path) for path in paths], f"{HOST}:{PLAIN}/"
    ssh = str(desk.folder / "bin" / "ssh")
    found: dict[str, Callable[[], float]] = {
        "orch data copy": lambda: desk.orch("data", "copy", "bench", "--host", HOST).wall,
        "scp": lambda: plain(desk, "scp", "-q", "-S", ssh, *words, to),
    }
    if rsync:
        found["orch data copy --via rsync"] = lambda: (
            desk.orch("data", "copy", "bench", "--host", HOST, "--via", "rsync").wall
        )
        found["rsync"] = lambda: plain(desk, "rsync", "-q", "-e", ssh, *words, to)
    return found


def main() -> None:
    """Bring the lab up, measure, print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=200)
    options: Any = parser.parse_args()
    if system.lacking():
        print(f"Data: no lab on this machine: {system.lacking()}")
        return
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as place:
        Path(place).chmod(0o711)  # the lab's user must get through to the shared home
        with Lab(Path(place) / "lab", (HOST,)) as lab:
            desk = Desk(lab, Path(place) / "desk", f"home: {HOME}")
            paths = register(desk, options.megabytes)
            has_rsync = bool(shutil.which("rsync")) and not lab[HOST].run("which", "rsync", check=False).returncode
            walls: dict[str, list[float]] = {}
            for _ in range(options.rounds):
                for name, send in ways(desk, paths, has_rsync).items():
                    lab[HOST].run("rm", "-rf", f"{HOME}/data", PLAIN)
                    lab[HOST].run("mkdir", PLAIN, user=USER)
                    walls.setdefault(name, []).append(send())
                    if name == "orch data copy":
                        walls.setdefault("orch data copy, again", []).append(send())
            bare = statistics.median(plain(desk, "ssh", HOST, "true") for _ in range(options.rounds))
    total = options.megabytes * 1.01
    rows = []
    for name, some in walls.items():
        wall = statistics.median(some)
        rows.append([name, f"{wall:.2f} ({max(some):.2f})", f"{total / wall:.0f}"])
    heads = ["way", "s, median (worst)", "MB/s"]
    print(harness.table(f"{total:.0f} MB in {2 * PARTS} files to one host over ssh", heads, rows))
    print(f"\n`ssh {HOST} true` alone: {bare:.2f} s" + ("" if has_rsync else "; no rsync here: apt-get install rsync"))
    print(f"load before {before:.1f}, after {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
