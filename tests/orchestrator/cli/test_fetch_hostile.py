"""`orch fetch` from a host that names files as it likes: what is good comes, nothing lands elsewhere."""

from __future__ import annotations

import json
import shlex
import sys

import pytest
from ground import Ground, contents

from .conftest import Orch

# Between the way to the host and the real agent: the loader is changed before it runs, so that the agent lies.
LIES = """
import json, sys
source = sys.stdin.buffer
code = source.read(int(source.readline())).decode()
lie = '''
import base64, jobs.sending as S
true_files, true_send = S.files_of, S.send
BAD = %s
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


@pytest.mark.slow
def test_a_host_that_lies_about_its_files_writes_nowhere_else(ground: Ground, orch: Orch) -> None:
    """Injected: 8 names, 4 sizes, 3 dates, a file without end, one that is no file, and a job that nobody asked for.

    Written outside of the folder that was asked for: nothing. The good files of the same answer came.
    """
    (ground.base / "grace").mkdir()
    ground.write("orch.yaml")
    python = ground.base / "python"
    lies = LIES % repr(BAD).replace("\\", "\\\\")
    python.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S -B -c {shlex.quote(lies)}\n")
    python.chmod(0o755)
    host = f"  grace: {{way: fake, address: {json.dumps(str(ground.base / 'grace'))}"
    ground.write("site.yaml", "hosts:", host + "}")
    ground.write("sweeps/s.yaml", "command: [sh, -c, 'echo out; echo good > $ORCH_RUN/good.txt']")
    assert orch("sweep", "s", "--hosts", "grace").code == 0
    ground.settle()
    ground.write("site.yaml", "hosts:", host + f", python: {json.dumps(str(python))}}}")
    orch("status", "--refresh")
    before = {path: data for path, data in contents(ground.base) if "state" not in path.parts}
    said = orch("fetch", "s", "--to", str(ground.project / "here"))
    after = {path: data for path, data in contents(ground.base) if "state" not in path.parts}
    assert said.code != 0, said
    fresh = sorted(str(path.relative_to(ground.project / "here")) for path in after.keys() - before.keys())
    assert [name.rpartition("/")[2] for name in fresh if not name.endswith(".part")] == [
        "exit.json", "good.txt", "job.json", "log.txt",
    ], fresh  # fmt: skip
    assert all(after[path] == data for path, data in before.items())
    assert said.err.count("grace names a file") == len(NAMES) + 7
    assert "grace sends more than the 5 bytes that it announced" in said.err
    assert "\x1b" not in said.err and "\u202e" not in said.err
