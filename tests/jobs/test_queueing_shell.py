"""The shell of a command that queues jobs for Slurm: kept once, whole, and its owner's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs import queueing_shell, slurm_client
from jobs.folder import Home


def job(slurm: Any) -> dict[str, Any]:
    return {"id": "0", "placement": {"slurm": slurm} if slurm is not None else {}}


def test_it_is_kept_once_and_named_in_the_jobs_for_slurm(orch_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/a.conf")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("MODULEPATH", os.fsdecode(b"/opt/\xe9"))  # no text
    first, other = queueing_shell.marked(orch_home, "login", [job({"qos": "a"}), job(None)])
    assert other == job(None) and first["placement"]["slurm"]["qos"] == "a"
    (path,) = Path(orch_home.queue("login"), "arrays").glob("shell-*.json")
    kept = json.loads(path.read_text())
    assert kept["SLURM_CONF"] == "/etc/a.conf" and kept["PATH"] == os.environ["PATH"]
    assert set(kept) <= set(slurm_client.FINDS) and "MODULEPATH" not in kept
    assert queueing_shell.load(orch_home, "login", first["placement"]["slurm"]) == kept
    monkeypatch.setenv("SLURM_CONF", "/etc/b.conf")
    queueing_shell.marked(orch_home, "login", [job({})])
    assert len(list(path.parent.glob("shell-*.json"))) == 2
    assert queueing_shell.load(orch_home, "login", first["placement"]["slurm"]) == kept


@pytest.mark.parametrize("damage", ["edited", "gone", "owner", "name"])
def test_what_is_not_whole_or_not_ours_does_not_count(
    orch_home: Home, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: an edited file, none, one of another user, a name that is a path. Our own environment does instead."""
    (marked,) = queueing_shell.marked(orch_home, "login", [job({})])
    (path,) = Path(orch_home.queue("login"), "arrays").glob("shell-*.json")
    asked = marked["placement"]["slurm"]
    if damage == "edited":
        path.write_text(json.dumps({"PATH": "/evil"}))
    elif damage == "gone":
        path.unlink()
    elif damage == "owner":
        if os.getuid():
            pytest.skip("giving a file away needs root")
        os.chown(path, 4711, -1)
    else:
        asked = {"shell": "../../../etc/x"}
    assert queueing_shell.load(orch_home, "login", asked) is None
