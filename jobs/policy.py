"""What follows a failure: one rule for each kind, and the decision. Pure: values in, values out.

A rule names an action and how often it is taken for one job by itself. A sweep changes rules with its key `policy`; the
change travels in `job.json`. What a decision means on the host is in `aftermath`.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional

RETRY, RETRY_SMALLER, HOLD, OTHER_HOST, NEVER = "retry", "retry_smaller", "hold", "other_host", "never"

ACTIONS = {
    RETRY: "start again, from the last checkpoint if there is one",
    RETRY_SMALLER: "start again with half the micro-batch; gradients are accumulated, so the effective batch stays",
    HOLD: "start again once there is room on the disk; the sweep's waiting jobs wait too",
    OTHER_HOST: "not again on this host; what would fail alike there waits",
    NEVER: "a person must look",
}
AGAIN = frozenset({RETRY, RETRY_SMALLER, HOLD})  # a next attempt is queued here

WAIT_MOST = 900.0  # seconds: longest wait before a next attempt

# Kinds that siblings with the same code share.
ALIKE = frozenset({"code_error", "import_error", "not_verified", "cannot_start"})
ALIKE_LIMIT = 2  # siblings that fail alike until those that wait are held


class Rule(NamedTuple):
    """What to do about a kind, and how many next attempts of one job it may give (None: as many as it takes).

    `wait_s`: seconds until the first of them may start; it doubles with each, up to `WAIT_MOST`.
    """

    action: str
    tries: Optional[int] = 0
    wait_s: float = 0.0


TABLE: Mapping[str, Rule] = {
    "nan_loss": Rule(NEVER),
    "gpu_lost": Rule(OTHER_HOST),
    "driver_mismatch": Rule(OTHER_HOST),
    "foreign_pressure": Rule(RETRY, None, 60.0),
    "preempted": Rule(RETRY, 20),
    "gpu_busy": Rule(RETRY, 3, 60.0),
    "out_of_memory_gpu": Rule(RETRY_SMALLER, None),
    "out_of_memory": Rule(RETRY_SMALLER, None),
    "disk_full": Rule(HOLD, 3),
    "bad_data": Rule(NEVER),
    "wrong_architecture": Rule(OTHER_HOST),
    "import_error": Rule(NEVER),
    "not_verified": Rule(NEVER),
    "cannot_start": Rule(NEVER),
    "code_error": Rule(NEVER),
    "timeout": Rule(NEVER),
    "killed": Rule(RETRY, 1),
    "crashed": Rule(NEVER),
    "host_rebooted": Rule(RETRY, 3),
    "exit_status_lost": Rule(NEVER),
    "unknown": Rule(NEVER),
}
DEFAULT_TRIES = 1  # of a rule that names an action but no number, where the table has none


class History(NamedTuple):
    """What has happened to a job since a person last asked for it.

    Attributes
    ----------
    tries:
        Next attempts that it was given for this kind.
    batch:
        Its effective batch (samples for each step of the optimiser), None when nobody knows.
    micro:
        How many of them are computed at once; None: all.
    """

    tries: int = 0
    batch: Optional[int] = None
    micro: Optional[int] = None


class Decision(NamedTuple):
    """What is done, what the next attempt's `tuning` changes, and why, in words; seconds until it may start."""

    action: str
    changes: Dict[str, Any]
    reason: str
    wait_s: float = 0.0

    def to_json(self) -> Dict[str, Any]:
        """Return the JSON form."""
        plain = dict(self._asdict())
        return plain if self.wait_s else {key: plain[key] for key in plain if key != "wait_s"}


def decide(kind: str, history: History, table: Mapping[str, Rule] = TABLE) -> Decision:
    """Return what follows a failure of a kind; an unknown kind is for a person."""
    rule = table.get(kind, Rule(NEVER))
    if rule.action == NEVER:
        return Decision(NEVER, {}, "starting it again would not mend it")
    if rule.action == OTHER_HOST:
        return Decision(OTHER_HOST, {}, "it is this host's fault: not again here, but on another host")
    if rule.tries is not None and history.tries >= rule.tries:
        times = "{} time{}".format(history.tries, "" if history.tries == 1 else "s")
        return Decision(NEVER, {}, "started again {} already: the limit".format(times) if rule.tries else "no retries")
    if rule.action == RETRY_SMALLER:
        return _smaller(history)
    if rule.action == HOLD:
        return Decision(HOLD, {}, "again once there is room on the disk")
    reason, wait = "again, from the last checkpoint if there is one", wait_of(rule, history.tries)
    return Decision(RETRY, {}, reason + (", after {:g} s at the earliest".format(wait) if wait else ""), wait)


