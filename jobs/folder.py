"""The orch home and its run folders: the only module that knows a file name.

<home>/home.json                                   identity of this home and its secret for pseudonyms
<home>/sweeps/<sweep>.json                         what the sweep is now: pinned code, cells, order
<home>/runs/<sweep>/<job id>/attempt-NN/           one attempt of one job (`RunFolder`)
<home>/queue/<host>/<batch>.jsonl                  one file per submitted batch
<home>/begun/<host>/<boot id>-<random>             which attempts began there, a line each (`begun`)
<home>/dead/<host>.json                            a person's word that a host will not come back
<home>/code/<hash>/                                immutable code snapshots; code/<hash>.patch: the uncommitted part
<home>/data/<name>/manifest.json, split-<hash>.json
<home>/data/<name>/files/<SHA-256>.nii.gz          the volumes of a copy; those of an original lie where they lay
<home>/data/<name>/copies/<host>.json              where copies of it went
<home>/journal.jsonl                               notes and tags
<home>/handovers/<home id>.jsonl                   what `orch handover` has brought from another home (`estate`)
<home>/parked/<item>/item.json, 0, 1, ...          what `orch gc` put aside (`shelving`)
<host-local>/...                                   locks, wake-up pipe, spool, caches (`HostFolder`)
"""

from __future__ import annotations

import os
import re
from typing import Iterator, NamedTuple, Optional

from .atomic import patiently
from .local_root import own_root, temporary_folder

SLURM_FOLDER = "slurm"  # the host-local folder of what Slurm runs, below that of the home
_ATTEMPT = re.compile(r"attempt-(\d{2,})\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\Z")


def valid_name(name: str) -> bool:
    """Tell whether a name of a sweep, data set or host can be a folder name: letters, digits, `. _ + -`."""
    return bool(_NAME.match(name))


class RunFolder(NamedTuple):
    """All paths of one attempt."""

    path: str

    @property
    def job(self) -> str:
        """`job.json`: the whole resolved specification; written once, never changed."""
        return os.path.join(self.path, "job.json")

    @property
    def events(self) -> str:
        """`events.jsonl`: written by the program only."""
        return os.path.join(self.path, "events.jsonl")

    @property
    def result(self) -> str:
        """`result.json`: the program's word that it finished."""
        return os.path.join(self.path, "result.json")

    @property
    def cases(self) -> str:
        """`cases.json`: per-patient scores beside the result."""
        return os.path.join(self.path, "cases.json")

    @property
    def exit(self) -> str:
        """`exit.json`: the watcher's record; its full size is reserved at creation."""
        return os.path.join(self.path, "exit.json")

    @property
    def stop(self) -> str:
        """`stop`: a stop request."""
        return os.path.join(self.path, "stop")

    @property
    def ended(self) -> str:
        """`ended.json`: the proof that an attempt without a record had ended, brought along by `orch handover`."""
        return os.path.join(self.path, "ended.json")

    @property
    def log(self) -> str:
        """`log.txt`: what the program printed; never parsed for results."""
        return os.path.join(self.path, "log.txt")

    @property
    def notebook(self) -> str:
        """`notebook.ipynb`: the executed copy, when the job is a notebook."""
        return os.path.join(self.path, "notebook.ipynb")

    @property
    def work(self) -> str:
        """`work/`: the folder in which a notebook runs, with what it writes there."""
        return os.path.join(self.path, "work")

    def checkpoint(self, which: str) -> str:
        """`best.pt` or `last.pt`; the SHA-256 stands beside it in `<which>.json`."""
        return os.path.join(self.path, which + ".pt")

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return attempt_number(os.path.basename(self.path)) or 0

    @property
    def job_id(self) -> str:
        """The job's id: name of the folder above."""
        return os.path.basename(os.path.dirname(self.path))

    @property
    def sweep(self) -> str:
        """The sweep's name: two folders above."""
        return os.path.basename(os.path.dirname(os.path.dirname(self.path)))

    @property
    def home(self) -> "Home":
        """The orch home, four folders above."""
        path = self.path
        for _ in range(4):
            path = os.path.dirname(path)
        return Home(path)


