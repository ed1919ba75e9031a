"""`orch fetch` from a host that names files as it likes: what is good comes, nothing lands elsewhere."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ground import Ground, contents

from jobs.wire import BOOT

from .conftest import Orch

# Between the way to the host and the real agent: the loader is changed before it runs, so that the agent lies.
LIES = """
import json, sys
source = sys.stdin.buffer
code = source.read(int(source.readline())).decode()
lie = '''
import base64, jobs.sending as S
true_files, true_send = S.files_of, S.send
BAD = BAD_FILES
def files_of(agent, jobs):
    told = true_files(agent, jobs)
    for one in told["jobs"]:
        one["files"] += BAD
    told["jobs"].append({"sweep": "../..", "id": "x", "attempt": 1, "files": [{"name": "y", "size": 1, "mtime_ns": 1}]})
    return told
def send(agent, sweep, job, attempt, name, offset=0):
    if name == "endless.bin":
        while True:
            yield base64.b64encode(bytes(700000)).decode()
    if name == "none.bin":
        yield "this is no base64 "
    if any(name == one["name"] for one in BAD):
        yield base64.b64encode(b"owned").decode()
        return {"size": 5, "sha256": __import__("hashlib").sha256(b"owned").hexdigest()}
    return (yield from true_send(agent, sweep, job, attempt, name, offset))
S.files_of, S.send = files_of, send
'''
exec(code.replace("from jobs.agent import serve", lie + "from jobs.agent import serve"))
"""
NAMES = ["../../../.bashrc", "/tmp/orch-was-here", "..", "a/../../../../x", "\u202egnp.exe", "a\x1b[2J", "", "x" * 300]
BAD = [{"name": name, "size": 5, "mtime_ns": 1} for name in NAMES]
BAD += [{"name": f"size{size}", "size": size, "mtime_ns": 1} for size in (-1, 1 << 70, "5", None)]
BAD += [{"name": f"date{date}", "size": 5, "mtime_ns": date} for date in (-1, 1 << 80, "now")]
BAD += [{"name": name, "size": 5, "mtime_ns": 1} for name in ("endless.bin", "none.bin")]


SSH = shutil.which("ssh") or "ssh"


def _play_ssh(program: Callable[[str, str], Path], home: Path, code: str) -> None:
    """An `ssh` in PATH whose other end is this machine, with a home of its own; `code` stands on its command line."""
    agent = shlex.join(["env", f"HOME={home}", sys.executable, "-I", "-S", "-B", "-c", code])
    program("ssh", f'#!/bin/sh\ncase " $* " in *" -G "*) exec {SSH} "$@";; esac\nexec {agent}\n')


@pytest.mark.slow
def test_a_host_that_lies_about_its_files_writes_nowhere_else(
    ground: Ground, orch: Orch, program: Callable[[str, str], Path]
) -> None:
    """Injected: 8 names, 4 sizes, 3 dates, a file without end, one that is no file, and a job that nobody asked for.

    Written outside of the folder that was asked for: nothing. The good files of the same answer came.
    """
    home = ground.base / "grace"
    home.mkdir()
    ground.write("orch.yaml")
    ground.write("site.yaml", "hosts:", "  grace: {ssh: grace}")
    ground.write("sweeps/s.yaml", "command: [sh, -c, 'echo out; echo good > $ORCH_RUN/good.txt']")
    _play_ssh(program, home, BOOT)
    assert orch("sweep", "s", "--hosts", "grace").code == 0
    ground.settle()
    _play_ssh(program, home, LIES.replace("BAD_FILES", repr(BAD).replace("\\", "\\\\")))
    here, project = ground.project / "here", ground.project
    before = dict(contents(project)) | dict(contents(ground.base / "bin"))
    said = orch("fetch", "s", "--to", str(here))
    assert said.code != 0, said
    after = {path: data for path, data in contents(ground.base) if path.suffix != ".part"}
    fresh = {path for path in after if here in path.parents}
    assert sorted(path.name for path in fresh) == ["exit.json", "good.txt", "job.json", "log.txt"]
    assert all(after.get(path, data) == data for path, data in before.items()), "nothing was written over"
    assert not [path for path in contents(ground.base.parent) if path[1] == b"owned"], "nothing came of what it made up"
    assert not Path("/tmp/orch-was-here").exists()
    assert said.err.count("grace names a file") == len(NAMES) + 7
    assert "grace sends more than the 5 bytes that it announced" in said.err
    assert "\x1b" not in said.err and "\u202e" not in said.err
