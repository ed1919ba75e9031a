"""Several hosts visited side by side, with real agents: order, errors, one that hangs up, Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from jobs.asking import pack
from jobs.errors import OrchError, Unreachable
from jobs.pipe import ProcessPipe
from jobs.wire import Wire, boot_arguments
from setup.site import Host
from setup.visits import Visit, Visits

HOSTS = [Host(name, ssh=name) for name in ("nodal", "dead", "ada")]


def connect(host: Host) -> Wire:
    if host.name == "dead":
        raise Unreachable("dead does not answer: timed out", "is it on?")
    return Wire(ProcessPipe(host.name, boot_arguments(sys.executable)))


def ask(visit: Visit) -> str:
    return str(visit.wire.call("probe")["hostname"])


def test_a_dead_host_ends_its_own_visit_only() -> None:
    with Visits(HOSTS, connect) as visits:
        assert list(visits.each(ask)) == ["nodal", "ada"]
        assert [visit.name for visit in visits.alive] == ["nodal", "ada"]
        assert {name: error.exit_code for name, error in visits.errors.items()} == {"dead": 5}
        assert list(visits.each(ask, ["ada"])) == ["ada"]
        assert all(visit.seconds > 0 for visit in visits.alive)
    with pytest.raises(OrchError, match="nodal is not connected"):
        ask(visits.all[0])


def test_what_goes_wrong_on_one_host_is_its_own() -> None:
    def act(visit: Visit) -> str:
        if visit.name == "ada":
            visit.wire.call("no such verb")
        return visit.name

    with Visits(HOSTS, connect) as visits:
        assert visits.each(act) == {"nodal": "nodal"}
        assert visits.each(ask).keys() == {"nodal"}
        assert "has no verb" in visits.errors["ada"].message


def test_they_really_work_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=30)
    with Visits(HOSTS, connect) as visits:
        assert visits.each(lambda visit: together.wait() is not None) == {"nodal": True, "ada": True}


def test_an_interrupt_closes_all_connections() -> None:
    """Injected: Ctrl-C while an agent is at work, once. Lost: nothing; the agent's own work ends with its client."""
    code = pack({"__main__.py": b"import time\nprint('at work', flush=True)\ntime.sleep(600)\n"})

    def work(visit: Visit) -> None:
        for chunk in visit.wire.stream("ask_program", python=sys.executable, code=code, words=[]):
            if chunk == "at work":
                os.kill(os.getpid(), signal.SIGINT)

    with Visits(HOSTS[:1], connect) as visits:
        with pytest.raises(KeyboardInterrupt):
            visits.each(work)
        assert visits.alive == [] and visits.errors["nodal"].exit_code == 5