class Home(NamedTuple):
    """All paths of one orch home."""

    path: str

    @property
    def identity(self) -> str:
        """`home.json`: `{"contract", "id", "secret"}`."""
        return os.path.join(self.path, "home.json")

    @property
    def runs(self) -> str:
        """Folder of all run folders."""
        return os.path.join(self.path, "runs")

    @property
    def sweeps(self) -> str:
        """Folder of the sweep records."""
        return os.path.join(self.path, "sweeps")

    @property
    def journal(self) -> str:
        """Notes and tags, one JSON line each."""
        return os.path.join(self.path, "journal.jsonl")

    @property
    def code(self) -> str:
        """Folder of the code snapshots."""
        return os.path.join(self.path, "code")

    @property
    def data(self) -> str:
        """Folder of the registered data sets."""
        return os.path.join(self.path, "data")

    @property
    def parked(self) -> str:
        """Folder of what was put aside to be deleted later."""
        return os.path.join(self.path, "parked")

    def sweep(self, name: str) -> str:
        """Path of one sweep's record."""
        return os.path.join(self.sweeps, name + ".json")

    def job(self, sweep: str, job_id: str) -> str:
        """Folder of one job: its attempts lie in it."""
        return os.path.join(self.runs, sweep, job_id)

    def attempt(self, sweep: str, job_id: str, number: int) -> RunFolder:
        """Run folder of one attempt."""
        return RunFolder(os.path.join(self.job(sweep, job_id), "attempt-{:02d}".format(number)))

    def attempts(self, sweep: str, job_id: str) -> "list[RunFolder]":
        """All attempts of a job, in order."""
        folder = self.job(sweep, job_id)
        numbers = sorted(filter(None, (attempt_number(name) for name in listing(folder))))
        return [self.attempt(sweep, job_id, number) for number in numbers]

    def jobs(self, sweep: str) -> "list[str]":
        """Ids of all jobs of a sweep that have a folder."""
        return sorted(name for name in listing(os.path.join(self.runs, sweep)) if not name.startswith("."))

    def sweep_names(self) -> "list[str]":
        """Names of all sweeps: those with a record and those with runs."""
        recorded = (name[:-5] for name in listing(self.sweeps) if name.endswith(".json"))
        return sorted({*recorded, *(name for name in listing(self.runs) if not name.startswith("."))})

    def run_folders(self) -> Iterator[RunFolder]:
        """Every attempt in this home, in a fixed order."""
        for sweep in self.sweep_names():
            for job_id in self.jobs(sweep):
                yield from self.attempts(sweep, job_id)

    def of_lock(self, name: str) -> "Optional[RunFolder]":
        """Return the run folder of a lock file's name (`HostFolder.attempt_lock`); None for any other name."""
        sweep, _, rest = name.rpartition("-")[0].rpartition("-")
        number = name.rpartition("-")[2]
        return self.attempt(sweep, rest, int(number)) if sweep and rest and number.isdigit() else None

    def queue(self, host: str) -> str:
        """Folder of a host's submitted batches."""
        return os.path.join(self.path, "queue", host)

    def queue_hosts(self) -> "list[str]":
        """Names of all hosts that ever had a queue here."""
        return sorted(name for name in listing(os.path.join(self.path, "queue")) if not name.startswith("."))

    def begun(self, host: str) -> str:
        """Folder of the lists of attempts that a host began."""
        return os.path.join(self.path, "begun", host)

    def begun_hosts(self) -> "list[str]":
        """Names of all hosts that began attempts here."""
        return sorted(name for name in listing(os.path.join(self.path, "begun")) if not name.startswith("."))

    def dead(self, host: str) -> str:
        """A person's word that a host will not come back."""
        return os.path.join(self.path, "dead", host + ".json")

    def manifest(self, name: str) -> str:
        """Manifest of a registered data set."""
        return os.path.join(self.data, name, "manifest.json")

    def data_files(self, name: str) -> str:
        """Folder of the volumes of a copied data set, named by their SHA-256."""
        return os.path.join(self.data, name, "files")

    def copies(self, name: str) -> str:
        """Folder that says where copies of a data set went, one file for each host."""
        return os.path.join(self.data, name, "copies")

    def split(self, name: str, split_hash: str) -> str:
        """Split file of a data set."""
        return os.path.join(self.data, name, "split-{}.json".format(split_hash))


