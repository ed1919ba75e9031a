"""One connection to the agent on this machine: open, queue, stop, show, log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ground import Ground, until

from jobs.errors import NotFound, OrchError, Unreachable
from jobs.spec import Cell, JobSpec
from orchestrator.config import Settings
from orchestrator.dispatch import Contact


@pytest.fixture
def settings(ground: Ground) -> Settings:
    return Settings({}, ground.environment, ground.project)


def job(ground: Ground, label: str, script: str) -> JobSpec:
    return JobSpec("s", label, {}, Cell("command", {"label": label}), ("/bin/sh", "-c", script), str(ground.project))


def test_a_home_is_made_when_first_opened(ground: Ground, settings: Settings) -> None:
    with pytest.raises(NotFound, match="no orch home at"):
        Contact(settings, create=False)
    with Contact(settings) as contact:
        assert Path(ground.home.identity).exists()
    with Contact(settings, create=False) as again:
        assert (again.home_id, again.host) == (contact.home_id, contact.host)


def test_submit_show_log(ground: Ground, settings: Settings) -> None:
    spec = job(ground, "a", "echo hello")
    with Contact(settings) as contact:
        (answer,) = contact.submitted(contact.post_submit(None, [spec.to_json()]))
        assert answer == {"id": spec.id, "action": "queued", "attempt": 1}
        until(lambda: ground.folders("s"), what="it has begun")
        assert "".join(contact.log("s", spec.id, None, 0, follow=True)) == "hello\n"
        until(lambda: contact.submitted(contact.post_submit(None, [spec.to_json()]))[0]["action"] == "done already")
        (shown,) = contact.show("s", spec.id)["attempts"]
        assert shown["verdict"]["state"] == "done"
        assert contact.submitted(contact.post_submit(None, [spec.to_json()], again=[spec.id]))[0]["attempt"] == 2


def test_stop_says_who_asked(ground: Ground, settings: Settings) -> None:
    spec = job(ground, "a", "echo $$ >> pids; exec sleep 300")
    with Contact(settings) as contact:
        contact.submitted(contact.post_submit(None, [spec.to_json()]))
        until(lambda: ground.ran("pids"))
        assert contact.stop([("s", spec.id)])[0]["action"] == "asked to stop"
        (folder,) = ground.folders("s")["a"]
        assert '"by"' in Path(folder.stop).read_text()
        with pytest.raises(NotFound):
            contact.stop([("s", "0" * 16)])


def test_an_agent_that_dies_is_unreachable_and_its_jobs_go_on(ground: Ground, settings: Settings) -> None:
    """Injected: SIGKILL to the agent. Said: this machine does not answer; the job ends well all the same."""
    spec = job(ground, "a", "while ! test -e go; do sleep 0.05; done; echo x >> ran")
    with Contact(settings) as contact:
        contact.submitted(contact.post_submit(None, [spec.to_json()]))
        until(lambda: ground.folders("s"), what="it has begun")
        for pid in ground.processes():
            if parent(pid) == os.getpid():
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(Unreachable, match="this machine does not answer"):
            contact.show("s", spec.id)
    ground.write("go")
    ground.settle()
    assert ground.ran() == ["x"]


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_a_damaged_home_is_not_guessed_at(ground: Ground, settings: Settings) -> None:
    Path(ground.home.path).mkdir()
    Path(ground.home.identity).write_text('{"id": "x"}')
    with pytest.raises(OrchError, match="is damaged") as caught:
        Contact(settings)
    assert "backup" in caught.value.hint
