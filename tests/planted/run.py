"""`make planted`: is the suite sharp? Each patch plants one fault in a copy of the tree; its tests must fail.

A patch begins with two lines, `What:` (the fault, in a sentence) and `Tests:` (pytest files or node ids, separated by
blanks); the unified diff follows, as `git diff` writes it. `PLANTED=word` takes only the patches whose names hold the
word; `CLEAN=yes` runs the named tests without the fault instead: they must pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SIDE_BY_SIDE = int(os.environ.get("JOBS") or 2)
LIMIT_S = 240  # for one patch; a fault that makes its tests hang is caught then
SHARP = 0.95  # of the faults must be caught: 57 of 60


class Fault(NamedTuple):
    """One patch: its name, what is wrong with it in the tree, the tests that must see it."""

    name: str
    what: str
    tests: list[str]


def faults(word: str = "") -> list[Fault]:
    """Return the faults whose names hold the word, sorted.

    Raises
    ------
    ValueError
        A patch lacks one of its two lines.
    """
    found = []
    for path in sorted(HERE.glob("*.patch")):
        head = path.read_text(encoding="utf-8").splitlines()[:2]
        if [line.partition(":")[0] for line in head] != ["What", "Tests"]:
            raise ValueError(f"{path.name} does not begin with What: and Tests:")
        what, tests = (line.partition(":")[2].strip() for line in head)
        found.append(Fault(path.stem, what, tests.split()))
    return [one for one in found if word in one.name]


def applies(name: str, root: Path = ROOT, *, really: bool = False) -> str:
    """Apply a patch to a tree, or try whether it could be; return git's complaint, or nothing."""
    words = ["git", "apply", *([] if really else ["--check"]), str(HERE / f"{name}.patch")]
    outside = {**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)}  # a copy below a checkout is none of it
    return subprocess.run(words, cwd=root, env=outside, capture_output=True, text=True, check=False).stderr.strip()


def copy(target: Path) -> None:
    """Copy the tree, with an environment whose packages are ours and whose `orch` is the copy's."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target / ".venv")], check=True)
    (packages,) = (target / ".venv").glob("lib/python*/site-packages")
    (packages / "a.pth").write_text(f"{target}\n")
    (packages / "b.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")


def tried(fault: Fault, tree: Path, *, clean: bool) -> tuple[str, str]:
    """Run the tests of one fault in a copy; return the verdict and the last lines of output."""
    if not clean and (complaint := applies(fault.name, tree, really=True)):
        return "does not apply", complaint
    words = [str(tree / ".venv/bin/python"), "-m", "pytest", "-x", "-q", "-n", "0", *fault.tests]
    try:
        done = subprocess.run(words, cwd=tree, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return ("caught", "its tests hang") if not clean else ("fails without it", "hangs")
    verdicts = {0: "passes", 1: "fails without it"} if clean else {0: "MISSED", 1: "caught"}
    return verdicts.get(done.returncode, "cannot be tried"), "\n".join(done.stdout.splitlines()[-6:])


def work(todo: Iterator[Fault], lock: threading.Lock, results: dict[str, str], clean: bool) -> None:
    """Try one fault after another, each in a copy of its own."""
    while True:
        with lock:
            fault = next(todo, None)
        if fault is None:
            return
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="planted-", ignore_cleanup_errors=True) as folder:
            tree = Path(folder, "tree")
            copy(tree)
            verdict, tail = tried(fault, tree, clean=clean)
        with lock:
            results[fault.name] = verdict
            sys.stdout.write(f"{verdict:16} {time.monotonic() - began:5.0f} s  {fault.name}: {fault.what}\n")
            if verdict not in ("caught", "passes"):
                sys.stdout.write("".join(f"{'':26}{line}\n" for line in tail.splitlines()))
            sys.stdout.flush()


def main() -> int:
    """Try all faults; return 0 when enough of them are caught."""
    todo, clean = faults(os.environ.get("PLANTED", "")), bool(os.environ.get("CLEAN"))
    results: dict[str, str] = {}
    began, lock, queue = time.monotonic(), threading.Lock(), iter(todo)
    threads = [threading.Thread(target=work, args=(queue, lock, results, clean)) for _ in range(SIDE_BY_SIDE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = sum(verdict in ("caught", "passes") for verdict in results.values())
    minutes = (time.monotonic() - began) / 60
    sys.stdout.write(f"{good} of {len(todo)} {'pass' if clean else 'caught'}, in {minutes:.0f} minutes\n")
    return int(good < SHARP * len(todo))


if __name__ == "__main__":
    sys.exit(main())
