"""A project whose jobs write a record for the judge: their scripts, and what its index and a rebuilt one tell."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ground import Ground
from judge import judge, read
from record import PRELUDE, Record

from orchestrator.store import Index


class Witness:
    """The record of one sweep of commands, in a folder that all its jobs can write.

    Parameters
    ----------
    folder:
        Where record and prelude lie, as this process sees it.
    seen_as:
        The same folder as the jobs' shell sees it (a host of the lab mounts it elsewhere: `$HOME/...`).
    """

    def __init__(self, ground: Ground, folder: Path, seen_as: str = "") -> None:
        self.ground, self.seen_as = ground, seen_as or str(folder)
        self.record = Record(folder / "record")
        (folder / "prelude.sh").write_text(PRELUDE)
        self.record.path.touch()
        self.record.path.chmod(0o666)

    def script(self, job: str, work: str) -> str:
        """Return a job's script: `job` is its label, with the sweep's placeholders; `work` ends by `finish CODE`."""
        return f'RECORD="{self.seen_as}/record" JOB="{job}"; . "{self.seen_as}/prelude.sh"; {work}'

    def accepted(self, *jobs: str) -> None:
        """`orch` said that these are queued."""
        for job in jobs:
            self.record.accepted(job)

    def lost_power(self, host: str) -> None:
        """A host was switched off: what ran there in any boot so far is gone, and may have left no exit record."""
        starts = [line for line in read(self.record.path) if line["say"] == "start" and line["host"] == host]
        for boot in {line["boot"] for line in starts}:
            self.record.off(boot)
        for line in starts:
            self.record.unwitnessed(line["job"], line["attempt"])
            self.record.disturbed(line["job"], "its host lost power")

    def look(self, sweep: str, by: str = "laptop", ground: Ground | None = None) -> None:
        """Ask the hosts, and write down what the index says then."""
        at = ground or self.ground
        done = at.orch("sync")
        assert done.code in (0, 5), done.err
        (path,) = Path(at.variables["ORCH_STATE"]).glob("*/index.db")
        with Index.open(path) as index:
            for row in index.attempts(sweep):
                self.record.told(by, row.label, row.number, row.state, (row.exit or {}).get("status"))
            for job in index.jobs(sweep):
                if job.counted:
                    self.record.counts(by, job.label, job.counted)

    def verdict(self, sweep: str) -> None:
        """All has come to rest: what this index and a new laptop's say is the last word; no promise was broken."""
        self.record.rest()
        self.look(sweep)
        with tempfile.TemporaryDirectory() as folder:
            other = Ground(Path(folder) / "ground", **{**self.ground.variables, "ORCH_STATE": f"{folder}/state"})
            for name in ("orch.yaml", "site.yaml"):
                if (self.ground.project / name).exists():
                    other.write(name, (self.ground.project / name).read_text())
            self.look(sweep, "another laptop", other)
        found = judge(read(self.record.path))
        assert not found, found
