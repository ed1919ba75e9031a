"""The truth table: what is known of an attempt, and the state that follows.

    reachable  attempt  result   exit   lock   stop    ->  state
    no         -        -        -      -      -           unreachable (the last known state stays beside it)
    yes        no       -        -      -      no / yes    queued / stopped
    yes        yes      valid    0      -      -           done
    yes        yes      valid    not 0  -      -           done, with a warning
    yes        yes      valid    none   held   -           running (it is leaving)
    yes        yes      valid    none   free   -           done, with a warning (exit status lost)
    yes        yes      other    0      -      -           done where no result is due and no failure is recorded (a
                                                           damaged one is warned of); else stopped or failed
    yes        yes      other    not 0  -      yes / no    stopped / failed
    yes        yes      other    none   held   -           running
    yes        yes      other    none   free   yes / no    stopped / interrupted (proof: the lock is free, or a reboot)
    yes        yes      -        none   ?      -           unreachable (only the host that ran it can tell)

Silence is never death: `interrupted` needs the proof that all processes of the attempt have ended (`liveness`) or that
the host was booted since. `docs/contract.md` publishes this table; `tests/jobs/test_state.py` tests it cell by cell.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
STOPPED, INTERRUPTED, UNREACHABLE = "stopped", "interrupted", "unreachable"
GONE = "gone"  # no state: what waited stands in the queue no more and has not begun (`collector`)
STATES = (QUEUED, RUNNING, DONE, FAILED, STOPPED, INTERRUPTED, UNREACHABLE)
ENDED = frozenset({DONE, FAILED, STOPPED, INTERRUPTED})  # a new attempt may begin
HOLES = frozenset({FAILED, STOPPED, INTERRUPTED})  # ended without counting: the same sweep again fills them


class Evidence(NamedTuple):
    """What an agent on the attempt's own host can see.

    Attributes
    ----------
    reachable:
        The host answers.
    attempt:
        The run folder exists (it appears whole, with its claim).
    result:
        `valid`, `invalid` (there, but not readable) or `none`.
    result_required:
        The program hands in a result when it finishes.
    exit_status:
        Exit status from `exit.json` (128 + n for signal n), or None.
    lock:
        `held` (something of it lives), `free` (nothing does, or another boot since), or `unknown` (it ran on another
        host, or cannot be proved).
    proof:
        In words, why the lock counts as it does, or why the attempt was ended before it began.
    stop:
        Somebody asked for a stop.
    failure:
        Failure kind and evidence line from `exit.json`; one that left with exit status 0 (over its time limit) has
        failed too.
    record:
        The exit record itself, or None.
    """

    reachable: bool = True
    attempt: bool = True
    result: str = "none"
    result_required: bool = False
    exit_status: Optional[int] = None
    lock: str = "unknown"
    proof: str = ""
    stop: bool = False
    failure: str = ""
    record: Optional[Mapping[str, Any]] = None


class Verdict(NamedTuple):
    """A state, the reason in words, and a warning where something is odd."""

    state: str
    reason: str
    warning: str = ""

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        return {"state": self.state, "reason": self.reason, "warning": self.warning}


def judge(seen: Evidence) -> Verdict:
    """Apply the truth table."""
    if not seen.reachable:
        return Verdict(UNREACHABLE, "the host does not answer; the job is not counted dead")
    if not seen.attempt:
        return Verdict(STOPPED, _before(seen.proof)) if seen.stop else Verdict(QUEUED, "waiting for a slot")
    if seen.exit_status is not None:
        return _recorded(seen, seen.exit_status)
    if seen.lock == "held":
        return Verdict(RUNNING, seen.proof or "its lock is held")
    if seen.lock != "free":
        return Verdict(UNREACHABLE, seen.proof or "only the host that ran it can tell")
    return _unrecorded(seen)


def _before(why: str) -> str:
    return "stopped before it began" + (": " + why if why else "")


def _recorded(seen: Evidence, status: int) -> Verdict:
    if seen.result == "valid":
        warning = "" if status == 0 else "the result is whole, but the program ended with exit status {}".format(status)
        return Verdict(DONE, "result handed in", warning)
    if status == 0 and not seen.result_required and not seen.failure:
        return Verdict(DONE, "exit status 0", "result.json is not readable" if seen.result == "invalid" else "")
    if seen.stop:
        return Verdict(STOPPED, "stopped on request (exit status {})".format(status))
    if status == 0:
        lack = "an unreadable result" if seen.result == "invalid" else "no result"
        return Verdict(FAILED, seen.failure or "ended with exit status 0 and {}".format(lack))
    return Verdict(FAILED, seen.failure or "exit status {}".format(status))


def _unrecorded(seen: Evidence) -> Verdict:
    if seen.result == "valid":
        return Verdict(DONE, "result handed in", "exit status lost ({})".format(seen.proof))
    if seen.stop:
        return Verdict(STOPPED, "stopped on request; exit status lost ({})".format(seen.proof))
    return Verdict(INTERRUPTED, "ended without a record (proof: {})".format(seen.proof))
