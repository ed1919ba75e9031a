"""Looks at what followed an attempt, for the tests of `aftermath`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local_host import LocalHost, until

from jobs.attempt import read_exit
from jobs.lease import is_held


def attempts(host: LocalHost, job: dict[str, Any]) -> list[int]:
    return [folder.attempt for folder in host.home.attempts(job["sweep"], job["id"])]


def spec_of(host: LocalHost, job: dict[str, Any], attempt: int) -> dict[str, Any]:
    return dict(json.loads(Path(host.folder(job, attempt).job).read_text()))


def ended(host: LocalHost, job: dict[str, Any], attempt: int) -> dict[str, Any]:
    """Wait until an attempt has its record and its watcher has done what follows."""
    folder = host.folder(job, attempt)
    until(lambda: read_exit(folder), what=f"attempt {attempt} has ended")
    until(lambda: not is_held(host.local.attempt_lock(folder)), what="its watcher has let go")
    found = read_exit(folder)
    assert found is not None
    return found


def show(host: LocalHost, job: dict[str, Any]) -> dict[str, Any]:
    return host.wire.call("show", sweep=job["sweep"], job=job["id"])  # type: ignore[no-any-return]


def held(host: LocalHost, job: dict[str, Any]) -> str:
    """The reason of a job that waits on purpose, as a new agent reports it; empty when it is not held."""
    report = host.report(job)
    reason = str(report["verdict"].get("reason", ""))
    return reason if report["verdict"]["state"] == "queued" and reason.startswith("held: ") else ""