def wait_of(rule: Rule, tries: int) -> float:
    """Return the seconds until the next attempt may start, after so many of this kind."""
    return min(rule.wait_s * float(1 << min(tries, 10)), WAIT_MOST)


def _smaller(history: History) -> Decision:
    if not history.batch:
        return Decision(NEVER, {}, "nobody knows the size of its batch, so it cannot be made smaller")
    now = min(history.micro or history.batch, history.batch)
    if now <= 1:
        return Decision(NEVER, {}, "it computes one sample at a time already")
    micro = now // 2
    reason = "again with {} (same effective batch)".format(shape(history.batch, micro))
    return Decision(RETRY_SMALLER, {"micro_batch": micro}, reason)


def shape(batch: int, micro: int) -> str:
    """Return how a batch is computed: `2 x 16` of 32, `5 x 4 + 2` of 22."""
    whole, rest = divmod(batch, micro)
    return "{} x {}".format(whole, micro) + (" + {}".format(rest) if rest else "")


def table_of(job: Mapping[str, Any]) -> Dict[str, Rule]:
    """Return the rules of one job: the table, changed by its `policy`; what cannot be read there changes nothing."""
    given = job.get("policy")
    changed = {} if not isinstance(given, dict) else {name: _rule(name, value) for name, value in given.items()}
    return {**TABLE, **{name: rule for name, rule in changed.items() if rule}}


def _rule(name: str, value: Any) -> Optional[Rule]:
    action = value.get("action") if isinstance(value, dict) else value
    before = TABLE.get(name)
    if before is None or not isinstance(action, str) or action not in ACTIONS:
        return None
    tries, wait = (value.get(key) if isinstance(value, dict) else None for key in ("tries", "wait_s"))
    wait = float(wait) if isinstance(wait, (int, float)) and 0 <= wait <= WAIT_MOST else before.wait_s
    if isinstance(tries, int) and not isinstance(tries, bool) and tries >= 0:
        return Rule(action, tries, wait)
    if action == RETRY_SMALLER or (before.action in AGAIN and before.tries is None):
        return Rule(action, None, wait)  # it ends by itself
    return Rule(action, before.tries or DEFAULT_TRIES, wait)


def history_of(job: Mapping[str, Any], kind: str) -> History:
    """Return the history that stands in a `job.json`."""
    tries = _object(_object(job.get("retry")).get("tries")).get(kind)
    micro = _object(job.get("tuning")).get("micro_batch")
    return History(_count(tries) or 0, batch_of(job), _count(micro))


def batch_of(job: Mapping[str, Any]) -> Optional[int]:
    """Return a job's effective batch: the trainer's `batch_size`, or a command's where its sweep asks for smaller ones.

    A command takes part with a grid axis `batch_size`, by reading `ORCH_MICRO_BATCH`, and by saying so: a rule
    `retry_smaller` in its sweep. Without that word it would only fail again.
    """
    cell = _object(job.get("cell"))
    parameters = _object(cell.get("parameters"))
    if cell.get("program") == "trainer":
        return _count(_object(parameters.get("train")).get("batch_size"))
    rules = _object(job.get("policy")).values()
    asked = any((rule.get("action") if isinstance(rule, dict) else rule) == RETRY_SMALLER for rule in rules)
    return _count(_object(parameters.get("grid")).get("batch_size")) if asked else None


def next_job(
    job: Mapping[str, Any], kind: str, decision: Decision, resume: Optional[str], now: float
) -> Dict[str, Any]:
    """Return the next attempt's words for the queue: the same cell, with the reason why there is another attempt.

    Parameters
    ----------
    resume:
        Run folder from whose last checkpoint it goes on, or None.
    now:
        Seconds since 1970.
    """
    number = int(job["attempt"])
    tries = dict(_object(_object(job.get("retry")).get("tries")))
    tries[kind] = (_count(tries.get(kind)) or 0) + 1
    why = {"of": number, "kind": kind, "action": decision.action, "reason": decision.reason, "tries": tries}
    retry = {**why, "not_before": now + decision.wait_s} if decision.wait_s else why
    same = {key: value for key, value in job.items() if key != "claim"}
    tuning = {**_object(job.get("tuning")), **decision.changes}
    return {**same, "attempt": number + 1, "resume": resume, "tuning": tuning, "retry": retry}


def not_before(job: Mapping[str, Any]) -> float:
    """Return when an attempt that was queued by itself may start, in seconds since 1970; 0: at once."""
    at = _object(job.get("retry")).get("not_before")
    return float(at) if isinstance(at, (int, float)) and not isinstance(at, bool) else 0.0


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> Optional[int]:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
