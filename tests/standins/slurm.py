"""Programs that play a Slurm which keeps its jobs in files: what it has, how jobs ended, what it is told to refuse."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

FULL = "sbatch: error: QOSMaxSubmitJobPerUserLimit\\nsbatch: error: Batch job submission failed: Job violates policy"
_SBATCH = """#!{python}
import re, sys
from pathlib import Path
base, text = Path({base!r}), Path(sys.argv[-1]).read_text()
array = re.search(r"--array=0-(\\d+)", text)
count = int(array.group(1)) + 1 if array else 1
name = re.search(r"--job-name=(.+)", text).group(1)
(base / "text").write_text(text)
with open(base / "asked", "a") as asked:
    asked.write(f"{{count if array else 0}} ")
if (base / "down").exists():
    sys.exit("sbatch: error: Unable to contact slurm controller")
if (base / "refuse").exists():
    sys.exit((base / "refuse").read_text())
have = (base / "tasks").read_text().splitlines()
if len(have) + count > int((base / "limit").read_text()):
    sys.exit({full!r})
job = 100 + len((base / "asked").read_text().split())
ids = [f"{{job}}_{{number}}" for number in range(count)] if array else [str(job)]
have += [f"{{one}}|PENDING|{{name}}|Priority" for one in ids]
(base / "tasks").write_text("".join(line + "\\n" for line in have))
if (base / "silent").exists():
    sys.exit("sbatch: error: Socket timed out")
print(f"Submitted batch job {{job}}")
"""

_SQUEUE = """#!/bin/sh
test -e {base}/down && {{ echo "squeue: error: Unable to contact slurm controller" >&2; exit 1; }}
while [ $# -gt 0 ]; do
    case $1 in --name) name=$2;; esac
    shift
done
all=$(cat {base}/tasks {base}/ended)
test -z "$name" || all=$(echo "$all" | grep -F "|$name|")
say() {{ test -z "$all" || echo "$all"; }}
case $(cat {base}/answers) in
    empty) ;;
    banner) echo "Last login: Mon from 10.0.0.1"; echo "JOBID|STATE|NAME|REASON"; say; echo "12% of quota | ok";;
    coloured) say | awk '{{print "\033[32m" $0 "\033[0m\r"}}';;
    half) say | awk 'NR % 2';;
    cut) say | cut -c 1-9;;
    short) say | sed 's,^\\([0-9]*\\)_[0-9]*|,\\1|,';;
    pointed) say | sed 's/^\\([0-9]\\)/\\1./';;
    theirs) say; say | awk -F "|" '{{print $1 "|COMPLETED|theirs|4711/None"}}';;
    old) grep -hF "$name" {base}/old; exit 0;;
    *) say;;
esac
"""
_SCONTROL = """#!/bin/sh
test "$*" = "show config" && {{ echo "MaxArraySize = 1001"; exit 0; }}
test -e {base}/controller && exit 0
found=$(grep -h "^$4[_|]" {base}/tasks {base}/ended)
test -n "$found" || {{ echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1; }}
say='{{print "JobId=" $1 " ArrayJobId=" $1 " ArrayTaskId=" $2 " JobName=" $4 " UserId=me({user}) JobState=" $3}}'
echo "$found" | awk -F "[|_]" "$say"
"""
ANSWERS = ("empty", "banner", "coloured", "half", "cut", "short", "pointed", "theirs", "old", "good")


class Cluster:
    """That Slurm: its limit of jobs, the jobs it has, the sizes of the arrays that it was asked for."""

    def __init__(self, base: Path, program: Callable[[str, str], Path]) -> None:
        self.base = base
        base.mkdir()
        for name, text in {
            "tasks": "",
            "asked": "",
            "limit": "1000",
            "ended": "",
            "answers": "good",
            "old": "",
        }.items():
            (base / name).write_text(text)
        program("sbatch", _SBATCH.format(python=sys.executable, base=str(base), full=FULL.replace("\\n", "\n")))
        program("squeue", _SQUEUE.format(base=base))
        program("scontrol", _SCONTROL.format(base=base, user=os.getuid()))
        program("sacct", "#!/bin/sh\nexit 1\n")
        program("sinfo", f"#!/bin/sh\ncat {base}/partitions\n")

    @property
    def sizes(self) -> list[int]:
        """Sizes of the arrays that it was asked for since the last time."""
        found = [int(word) for word in (self.base / "asked").read_text().split()]
        fresh, self.seen = found[getattr(self, "seen", 0) :], len(found)
        return fresh

    @property
    def minutes(self) -> int | None:
        """The time that was asked for last."""
        found = re.search(r"--time=(\d+)", (self.base / "text").read_text())
        return int(found[1]) if found else None

    @property
    def tasks(self) -> list[str]:
        """Ids of what it has."""
        return [line.split("|")[0] for line in (self.base / "tasks").read_text().splitlines()]

    def leave(self, *tasks: str, how: str = "") -> None:
        """Jobs that are no longer in its queue, and how they ended; empty: it keeps nothing of them."""
        lines = (self.base / "tasks").read_text().splitlines(keepends=True)
        gone = [line for line in lines if line.split("|")[0] in tasks]
        (self.base / "tasks").write_text("".join(line for line in lines if line not in gone))
        with (self.base / "ended").open("a") as ended:
            ended.writelines(line.replace("|PENDING|", f"|{how}|") for line in gone if how)

    def set(self, name: str, text: str = "") -> None:
        """Write one of its files: `limit`, `refuse` (sbatch's word), `silent`, `down`,
        `partitions` (sinfo's word),
        `answers` (how squeue answers, one of `ANSWERS`), `controller` (scontrol tells of no job)."""
        if name == "answers":
            (self.base / "old").write_text((self.base / "tasks").read_text() + (self.base / "ended").read_text())
        (self.base / name).write_text(text)

    def unset(self, *names: str) -> None:
        """Take such files away."""
        for name in names:
            (self.base / name).unlink(missing_ok=True)
