"""A plain user who may have no more processes: submits, then may have more again. Prints what was seen, as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from local_host import ENDED, LocalHost, sh, until

USER = 54321
CROWD = resource.RLIMIT_NPROC


def main(ground: Path) -> dict[str, Any]:
    """Do it; the agent is a child of ours with the limit of its own."""
    for name in ("home", "local", "work"):
        (ground / name).mkdir()
        os.chown(ground / name, USER, USER)
    os.environ.update(ORCH_LOCAL=str(ground / "local"), ORCH_CACHE=str(ground / "cache"), HOME=str(ground))
    os.setgid(USER)
    os.setuid(USER)
    host = LocalHost(ground / "home", ground / "local", ground / "work")
    try:
        (agent,) = host.agents()
        most = resource.prlimit(agent, CROWD)
        resource.prlimit(agent, CROWD, (2, most[1]))  # this process and the agent
        jobs = [host.job(f"j{n}", sh(f"echo j{n} >> starts")) for n in range(4)]
        keeper = host.submit(*jobs)["keeper"]
        told = {"keeper": keeper, "why": host.report(jobs[0])["verdict"]["reason"], "agents": len(host.processes())}
        resource.prlimit(agent, CROWD, most)
        host.collect()
        until(lambda: [state in ENDED for state in host.states()] == [True] * 4, 40)
        starts = (host.work / "starts").read_text().splitlines()
        return {**told, "states": host.states(), "starts": starts}
    finally:
        host.close()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))))
