"""What the judge reads (`judge.py`): lines that job programs write of themselves, and a test of all else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# For the head of a shell program; RECORD and JOB must be set, `orch` sets ORCH_RUN. `born` is the start time of the
# process (proc(5), stat, field 22), which tells it from a later one of the same number. Each program first adds itself
# to the list of those that ran this job, then looks which of the others live: of two at once one sees the other.
PRELUDE = r"""
_field() {
  read -r _line 2>/dev/null < "/proc/$1/stat" || return 1
  set -- ${_line##*) }; [ "$1" != Z ] && shift 19 && _born=$1  # a zombie has ended
}
_say() {
  printf '{"say":"%s","job":"%s","attempt":%s,"pid":%s,"born":%s,"host":"%s","boot":"%s"%s}\n' \
    "$1" "$JOB" "$ATTEMPT" "$$" "$BORN" "$HOST" "$BOOT" "$2" >> "$RECORD"
}
_met() {
  while read -r _pid _at _number _boot; do
    [ "$_pid $_at $_boot" != "$$ $BORN $BOOT" ] && [ "$_boot" = "$BOOT" ] || continue
    _field "$_pid" && [ "$_born" = "$_at" ] && printf '%s ' "$_number"
  done < "$RECORD.$JOB"
}
beat() { _say beat ""; }
finish() { _say end ",\"code\":$1"; exit "$1"; }
ATTEMPT=${ORCH_RUN##*/attempt-}; ATTEMPT=${ATTEMPT#0}
read -r HOST < /proc/sys/kernel/hostname; read -r BOOT < /proc/sys/kernel/random/boot_id
_field $$; BORN=$_born
echo "$$ $BORN $ATTEMPT $BOOT" >> "$RECORD.$JOB"
_say start ",\"met\":\"$(_met)\""
"""


class Record:
    """What is asked, done and told, as the one who drives a test writes it down."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def say(self, what: str, **more: Any) -> None:
        """Append one line, in one write."""
        line = json.dumps({"say": what, **more}) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def accepted(self, job: str) -> None:
        """`orch` took the job: it must run and end."""
        self.say("accepted", job=job)

    def disturbed(self, job: str, how: str) -> None:
        """A person stopped the job, or a fault was played that may end it: its end may be another than its own."""
        self.say("disturbed", job=job, how=how)

    def unwitnessed(self, job: str, attempt: int) -> None:
        """The attempt may have no exit record: a fault left nothing that could have written it."""
        self.say("unwitnessed", job=job, attempt=attempt)

    def excused(self, job: str, why: str) -> None:
        """The job need not run: its request was destroyed by a fault, or it was stopped while it waited."""
        self.say("excused", job=job, why=why)

    def off(self, boot: str) -> None:
        """A host lost its power; everything that ran in this boot is gone."""
        self.say("off", boot=boot)

    def declared_dead(self, host: str) -> None:
        """A person declared a host dead: what runs there no longer counts."""
        self.say("dead", host=host)

    def file(self, path: str, digest: str) -> None:
        """State of a file that is not ours; it must be the same whenever it is told."""
        self.say("file", path=path, digest=digest)

    def told(self, by: str, job: str, attempt: int, state: str, status: int | None = None) -> None:
        """What `orch` says of an attempt; `by` names who was asked (a laptop, a rebuilt index)."""
        self.say("told", by=by, job=job, attempt=attempt, state=state, status=status)

    def counts(self, by: str, job: str, attempt: int) -> None:
        """`orch` counts the result of this attempt."""
        self.say("counts", by=by, job=job, attempt=attempt)

    def rest(self) -> None:
        """All has come to rest; what each one tells from now on is the last word."""
        self.say("rest")