class HostFolder(NamedTuple):
    """Host-local paths: on a disk that outlives logout, never on a shared home."""

    path: str

    @classmethod
    def of(cls, home_id: str) -> "HostFolder":
        """Return this user's folder for one orch home; `ORCH_LOCAL` names another root than `/var/tmp`.

        Where somebody else has taken its name, it is the folder beside it that we have made (`own_root`).
        """
        root = os.environ.get("ORCH_LOCAL") or ("/var/tmp" if os.name == "posix" else temporary_folder())
        return cls(os.path.join(own_root(root), home_id))

    @property
    def home_id(self) -> str:
        """Id of the orch home to which this folder belongs (behind Slurm there is one more below it)."""
        name = os.path.basename(self.path)
        return os.path.basename(os.path.dirname(self.path)) if name == SLURM_FOLDER else name

    @property
    def place(self) -> str:
        """Where this host saw the home last (`home_identity.Place`)."""
        return os.path.join(self.path, "place.json")

    @property
    def keeper_lock(self) -> str:
        """Held by the keeper while it lives."""
        return os.path.join(self.path, "keeper.lock")

    @property
    def queue_lock(self) -> str:
        """Held to enqueue, and to find the queue empty and leave."""
        return os.path.join(self.path, "queue.lock")

    @property
    def wake(self) -> str:
        """Named pipe that wakes the keeper."""
        return os.path.join(self.path, "wake")

    @property
    def keeper_speaks(self) -> str:
        """Protocol number and version of the keeper that lives: see `protocol`."""
        return os.path.join(self.path, "keeper.json")

    @property
    def keeper_log(self) -> str:
        """What the keeper did, for people."""
        return os.path.join(self.path, "keeper.log")

    @property
    def holds(self) -> str:
        """What waits on purpose (`holds`)."""
        return os.path.join(self.path, "holds.json")

    @property
    def sick(self) -> str:
        """Mark that the GPUs are out of use: the same for all orch homes of a user."""
        return os.path.join(os.path.dirname(self.path), "sick.json")

    @property
    def waits(self) -> str:
        """Why jobs wait for a card (`waits`)."""
        return os.path.join(self.path, "waits.json")

    @property
    def wishes(self) -> str:
        """How this user shares the cards (`courtesy`): the same for all orch homes."""
        return os.path.join(os.path.dirname(self.path), "courtesy.json")

    @property
    def courtesies(self) -> str:
        """What can be shown to a colleague: who was there, when we stepped aside, how long we waited."""
        return os.path.join(os.path.dirname(self.path), "courtesy.jsonl")

    @property
    def cards(self) -> str:
        """Folder of the cards' leases: the same for all users of this host."""
        return os.path.join(os.path.dirname(os.path.dirname(self.path)), "orch-cards")

    @property
    def cache(self) -> str:
        """What jobs can make again, slices of volumes among it; `ORCH_CACHE` names another place."""
        return os.environ.get("ORCH_CACHE") or os.path.join(self.path, "cache")

    def code(self, name: str) -> str:
        """This user's own copy of a code snapshot of the group's home (`integrity`)."""
        return os.path.join(self.path, "code", name)

    def seen(self, name: str) -> str:
        """How the files of a code snapshot looked when they were verified."""
        return os.path.join(self.path, "seen", name + ".json")

    @property
    def trust(self) -> str:
        """Whose environments this user's jobs may use, as the site file says."""
        return os.path.join(self.path, "trust.json")

    def copying(self, name: str) -> str:
        """Lock held while a copy of a data set is taken in."""
        return os.path.join(self.path, "copying", name)

    @property
    def locks(self) -> str:
        """Folder of the attempts' locks."""
        return os.path.join(self.path, "locks")

    @property
    def spool(self) -> str:
        """Exit records that could not be written to the run folder."""
        return os.path.join(self.path, "spool")

    def attempt_lock(self, folder: RunFolder) -> str:
        """Lock inherited by the job: free means ended."""
        return os.path.join(self.locks, _flat_name(folder))

    def spooled(self, folder: RunFolder) -> str:
        """Where an attempt's exit record waits when the run folder cannot take it."""
        return os.path.join(self.spool, _flat_name(folder) + ".json")

    def slot(self, kind: str, number: "int | str") -> str:
        """Lock of one slot, held while a job uses it."""
        return os.path.join(self.path, "slots", "{}-{}".format(kind, number))


def attempt_number(name: str) -> Optional[int]:
    """Return the number in `attempt-NN`, or None for any other name."""
    match = _ATTEMPT.match(name)
    return int(match.group(1)) if match else None


def _flat_name(folder: RunFolder) -> str:
    return "{}-{}-{:02d}".format(folder.sweep, folder.job_id, folder.attempt)  # the same cell may be in two sweeps


def listing(path: str) -> "list[str]":
    """Names in a folder; none where there is no such folder."""
    try:
        return patiently(lambda: os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
